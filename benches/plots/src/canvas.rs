//! What every plot is drawn on: a white sheet with a title and a legend.

use crate::Result;
use crate::palette::{colour, stroke};
use plotters::coord::Shift;
use plotters::prelude::{BLACK, DrawingArea, IntoDrawingArea, PathElement, Rectangle, SVGBackend, Text, WHITE};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontDesc, FontFamily, FontStyle, RGBColor, ShapeStyle, TextStyle};

/// Part of a sheet, or all of it.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
/// Of a sheet: from the left, and from the top.
pub type Point = (i32, i32);

/// Of lines that only help to read.
pub const FAINT: RGBColor = RGBColor(0xe4, 0xe4, 0xe4);
/// Of words beside a plot.
pub const GREY: RGBColor = RGBColor(0x66, 0x66, 0x66);
/// Of one character of small text, about.
pub const LETTER: i32 = 7;
/// A plot's text is the backend's size divided by this.
const SCALE: f64 = 1.24;

const TITLE_HEIGHT: i32 = 34;
const LINE_HEIGHT: i32 = 20;
const DASH: i32 = 24;
const MARGIN: i32 = 12;

/// An SVG of that size with what `draw` draws below the title.
///
/// # Errors
///
/// When `draw` or the back-end has one.
pub fn drawn(size: (i32, i32), title: &str, draw: impl FnOnce(&Area<'_>) -> Result<()>) -> Result<String> {
    let mut svg = String::new();
    {
        let root =
            SVGBackend::with_string(&mut svg, (size.0.unsigned_abs(), size.1.unsigned_abs())).into_drawing_area();
        root.fill(&WHITE)?;
        root.draw(&Text::new(title.to_owned(), (MARGIN, TITLE_HEIGHT / 2), font(16, FontStyle::Bold, BLACK, left())))?;
        draw(&root)?;
        root.present()?;
    }
    Ok(svg)
}

/// Where the plot begins, below the title and a legend of these names.
#[must_use]
pub fn top(names: &[&str], width: i32) -> i32 {
    TITLE_HEIGHT + places(names, width).last().map_or(0, |&(_, (_, y))| y + LINE_HEIGHT)
}

/// Names with their colours, in as many lines as they need.
///
/// # Errors
///
/// When the back-end has one.
pub fn legend(area: &Area<'_>, names: &[&str], width: i32) -> Result<()> {
    for (name, (x, y)) in places(names, width) {
        let middle = TITLE_HEIGHT + y + LINE_HEIGHT / 2;
        let style = ShapeStyle::from(colour(name)).stroke_width(stroke(name));
        area.draw(&PathElement::new([(x, middle), (x + DASH, middle)], style))?;
        text(area, name, (x + DASH + 5, middle), BLACK, left())?;
    }
    Ok(())
}

/// Of each name, below the title.
fn places<'a>(names: &[&'a str], width: i32) -> Vec<(&'a str, Point)> {
    let (mut x, mut y) = (MARGIN, 0);
    let place = |&name: &&'a str| {
        let wide = DASH + wide(name) + 20;
        if x + wide > width {
            (x, y) = (MARGIN, y + LINE_HEIGHT);
        }
        x += wide;
        (name, (x - wide, y))
    };
    names.iter().map(place).collect()
}

/// How wide small text is, about.
#[must_use]
pub fn wide(text: &str) -> i32 {
    LETTER * i32::try_from(text.chars().count()).unwrap_or(i32::MAX / LETTER)
}

/// Small text at that place.
///
/// # Errors
///
/// When the back-end has one, as with all that draws.
pub fn text(area: &Area<'_>, words: &str, at: Point, colour: RGBColor, anchor: Pos) -> Result<()> {
    Ok(area.draw(&Text::new(words.to_owned(), at, font(12, FontStyle::Normal, colour, anchor)))?)
}

/// A rectangle.
///
/// # Errors
///
/// When the back-end has one.
pub fn filled(area: &Area<'_>, corners: [Point; 2], colour: RGBColor) -> Result<()> {
    Ok(area.draw(&Rectangle::new(corners, colour.filled()))?)
}

/// Small text.
#[must_use]
pub fn small(colour: RGBColor) -> TextStyle<'static> {
    font(11, FontStyle::Normal, colour, left())
}

/// The name of a chart.
#[must_use]
pub fn name() -> TextStyle<'static> {
    font(13, FontStyle::Bold, BLACK, left())
}

/// Begins there.
#[must_use]
pub fn left() -> Pos {
    Pos::new(HPos::Left, VPos::Center)
}

/// Ends there.
#[must_use]
pub fn right() -> Pos {
    Pos::new(HPos::Right, VPos::Center)
}

/// Has its middle there.
#[must_use]
pub fn centre() -> Pos {
    Pos::new(HPos::Center, VPos::Center)
}

fn font(size: u32, style: FontStyle, colour: RGBColor, anchor: Pos) -> TextStyle<'static> {
    let font = FontDesc::new(FontFamily::SansSerif, f64::from(size) * SCALE, style);
    TextStyle { font, color: colour.to_backend_color(), pos: anchor }
}
