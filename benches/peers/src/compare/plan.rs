//! What one sheet of the report will hold: a set of workloads with one profile.

use crate::options::Options;
use crate::row::Row;
use crate::set::{SETS, Set};
use bandolier_peers::workloads::Entry;

/// Workloads for which the second profile says something of its own: there the call is most of the time.
const IN_EVERY_PROFILE: [&str; 6] = ["pair", "pair-var", "random", "batch32", "batch1000", "seed"];

#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) set: &'static Set,
    pub(crate) profile: String,
    pub(crate) rows: Vec<Row>,
}

impl Plan {
    pub(crate) fn rounds(&self, options: &Options) -> usize {
        if self.set.long { options.long_rounds() } else { options.rounds() }
    }

    /// How long one run takes, in runs of a short workload.
    pub(crate) fn steps(&self) -> usize {
        if self.set.long { 15 } else { 1 }
    }

    /// Every sheet that was asked for and has a row.
    pub(crate) fn all(options: &Options) -> Vec<Self> {
        let sets = SETS.iter().filter(|set| options.full || options.growing == set.grows.is_some());
        sets.flat_map(|set| Self::of(options, set)).collect()
    }

    fn of(options: &Options, set: &'static Set) -> Vec<Self> {
        let profiles = options.profiles.iter().enumerate();
        let plans = profiles.map(|(nth, profile)| Self {
            set,
            profile: profile.clone(),
            rows: rows(options, set, |entry| nth == 0 || in_every_profile(entry)),
        });
        plans.filter(|plan| !plan.rows.is_empty()).collect()
    }
}

/// The profiles to build: the first, in which empty programs start too, and what else has a row.
pub(crate) fn profiles<'a>(options: &'a Options, plans: &[Plan]) -> Vec<&'a str> {
    let profiles = options.profiles.iter().map(String::as_str).enumerate();
    let used = |nth: usize, profile: &str| nth == 0 || plans.iter().any(|plan| plan.profile == profile);
    profiles.filter(|&(nth, profile)| used(nth, profile)).map(|(_, profile)| profile).collect()
}

fn in_every_profile(entry: &Entry) -> bool {
    IN_EVERY_PROFILE.contains(&entry.name)
}

fn rows(options: &Options, set: &'static Set, counts: impl Fn(&Entry) -> bool) -> Vec<Row> {
    let threads = match &options.threads {
        Some(threads) => threads,
        None if options.quick => set.few_threads,
        None => set.threads,
    };
    let entries = set.entries.iter().filter(|entry| set.has(entry) && options.wants(entry.name) && counts(entry));
    entries.flat_map(|entry| of_workload(entry, threads, options.threads.is_none())).collect()
}

/// On those numbers of threads on which it means something; on the least of these when none was asked for.
fn of_workload(workload: &'static Entry, threads: &[usize], by_default: bool) -> Vec<Row> {
    let mut threads: Vec<_> = threads.iter().copied().filter(|&threads| workload.runs_on(threads)).collect();
    if threads.is_empty() && by_default {
        threads.push(workload.least_threads);
    }
    threads.into_iter().map(|threads| Row { workload, threads }).collect()
}

#[cfg(test)]
mod tests {
    use super::Plan;
    use crate::options::Options;

    fn plans(line: &str) -> Vec<(String, Vec<(&'static str, usize)>)> {
        let options = Options::from(line.split_whitespace().map(str::to_owned)).unwrap();
        let rows = |plan: &Plan| plan.rows.iter().map(|row| (row.workload.name, row.threads)).collect();
        Plan::all(&options).iter().map(|plan| (plan.profile.clone(), rows(plan))).collect()
    }

    #[test]
    fn the_second_profile_has_the_rows_that_name_both() {
        let plans = plans("--threads 2 --profile fat,release pair prodcons random");
        let first = vec![("pair", 2), ("pair-var", 2), ("random", 2), ("random-any", 2), ("prodcons", 2)];
        let second = vec![("pair", 2), ("pair-var", 2), ("random", 2)];
        assert_eq!(plans, [("fat".to_owned(), first), ("release".to_owned(), second)]);
    }

    #[test]
    fn a_profile_alone_has_every_row() {
        assert_eq!(plans("--profile release --threads 2 prodcons"), [("release".to_owned(), vec![("prodcons", 2)])]);
    }

    #[test]
    fn some_workloads_need_several_threads() {
        assert_eq!(plans("--quick prodcons"), [("fat".to_owned(), vec![("prodcons", 2)])]);
        assert_eq!(plans("--quick fanin"), [("fat".to_owned(), vec![("fanin", 4)])]);
        assert!(Options::from(["--threads", "2", "fanin"].map(str::to_owned).into_iter()).is_err());
        assert_eq!(plans("prodcons")[0].1, [("prodcons", 2), ("prodcons", 4), ("prodcons", 8)]);
    }
}
