//! Resident memory over a run: a chart for each scenario on so many threads.

use super::canvas::{Area, FAINT, GREY, drawn, legend, small, top};
use super::palette::{colour, stroke};
use super::{Plot, Result};
use crate::row::Row;
use crate::sheet::Sheet;
use plotters::prelude::{ChartBuilder, LineSeries};
use plotters::style::{Color, ShapeStyle};

const WIDTH: i32 = 900;
const CHART_HEIGHT: i32 = 360;
/// More would not be seen.
const SAMPLES: usize = 400;

/// Of one allocator: seconds and MiB.
type Line = (&'static str, Vec<(f64, f64)>);

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let with_samples = sheet.plan.rows.iter().map(|&row| (row, lines(sheet, row)));
    let told = with_samples.filter(|(_, lines)| lines.iter().any(|(_, points)| points.len() > 1));
    told.map(|(row, lines)| plot(sheet, row, lines)).collect()
}

fn lines(sheet: &Sheet, row: Row) -> Vec<Line> {
    let samples = |name| sheet.series.typical(name, row).map_or(&[][..], |record| &record.trace.samples);
    sheet.names().map(|name| (name, thinned(samples(name)))).collect()
}

/// Every so many samples, and the last.
fn thinned(samples: &[(u64, u64)]) -> Vec<(f64, f64)> {
    let step = samples.len().div_ceil(SAMPLES).max(1);
    let last = samples.last().filter(|_| samples.len() % step != 1 && step > 1);
    let kept = samples.iter().step_by(step).chain(last);
    kept.map(|&(ms, kib)| (ms as f64 / 1e3, kib as f64 / 1024.0)).collect()
}

fn plot(sheet: &Sheet, row: Row, lines: Vec<Line>) -> Result<Plot> {
    let Row { workload, threads } = row;
    let names: Vec<_> = lines.iter().filter(|(_, points)| !points.is_empty()).map(|(name, _)| *name).collect();
    let top = top(&names, WIDTH);
    let plural = if threads == 1 { "thread" } else { "threads" };
    let profile = &sheet.plan.profile;
    let title = format!("Resident memory during {}, {threads} {plural}, profile {profile}", workload.name);
    let svg = drawn((WIDTH, top + CHART_HEIGHT), &title, |area| {
        legend(area, &names, WIDTH)?;
        chart(&area.split_vertically(top).1, lines)
    })?;
    let file = format!("memory-{}-{}-{threads}.svg", sheet.stem(), workload.name);
    Ok(Plot { file, title, stem: sheet.stem(), svg })
}

fn chart(area: &Area<'_>, lines: Vec<Line>) -> Result<()> {
    let all = || lines.iter().flat_map(|(_, points)| points);
    let seconds = all().map(|point| point.0).fold(0.0, f64::max);
    let mib = all().map(|point| point.1).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .margin_right(18)
        .margin_left(4)
        .margin_bottom(6)
        .margin_top(6)
        .x_label_area_size(40)
        .y_label_area_size(58)
        .build_cartesian_2d(0.0..seconds.max(0.01) * 1.01, 0.0..mib * 1.06)?;
    chart
        .configure_mesh()
        .bold_line_style(FAINT)
        .light_line_style(FAINT.mix(0.0))
        .axis_style(GREY)
        .label_style(small(GREY))
        .axis_desc_style(small(GREY))
        .x_label_formatter(&|seconds| plain(*seconds).to_string())
        .y_label_formatter(&|mib| plain(*mib).to_string())
        .x_desc("seconds")
        .y_desc("MiB")
        .draw()?;
    for (name, points) in lines.into_iter().rev() {
        chart.draw_series(LineSeries::new(points, ShapeStyle::from(colour(name)).stroke_width(stroke(name))))?;
    }
    Ok(())
}

/// Without the errors of sums of tenths.
fn plain(mark: f64) -> f64 {
    (mark * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::{SAMPLES, thinned};

    #[test]
    fn the_first_and_the_last_sample_stay() {
        for many in [1, 2, 399, 400, 401, 1_000, 1_999, 2_000] {
            let samples: Vec<_> = (0..many).map(|ms| (ms * 1_000, 1_024)).collect();
            let thin = thinned(&samples);
            assert!(thin.len() <= SAMPLES + 1, "{many}");
            assert_eq!((thin.first(), thin.last()), (Some(&(0.0, 1.0)), Some(&((many - 1) as f64, 1.0))), "{many}");
            assert!(thin.windows(2).all(|pair| pair[0].0 < pair[1].0), "{many}");
        }
    }
}
