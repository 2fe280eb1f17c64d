//! What the command line asks for.

use crate::peer::{PEERS, Peer};
use bandolier_peers::workloads::{ALL, EMPTY, Entry, Judge};
use core::time::Duration;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: compare [--quick] [--profile fat|release] [--threads 1,2,4,8] [--allocators bandolier,system,..]
               [--out FILE] [filter ...]
  --quick       3 short rounds instead of 5 longer ones
  --profile     how the allocators and loops are built: `fat` (the default) inlines across crates
  filter        runs only the workloads whose name contains one of these";

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) profile: String,
    pub(crate) threads: Vec<usize>,
    pub(crate) peers: Vec<&'static Peer>,
    pub(crate) workloads: Vec<&'static Entry>,
    pub(crate) out: Option<PathBuf>,
}

/// One row of work: a workload on so many threads.
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

impl Options {
    pub(crate) fn from(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            profile: "fat".to_owned(),
            threads: vec![1, 2, 4, 8],
            peers: PEERS.iter().collect(),
            workloads: Vec::new(),
            out: None,
        };
        let mut filters = Vec::new();
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: what?"));
            match word.as_str() {
                "--quick" => options.quick = true,
                "--profile" => options.profile = value()?,
                "--threads" => options.threads = each(&value()?, threads)?,
                "--allocators" => options.peers = each(&value()?, peer)?,
                "--out" => options.out = Some(value()?.into()),
                _ if word.starts_with('-') => return Err(format!("{word}: no such option")),
                _ => filters.push(word),
            }
        }
        options.workloads = chosen(&filters);
        if options.rows().is_empty() { Err("nothing to run".to_owned()) } else { Ok(options) }
    }

    pub(crate) fn rounds(&self) -> usize {
        if self.quick { 3 } else { 5 }
    }

    /// For how long a workload runs.
    pub(crate) fn target(&self) -> Duration {
        Duration::from_millis(if self.quick { 40 } else { 100 })
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let rows = |&workload: &&'static Entry| self.threads.iter().map(move |&threads| Row { workload, threads });
        self.workloads.iter().flat_map(rows).filter(|row| row.workload.runs_on(row.threads)).collect()
    }
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    list.split(',').map(|item| parse(item).ok_or_else(|| format!("{item}: unknown"))).collect()
}

fn threads(number: &str) -> Option<usize> {
    number.parse().ok().filter(|&threads| threads > 0)
}

fn peer(name: &str) -> Option<&'static Peer> {
    PEERS.iter().find(|peer| peer.name == name)
}

fn chosen(filters: &[String]) -> Vec<&'static Entry> {
    let wanted = |entry: &&Entry| filters.is_empty() || filters.iter().any(|part| entry.name.contains(part.as_str()));
    ALL.iter().filter(wanted).collect()
}

#[cfg(test)]
mod tests {
    use super::Options;

    fn options(line: &str) -> Result<Options, String> {
        Options::from(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_filter_chooses_by_part_of_the_name() {
        let options = options("--quick --threads 1,2 prod random").unwrap();
        let rows: Vec<_> = options.rows().iter().map(|row| (row.workload.name, row.threads)).collect();
        let expected = [("random", 1), ("random", 2), ("random-any", 1), ("random-any", 2), ("prodcons", 2)];
        assert_eq!(rows, expected);
    }

    #[test]
    fn what_is_unknown_is_refused() {
        for line in ["--fast", "--threads 0", "--threads", "--allocators malloc", "no-such-workload"] {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
