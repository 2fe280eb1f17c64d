//! All records of all rounds.

use crate::aspect::Aspect;
use crate::figure::Figure;
use crate::row::Row;
use crate::spread::Spread;
use bandolier_peers::record::Record;
use bandolier_peers::workloads::{Entry, Judge};
use std::collections::BTreeMap;

type Key = (&'static str, &'static str, usize);

/// By allocator, workload and number of threads; `None` is a run that failed.
#[derive(Debug, Default)]
pub(crate) struct Series(BTreeMap<Key, Vec<Option<Record>>>);

/// Runs of an allocator in a row that failed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Failures {
    pub(crate) allocator: &'static str,
    pub(crate) workload: &'static str,
    pub(crate) threads: usize,
    pub(crate) failed: usize,
    pub(crate) runs: usize,
}

impl Series {
    /// Adds a run; `None` is one that failed.
    pub(crate) fn add(&mut self, allocator: &'static str, row: Row, record: Option<Record>) {
        self.0.entry((allocator, row.workload.name, row.threads)).or_default().push(record);
    }

    fn runs(&self, allocator: &str, row: Row) -> &[Option<Record>] {
        let found = self.0.iter().find(|&(&(name, workload, threads), _)| {
            (name, workload, threads) == (allocator, row.workload.name, row.threads)
        });
        found.map_or(&[], |(_, runs)| runs)
    }

    pub(crate) fn has_failed(&self, allocator: &str, row: Row) -> bool {
        self.runs(allocator, row).iter().any(Option::is_none)
    }

    pub(crate) fn figure(&self, allocator: &str, row: Row, value: impl Fn(&Record) -> Option<f64>) -> Figure {
        Figure::of(self.runs(allocator, row).iter().map(|run| run.as_ref().map(&value)))
    }

    /// The run in the middle, by peak memory: one to show in full.
    pub(crate) fn typical(&self, allocator: &str, row: Row) -> Option<&Record> {
        let mut runs: Vec<_> = self.runs(allocator, row).iter().flatten().collect();
        runs.sort_by_key(|run| run.peak_rss_kib);
        runs.get(runs.len() / 2).copied()
    }

    /// The names of a row's phases, in their order; none unless it is a scenario.
    pub(crate) fn phases(&self, row: Row) -> Vec<&str> {
        let same = |&(_, workload, threads): &Key| (workload, threads) == (row.workload.name, row.threads);
        let runs = self.0.iter().filter(|(key, _)| same(key)).flat_map(|(_, runs)| runs).flatten();
        let points = runs.map(|run| &run.trace.points).find(|points| !points.is_empty());
        points.into_iter().flatten().map(|point| point.name.as_str()).collect()
    }

    pub(crate) fn failures(&self) -> Vec<Failures> {
        let of = |(&(allocator, workload, threads), runs): (&Key, &Vec<Option<Record>>)| {
            let failed = runs.iter().filter(|run| run.is_none()).count();
            Failures { allocator, workload, threads, failed, runs: runs.len() }
        };
        self.0.iter().map(of).filter(|failures| failures.failed > 0).collect()
    }

    /// How much of a core each thread had while there were cores enough: 1 on a quiet machine. Waiting by design, as
    /// of `prodcons`, is left out.
    pub(crate) fn share_of_a_core(&self, cores: usize) -> Option<f64> {
        let runs = self.0.values().flatten().flatten();
        let fitting = runs.filter(|run| run.threads <= cores && !waits(&run.workload));
        Spread::of(fitting.map(|run| run.cpu_ns / run.wall_ns).collect()).map(|share| share.median)
    }

    /// What the loop of `random` costs without an allocator, in ns.
    pub(crate) fn floor(&self) -> Option<f64> {
        let value = |record: &Record| Aspect::Cpu.value(Row::EMPTY, record);
        self.figure(Row::EMPTY.workload.name, Row::EMPTY, value).median()
    }
}

fn waits(workload: &str) -> bool {
    Entry::named(workload).is_some_and(|entry| entry.judge == Judge::Wall)
}

#[cfg(test)]
mod tests {
    use super::{Failures, Series};
    use crate::fixture::{record, row};

    #[test]
    fn failures_are_counted() {
        let mut series = Series::default();
        let row = row("churn", 2);
        [Some(1.0), None, Some(2.0)].into_iter().for_each(|ns| {
            series.add("talc", row, ns.map(|ns| record("talc", row, ns, 1.0)));
        });
        series.add("system", row, Some(record("system", row, 1.0, 1.0)));
        let expected = Failures { allocator: "talc", workload: "churn", threads: 2, failed: 1, runs: 3 };
        assert_eq!(series.failures(), [expected]);
    }

    #[test]
    fn the_typical_run_is_the_middle_one() {
        let mut series = Series::default();
        let row = row("churn", 2);
        [3.0, 1.0, 2.0].into_iter().for_each(|mib| series.add("talc", row, Some(record("talc", row, 1.0, mib))));
        assert_eq!(series.typical("talc", row).map(|run| run.peak_rss_kib), Some(2_048));
        assert!(series.typical("frusa", row).is_none());
    }
}
