//! A line for each row of a sheet: the times of all allocators.

use super::table::Table;
use crate::aspect::Aspect;
use crate::figure::or_none;
use crate::peer::OURS;
use crate::row::Row;
use crate::sheet::Sheet;
use core::fmt::{Result, Write};

pub(super) fn write(sheet: &Sheet, out: &mut String) -> Result {
    writeln!(out, "## {}\n", sheet.title())?;
    let ratios = [format!("{OURS} ÷ system"), format!("{OURS} ÷ best peer")];
    let names = sheet.names().map(str::to_owned).chain(ratios);
    let mut table = Table::new(1, ["workload", "threads"].map(str::to_owned).into_iter().chain(names));
    sheet.plan.rows.iter().for_each(|&row| table.row(cells(sheet, row)));
    write!(out, "{table}")?;
    writeln!(out, "CPU time in ns, but wall time for workloads marked †; the best in bold.\n")
}

fn cells(sheet: &Sheet, row: Row) -> Vec<String> {
    let mark = if row.by_wall() { " †" } else { "" };
    let mut cells = vec![format!("{}{mark}", row.workload.name), row.threads.to_string()];
    let best = sheet.best(row, Aspect::Time, |_| true).map(|best| best.name);
    cells.extend(sheet.names().map(|name| {
        let shown = sheet.figure(name, row, Aspect::Time).shown();
        if Some(name) == best { format!("**{shown}**") } else { shown }
    }));
    cells.push(or_none(sheet.to_system(OURS, row, Aspect::Time)));
    cells.push(or_none(sheet.to_best_peer(OURS, row, Aspect::Time)));
    cells
}
