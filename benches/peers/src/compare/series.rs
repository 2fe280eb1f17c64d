//! All records of all rounds, and their medians.

use crate::options::Row;
use bandolier_peers::record::Record;
use bandolier_peers::workloads::{Entry, Judge};
use std::collections::BTreeMap;

type Key = (&'static str, &'static str, usize);

/// By allocator, workload and number of threads.
#[derive(Debug, Default)]
pub(crate) struct Series(BTreeMap<Key, Vec<Option<Record>>>);

/// The middle of several runs, and how far they lie apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` when there is no value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }
}

impl Series {
    /// Adds a run; `None` is one that failed.
    pub(crate) fn add(&mut self, allocator: &'static str, row: Row, record: Option<Record>) {
        self.0.entry((allocator, row.workload.name, row.threads)).or_default().push(record);
    }

    /// `None` when no run was made, or when one of them failed: the others would tell half of the truth.
    pub(crate) fn spread(&self, allocator: &str, row: Row, value: impl Fn(&Record) -> f64) -> Option<Spread> {
        let runs = self.0.iter().find(|&(&(name, workload, threads), _)| {
            (name, workload, threads) == (allocator, row.workload.name, row.threads)
        });
        let (_, runs) = runs?;
        let values: Option<Vec<_>> = runs.iter().map(|run| run.as_ref().map(&value)).collect();
        Spread::of(values?)
    }

    /// How much of a core each thread had while there were cores enough: 1 on a quiet machine. Waiting by design, as
    /// of `prodcons`, is left out.
    pub(crate) fn share_of_a_core(&self, cores: usize) -> Option<f64> {
        let runs = self.0.values().flatten().flatten();
        let fitting = runs.filter(|run| run.threads <= cores && !waits(&run.workload));
        Spread::of(fitting.map(|run| run.cpu_ns / run.wall_ns).collect()).map(|share| share.median)
    }

    /// The time by which the row is judged.
    pub(crate) fn judged(&self, allocator: &str, row: Row) -> Option<Spread> {
        self.spread(allocator, row, |record| if row.by_wall() { record.wall_ns } else { record.cpu_ns })
    }
}

fn waits(workload: &str) -> bool {
    Entry::named(workload).is_some_and(|entry| entry.judge == Judge::Wall)
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(of(&[]), None);
    }
}
