//! What one question costs as its size grows: a small chart for each number of threads and each thing measured.

use super::chart::{Chart, MOST, grid};
use super::{Plot, Result, part};
use crate::aspect::Aspect;
use crate::row::Row;
use crate::sheet::Sheet;

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let Some(of) = sheet.plan.set.grows else { return Ok(Vec::new()) };
    let mut threads: Vec<_> = sheet.plan.rows.iter().map(|row| row.threads).collect();
    threads.sort_unstable();
    threads.dedup();
    let charts: Vec<_> = threads.into_iter().flat_map(|threads| charts(sheet, threads)).collect();
    let many = charts.len().div_ceil(MOST);
    let plot = |(nth, charts): (usize, &[Chart])| plot(sheet, of, charts, nth + 1, many);
    charts.chunks(MOST).enumerate().map(plot).collect()
}

fn plot(sheet: &Sheet, of: &str, charts: &[Chart], nth: usize, many: usize) -> Result<Plot> {
    let names: Vec<_> = sheet.names().collect();
    let title = format!("{} by {of}, profile {}{}", sheet.plan.set.title, sheet.plan.profile, part(nth, many));
    let svg = grid(&title, &names, charts)?;
    Ok(Plot { file: format!("growth-{}-{nth}.svg", sheet.stem()), title, stem: sheet.stem(), svg })
}

/// Those on so many threads: one for each aspect.
fn charts(sheet: &Sheet, threads: usize) -> Vec<Chart> {
    let rows: Vec<_> = sheet.plan.rows.iter().copied().filter(|row| row.threads == threads).collect();
    let Some(&first) = rows.first() else { return Vec::new() };
    sheet.aspects(first).into_iter().map(|aspect| chart(sheet, &rows, threads, aspect)).collect()
}

fn chart(sheet: &Sheet, rows: &[Row], threads: usize, aspect: Aspect<'_>) -> Chart {
    let unit = if aspect.is_memory() { "MiB" } else { "ns" };
    let on = if threads > 1 { format!(" on {threads} threads") } else { String::new() };
    let point = |name, row: Row| Some((row.workload.size()?, sheet.median(name, row, aspect)?));
    let line = |name| (name, rows.iter().filter_map(|&row| point(name, row)).collect());
    Chart {
        name: format!("{aspect} in {unit}{on}"),
        across: rows.iter().filter_map(|row| row.workload.size()).collect(),
        lines: sheet.names().map(line).collect(),
    }
}
