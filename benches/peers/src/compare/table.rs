//! The markdown.

use crate::machine;
use crate::options::{Options, Row};
use crate::peer::{Built, OURS, SYSTEM, is_ours};
use crate::series::{Series, Spread};
use bandolier_peers::workloads::{EMPTY, Entry};
use core::fmt::{self, Result, Write};

const NONE: &str = "–";

/// The report: a summary, a table per workload, and what it was made on.
pub(crate) fn markdown(
    options: &Options,
    built: &[Built],
    series: &Series,
    load: &str,
) -> core::result::Result<String, fmt::Error> {
    let report = Report { options, built, series, load };
    let mut out = String::new();
    report.head(&mut out)?;
    report.summary(&mut out)?;
    for workload in &options.workloads {
        report.workload(&mut out, workload)?;
    }
    report.foot(&mut out)?;
    Ok(out)
}

struct Report<'a> {
    options: &'a Options,
    built: &'a [Built],
    series: &'a Series,
    /// Before the first run.
    load: &'a str,
}

impl Report<'_> {
    fn head(&self, out: &mut String) -> Result {
        let Options { profile, .. } = self.options;
        let (rounds, target) = (self.options.rounds(), self.options.target());
        writeln!(out, "Profile `{profile}`, {rounds} rounds of {target:?}, medians; ns per allocation with its free.")?;
        writeln!(out, "`benches/README.md` says what the figures mean.\n")?;
        writeln!(out, "    {}\n", command_line())
    }

    fn summary(&self, out: &mut String) -> Result {
        write!(out, "| workload | threads |")?;
        self.built.iter().try_for_each(|one| write!(out, " {} |", one.peer.name))?;
        writeln!(out, " {OURS} ÷ system | {OURS} ÷ best peer |")?;
        writeln!(out, "|---|--:|{}--:|--:|", "--:|".repeat(self.built.len()))?;
        self.options.rows().into_iter().try_for_each(|row| self.summary_row(out, row))?;
        writeln!(out, "\nCPU time, but wall time for workloads marked †; the best in bold.\n")
    }

    fn summary_row(&self, out: &mut String, row: Row) -> Result {
        let mark = if row.by_wall() { " †" } else { "" };
        write!(out, "| {}{mark} | {} |", row.workload.name, row.threads)?;
        let best = self.least(row, |_| true);
        for one in self.built {
            let median = self.median(one.peer.name, row);
            let bold = if median.is_some() && median == best { "**" } else { "" };
            write!(out, " {bold}{}{bold} |", number(median))?;
        }
        let (to_system, to_best) = self.ratios(OURS, row);
        writeln!(out, " {} | {} |", number(to_system), number(to_best))
    }

    fn workload(&self, out: &mut String, workload: &Entry) -> Result {
        writeln!(out, "### `{}`\n\n{}.\n", workload.name, workload.about)?;
        writeln!(
            out,
            "| threads | allocator | CPU ns | min–max | wall ns | min–max | ÷ system | ÷ best peer | peak MiB |"
        )?;
        writeln!(out, "|--:|---|--:|--:|--:|--:|--:|--:|--:|")?;
        let rows = self.options.rows().into_iter().filter(|row| row.workload.name == workload.name);
        for row in rows {
            self.built.iter().try_for_each(|one| self.detail(out, one.peer.name, row))?;
        }
        writeln!(out)
    }

    fn detail(&self, out: &mut String, name: &str, row: Row) -> Result {
        let cpu = self.series.spread(name, row, |record| record.cpu_ns);
        let wall = self.series.spread(name, row, |record| record.wall_ns);
        let peak = self.series.spread(name, row, |record| record.peak_rss_kib as f64 / 1024.0);
        let (to_system, to_best) = self.ratios(name, row);
        write!(out, "| {} | {name} | {} | {} |", row.threads, number(cpu.map(|cpu| cpu.median)), range(cpu))?;
        write!(out, " {} | {} |", number(wall.map(|wall| wall.median)), range(wall))?;
        writeln!(out, " {} | {} | {} |", number(to_system), number(to_best), number(peak.map(|peak| peak.median)))
    }

    fn foot(&self, out: &mut String) -> Result {
        let floor = number(self.median(EMPTY.name, Row::EMPTY));
        writeln!(out, "Of `random` and `seed`, {floor} ns are the loop itself, without an allocator.\n")?;
        writeln!(out, "| allocator | version | its build needs |\n|---|---|---|")?;
        self.built.iter().try_for_each(|one| origin(out, one))?;
        writeln!(out, "\n| | |\n|---|---|")?;
        machine::facts().iter().try_for_each(|(name, fact)| writeln!(out, "| {name} | {fact} |"))?;
        writeln!(out, "| load before | {} |", self.load)?;
        let share = number(self.series.share_of_a_core(machine::cores()));
        writeln!(out, "| cores had by a thread, when enough | {share} |")
    }

    fn median(&self, name: &str, row: Row) -> Option<f64> {
        self.series.judged(name, row).map(|spread| spread.median)
    }

    /// The least median of the row.
    fn least(&self, row: Row, counts: impl Fn(&str) -> bool) -> Option<f64> {
        let names = self.built.iter().map(|one| one.peer.name).filter(|&name| counts(name));
        names.filter_map(|name| self.median(name, row)).min_by(f64::total_cmp)
    }

    /// Against the system's allocator, and against the best of all but ours, in whichever mode.
    fn ratios(&self, name: &str, row: Row) -> (Option<f64>, Option<f64>) {
        let against = |other: Option<f64>| Some(self.median(name, row)? / other?);
        (against(self.median(SYSTEM, row)), against(self.least(row, |name| !is_ours(name))))
    }
}

