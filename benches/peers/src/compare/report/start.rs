//! What an empty program costs.

use super::Report;
use super::table::Table;
use crate::figure::Figure;
use crate::start_up::{Empty, ms, peak_mib};
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    if report.start_up.is_empty() {
        return Ok(());
    }
    let (rounds, spawns) = (report.options.rounds(), report.options.spawns());
    writeln!(out, "## Start-up\n")?;
    writeln!(
        out,
        "A program that does nothing, from its spawn to its exit; {rounds} rounds of {spawns} spawns, medians."
    )?;
    writeln!(out, "Its parent's work to spawn it is in the time; min–max is over the rounds' medians.\n")?;
    let mut table = Table::new(1, ["allocator", "ms", "min–max", "peak MiB", "min–max"]);
    for one in report.built {
        let figure = |value: fn(&Empty) -> f64| -> Figure { report.start_up.figure(one.peer.name, value) };
        let (ms, mib) = (figure(ms), figure(peak_mib));
        table.row([one.peer.name.to_owned(), ms.shown(), ms.range(), mib.shown(), mib.range()]);
    }
    write!(out, "{table}")
}
