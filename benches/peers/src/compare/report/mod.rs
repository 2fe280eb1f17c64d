//! The report in markdown, one section per file: what a reader looks for first comes first, long tables are folded.

mod behind;
mod details;
mod head;
mod made_on;
mod plotted;
mod scenarios;
mod start;
mod summary;
mod table;
mod targets;

use crate::options::Options;
use crate::peer::{Built, OURS};
use crate::plots::Plot;
use crate::reasons::Reasons;
use crate::sheet::Sheet;
use crate::start_up::StartUp;
use core::fmt;

/// What there is to tell.
pub(crate) struct Report<'a> {
    pub(crate) options: &'a Options,
    /// Of the first profile.
    pub(crate) built: &'a [Built],
    pub(crate) sheets: &'a [Sheet],
    pub(crate) start_up: &'a StartUp,
    pub(crate) reasons: &'a Reasons,
    pub(crate) plots: &'a [Plot],
    /// Before the first run.
    pub(crate) load: &'a str,
}

type Section = fn(&Report<'_>, &mut String) -> fmt::Result;

const SECTIONS: [Section; 8] = [
    head::write,
    behind::write,
    targets::write,
    sheets,
    scenarios::write,
    start::write,
    details::write,
    made_on::write,
];

impl Report<'_> {
    fn has_ours(&self) -> bool {
        self.built.iter().any(|one| one.peer.name == OURS)
    }

    pub(crate) fn markdown(&self) -> Result<String, fmt::Error> {
        let mut out = String::new();
        SECTIONS.iter().try_for_each(|section| section(self, &mut out))?;
        Ok(format!("{}\n", out.trim_end()))
    }
}

/// A summary and plots for each.
fn sheets(report: &Report<'_>, out: &mut String) -> fmt::Result {
    report.sheets.iter().try_for_each(|sheet| {
        summary::write(sheet, out)?;
        plotted::write(report, sheet, out)
    })
}

#[cfg(test)]
mod tests {
    use super::Report;
    use crate::fixture::{Figures, row, row_of, sheet, stories};
    use crate::options::Options;
    use crate::plots;
    use crate::reasons::Reasons;
    use crate::sheet::Sheet;
    use crate::start_up::{Empty, StartUp};

    const PAIR: &[Figures] = &[("bandolier", 1.0, 2.0), ("system", 6.0, 2.1), ("talc", 3.0, 2.2)];
    const CHURN: &[Figures] = &[("bandolier", 9.0, 40.0), ("system", 6.0, 20.0), ("talc", 3.0, 50.0)];

    fn sheets() -> [Sheet; 3] {
        let mut first = sheet("fat", &[(row("pair", 1), PAIR), (row("pair", 2), PAIR), (row("churn", 1), CHURN)]);
        first.series.add("talc", row("pair", 2), None);
        [first, stories("fat", &[(row_of("frag", 1), PAIR)]), sheet("release", &[(row("pair", 1), PAIR)])]
    }

    fn markdown(sheets: &[Sheet], start_up: &StartUp) -> String {
        let options = Options::from(core::iter::empty()).unwrap();
        let reasons = Reasons::from("## churn (time)\nSlow | because.\n");
        let plots = plots::all(sheets).unwrap();
        let built = sheets.first().map_or(&[][..], |sheet| &sheet.built);
        Report { options: &options, built, sheets, start_up, reasons: &reasons, plots: &plots, load: "idle" }
            .markdown()
            .unwrap()
    }

    fn whole() -> String {
        let mut start_up = StartUp::default();
        start_up.add("system", Some(Empty { ms: 1.0, peak_mib: 2.0 }));
        start_up.add("bandolier", Some(Empty { ms: 1.1, peak_mib: 2.25 }));
        start_up.add("talc", None);
        markdown(&sheets(), &start_up)
    }

