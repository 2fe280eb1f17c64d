//! Pairs per second by threads: a small chart for each workload, in grids.

use super::chart::{Chart, Line, MOST, grid};
use super::{Plot, Result, part};
use crate::row::Row;
use crate::sheet::Sheet;

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let charts: Vec<_> = sheet.by_workload().filter_map(|rows| chart(sheet, rows)).collect();
    let many = charts.len().div_ceil(MOST);
    charts.chunks(MOST).enumerate().map(|(nth, charts)| plot(sheet, charts, nth + 1, many)).collect()
}

fn plot(sheet: &Sheet, charts: &[Chart], nth: usize, many: usize) -> Result<Plot> {
    let names: Vec<_> = sheet.names().collect();
    let title = format!("Million pairs per second by threads, profile {}{}", sheet.plan.profile, part(nth, many));
    let svg = grid(&title, &names, charts)?;
    Ok(Plot { file: format!("throughput-{}-{nth}.svg", sheet.stem()), title, stem: sheet.stem(), svg })
}

/// `None` of scenarios, which have phases instead, and where there is nothing to show.
fn chart(sheet: &Sheet, rows: &[Row]) -> Option<Chart> {
    let lines = lines(sheet, rows);
    if rows.iter().any(|&row| sheet.is_scenario(row)) || lines.iter().all(|(_, points)| points.is_empty()) {
        return None;
    }
    let name = rows.first()?.workload.name.to_owned();
    Some(Chart { name, across: rows.iter().map(|row| row.threads as f64).collect(), lines })
}

fn lines(sheet: &Sheet, rows: &[Row]) -> Vec<Line> {
    let throughput = |name, row| sheet.series.figure(name, row, |record| Some(record.throughput()));
    let point = |name, row: Row| {
        let median = throughput(name, row).median();
        Some((row.threads as f64, median.filter(|median| median.is_finite())?))
    };
    let line = |name| (name, rows.iter().filter_map(|&row| point(name, row)).collect());
    sheet.names().map(line).collect()
}
