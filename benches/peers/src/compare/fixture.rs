//! Made-up sheets for tests.

use crate::peer::{Built, Peer};
use crate::plan::Plan;
use crate::row::Row;
use crate::set::SETS;
use crate::sheet::Sheet;
use bandolier_peers::record::Record;
use bandolier_peers::trace::{Point, Trace};
use bandolier_peers::workloads::Entry;

/// An allocator, its ns and its MiB.
pub(crate) type Figures = (&'static str, f64, f64);

pub(crate) fn row(workload: &str, threads: usize) -> Row {
    Row { workload: Entry::named(workload).unwrap(), threads }
}

/// A row of a workload that is not there yet.
pub(crate) fn row_of(name: &'static str, threads: usize) -> Row {
    let entry = Entry { name, about: "made up", ..*Entry::named("pair").unwrap() };
    Row { workload: Box::leak(Box::new(entry)), threads }
}

pub(crate) fn record(allocator: &str, row: Row, ns: f64, mib: f64) -> Record {
    Record {
        allocator: allocator.to_owned(),
        workload: row.workload.name.to_owned(),
        threads: row.threads,
        cpu_ns: ns,
        wall_ns: ns,
        pairs: 4_000 * row.threads as u64,
        each: 4_000,
        peak_rss_kib: (mib * 1024.0) as u64,
        trace: Trace::default(),
    }
}

/// Rises to `mib`, and falls to a half.
pub(crate) fn trace(mib: f64) -> Trace {
    let kib = (mib * 1024.0) as u64;
    let point = |name: &str, rss_kib| Point { name: name.to_owned(), rss_kib };
    let samples = (0..2_000).map(|step: u64| (step * 20, kib * (1_000 - step.abs_diff(1_000).min(500)) / 1_000));
    Trace { points: vec![point("filled", kib), point("freed", kib / 2)], samples: samples.collect() }
}

/// Three rounds of each figure, a percent apart.
pub(crate) fn sheet(profile: &str, rows: &[(Row, &[Figures])]) -> Sheet {
    let mut sheet = empty(profile, rows);
    for &(row, figures) in rows {
        for &(name, ns, mib) in figures {
            let round = |factor| record(name, row, ns * factor, mib * factor);
            [0.99, 1.0, 1.01].map(round).into_iter().for_each(|run| sheet.series.add(name, row, Some(run)));
        }
    }
    sheet
}

/// The same with a story about memory in each run.
pub(crate) fn stories(profile: &str, rows: &[(Row, &[Figures])]) -> Sheet {
    let mut sheet = empty(profile, rows);
    for &(row, figures) in rows {
        for &(name, ns, mib) in figures {
            let run = Record { trace: trace(mib), ..record(name, row, ns, mib) };
            sheet.series.add(name, row, Some(run));
        }
    }
    sheet
}

fn empty(profile: &str, rows: &[(Row, &[Figures])]) -> Sheet {
    let mut names: Vec<&'static str> = Vec::new();
    for (name, ..) in rows.iter().flat_map(|(_, figures)| *figures) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    let plan = Plan { set: &SETS[0], profile: profile.to_owned(), rows: rows.iter().map(|(row, _)| *row).collect() };
    Sheet::new(plan, names.into_iter().map(built).collect())
}

fn built(name: &'static str) -> Built {
    Built { peer: Box::leak(Box::new(Peer::of(name, &[], "nothing"))), binary: Ok("measure".into()) }
}
