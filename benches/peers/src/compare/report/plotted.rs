//! The plots of a sheet.

use super::Report;
use crate::PLOTS;
use crate::sheet::Sheet;
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, sheet: &Sheet, out: &mut String) -> Result {
    let stem = sheet.stem();
    let mut plots = report.plots.iter().filter(|plot| plot.stem == stem);
    plots.try_for_each(|plot| writeln!(out, "![{}]({PLOTS}/{})\n", plot.title, plot.file))
}
