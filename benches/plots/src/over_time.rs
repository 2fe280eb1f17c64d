//! MiB over seconds, a line for each allocator, with marks where something begins.

use crate::Result;
use crate::canvas::{Area, FAINT, GREY, drawn, left, legend, small, text, top, wide};
use crate::palette::{colour, stroke};
use plotters::prelude::{ChartBuilder, LineSeries, PathElement};
use plotters::style::{Color, ShapeStyle};

const WIDTH: i32 = 900;
const HEIGHT: i32 = 360;
const MARGIN: i32 = 6;
/// Of one row of the names of marks.
const ROW: i32 = 16;

/// Of one allocator: seconds and MiB.
pub type Line<'a> = (&'a str, Vec<(f64, f64)>);

/// A chart to be drawn.
#[derive(Debug)]
pub struct OverTime<'a> {
    /// What stands below the axis of seconds.
    pub seconds: &'a str,
    /// The first one lies on top; one without points is left out.
    pub lines: Vec<Line<'a>>,
    /// Seconds in ascending order, and what begins then.
    pub marks: Vec<(f64, &'a str)>,
}

impl OverTime<'_> {
    /// As an SVG.
    ///
    /// # Errors
    ///
    /// When the back-end has one.
    pub fn drawn(&self, title: &str) -> Result<String> {
        let names: Vec<_> = self.lines.iter().filter(|(_, points)| !points.is_empty()).map(|&(name, _)| name).collect();
        let top = top(&names, WIDTH);
        drawn((WIDTH, top + HEIGHT), title, |area| {
            legend(area, &names, WIDTH)?;
            self.draw(&area.split_vertically(top).1)
        })
    }

    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let all = || self.lines.iter().flat_map(|(_, points)| points);
        let seconds = all().map(|point| point.0).fold(0.0, f64::max).max(0.01) * 1.01;
        let mib = all().map(|point| point.1).fold(1.0, f64::max) * 1.06;
        let mut chart = ChartBuilder::on(area)
            .margin_right(18)
            .margin_left(4)
            .margin_bottom(MARGIN)
            .margin_top(MARGIN + if self.marks.is_empty() { 0 } else { 2 * ROW })
            .x_label_area_size(40)
            .y_label_area_size(58)
            .build_cartesian_2d(0.0..seconds, 0.0..mib)?;
        chart
            .configure_mesh()
            .bold_line_style(FAINT)
            .light_line_style(FAINT.mix(0.0))
            .axis_style(GREY)
            .label_style(small(GREY))
            .axis_desc_style(small(GREY))
            .x_label_formatter(&|seconds| plain(*seconds).to_string())
            .y_label_formatter(&|mib| plain(*mib).to_string())
            .x_desc(self.seconds)
            .y_desc("MiB")
            .draw()?;
        let upright = |&(at, _): &(f64, &str)| PathElement::new([(at, 0.0), (at, mib)], GREY.stroke_width(1));
        chart.draw_series(self.marks.iter().map(upright))?;
        for (name, points) in self.lines.iter().rev() {
            let style = ShapeStyle::from(colour(name)).stroke_width(stroke(name));
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        }
        let (begin, width) = (chart.plotting_area().get_pixel_range().0.start, chart.plotting_area().dim_in_pixel().0);
        let across = |at: f64| begin + (at / seconds * f64::from(width)) as i32;
        let marks: Vec<_> = self.marks.iter().map(|&(at, name)| (across(at), name)).collect();
        self::rows(&marks).into_iter().zip(marks).try_for_each(|(row, (x, name))| {
            let y = MARGIN + ROW / 2 + row * ROW;
            text(area, name, (x, y), GREY, left())
        })
    }
}

/// In which of two rows each name stands, so that none runs into the next: the lower one where there is room.
fn rows(marks: &[(i32, &str)]) -> Vec<i32> {
    let mut ends = [i32::MIN; 2];
    let row = |&(x, name): &(i32, &str)| {
        let row = usize::from(ends[1] <= x);
        ends[row] = x + wide(name);
        row as i32
    };
    marks.iter().map(row).collect()
}

/// Without the errors of sums of tenths.
fn plain(mark: f64) -> f64 {
    (mark * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::{OverTime, rows};

    #[test]
    fn names_of_marks_do_not_run_into_each_other() {
        assert_eq!(rows(&[(0, "fill"), (10, "load"), (200, "burst"), (240, "idle")]), [1, 0, 1, 1]);
    }

    #[test]
    fn a_chart_names_what_it_shows() {
        let chart = OverTime {
            seconds: "seconds of it",
            lines: vec![("system", vec![(0.0, 1.0), (2.0, 9.0)]), ("talc", Vec::new())],
            marks: vec![(1.0, "burst")],
        };
        let svg = chart.drawn("Something").unwrap();
        let has = |word: &str| svg.contains(&format!("\n{word}\n"));
        assert!(["Something", "seconds of it", "MiB", "system", "burst"].into_iter().all(has), "{svg}");
        assert!(!has("talc"));
    }
}
