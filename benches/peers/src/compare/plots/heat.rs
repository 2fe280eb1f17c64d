//! A map of ratios: rows are workloads on threads, columns are allocators, colours are logarithms.

use super::{Plot, Result, part};
use crate::aspect::Aspect;
use crate::figure::{Figure, digits};
use crate::peer;
use crate::row::Row;
use crate::sheet::Sheet;
use bandolier_plots::canvas::{Area, GREY, centre, drawn, filled, left, right, text, wide};
use plotters::style::{BLACK, RGBColor, WHITE};

/// In one file, so that it stays small.
const CELLS: usize = 560;
const ROW: i32 = 20;
const TOP: i32 = 64;
const BOTTOM: i32 = 54;
const MARGIN: i32 = 12;
/// For the numbers of threads.
const THREADS: i32 = 64;
const LEAST_COLUMN: i32 = 58;
/// Of the scale.
const LEAST_WIDTH: i32 = 620;
/// Doublings at which a colour is full.
const FULL: f64 = 3.0;
const BETTER: RGBColor = RGBColor(0x21, 0x66, 0xac);
const WORSE: RGBColor = RGBColor(0xb2, 0x18, 0x2b);
const MISSING: RGBColor = RGBColor(0xdd, 0xdd, 0xdd);
const SCALE: [(f64, &str); 7] =
    [(0.125, "≤ 1/8"), (0.25, "1/4"), (0.5, "1/2"), (1.0, "1"), (2.0, "2"), (4.0, "4"), (8.0, "≥ 8")];

pub(super) fn plots(sheet: &Sheet) -> Result<Vec<Plot>> {
    let most = (CELLS / sheet.names().count().max(1)).max(1);
    let parts = parts(sheet, most);
    let many = parts.len();
    let one = |(nth, rows): (usize, &Vec<Row>)| plot(sheet, rows, nth + 1, many);
    parts.iter().enumerate().map(one).collect()
}

/// The rows in parts of so many at most, unless one workload has more; no workload is torn.
fn parts(sheet: &Sheet, most: usize) -> Vec<Vec<Row>> {
    let mut parts: Vec<Vec<Row>> = Vec::new();
    for rows in sheet.by_workload() {
        match parts.last_mut() {
            Some(part) if part.len() + rows.len() <= most => part.extend(rows),
            _ => parts.push(rows.to_vec()),
        }
    }
    parts
}

