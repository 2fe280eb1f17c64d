//! A small chart of lines on two logarithmic axes, one line for each allocator.

use super::Result;
use super::axis::{label, log_marks, log_range};
use bandolier_plots::canvas::{Area, FAINT, GREY, drawn, legend, name, small, top};
use bandolier_plots::palette::{colour, stroke};
use plotters::prelude::{BindKeyPoints, ChartBuilder, Circle, IntoLogRange, LineSeries};
use plotters::style::{Color, ShapeStyle};

const COLUMNS: usize = 3;
/// In one file.
pub(super) const MOST: usize = 12;
const WIDTH: i32 = 1_080;
const HEIGHT: i32 = 230;

/// Of one allocator: its points.
pub(super) type Line = (&'static str, Vec<(f64, f64)>);

pub(super) struct Chart {
    pub(super) name: String,
    /// Where the lower axis has its marks.
    pub(super) across: Vec<f64>,
    pub(super) lines: Vec<Line>,
}

/// Some charts in a grid below one legend of these names, as an SVG.
pub(super) fn grid(title: &str, names: &[&'static str], charts: &[Chart]) -> Result<String> {
    let rows = charts.len().div_ceil(COLUMNS);
    let top = top(names, WIDTH);
    let height = top + HEIGHT * i32::try_from(rows)?;
    drawn((WIDTH, height), title, |area| {
        legend(area, names, WIDTH)?;
        let (_, below) = area.split_vertically(top);
        below.split_evenly((rows, COLUMNS)).iter().zip(charts).try_for_each(|(cell, chart)| chart.draw(cell))
    })
}

impl Chart {
    fn draw(&self, area: &Area<'_>) -> Result<()> {
        let values = self.lines.iter().flat_map(|(_, points)| points).map(|&(_, value)| value);
        let Some(range) = log_range(values) else {
            return Ok(());
        };
        let ends = self.across.iter().fold((f64::MAX, 0.0_f64), |(least, most), &one| (one.min(least), one.max(most)));
        let across = (ends.0 * 0.85..ends.1 * 1.15).log_scale().with_key_points(self.across.clone());
        let up = (range.0..range.1).log_scale().with_key_points(log_marks(range));
        let mut chart = ChartBuilder::on(area)
            .margin_right(14)
            .margin_left(4)
            .margin_bottom(6)
            .caption(&self.name, name())
            .x_label_area_size(22)
            .y_label_area_size(48)
            .build_cartesian_2d(across, up)?;
        chart
            .configure_mesh()
            .bold_line_style(FAINT)
            .light_line_style(FAINT.mix(0.0))
            .axis_style(GREY)
            .label_style(small(GREY))
            .x_label_formatter(&|mark| size(*mark))
            .y_label_formatter(&|mark| label(*mark))
            .draw()?;
        // Bandolier, which comes first, lies on top.
        for (name, points) in self.lines.iter().rev() {
            let colour = colour(name);
            chart.draw_series(points.iter().map(|&point| Circle::new(point, 3, colour.filled())))?;
            let style = ShapeStyle::from(colour).stroke_width(stroke(name));
            chart.draw_series(LineSeries::new(points.iter().copied(), style))?;
        }
        Ok(())
    }
}

/// A number of things: in thousands, if it is one of these.
fn size(mark: f64) -> String {
    if (1e3..1e4).contains(&mark) { format!("{:.0}k", mark / 1e3) } else { label(mark) }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn large_sizes_are_short() {
        assert_eq!([1.0, 64.0, 1e3, 1e5, 1e7].map(size), ["1", "64", "1k", "100k", "10M"]);
    }
}
