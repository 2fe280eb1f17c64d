//! What an empty program costs: the time from its spawn to its exit, and its memory.

use crate::figure::Figure;
use crate::peer::{self, Ready};
use crate::progress::Progress;
use crate::sheet::Best;
use crate::spread::Spread;
use core::str;
use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::time::Instant;

/// To choose it, and of its row.
pub(crate) const NAME: &str = "start-up";

/// One empty program, or the medians of many.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Empty {
    pub(crate) ms: f64,
    pub(crate) peak_mib: f64,
}

impl Empty {
    /// `None` when there is none.
    fn median(all: &[Self]) -> Option<Self> {
        let median = |of: fn(&Self) -> f64| Some(Spread::of(all.iter().map(of).collect())?.median);
        Some(Self { ms: median(ms)?, peak_mib: median(peak_mib)? })
    }
}

pub(crate) fn ms(empty: &Empty) -> f64 {
    empty.ms
}

pub(crate) fn peak_mib(empty: &Empty) -> f64 {
    empty.peak_mib
}

/// By allocator, one median for each round; `None` when a program failed.
#[derive(Debug, Default)]
pub(crate) struct StartUp(BTreeMap<&'static str, Vec<Option<Empty>>>);

impl StartUp {
    /// Starts so many programs of each allocator, one after the other.
    pub(crate) fn round(&mut self, ready: &[Ready<'_>], spawns: usize, progress: &mut Progress) {
        let mut runs: Vec<_> = ready.iter().map(|&one| (one, Some(Vec::new()))).collect();
        for _ in 0..spawns {
            for ((peer, binary), empties) in &mut runs {
                progress.at(&format!("{NAME} of {}", peer.name));
                // Who failed once is left alone.
                *empties = empties.take().and_then(|empties| one_more(empties, peer.command(binary)));
            }
            progress.step();
        }
        runs.into_iter()
            .for_each(|((peer, _), empties)| self.add(peer.name, empties.and_then(|all| Empty::median(&all))));
    }

    pub(crate) fn add(&mut self, name: &'static str, median: Option<Empty>) {
        self.0.entry(name).or_default().push(median);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The least of all but Bandolier in all its modes.
    pub(crate) fn best_peer(&self, value: fn(&Empty) -> f64) -> Option<Best> {
        let peers = self.0.keys().filter(|name| !peer::is_ours(name));
        let figures = peers.filter_map(|&name| Some(Best { name, spread: self.figure(name, value).spread()? }));
        figures.min_by(|one, other| one.spread.median.total_cmp(&other.spread.median))
    }

    pub(crate) fn figure(&self, name: &str, value: fn(&Empty) -> f64) -> Figure {
        let runs = self.0.get(name).map_or(&[][..], Vec::as_slice);
        Figure::of(runs.iter().map(|run| run.as_ref().map(|empty| Some(value(empty)))))
    }
}

fn one_more(mut empties: Vec<Empty>, command: Command) -> Option<Vec<Empty>> {
    empties.push(started(command)?);
    Some(empties)
}

/// Not polled, as runs of workloads are: this is about fractions of a millisecond.
fn started(mut command: Command) -> Option<Empty> {
    command.arg("--nothing").stderr(Stdio::null());
    let began = Instant::now();
    let output = command.output().ok()?;
    let ms = began.elapsed().as_secs_f64() * 1e3;
    let kib: f64 = str::from_utf8(&output.stdout).ok()?.trim().parse().ok()?;
    output.status.success().then_some(Empty { ms, peak_mib: kib / 1024.0 })
}

#[cfg(test)]
mod tests {
    use super::{Empty, StartUp};
    use crate::figure::Figure;

    #[test]
    fn a_round_is_its_median() {
        let all = [3.0, 1.0, 2.0].map(|ms| Empty { ms, peak_mib: 2.0 * ms });
        assert_eq!(Empty::median(&all), Some(Empty { ms: 2.0, peak_mib: 4.0 }));
        assert_eq!(Empty::median(&[]), None);
    }

    #[test]
    fn a_failed_round_fails_the_allocator() {
        let mut start_up = StartUp::default();
        start_up.add("system", Some(Empty { ms: 1.0, peak_mib: 2.0 }));
        start_up.add("talc", Some(Empty { ms: 1.0, peak_mib: 2.0 }));
        start_up.add("talc", None);
        let ms = |name| start_up.figure(name, super::ms);
        assert_eq!((ms("system").median(), ms("talc"), ms("frusa")), (Some(1.0), Figure::Failed, Figure::NotRun));
    }
}
