//! What the command line asks for.

use crate::peer::{CAREFUL, PEERS, Peer};
use crate::plan::Plan;
use crate::start_up;
use core::time::Duration;
use std::path::PathBuf;

pub(crate) const USAGE: &str = "\
usage: compare [--quick|--full|--growing] [--profile fat,release] [--threads 1,2,4,8] [--allocators bandolier,system,..]
               [--out FILE] [filter ...]
  --quick       3 short rounds on 2 threads instead of 5 longer ones on 1 to 8
  --growing     instead of the usual workloads those of growing sizes, on up to 64 threads
  --full        9 rounds, and both
  --profile     how the allocators and loops are built: `fat` (the default) inlines across crates; a second profile
                has some rows only
  --out         where the report goes, with its plots in the folder `plots` beside it
  filter        runs only the workloads whose name contains one of these; `start-up` is one";

/// The command line.
#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) full: bool,
    pub(crate) growing: bool,
    pub(crate) profiles: Vec<String>,
    /// `None`: as each set has them.
    pub(crate) threads: Option<Vec<usize>>,
    pub(crate) peers: Vec<&'static Peer>,
    filters: Vec<String>,
    pub(crate) out: Option<PathBuf>,
}

impl Options {
    pub(crate) fn from(mut words: impl Iterator<Item = String>) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            full: false,
            growing: false,
            profiles: vec!["fat".to_owned()],
            threads: None,
            peers: PEERS.iter().collect(),
            filters: Vec::new(),
            out: None,
        };
        while let Some(word) = words.next() {
            let mut value = || words.next().ok_or_else(|| format!("{word}: what?"));
            match word.as_str() {
                "--quick" => options.quick = true,
                "--full" => options.full = true,
                "--growing" => options.growing = true,
                "--profile" => options.profiles = each(&value()?, profile)?,
                "--threads" => options.threads = Some(each(&value()?, threads)?),
                "--allocators" => options.peers = each(&value()?, peer)?,
                "--out" => options.out = Some(value()?.into()),
                _ if word.starts_with('-') => return Err(format!("{word}: no such option")),
                _ => options.filters.push(word),
            }
        }
        options.checked()
    }

    fn checked(self) -> Result<Self, String> {
        if [self.quick, self.full, self.growing].into_iter().filter(|&chosen| chosen).count() > 1 {
            return Err("--quick, --full or --growing, one of them".to_owned());
        }
        if Plan::all(&self).is_empty() && !self.start_up() { Err("nothing to run".to_owned()) } else { Ok(self) }
    }

    pub(crate) fn rounds(&self) -> usize {
        match self {
            Self { quick: true, .. } => 3,
            Self { full: true, .. } => 9,
            _ => 5,
        }
    }

    /// Of workloads that take seconds.
    pub(crate) fn long_rounds(&self) -> usize {
        if self.quick { 1 } else { 3 }
    }

    /// For how long a workload runs.
    pub(crate) fn target(&self) -> Duration {
        Duration::from_millis(match self {
            Self { quick: true, .. } => 40,
            Self { full: true, .. } => 100,
            _ => 60,
        })
    }

    /// Whether no filter speaks against that name.
    pub(crate) fn wants(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|part| name.contains(part.as_str()))
    }

    /// Whether empty programs are started.
    pub(crate) fn start_up(&self) -> bool {
        !self.growing && self.wants(start_up::NAME)
    }

    /// How many of them in a round.
    pub(crate) fn spawns(&self) -> usize {
        if self.quick { 10 } else { 40 }
    }
}

fn each<T>(list: &str, parse: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, String> {
    list.split(',').map(|item| parse(item).ok_or_else(|| format!("{item}: unknown"))).collect()
}

fn profile(name: &str) -> Option<String> {
    (!name.is_empty()).then(|| name.to_owned())
}

fn threads(number: &str) -> Option<usize> {
    number.parse().ok().filter(|&threads| threads > 0)
}

fn peer(name: &str) -> Option<&'static Peer> {
    PEERS.iter().chain(&CAREFUL).find(|peer| peer.name == name)
}

#[cfg(test)]
mod tests {
    use super::Options;
    use crate::plan::Plan;

    fn options(line: &str) -> Result<Options, String> {
        Options::from(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn a_filter_chooses_by_part_of_the_name() {
        let options = options("--quick --threads 1,2 prod random").unwrap();
        let plans = Plan::all(&options);
        let rows: Vec<_> = plans[0].rows.iter().map(|row| (row.workload.name, row.threads)).collect();
        let expected = [("random", 1), ("random", 2), ("random-any", 1), ("random-any", 2), ("prodcons", 2)];
        assert_eq!((plans.len(), rows), (1, expected.to_vec()));
        assert!(!options.start_up());
    }

    #[test]
    fn rounds_grow_with_patience() {
        let rounds = ["--quick", "", "--full"].map(|line| options(line).unwrap().rounds());
        assert!(rounds.is_sorted() && rounds[0] < rounds[2]);
    }

    #[test]
    fn start_up_is_a_filter_too() {
        assert!(options("").unwrap().start_up());
        let options = options("start-up").unwrap();
        assert!(options.start_up() && Plan::all(&options).is_empty());
    }

    #[test]
    fn what_is_unknown_is_refused() {
        let lines = [
            "--fast",
            "--threads 0",
            "--threads",
            "--allocators malloc",
            "--profile fat,",
            "--quick --full",
            "--full --growing",
        ];
        for line in lines.into_iter().chain(["no-such-workload"]) {
            assert!(options(line).is_err(), "{line}");
        }
    }
}
