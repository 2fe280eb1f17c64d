//! The plot: resident memory over a service's life, a line for each allocator, from the last round.

use core::iter;

use bandolier_plots::over_time::{Line, OverTime};

use crate::Failure;
use crate::contestant::Contestant;
use crate::life::Life;
use crate::round::Round;

const TITLE: &str = "Resident memory of an HTTP service: load, a burst with survivors, and nobody asking";
const SECONDS: &str = "seconds; a phase begins for all when the slowest has done the one before";

/// As an SVG.
pub(crate) fn render(contestants: &[Contestant], round: &Round) -> Result<String, Failure> {
    let lives = || round.iter().map(|figures| &figures.life);
    let Some(life) = lives().next().filter(|_| lives().all(Life::is_told)) else {
        return Err("there is no plot: this system does not tell what a process has resident".into());
    };
    let phases: Vec<_> = life.phases().collect();
    let begins: Vec<_> = begins(round, phases.len()).collect();
    let line = |(contestant, life): (&Contestant, &Life)| -> Line<'static> {
        (
            contestant.name,
            life.told_from(&begins).into_iter().map(|(at, bytes)| (at, bytes as f64 / f64::from(1 << 20))).collect(),
        )
    };
    let lines = contestants.iter().zip(lives()).map(line).collect();
    // The start is too short to be seen.
    let marks = begins.iter().copied().zip(phases).skip(1).collect();
    OverTime { seconds: SECONDS, lines, marks }.drawn(TITLE).map_err(|error| error.to_string().into())
}

/// In seconds: each phase takes as long as the slowest needs for it.
fn begins(round: &Round, phases: usize) -> impl Iterator<Item = f64> {
    let longest = |nth| round.iter().map(|figures| figures.life.length(nth)).fold(0.0, f64::max);
    iter::successors(Some((0, 0.0)), move |&(nth, begin)| Some((nth + 1, begin + longest(nth))))
        .map(|(_, begin)| begin)
        .take(phases)
}
