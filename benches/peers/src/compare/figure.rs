//! What stands in a cell: a figure, or why there is none.

use crate::spread::Spread;

const NONE: &str = "–";

/// What all runs of an allocator in a row say about one aspect.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Figure {
    /// There is no binary, or nothing of this kind to measure.
    NotRun,
    /// A run crashed or hung; the others alone would tell half of the truth.
    Failed,
    Is(Spread),
}

impl Figure {
    /// Of a value for each run: the outer `None` is a run that failed, the inner one a run that has no such value.
    pub(crate) fn of(runs: impl IntoIterator<Item = Option<Option<f64>>>) -> Self {
        let whole: Option<Vec<_>> = runs.into_iter().collect();
        match whole.map(|values| Spread::of(values.into_iter().flatten().collect())) {
            None => Self::Failed,
            Some(None) => Self::NotRun,
            Some(Some(spread)) => Self::Is(spread),
        }
    }

    pub(crate) fn spread(self) -> Option<Spread> {
        if let Self::Is(spread) = self { Some(spread) } else { None }
    }

    pub(crate) fn median(self) -> Option<f64> {
        self.spread().map(|spread| spread.median)
    }

    /// The median, for a cell.
    pub(crate) fn shown(self) -> String {
        match self {
            Self::NotRun => NONE.to_owned(),
            Self::Failed => "failed".to_owned(),
            Self::Is(spread) => digits(spread.median),
        }
    }

    /// The least and the most, for a cell.
    pub(crate) fn range(self) -> String {
        let range = |spread: Spread| format!("{}–{}", digits(spread.least), digits(spread.most));
        self.spread().map_or_else(|| NONE.to_owned(), range)
    }
}

/// Three digits, more or less.
pub(crate) fn digits(value: f64) -> String {
    match value {
        _ if value < 9.995 => format!("{value:.2}"),
        _ if value < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    }
}

/// The same, if there is a value.
pub(crate) fn or_none(value: Option<f64>) -> String {
    value.map_or_else(|| NONE.to_owned(), digits)
}

#[cfg(test)]
mod tests {
    use super::{Figure, digits, or_none};
    use crate::spread::Spread;

    #[test]
    fn numbers_have_three_digits() {
        assert_eq!([0.957, 9.999, 12.34, 123.4].map(digits), ["0.96", "10.0", "12.3", "123"]);
        assert_eq!(or_none(None), "–");
    }

    #[test]
    fn one_failed_run_is_a_failure() {
        let figure = Figure::of([Some(Some(1.0)), Some(Some(3.0)), Some(Some(2.0))]);
        assert_eq!(figure, Figure::Is(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!((figure.shown(), figure.range()), ("2.00".to_owned(), "1.00–3.00".to_owned()));
        let failed = Figure::of([Some(Some(1.0)), None]);
        assert_eq!((failed.shown(), failed.range()), ("failed".to_owned(), "–".to_owned()));
        assert_eq!(Figure::of([Some(None)]), Figure::NotRun);
        assert_eq!(Figure::of([]), Figure::NotRun);
    }
}
