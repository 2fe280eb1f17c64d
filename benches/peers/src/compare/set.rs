//! Which workloads run on how many threads.

use bandolier_peers::workloads::{ALL, Entry};

/// Workloads that stand in the same tables.
#[derive(Debug)]
pub(crate) struct Set {
    /// In the names of files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) entries: &'static [Entry],
    /// Unless the command line says otherwise.
    pub(crate) threads: &'static [usize],
    /// Instead, when it has to be quick.
    pub(crate) few_threads: &'static [usize],
    /// It runs with `--full` alone, and with the first profile alone.
    pub(crate) full: bool,
}

pub(crate) static SETS: [Set; 1] = [Set {
    name: "main",
    title: "Workloads",
    entries: &ALL,
    threads: &[1, 2, 4, 8],
    few_threads: &[1, 2],
    full: false,
}];
