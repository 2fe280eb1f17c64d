//! All figures of each workload, folded.

use super::Report;
use super::table::Table;
use crate::aspect::Aspect;
use crate::figure::or_none;
use crate::row::Row;
use crate::sheet::Sheet;
use core::fmt::{Result, Write};

const HEAD: [&str; 11] = [
    "threads",
    "allocator",
    "CPU ns",
    "min–max",
    "wall ns",
    "min–max",
    "÷ system",
    "÷ best peer",
    "peak MiB",
    "min–max",
    "÷ leanest peer",
];

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    if report.sheets.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Details\n")?;
    report.sheets.iter().try_for_each(|sheet| sheet.by_workload().try_for_each(|rows| workload(sheet, rows, out)))?;
    let Some(floor) = report.sheets.iter().find_map(|sheet| sheet.series.floor()) else {
        return Ok(());
    };
    writeln!(out, "Of `random` and `seed`, {floor:.2} ns are the loop itself, without an allocator.\n")
}

fn workload(sheet: &Sheet, rows: &[Row], out: &mut String) -> Result {
    let Some(first) = rows.first() else {
        return Ok(());
    };
    let (name, about, profile) = (first.workload.name, first.workload.about, &sheet.plan.profile);
    writeln!(out, "<details><summary><code>{name}</code>, profile {profile}</summary>\n\n{about}.\n")?;
    let mut table = Table::new(0, HEAD);
    for &row in rows {
        sheet.names().for_each(|name| table.row(cells(sheet, name, row)));
    }
    writeln!(out, "{table}</details>\n")
}

fn cells(sheet: &Sheet, name: &str, row: Row) -> [String; 11] {
    let [cpu, wall, peak] = [Aspect::Cpu, Aspect::Wall, Aspect::Peak].map(|aspect| sheet.figure(name, row, aspect));
    [
        row.threads.to_string(),
        name.to_owned(),
        cpu.shown(),
        cpu.range(),
        wall.shown(),
        wall.range(),
        or_none(sheet.to_system(name, row, Aspect::Time)),
        or_none(sheet.to_best_peer(name, row, Aspect::Time)),
        peak.shown(),
        peak.range(),
        or_none(sheet.to_best_peer(name, row, Aspect::Peak)),
    ]
}
