//! The markdown.

use crate::machine;
use crate::options::{Options, Row};
use crate::peer::{Built, OURS, SYSTEM};
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

    /// Against the system's allocator, and against the best of all but ours.
    fn ratios(&self, name: &str, row: Row) -> (Option<f64>, Option<f64>) {
        let against = |other: Option<f64>| Some(self.median(name, row)? / other?);
        (against(self.median(SYSTEM, row)), against(self.least(row, |name| name != OURS)))
    }
}

fn origin(out: &mut String, one: &Built) -> Result {
    let Built { peer, binary } = one;
    write!(out, "| {} | {} | {} ", peer.name, machine::versions(peer), peer.needs)?;
    match binary {
        Ok(_) => writeln!(out, "|"),
        Err(why) => writeln!(out, "**does not build here:** {} |", why.replace('|', "\\|")),
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
    use super::{number, range};
    use crate::series::Spread;

    #[test]
    fn numbers_have_three_digits() {
        let shown = [0.957, 9.999, 12.34, 123.4].map(|value| number(Some(value)));
        assert_eq!(shown, ["0.96", "10.0", "12.3", "123"]);
        assert_eq!(range(None), "–");
        assert_eq!(range(Some(Spread { median: 2.0, least: 1.0, most: 3.0 })), "1.00–3.00");
    }
}
