//! Which workloads run on how many threads.

use crate::pattern::fits;
use bandolier_peers::workloads::{ALL, Entry, SCALING};

/// Workloads that stand in the same tables.
#[derive(Debug)]
pub(crate) struct Set {
    /// In the names of files.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) entries: &'static [Entry],
    /// Which of them.
    only: &'static [&'static str],
    /// Unless the command line says otherwise.
    pub(crate) threads: &'static [usize],
    /// Instead, when it has to be quick.
    pub(crate) few_threads: &'static [usize],
    /// A run takes seconds, so there are fewer rounds.
    pub(crate) long: bool,
    /// What grows from one workload to the next, where they ask the same. Such sets run with `--full` and `--growing`.
    pub(crate) grows: Option<&'static str>,
}

impl Set {
    pub(crate) fn has(&self, entry: &Entry) -> bool {
        let meant = |patterns: &[&str]| patterns.iter().any(|pattern| fits(pattern, entry.name));
        if self.only.is_empty() { !meant(STORIES) } else { meant(self.only) }
    }
}

const STORIES: &[&str] = &["frag*"];

pub(crate) static SETS: [Set; 4] = [
    Set {
        name: "main",
        title: "Workloads",
        entries: &ALL,
        only: &[],
        threads: &[1, 2, 4, 8],
        few_threads: &[2],
        long: false,
        grows: None,
    },
    Set {
        name: "stories",
        title: "Fragmentation",
        entries: &ALL,
        only: STORIES,
        threads: &[1, 4],
        few_threads: &[1],
        long: true,
        grows: None,
    },
    Set {
        name: "live",
        title: "Growing heaps",
        entries: &SCALING,
        only: &["live-*"],
        threads: &[1, 4, 16, 64],
        few_threads: &[1, 2],
        long: true,
        grows: Some("live blocks"),
    },
    Set {
        name: "caches",
        title: "Threads that sleep",
        entries: &SCALING,
        only: &["caches-*"],
        threads: &[1],
        few_threads: &[1],
        long: true,
        grows: Some("threads"),
    },
];

#[cfg(test)]
mod tests {
    use super::SETS;
    use bandolier_peers::workloads::{ALL, SCALING};

    #[test]
    fn every_workload_is_in_one_set() {
        for entry in ALL.iter().chain(&SCALING) {
            let having =
                SETS.iter().filter(|set| set.has(entry) && set.entries.iter().any(|other| core::ptr::eq(other, entry)));
            assert_eq!(having.count(), 1, "{}", entry.name);
        }
    }
}
