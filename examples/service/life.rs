//! A service's life: its phases, one after the other, and its resident memory meanwhile.
//!
//! ```text
//!   start ─ fill ─ load ─ burst ─ idle ─ reclaim     names and times, in order; the last one ends with the samples
//! ```

use core::time::Duration;
use std::time::Instant;

use crate::sampler::Sample;

pub(crate) struct Life {
    phases: Vec<(&'static str, Instant)>,
    samples: Vec<Sample>,
}

impl Life {
    /// Phases with their beginnings.
    pub(crate) fn new(phases: Vec<(&'static str, Instant)>, samples: Vec<Sample>) -> Self {
        Self { phases, samples }
    }

    pub(crate) fn is_told(&self) -> bool {
        !self.samples.is_empty()
    }

    pub(crate) fn phases(&self) -> impl Iterator<Item = &'static str> {
        self.phases.iter().map(|&(name, _)| name)
    }

    /// How many seconds the phase `nth` took, or nothing if there is no such phase.
    pub(crate) fn length(&self, nth: usize) -> f64 {
        let begin = self.phases.get(nth).map(|&(_, begin)| begin);
        let end = self.phases.get(nth + 1).map(|&(_, begin)| begin).or(self.samples.last().map(|&(when, _)| when));
        begin.zip(end).map_or(0.0, |(begin, end)| end.saturating_duration_since(begin).as_secs_f64())
    }

    /// Samples as seconds and bytes, if each phase begins at the second that `begins` says; until it does, what was seen
    /// last in the one before holds.
    pub(crate) fn told_from(&self, begins: &[f64]) -> Vec<(f64, u64)> {
        let mut points = Vec::with_capacity(self.samples.len() + self.phases.len());
        let (mut now, mut last) = (0, None);
        for &(when, bytes) in &self.samples {
            let nth = self.phases.iter().rposition(|&(_, begin)| begin <= when).unwrap_or(0);
            let begin = begins.get(nth).copied().unwrap_or_default();
            points.extend(last.filter(|_| nth > now).map(|last| (begin, last)));
            let since =
                self.phases.get(nth).map_or(Duration::ZERO, |&(_, begin)| when.saturating_duration_since(begin));
            points.push((begin + since.as_secs_f64(), bytes));
            (now, last) = (nth, Some(bytes));
        }
        points
    }
}
