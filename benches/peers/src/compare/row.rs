//! One row of work: a workload on so many threads.

use bandolier_peers::workloads::{EMPTY, Entry, Judge};

#[derive(Debug, Clone, Copy)]
pub(crate) struct Row {
    pub(crate) workload: &'static Entry,
    pub(crate) threads: usize,
}

impl Row {
    /// The loop without an allocator.
    pub(crate) const EMPTY: Self = Self { workload: &EMPTY, threads: 1 };

    pub(crate) fn by_wall(self) -> bool {
        self.workload.judge == Judge::Wall
    }
}
