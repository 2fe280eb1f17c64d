//! Which workloads are meant: a name, or how names begin.

/// Whether `pattern` means `name`: `batch*` means `batch32`, and `pair` means `pair` alone.
pub(crate) fn fits(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_star_stands_for_the_rest_of_a_name() {
        assert!(fits("pair", "pair") && fits("batch*", "batch32") && fits("churn*", "churn"));
        assert!(!fits("pair", "pair-var") && !fits("batch*", "pair") && !fits("random", "random-any"));
    }
}
