//! What the figures were made on and with, and what failed.

use super::Report;
use super::table::Table;
use crate::figure::or_none;
use crate::machine;
use crate::peer::Built;
use crate::series::Failures;
use crate::sheet::Sheet;
use crate::spread::Spread;
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    writeln!(out, "## Made on\n")?;
    failures(report, out)?;
    let mut origins = Table::new(3, ["allocator", "version", "its build needs"]);
    report.built.iter().for_each(|one| origins.row(origin(one)));
    write!(out, "{origins}")?;
    let mut facts = Table::new(2, ["", ""]);
    machine::facts().into_iter().for_each(|(name, fact)| facts.row([name.to_owned(), fact]));
    facts.row(["load before", report.load]);
    let shares = report.sheets.iter().filter_map(|sheet| sheet.series.share_of_a_core(machine::cores()));
    let share = Spread::of(shares.collect()).map(|spread| spread.median);
    facts.row(["cores had by a thread, when enough".to_owned(), or_none(share)]);
    write!(out, "{facts}")
}

fn failures(report: &Report<'_>, out: &mut String) -> Result {
    let mut told: Vec<_> = report.sheets.iter().flat_map(|sheet| missing(sheet).chain(failed(sheet))).collect();
    told.sort();
    told.dedup();
    if told.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "What did not build, crashed, or hung and was ended (such a row was not run again):\n\n{}\n",
        told.join("\n")
    )
}

/// Allocators without a binary.
fn missing(sheet: &Sheet) -> impl Iterator<Item = String> {
    let profile = &sheet.plan.profile;
    let line =
        move |one: &Built| Some(format!("- {}, profile `{profile}`: {}", one.peer.name, one.binary.as_ref().err()?));
    sheet.built.iter().filter_map(line)
}

fn failed(sheet: &Sheet) -> impl Iterator<Item = String> {
    let profile = &sheet.plan.profile;
    let line = move |of: Failures| {
        let Failures { allocator, workload, threads, failed, runs } = of;
        format!("- {allocator}, profile `{profile}`, `{workload}` on {threads} threads: {failed} of {runs} runs")
    };
    sheet.series.failures().into_iter().map(line)
}

fn origin(one: &Built) -> [String; 3] {
    let Built { peer, binary } = one;
    let needs = match binary {
        Ok(_) => peer.needs.to_owned(),
        Err(why) => format!("{} **{why}**", peer.needs).trim_start().to_owned(),
    };
    [peer.name.to_owned(), machine::versions(peer), needs]
}
