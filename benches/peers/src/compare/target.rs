//! How far ahead of the best peer Bandolier wants to be.

use crate::aspect::Aspect;
use crate::figure::Figure;
use crate::pattern::fits;
use crate::peer::{OURS, SYSTEM};
use crate::row::Row;
use crate::sheet::Sheet;
use crate::start_up::{Empty, StartUp};

/// For a group of workloads; ratios to the best of all peers in the row, so less is better.
#[derive(Debug)]
pub(crate) struct Target {
    pub(crate) group: &'static str,
    pub(crate) workloads: &'static [&'static str],
    /// `None`: in all of them.
    pub(crate) profile: Option<&'static str>,
    pub(crate) time: Option<f64>,
    pub(crate) memory: Option<f64>,
    /// Which memory.
    pub(crate) at: Aspect<'static>,
}

impl Target {
    const fn of(group: &'static str, workloads: &'static [&'static str], time: f64, peak: f64) -> Self {
        Self { group, workloads, profile: None, time: Some(time), memory: Some(peak), at: Aspect::Peak }
    }

    const fn of_pairs(group: &'static str, profile: &'static str, time: f64) -> Self {
        Self { profile: Some(profile), time: Some(time), memory: None, ..Self::of(group, PAIRS, time, 1.0) }
    }

    const fn of_phase(group: &'static str, phase: &'static str, memory: f64) -> Self {
        Self { time: None, at: Aspect::Phase(phase), ..Self::of(group, &["frag*"], 1.0, memory) }
    }
}

const PAIRS: &[&str] = &["pair", "pair-var", "batch*", "fifo*", "shuffle*"];

pub(crate) static TARGETS: [Target; 11] = [
    Target::of_pairs("pairs and batches of one size, inlined", "fat", 0.5),
    Target::of_pairs("the same, called", "release", 0.8),
    Target::of("random sizes", &["seed", "random"], 0.85, 1.1),
    Target::of("churn", &["churn*"], 0.9, 1.05),
    Target::of("from thread to thread", &["prodcons*", "fanout*", "fanin*", "ring*"], 0.6, 1.1),
    Target::of("threads that come and go", &["larson*", "threads*"], 0.95, 1.1),
    Target::of("blocks that grow, large or zeroed", &["vec-*", "large*", "buffers*", "zeroed*"], 1.0, 1.05),
    Target::of("programs", &["tokio*", "json*", "maps*"], 0.97, 1.05),
    Target::of_phase("fragmentation, 90 % freed", "freed", 0.95),
    Target::of_phase("fragmentation, filled again", "refilled", 1.0),
    Target::of_phase("fragmentation, all freed for a second", "idle", 1.0),
];

/// The most that an empty program may take above the system's allocator.
pub(crate) const START_MS: f64 = 0.2;
pub(crate) const START_MIB: f64 = 0.5;

/// What was measured for a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Worst<'a> {
    NotMeasured,
    /// Bandolier failed there.
    Failed(Place<'a>),
    /// The greatest ratio.
    Ratio(f64, Place<'a>),
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Place<'a> {
    pub(crate) profile: &'a str,
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
}

impl Worst<'_> {
    /// `None` when it was not measured.
    fn keeps(self, limit: f64) -> Option<bool> {
        match self {
            Self::NotMeasured => None,
            Self::Failed(_) => Some(false),
            Self::Ratio(ratio, _) => Some(ratio <= limit),
        }
    }

    fn rank(&self) -> f64 {
        match self {
            Self::NotMeasured => 0.0,
            Self::Failed(_) => f64::INFINITY,
            Self::Ratio(ratio, _) => *ratio,
        }
    }
}

impl Target {
    pub(crate) fn means(&self, workload: &str) -> bool {
        self.workloads.iter().any(|pattern| fits(pattern, workload))
    }

    /// In time, and in memory.
    pub(crate) fn measured<'a>(&self, sheets: &'a [Sheet]) -> (Worst<'a>, Worst<'a>) {
        // A phase has no time of its own.
        let time = if self.at == Aspect::Peak { self.worst(sheets, Aspect::Time) } else { Worst::NotMeasured };
        (time, self.worst(sheets, self.at))
    }

    fn worst<'a>(&self, sheets: &'a [Sheet], aspect: Aspect<'_>) -> Worst<'a> {
        let of_profile = |sheet: &&Sheet| self.profile.is_none_or(|profile| profile == sheet.plan.profile);
        let rows =
            sheets.iter().filter(of_profile).flat_map(|sheet| sheet.plan.rows.iter().map(move |&row| (sheet, row)));
        let meant = rows.filter(|(_, row)| self.means(row.workload.name));
        let all = meant.map(|(sheet, row)| measured(sheet, row, aspect));
        all.max_by(|one, other| one.rank().total_cmp(&other.rank())).unwrap_or(Worst::NotMeasured)
    }

