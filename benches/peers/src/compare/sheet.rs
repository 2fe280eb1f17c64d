//! The figures of one plan, and what they are compared with.

use crate::aspect::Aspect;
use crate::figure::Figure;
use crate::peer::{self, Built, OURS, SYSTEM};
use crate::plan::Plan;
use crate::row::Row;
use crate::series::Series;
use crate::spread::Spread;
use std::rc::Rc;

#[derive(Debug)]
pub(crate) struct Sheet {
    pub(crate) plan: Plan,
    pub(crate) built: Rc<[Built]>,
    pub(crate) series: Series,
}

/// An allocator with the least figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Best {
    pub(crate) name: &'static str,
    pub(crate) spread: Spread,
}

impl Sheet {
    pub(crate) fn new(plan: Plan, built: Rc<[Built]>) -> Self {
        Self { plan, built, series: Series::default() }
    }

    pub(crate) fn title(&self) -> String {
        format!("{}, profile `{}`", self.plan.set.title, self.plan.profile)
    }

    /// For names of files.
    pub(crate) fn stem(&self) -> String {
        format!("{}-{}", self.plan.set.name, self.plan.profile)
    }

    /// Every allocator that was asked for, built or not.
    pub(crate) fn names(&self) -> impl Iterator<Item = &'static str> {
        self.built.iter().map(|one| one.peer.name)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().any(|other| other == name)
    }

    pub(crate) fn figure(&self, name: &str, row: Row, aspect: Aspect<'_>) -> Figure {
        self.series.figure(name, row, |record| aspect.value(row, record))
    }

    pub(crate) fn median(&self, name: &str, row: Row, aspect: Aspect<'_>) -> Option<f64> {
        self.figure(name, row, aspect).median()
    }

    /// The least of all but Bandolier in all its modes.
    pub(crate) fn best_peer(&self, row: Row, aspect: Aspect<'_>) -> Option<Best> {
        self.best(row, aspect, |name| !peer::is_ours(name))
    }

    /// The least of those that count.
    pub(crate) fn best(&self, row: Row, aspect: Aspect<'_>, counts: impl Fn(&str) -> bool) -> Option<Best> {
        let names = self.names().filter(|&name| counts(name));
        let figures = names.filter_map(|name| Some(Best { name, spread: self.figure(name, row, aspect).spread()? }));
        figures.min_by(|one, other| one.spread.median.total_cmp(&other.spread.median))
    }

    pub(crate) fn to_system(&self, name: &str, row: Row, aspect: Aspect<'_>) -> Option<f64> {
        Some(self.median(name, row, aspect)? / self.median(SYSTEM, row, aspect)?)
    }

    pub(crate) fn to_best_peer(&self, name: &str, row: Row, aspect: Aspect<'_>) -> Option<f64> {
        Some(self.median(name, row, aspect)? / self.best_peer(row, aspect)?.spread.median)
    }

    /// Against the best of all the others, Bandolier's modes among them.
    pub(crate) fn to_best_other(&self, name: &str, row: Row, aspect: Aspect<'_>) -> Option<f64> {
        Some(self.median(name, row, aspect)? / self.best(row, aspect, |other| other != name)?.spread.median)
    }

    /// Time, peak memory, and what is resident after each phase.
    pub(crate) fn aspects(&self, row: Row) -> Vec<Aspect<'_>> {
        let phases = self.series.phases(row).into_iter().map(Aspect::Phase);
        [Aspect::Time, Aspect::Peak].into_iter().chain(phases).collect()
    }

    /// Whether the row tells of phases.
    pub(crate) fn is_scenario(&self, row: Row) -> bool {
        !self.series.phases(row).is_empty()
    }

    /// The rows of one workload after those of another.
    pub(crate) fn by_workload(&self) -> impl Iterator<Item = &[Row]> {
        self.plan.rows.chunk_by(|one, next| one.workload.name == next.workload.name)
    }

    /// Whether there is something to compare.
    pub(crate) fn has_ours(&self) -> bool {
        self.has(OURS)
    }
}

#[cfg(test)]
mod tests {
    use crate::aspect::Aspect;
    use crate::fixture::{row, sheet};

    #[test]
    fn no_mode_of_ours_is_a_peer() {
        let pair = row("pair", 1);
        let figures = [("bandolier", 2.0, 1.0), ("bandolier-x", 1.0, 1.0), ("system", 8.0, 4.0), ("talc", 4.0, 9.0)];
        let sheet = sheet("fat", &[(pair, &figures)]);
        assert_eq!(sheet.best_peer(pair, Aspect::Time).map(|best| best.name), Some("talc"));
        assert_eq!(sheet.best_peer(pair, Aspect::Peak).map(|best| best.name), Some("system"));
        let ratio =
            |of: fn(&super::Sheet, &str, _, Aspect<'_>) -> Option<f64>| of(&sheet, "bandolier", pair, Aspect::Time);
        assert_eq!(ratio(super::Sheet::to_system), Some(0.25));
        assert_eq!(ratio(super::Sheet::to_best_peer), Some(0.5));
        assert_eq!(ratio(super::Sheet::to_best_other), Some(2.0));
    }
}
