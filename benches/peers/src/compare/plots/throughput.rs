//! Pairs per second by threads: a small chart for each workload, in grids.

use super::axis::{label, log_marks, log_range};
use super::canvas::{Area, FAINT, GREY, drawn, legend, name, small, top};
use super::palette::{colour, stroke};
use super::{Plot, Result, part};
use crate::row::Row;
use crate::sheet::Sheet;
use plotters::prelude::{BindKeyPoints, ChartBuilder, Circle, IntoLogRange, LineSeries};
use plotters::style::{Color, ShapeStyle};

const COLUMNS: usize = 3;
/// In one file.
const CHARTS: usize = 12;
const WIDTH: i32 = 1_080;
const CHART_HEIGHT: i32 = 230;

/// Of one allocator: threads, and millions of pairs per second.
type Line = (&'static str, Vec<(f64, f64)>);

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let charts: Vec<_> = sheet.by_workload().filter(|rows| has_throughput(sheet, rows)).collect();
    let many = charts.len().div_ceil(CHARTS);
    charts.chunks(CHARTS).enumerate().map(|(nth, charts)| plot(sheet, charts, nth + 1, many)).collect()
}

/// Scenarios have phases instead.
fn has_throughput(sheet: &Sheet, rows: &[Row]) -> bool {
    !rows.iter().any(|&row| sheet.is_scenario(row)) && lines(sheet, rows).iter().any(|(_, points)| !points.is_empty())
}

fn plot(sheet: &Sheet, charts: &[&[Row]], nth: usize, many: usize) -> Result<Plot> {
    let names: Vec<_> = sheet.names().collect();
    let rows = charts.len().div_ceil(COLUMNS);
    let top = top(&names, WIDTH);
    let height = top + CHART_HEIGHT * i32::try_from(rows)?;
    let title = format!("Million pairs per second by threads, profile {}{}", sheet.plan.profile, part(nth, many));
    let svg = drawn((WIDTH, height), &title, |area| {
        legend(area, &names, WIDTH)?;
        let (_, below) = area.split_vertically(top);
        let cells = below.split_evenly((rows, COLUMNS));
        cells.iter().zip(charts).try_for_each(|(cell, rows)| chart(cell, sheet, rows))
    })?;
    Ok(Plot { file: format!("throughput-{}-{nth}.svg", sheet.stem()), title, stem: sheet.stem(), svg })
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

fn chart(area: &Area<'_>, sheet: &Sheet, rows: &[Row]) -> Result<()> {
    let lines = lines(sheet, rows);
    let values = lines.iter().flat_map(|(_, points)| points).map(|&(_, value)| value);
    let (Some(range), Some(first)) = (log_range(values), rows.first()) else {
        return Ok(());
    };
    let threads: Vec<_> = rows.iter().map(|row| row.threads as f64).collect();
    let (fewest, most) = threads.iter().fold((f64::MAX, 1.0), |(least, most), &one| (one.min(least), one.max(most)));
    let across = (fewest * 0.85..most * 1.15).log_scale().with_key_points(threads);
    let up = (range.0..range.1).log_scale().with_key_points(log_marks(range));
    let mut chart = ChartBuilder::on(area)
        .margin_right(14)
        .margin_left(4)
        .margin_bottom(6)
        .caption(first.workload.name, name())
        .x_label_area_size(22)
        .y_label_area_size(48)
        .build_cartesian_2d(across, up)?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(FAINT.mix(0.0))
        .axis_style(GREY)
        .label_style(small(GREY))
        .x_label_formatter(&|threads| format!("{threads:.0}"))
        .y_label_formatter(&|mark| label(*mark))
        .draw()?;
    // Bandolier, which comes first, lies on top.
    for (name, points) in lines.into_iter().rev() {
        let colour = colour(name);
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
        chart.draw_series(LineSeries::new(points, ShapeStyle::from(colour).stroke_width(stroke(name))))?;
    }
    Ok(())
}
