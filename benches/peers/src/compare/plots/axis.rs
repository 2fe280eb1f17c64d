//! Where an axis has its marks.

/// Decades apart from which only powers of ten are marked.
const WIDE: f64 = 1.7;

/// From below the least to above the most; `None` when there is nothing, or nothing above zero.
pub(super) fn log_range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let (least, most) = values.filter(|value| value.is_normal() && *value > 0.0).fold(None, |range, value| {
        let (least, most) = range.unwrap_or((value, value));
        Some((value.min(least), value.max(most)))
    })?;
    // Three quarters of a decade at least, so that a chart of equals is no chart of noise.
    let middle = (least * most).sqrt();
    Some(((least / 1.3).min(middle / 2.4), (most * 1.3).max(middle * 2.4)))
}

/// 1, 2, 5 and 10, or powers of ten alone.
pub(super) fn log_marks((least, most): (f64, f64)) -> Vec<f64> {
    let steps: &[f64] = if (most / least).log10() > WIDE { &[1.0] } else { &[1.0, 2.0, 5.0] };
    let decades = least.log10().floor() as i32..=most.log10().floor() as i32;
    let marks = decades.flat_map(|decade| steps.iter().map(move |step| step * 10_f64.powi(decade)));
    marks.filter(|mark| (least..=most).contains(mark)).collect()
}

/// As few digits as tell marks apart; thousands as `k` and millions as `M` where these are round.
pub(super) fn label(mark: f64) -> String {
    match mark {
        1e6.. => return format!("{:.0}M", mark / 1e6),
        1e4.. => return format!("{:.0}k", mark / 1e3),
        _ => {}
    }
    let decimals = if mark >= 0.95 { 0 } else { (-mark.log10().floor()).clamp(0.0, 6.0) as usize };
    format!("{mark:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::{label, log_marks, log_range};

    #[test]
    fn a_wide_axis_has_powers_of_ten_alone() {
        assert_eq!(log_marks((0.5, 900.0)), [1.0, 10.0, 100.0]);
        assert_eq!(log_marks((3.0, 60.0)), [5.0, 10.0, 20.0, 50.0]);
        assert_eq!([0.02, 0.5, 1.0, 200.0, 5e3].map(label), ["0.02", "0.5", "1", "200", "5000"]);
        assert_eq!([2e4, 1e5, 1e7].map(label), ["20k", "100k", "10M"]);
    }

    #[test]
    fn every_value_lies_inside() {
        let (least, most) = log_range([4.0, 90.0, 0.0, f64::NAN].into_iter()).unwrap();
        assert!(least < 4.0 && most > 90.0);
        let (least, most) = log_range([5.0].into_iter()).unwrap();
        assert!(most / least > 4.0 && !log_marks((least, most)).is_empty());
        assert_eq!(log_range([0.0].into_iter()), None);
    }
}