fn origin(out: &mut String, one: &Built) -> Result {
    let Built { peer, binary } = one;
    write!(out, "| {} | {} | {} ", peer.name, machine::versions(peer), peer.needs)?;
    match binary {
        Ok(_) => writeln!(out, "|"),
        Err(why) => writeln!(out, "**{}** |", why.replace('|', "\\|")),
    }
}

fn command_line() -> String {
    let words: Vec<_> = std::env::args().skip(1).collect();
    format!("cargo run --release -p bandolier-peers --bin compare -- {}", words.join(" ")).trim_end().to_owned()
}

/// Three digits, more or less.
fn number(value: Option<f64>) -> String {
    match value {
        None => NONE.to_owned(),
        Some(value) if value < 9.995 => format!("{value:.2}"),
        Some(value) if value < 99.95 => format!("{value:.1}"),
        Some(value) => format!("{value:.0}"),
    }
}

fn range(spread: Option<Spread>) -> String {
    spread.map_or_else(
        || NONE.to_owned(),
        |spread| format!("{}–{}", number(Some(spread.least)), number(Some(spread.most))),
    )
}

#[cfg(test)]
mod tests {
    use super::{Report, number, origin, range};
    use crate::options::{Options, Row};
    use crate::peer::Built;
    use crate::series::{Series, Spread};
    use bandolier_peers::crew::Cost;
    use bandolier_peers::record::Record;
    use bandolier_peers::trace::Trace;
    use bandolier_peers::workloads::Outcome;
    use core::time::Duration;
    use std::path::PathBuf;

    /// A run of one second that made as many pairs as leave this many ns for each.
    fn record(name: &str, row: Row, ns: u64) -> Record {
        let pairs = 1_000_000_000 / ns;
        let cost = Cost { cpu: Duration::from_secs(1), wall: Duration::from_secs(1), each: pairs, pairs };
        Record::of(name, row.workload.name, row.threads, Outcome { cost, trace: Trace::default() }, 0)
    }

    #[test]
    fn the_best_peer_is_none_of_ours() {
        let words = "--threads 1 --allocators bandolier,bandolier-shared,system,talc pair-var";
        let options = Options::from(words.split(' ').map(str::to_owned)).unwrap();
        let built: Vec<_> = options.peers.iter().map(|&peer| Built { peer, binary: Ok(PathBuf::new()) }).collect();
        let row = options.rows()[0];
        let mut series = Series::default();
        for (one, ns) in built.iter().zip([2, 4, 40, 8]) {
            series.add(one.peer.name, row, Some(record(one.peer.name, row, ns)));
        }
        let report = Report { options: &options, built: &built, series: &series, load: "" };
        assert_eq!(report.ratios("bandolier", row), (Some(0.05), Some(0.25)));
        assert_eq!(report.ratios("bandolier-shared", row), (Some(0.1), Some(0.5)));
        assert_eq!(report.ratios("talc", row), (Some(0.2), Some(1.0)));
    }

    #[test]
    fn what_cannot_be_measured_is_in_the_table() {
        let peer = Options::from(["pair".to_owned()].into_iter()).unwrap().peers[0];
        let mut out = String::new();
        origin(&mut out, &Built { peer, binary: Err("does not build here: error: a | b".to_owned()) }).unwrap();
        assert!(
            out.starts_with("| bandolier |") && out.ends_with("**does not build here: error: a \\| b** |\n"),
            "{out}"
        );
    }

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.957, 9.999, 12.34, 123.4].map(|value| number(Some(value)));
        assert_eq!(shown, ["0.96", "10.0", "12.3", "123"]);
        assert_eq!(range(None), "–");
        assert_eq!(range(Some(Spread { median: 2.0, least: 1.0, most: 3.0 })), "1.00–3.00");
    }
}
