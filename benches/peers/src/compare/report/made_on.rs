//! What the figures were made on and with, and what failed.

use super::Report;
use super::table::Table;
use crate::figure::or_none;
use crate::machine;
use crate::peer::Built;
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
    let all = report
        .sheets
        .iter()
        .flat_map(|sheet| sheet.series.failures().into_iter().map(move |failures| (&sheet.plan.profile, failures)));
    let told = all.map(|(profile, of)| {
        let (name, workload, threads) = (of.allocator, of.workload, of.threads);
        format!(
            "- {name} failed in `{workload}`, {threads} threads, profile `{profile}`: {} of {} runs\n",
            of.failed, of.runs
        )
    });
    let told: String = told.collect();
    if told.is_empty() {
        Ok(())
    } else {
        writeln!(out, "Runs that crashed, or hung and were ended; the row was not run again:\n\n{told}")
    }
}

fn origin(one: &Built) -> [String; 3] {
    let Built { peer, binary } = one;
    let needs = match binary {
        Ok(_) => peer.needs.to_owned(),
        Err(why) => format!("{} **{why}**", peer.needs).trim_start().to_owned(),
    };
    [peer.name.to_owned(), machine::versions(peer), needs]
}