    /// Whether both limits are kept; `None` when there is nothing to judge by.
    pub(crate) fn is_met(&self, (time, memory): (Worst<'_>, Worst<'_>)) -> Option<bool> {
        let judged = [self.time.map(|limit| time.keeps(limit)), self.memory.map(|limit| memory.keeps(limit))];
        let judged: Option<Vec<_>> = judged.into_iter().flatten().collect();
        judged.map(|kept| kept.into_iter().all(|kept| kept))
    }
}

fn measured<'a>(sheet: &'a Sheet, row: Row, aspect: Aspect<'_>) -> Worst<'a> {
    let place = Place { profile: &sheet.plan.profile, workload: row.workload.name, threads: row.threads };
    match (sheet.figure(OURS, row, aspect), sheet.to_best_peer(OURS, row, aspect)) {
        (Figure::Failed, _) => Worst::Failed(place),
        (_, Some(ratio)) => Worst::Ratio(ratio, place),
        _ => Worst::NotMeasured,
    }
}

/// How much more an empty program takes than with the system's allocator.
pub(crate) fn above_system(start_up: &StartUp, value: fn(&Empty) -> f64) -> Option<f64> {
    let median = |name| start_up.figure(name, value).median();
    Some(median(OURS)? - median(SYSTEM)?)
}

#[cfg(test)]
mod tests {
    use super::{Place, TARGETS, Target, Worst, above_system};
    use crate::fixture::{row, row_of, sheet, stories};
    use crate::sheet::Sheet;
    use crate::start_up::{Empty, StartUp, ms, peak_mib};

    fn target(group: &str) -> &'static Target {
        TARGETS.iter().find(|target| target.group == group).unwrap()
    }

    fn pairs() -> [Sheet; 2] {
        let (one, two) = (row("pair", 1), row("batch32", 2));
        let fat: [(_, &[_]); 2] = [
            (one, &[("bandolier", 1.0, 2.0), ("system", 4.0, 2.0)]),
            (two, &[("bandolier", 3.0, 2.0), ("system", 4.0, 2.0), ("talc", 9.0, 1.0)]),
        ];
        let release: [(_, &[_]); 1] = [(one, &[("bandolier", 3.0, 2.0), ("system", 4.0, 2.0)])];
        [sheet("fat", &fat), sheet("release", &release)]
    }

    #[test]
    fn the_worst_row_of_the_profile_counts() {
        let sheets = pairs();
        let inlined = target("pairs and batches of one size, inlined");
        let (time, memory) = inlined.measured(&sheets);
        let place = Place { profile: "fat", workload: "batch32", threads: 2 };
        assert_eq!((time, memory), (Worst::Ratio(0.75, place), Worst::Ratio(2.0, place)));
        assert_eq!(inlined.is_met((time, memory)), Some(false));
        let called = target("the same, called");
        assert_eq!(called.is_met(called.measured(&sheets)), Some(true));
    }

    #[test]
    fn what_was_not_measured_is_not_met() {
        let churn = target("churn");
        assert_eq!(churn.is_met(churn.measured(&pairs())), None);
    }

    #[test]
    fn a_failure_is_worse_than_any_ratio() {
        let mut sheets = pairs();
        sheets[0].series.add("bandolier", row("pair", 1), None);
        let inlined = target("pairs and batches of one size, inlined");
        let place = Place { profile: "fat", workload: "pair", threads: 1 };
        assert_eq!(inlined.measured(&sheets), (Worst::Failed(place), Worst::Failed(place)));
        assert_eq!(inlined.is_met(inlined.measured(&sheets)), Some(false));
    }

    #[test]
    fn a_phase_is_judged_by_what_it_leaves() {
        let sheets = [stories("fat", &[(row_of("frag", 1), &[("bandolier", 9.0, 9.0), ("system", 1.0, 10.0)])])];
        let met = |group| target(group).is_met(target(group).measured(&sheets));
        assert_eq!(met("fragmentation, 90 % freed"), Some(true));
        assert_eq!(met("fragmentation, all freed for a second"), None);
    }

    #[test]
    fn start_up_is_told_as_a_difference() {
        let mut start_up = StartUp::default();
        start_up.add("system", Some(Empty { ms: 1.0, peak_mib: 2.0 }));
        assert_eq!(above_system(&start_up, ms), None);
        start_up.add("bandolier", Some(Empty { ms: 1.5, peak_mib: 1.75 }));
        assert_eq!(above_system(&start_up, ms), Some(0.5));
        assert_eq!(above_system(&start_up, peak_mib), Some(-0.25));
    }
}
