//! The middle of several runs, and how far they lie apart.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) least: f64,
    pub(crate) most: f64,
}

impl Spread {
    /// `None` when there is no value.
    pub(crate) fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let (&least, &most) = (values.first()?, values.last()?);
        let (low, high) = (values[(values.len() - 1) / 2], values[values.len() / 2]);
        Some(Self { median: f64::midpoint(low, high), least, most })
    }

    /// Whether every run of this is above every run of the other: the difference is not chance.
    pub(crate) fn clears(self, other: Self) -> bool {
        self.least > other.most
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn the_median_is_in_the_middle() {
        let of = |values: &[f64]| Spread::of(values.to_vec());
        assert_eq!(of(&[3.0, 1.0, 2.0]), Some(Spread { median: 2.0, least: 1.0, most: 3.0 }));
        assert_eq!(of(&[4.0, 1.0]), Some(Spread { median: 2.5, least: 1.0, most: 4.0 }));
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn ranges_that_overlap_are_the_same_figure() {
        let of = |least, most| Spread { median: f64::midpoint(least, most), least, most };
        assert!(of(3.0, 4.0).clears(of(1.0, 2.0)));
        assert!(!of(2.0, 4.0).clears(of(1.0, 2.0)));
    }
}
