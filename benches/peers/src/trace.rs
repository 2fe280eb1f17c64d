//! Resident memory of a process: at the ends of its phases, and over time.
//!
//! On a line: `filled=1052672;freed=210944|0:2100,20:2180,..`, in KiB, and ms since the start.

use crate::clock::{exact_rss_kib, rss_kib};
use core::convert::Infallible;
use core::fmt::{self, Display};
use core::str::FromStr;
use core::sync::atomic::{AtomicBool, Ordering};
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Between two samples.
const STEP: Duration = Duration::from_millis(20);
/// Samples at most, so that taking them allocates nothing while a workload runs.
const MOST: usize = 2_000;

/// What was resident when a phase ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Point {
    /// Of the phase.
    pub name: String,
    /// In KiB.
    pub rss_kib: u64,
}

/// Resident memory over a run; empty for workloads that are about time alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// At the ends of phases, in their order.
    pub points: Vec<Point>,
    /// Now and then: ms since the start, and KiB.
    pub samples: Vec<(u64, u64)>,
}

impl Trace {
    /// Notes what is resident at the end of a phase.
    pub fn mark(&mut self, phase: &str) {
        self.points.push(Point { name: phase.to_owned(), rss_kib: exact_rss_kib().unwrap_or(0) });
    }

    /// Samples beside `work`, which marks its phases itself.
    pub fn beside<R>(work: impl FnOnce(&mut Self) -> R) -> (R, Self) {
        let done = AtomicBool::new(false);
        let began = Instant::now();
        let mut trace = Self { points: Vec::with_capacity(16), samples: Vec::with_capacity(MOST) };
        let mut samples = core::mem::take(&mut trace.samples);
        let result = thread::scope(|scope| {
            let _end = AtEnd(&done);
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) && samples.len() < MOST {
                    samples.push((began.elapsed().as_millis() as u64, rss_kib().unwrap_or(0)));
                    thread::sleep(STEP);
                }
            });
            work(&mut trace)
        });
        trace.samples = samples;
        (result, trace)
    }
}

/// Raises its flag when dropped, so also when the work panics.
struct AtEnd<'a>(&'a AtomicBool);

impl Drop for AtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let points: Vec<_> = self.points.iter().map(|Point { name, rss_kib }| format!("{name}={rss_kib}")).collect();
        let samples: Vec<_> = self.samples.iter().map(|(ms, kib)| format!("{ms}:{kib}")).collect();
        write!(out, "{}|{}", points.join(";"), samples.join(","))
    }
}

/// What is no trace is an empty one.
impl FromStr for Trace {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        let (points, samples) = text.split_once('|').unwrap_or_default();
        let point = |part: &str| {
            let (name, kib) = part.split_once('=')?;
            Some(Point { name: name.to_owned(), rss_kib: kib.parse().ok()? })
        };
        let sample = |part: &str| {
            let (ms, kib) = part.split_once(':')?;
            Some((ms.parse().ok()?, kib.parse().ok()?))
        };
        let points = points.split(';').filter_map(point).collect();
        Ok(Self { points, samples: samples.split(',').filter_map(sample).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::Trace;
    use std::panic::catch_unwind;

    #[test]
    fn sampling_ends_when_the_work_panics() {
        assert!(catch_unwind(|| Trace::beside(|_| panic!("as the test wants it"))).is_err());
    }
}
