//! What is resident after each phase of a scenario.

use super::Report;
use super::table::Table;
use crate::aspect::Aspect;
use crate::figure::digits;
use crate::row::Row;
use crate::sheet::Sheet;
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    let rows = report.sheets.iter().flat_map(|sheet| sheet.by_workload().map(move |rows| (sheet, rows)));
    let scenarios: Vec<_> = rows.filter(|(sheet, rows)| rows.iter().any(|&row| sheet.is_scenario(row))).collect();
    if scenarios.is_empty() {
        return Ok(());
    }
    writeln!(out, "## Memory over a run\n")?;
    writeln!(out, "Resident MiB when a phase ended, and ÷ the leanest peer there.\n")?;
    scenarios.into_iter().try_for_each(|(sheet, rows)| scenario(sheet, rows, out))
}

fn scenario(sheet: &Sheet, rows: &[Row], out: &mut String) -> Result {
    let Some((first, phases)) =
        rows.iter().map(|&row| (row, sheet.series.phases(row))).find(|(_, all)| !all.is_empty())
    else {
        return Ok(());
    };
    writeln!(out, "`{}`, profile `{}`: {}.\n", first.workload.name, sheet.plan.profile, first.workload.about)?;
    let mut table = Table::new(0, ["threads", "allocator"].into_iter().chain(phases.iter().copied()).chain(["peak"]));
    let aspects: Vec<_> = phases.iter().map(|&phase| Aspect::Phase(phase)).chain([Aspect::Peak]).collect();
    for &row in rows {
        for name in sheet.names() {
            let cells = aspects.iter().map(|&aspect| cell(sheet, name, row, aspect));
            table.row([row.threads.to_string(), name.to_owned()].into_iter().chain(cells));
        }
    }
    write!(out, "{table}")
}

fn cell(sheet: &Sheet, name: &str, row: Row, aspect: Aspect<'_>) -> String {
    let shown = sheet.figure(name, row, aspect).shown();
    match sheet.to_best_peer(name, row, aspect) {
        Some(ratio) => format!("{shown} ({})", digits(ratio)),
        None => shown,
    }
}
