//! The targets, and whether they are met.

use super::Report;
use super::table::Table;
use crate::figure::digits;
use crate::start_up::{self, NAME};
use crate::target::{Place, START_MIB, START_MS, TARGETS, Target, Worst, above_system};
use core::fmt::{Result, Write};

const NONE: &str = "–";

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    // None is about what grows.
    if !report.has_ours() || report.options.growing {
        return Ok(());
    }
    writeln!(out, "## Targets\n")?;
    writeln!(out, "Bandolier ÷ the best peer, in the worst row of each group, with that row's workload and threads.")?;
    writeln!(out, "The best peer in memory is the leanest of the row.\n")?;
    let head = ["group", "time: target", "worst", "RSS: target", "worst", "met?"];
    let mut table = Table::new(6, head);
    TARGETS.iter().for_each(|target| table.row(row(report, target)));
    table.row(start(report));
    write!(out, "{table}")?;
    without(report, out)
}

fn row(report: &Report<'_>, target: &Target) -> [String; 6] {
    let measured = target.measured(report.sheets);
    let limit = |limit: Option<f64>| limit.map_or_else(|| NONE.to_owned(), |limit| format!("≤ {}", digits(limit)));
    let (time, memory) = measured;
    let met = met(target.is_met(measured));
    [target.group.to_owned(), limit(target.time), worst(time), limit(target.memory), worst(memory), met]
}

fn worst(worst: Worst<'_>) -> String {
    let place = |Place { workload, threads, .. }| format!("(`{workload}`, {threads})");
    match worst {
        Worst::NotMeasured => NONE.to_owned(),
        Worst::Failed(at) => format!("failed {}", place(at)),
        Worst::Ratio(ratio, at) => format!("{} {}", digits(ratio), place(at)),
    }
}

fn met(met: Option<bool>) -> String {
    match met {
        None => "not measured",
        Some(true) => "yes",
        Some(false) => "**no**",
    }
    .to_owned()
}

fn start(report: &Report<'_>) -> [String; 6] {
    let ms = above_system(report.start_up, start_up::ms);
    let mib = above_system(report.start_up, start_up::peak_mib);
    let shown = |more: Option<f64>, unit| more.map_or_else(|| NONE.to_owned(), |more| format!("{more:+.2} {unit}"));
    let kept = ms.zip(mib).map(|(ms, mib)| ms <= START_MS && mib <= START_MIB);
    [
        NAME.to_owned(),
        format!("≤ system + {START_MS:.2} ms"),
        shown(ms, "ms"),
        format!("≤ system + {START_MIB:.2} MiB"),
        shown(mib, "MiB"),
        met(kept),
    ]
}

/// Workloads that no target speaks of.
fn without(report: &Report<'_>, out: &mut String) -> Result {
    let rows = report.sheets.iter().flat_map(|sheet| sheet.by_workload());
    let mut names: Vec<_> = rows.filter_map(|rows| rows.first()).map(|row| row.workload.name).collect();
    names.retain(|name| !TARGETS.iter().any(|target| target.means(name)));
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "Without a target: {}.\n",
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
    )
}
