//! A table in markdown.

use core::fmt::{self, Display};

#[derive(Debug)]
pub(super) struct Table {
    head: Vec<String>,
    rows: Vec<Vec<String>>,
    /// How many columns, from the left, are words; the others are numbers.
    words: usize,
}

impl Table {
    /// With so many columns of words before those of numbers.
    pub(super) fn new<T: Into<String>>(words: usize, head: impl IntoIterator<Item = T>) -> Self {
        Self { head: head.into_iter().map(Into::into).collect(), rows: Vec::new(), words }
    }

    pub(super) fn row<T: Into<String>>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// With an empty line behind it.
impl Display for Table {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        line(out, &self.head)?;
        let rule = |nth| if nth < self.words { "---" } else { "--:" };
        writeln!(out, "|{}|", (0..self.head.len()).map(rule).collect::<Vec<_>>().join("|"))?;
        self.rows.iter().try_for_each(|row| line(out, row))?;
        writeln!(out)
    }
}

fn line(out: &mut fmt::Formatter<'_>, cells: &[String]) -> fmt::Result {
    let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
    writeln!(out, "| {} |", cells.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::Table;

    #[test]
    fn a_bar_in_a_cell_is_no_border() {
        let mut table = Table::new(1, ["name", "ns"]);
        table.row(["a|b", "1"]);
        assert_eq!(table.to_string(), "| name | ns |\n|---|--:|\n| a\\|b | 1 |\n\n");
    }
}