    /// The line that begins so.
    #[track_caller]
    fn line<'a>(text: &'a str, beginning: &str) -> &'a str {
        text.lines().find(|line| line.starts_with(beginning)).unwrap_or_else(|| panic!("no {beginning} in\n{text}"))
    }

    #[test]
    fn losses_stand_before_everything_with_their_reasons() {
        let text = whole();
        let headings: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
        let expected = [
            "## Where it is not ahead",
            "## Targets",
            "## Workloads, profile `fat`",
            "## Workloads, profile `fat`",
            "## Workloads, profile `release`",
            "## Memory over a run",
            "## Start-up",
            "## Details",
            "## Made on",
        ];
        assert_eq!(headings, expected);
        let time = line(&text, "| `churn` | time |");
        assert_eq!(time, "| `churn` | time | fat | 1: **3.00** (talc) | Slow \\| because. |");
        assert_eq!(
            line(&text, "| `churn` | peak RSS |"),
            "| `churn` | peak RSS | fat | 1: **2.00** (system, +20.0 MiB) | – |"
        );
    }

    #[test]
    fn targets_tell_where_the_worst_is() {
        let text = whole();
        let met = line(&text, "| pairs and batches of one size, inlined |");
        assert!(met.contains("| ≤ 0.50 | 0.33 (`pair`, 1) |") && met.ends_with("| yes |"), "{met}");
        let missed = line(&text, "| churn |");
        assert!(missed.contains("| 3.00 (`churn`, 1) | ≤ 1.05 | 2.00 (`churn`, 1) | **no** |"), "{missed}");
        assert!(line(&text, "| programs |").ends_with("| not measured |"));
        let start = line(&text, "| start-up |");
        assert!(start.contains("| ≤ system + 0.20 ms | +0.10 ms | ≤ system + 0.50 MiB | +0.25 MiB | yes |"), "{start}");
    }

    #[test]
    fn a_failed_run_is_shown_and_listed() {
        let text = whole();
        assert_eq!(line(&text, "| pair | 2 |"), "| pair | 2 | **1.00** | 6.00 | failed | 0.17 | 0.17 |");
        assert_eq!(line(&text, "- talc"), "- talc, profile `fat`, `pair` on 2 threads: 1 of 4 runs");
        assert_eq!(line(&text, "| talc | failed |"), "| talc | failed | – | failed | – |");
    }

    #[test]
    fn a_scenario_has_a_column_for_each_phase() {
        let text = whole();
        assert_eq!(line(&text, "| threads | allocator | filled"), "| threads | allocator | filled | freed | peak |");
        assert_eq!(
            line(&text, "| 1 | bandolier | 2.00 (0.95)"),
            "| 1 | bandolier | 2.00 (0.95) | 1.00 (0.95) | 2.00 (0.95) |"
        );
    }

    #[test]
    fn losses_within_the_spread_are_folded() {
        let near: &[Figures] = &[("bandolier", 1.005, 2.0), ("system", 1.0, 2.1)];
        let text = markdown(&[sheet("fat", &[(row("pair", 2), near)])], &StartUp::default());
        assert!(text.contains("In no row is a peer faster or leaner by more than the spread"), "{text}");
        assert_eq!(line(&text, "- `pair`"), "- `pair`, 2, time, fat: 1.00 (system)");
    }

    #[test]
    fn details_are_folded_and_plots_are_linked() {
        let text = whole();
        let (opened, closed) = (text.matches("<details>").count(), text.matches("</details>").count());
        assert_eq!((opened, closed), (4, 4));
        for file in ["heat-main-fat-1.svg", "throughput-main-release-1.svg", "memory-main-fat-frag-1.svg"] {
            assert!(text.contains(&format!("](plots/{file})")), "{file}");
        }
    }

    #[test]
    fn without_ours_nothing_is_claimed() {
        let sheets = [sheet("fat", &[(row("pair", 1), &PAIR[1..])])];
        let text = markdown(&sheets, &StartUp::default());
        assert!(text.contains("Bandolier was not measured."));
        assert!(!text.contains("## Targets") && !text.contains("## Start-up"));
    }
}
