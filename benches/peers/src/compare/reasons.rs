//! Why Bandolier is behind where it is: written by hand in `docs/benchmarks/reasons.md`, shown beside the losses.
//!
//! ```text
//!   ## pair, batch* (memory)     for these workloads; with `time` or `memory` in brackets, of that alone
//!   The reason, in a line or more.
//! ```
//!
//! Of several that fit, the first is shown. What stands before the first heading is for whoever edits the file.

use crate::aspect::Aspect;
use crate::pattern::fits;

#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Reasons(Vec<Reason>);

#[derive(Debug, PartialEq, Eq)]
struct Reason {
    patterns: Vec<String>,
    /// `None`: of time and of memory.
    of_memory: Option<bool>,
    text: String,
}

impl Reasons {
    pub(crate) fn from(text: &str) -> Self {
        let parts = format!("\n{text}");
        Self(parts.split("\n## ").skip(1).filter_map(Reason::from).collect())
    }

    pub(crate) fn of(&self, workload: &str, aspect: Aspect<'_>) -> Option<&str> {
        let mut fitting = self.0.iter().filter(|reason| reason.is_of(workload, aspect));
        fitting.next().map(|reason| reason.text.as_str())
    }
}

impl Reason {
    /// `None` when no text stands below the heading.
    fn from(part: &str) -> Option<Self> {
        let (heading, text) = part.split_once('\n')?;
        let (names, of_memory) = match heading.trim().strip_suffix(')').and_then(|heading| heading.rsplit_once('(')) {
            Some((names, "memory")) => (names, Some(true)),
            Some((names, "time")) => (names, Some(false)),
            _ => (heading, None),
        };
        let patterns = names.split(',').map(|name| name.trim().trim_matches('`').to_owned()).collect();
        let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
        (!text.is_empty()).then_some(Self { patterns, of_memory, text })
    }

    fn is_of(&self, workload: &str, aspect: Aspect<'_>) -> bool {
        let of_aspect = self.of_memory.is_none_or(|of_memory| of_memory == aspect.is_memory());
        of_aspect && self.patterns.iter().any(|pattern| fits(pattern, workload))
    }
}

#[cfg(test)]
mod tests {
    use super::Reasons;
    use crate::aspect::Aspect;

    const TEXT: &str = "\
# Reasons

For whoever edits.

## `batch1000` (time)
Magazines change
hands.

## pair, batch* (memory)

A segment | at once.

## empty
";

    #[test]
    fn the_first_that_fits_is_shown() {
        let reasons = Reasons::from(TEXT);
        assert_eq!(reasons.of("batch1000", Aspect::Time), Some("Magazines change hands."));
        assert_eq!(reasons.of("batch1000", Aspect::Peak), Some("A segment | at once."));
        assert_eq!(reasons.of("pair", Aspect::Phase("idle")), Some("A segment | at once."));
        assert_eq!(reasons.of("pair", Aspect::Time), None);
        assert_eq!(reasons.of("empty", Aspect::Time), None);
    }

    #[test]
    fn a_file_that_begins_with_a_heading_is_read_whole() {
        assert_eq!(Reasons::from("## churn\nso").of("churn", Aspect::Time), Some("so"));
        assert_eq!(Reasons::from(""), Reasons::default());
    }
}