/// Where columns lie: each name with its ends.
struct Grid(Vec<(&'static str, i32, i32)>);

impl Grid {
    fn of(sheet: &Sheet, rows: &[Row]) -> Self {
        let label = rows.iter().map(|row| wide(&label(*row))).max().unwrap_or(0);
        let mut end = MARGIN + label + THREADS;
        let column = |name| {
            let begin = end;
            end += (wide(name) + 10).max(LEAST_COLUMN);
            (name, begin, end)
        };
        Self(sheet.names().map(column).collect())
    }

    fn begin(&self) -> i32 {
        self.0.first().map_or(MARGIN, |&(_, begin, _)| begin)
    }

    fn end(&self) -> i32 {
        self.0.last().map_or(MARGIN, |&(.., end)| end)
    }
}

fn label(row: Row) -> String {
    format!("{}{}", row.workload.name, if row.by_wall() { " †" } else { "" })
}

fn plot(sheet: &Sheet, rows: &[Row], nth: usize, many: usize) -> Result<Plot> {
    let grid = Grid::of(sheet, rows);
    let width = (grid.end() + MARGIN).max(LEAST_WIDTH);
    let height = TOP + ROW * i32::try_from(rows.len())? + BOTTOM;
    let title = format!("Time ÷ the best of all others, profile {}{}", sheet.plan.profile, part(nth, many));
    let svg = drawn((width, height), &title, |area| {
        head(area, &grid)?;
        rows.iter().enumerate().try_for_each(|(nth, &row)| line(area, sheet, &grid, rows, nth, row))?;
        scale(area, height - BOTTOM + 14)
    })?;
    Ok(Plot { file: format!("heat-{}-{nth}.svg", sheet.stem()), title, stem: sheet.stem(), svg })
}

fn head(area: &Area<'_>, grid: &Grid) -> Result<()> {
    text(area, "threads", (grid.begin() - 6, TOP - 12), GREY, right())?;
    let mut columns = grid.0.iter();
    columns.try_for_each(|&(name, begin, end)| text(area, name, ((begin + end) / 2, TOP - 12), BLACK, centre()))
}

fn line(area: &Area<'_>, sheet: &Sheet, grid: &Grid, rows: &[Row], nth: usize, row: Row) -> Result<()> {
    let y = TOP + ROW * i32::try_from(nth)?;
    if nth == 0 || rows[nth - 1].workload.name != row.workload.name {
        text(area, &label(row), (MARGIN, y + ROW / 2), BLACK, left())?;
    }
    text(area, &row.threads.to_string(), (grid.begin() - 6, y + ROW / 2), GREY, right())?;
    for &(name, begin, end) in &grid.0 {
        let (ground, words) = cell(sheet, name, row);
        filled(area, [(begin, y), (end - 1, y + ROW - 1)], ground)?;
        text(area, &words, ((begin + end) / 2, y + ROW / 2), ink(ground), centre())?;
    }
    Ok(())
}

/// Its ground and its text.
fn cell(sheet: &Sheet, name: &str, row: Row) -> (RGBColor, String) {
    // No mode of ours is what Bandolier is compared with.
    let ratio = if peer::is_ours(name) { Sheet::to_best_peer } else { Sheet::to_best_other };
    match (sheet.figure(name, row, Aspect::Time), ratio(sheet, name, row, Aspect::Time)) {
        (_, Some(ratio)) => (shade(ratio), digits(ratio)),
        (Figure::Failed, _) => (MISSING, "failed".to_owned()),
        _ => (MISSING, "–".to_owned()),
    }
}

/// White at 1, and fuller with each doubling to either side.
fn shade(ratio: f64) -> RGBColor {
    let doublings = (ratio.log2() / FULL).clamp(-1.0, 1.0);
    let full = if doublings < 0.0 { BETTER } else { WORSE };
    let mix = |full: u8| (255.0 + (f64::from(full) - 255.0) * doublings.abs()).round() as u8;
    RGBColor(mix(full.0), mix(full.1), mix(full.2))
}

/// What is read best on that ground.
fn ink(RGBColor(red, green, blue): RGBColor) -> RGBColor {
    let light = 0.299 * f64::from(red) + 0.587 * f64::from(green) + 0.114 * f64::from(blue);
    if light < 115.0 { WHITE } else { BLACK }
}

fn scale(area: &Area<'_>, y: i32) -> Result<()> {
    const STEP: i32 = 48;
    for (nth, (ratio, words)) in SCALE.into_iter().enumerate() {
        let (x, ground) = (MARGIN + STEP * i32::try_from(nth)?, shade(ratio));
        filled(area, [(x, y), (x + STEP - 1, y + ROW)], ground)?;
        text(area, words, (x + STEP / 2, y + ROW / 2), ink(ground), centre())?;
    }
    let x = MARGIN + STEP * i32::try_from(SCALE.len())? + 8;
    text(area, "blue: faster than all others; † wall time", (x, y + ROW / 2), GREY, left())
}

#[cfg(test)]
mod tests {
    use super::{BETTER, WORSE, parts, shade};
    use crate::fixture::{Figures, row, sheet};
    use plotters::style::WHITE;

    #[test]
    fn one_is_white_and_far_is_full() {
        assert_eq!([shade(0.01), shade(1.0), shade(100.0)], [BETTER, WHITE, WORSE]);
    }

    #[test]
    fn no_workload_is_torn() {
        let figures: &[Figures] = &[("bandolier", 1.0, 1.0)];
        let rows = ["pair", "random", "churn"]
            .into_iter()
            .flat_map(|name| [1, 2].map(|threads| (row(name, threads), figures)));
        let sheet = sheet("fat", &rows.collect::<Vec<_>>());
        let sizes = |most| parts(&sheet, most).iter().map(Vec::len).collect::<Vec<_>>();
        assert_eq!([sizes(1), sizes(5), sizes(6)], [vec![2, 2, 2], vec![4, 2], vec![6]]);
    }
}
