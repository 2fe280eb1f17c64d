//! The table: the services side by side, each cell a median over the rounds.

use core::fmt::Write;
use core::iter;

use crate::contestant::Contestant;
use crate::crowd::CLIENTS;
use crate::memory::Memory;
use crate::options::Plan;
use crate::round::{Figures, Round};
use crate::server::WORKERS;

struct Row {
    label: &'static str,
    decimals: usize,
    /// `None` where the system does not tell.
    value: fn(&Figures) -> Option<f64>,
}

const ROWS: [Row; 9] = [
    row("requests/s", 0, |it| Some(it.requests_per_second())),
    row("latency p50, ms", 2, |it| it.latency(0.50)),
    row("latency p99, ms", 2, |it| it.latency(0.99)),
    row("burst, s", 2, |it| Some(it.burst.as_secs_f64())),
    row("RSS before the load, MiB", 1, |it| resident(&it.before)),
    row("peak RSS, MiB", 1, |it| it.after_reclaim.peak.map(mebibytes)),
    row("RSS after the burst, MiB", 1, |it| resident(&it.after_burst)),
    row("RSS after idle, MiB", 1, |it| resident(&it.after_idle)),
    row("RSS after reclaim, MiB", 1, |it| resident(&it.after_reclaim)),
];

const fn row(label: &'static str, decimals: usize, value: fn(&Figures) -> Option<f64>) -> Row {
    Row { label, decimals, value }
}

fn resident(memory: &Memory) -> Option<f64> {
    memory.resident.map(mebibytes)
}

fn mebibytes(bytes: u64) -> f64 {
    bytes as f64 / (1024.0 * 1024.0)
}

impl Figures {
    fn requests_per_second(&self) -> f64 {
        self.latencies.len() as f64 / self.load.as_secs_f64()
    }

    /// In milliseconds: this share of the requests took no longer.
    fn latency(&self, share: f64) -> Option<f64> {
        let rank = (self.latencies.len() as f64 * share) as usize;
        self.latencies.get(rank).map(|latency| latency.as_secs_f64() * 1e3)
    }
}

/// The table and the words it needs.
pub(crate) fn render(plan: &Plan, contestants: &[Contestant], rounds: &[Round]) -> String {
    let labels = ROWS.iter().map(|row| row.label.to_owned());
    let mut columns = vec![column("", labels)];
    columns.extend(contestants.iter().enumerate().map(|(nth, contestant)| {
        let cells = ROWS.iter().map(|row| row.cell(rounds.iter().map(|round| &round[nth])));
        column(contestant.title, cells)
    }));
    let widths: Vec<_> = columns.iter().map(|column| column.iter().map(String::len).max().unwrap_or(0)).collect();
    let mut text = String::from("\n");
    for line in 0..=ROWS.len() {
        // Writing to a string cannot fail, here and below.
        let _ = write!(text, "{:width$}", columns[0][line], width = widths[0]);
        for (column, width) in columns.iter().zip(&widths).skip(1) {
            let _ = write!(text, "   {:>width$}", column[line]);
        }
        text.push('\n');
    }
    let words = [conditions(plan, contestants, rounds), meanings(plan, contestants, rounds), heap(rounds)];
    let _ = write!(text, "\n{}", words.concat());
    text
}

fn column(head: &str, cells: impl Iterator<Item = String>) -> Vec<String> {
    iter::once(head.to_owned()).chain(cells).collect()
}

impl Row {
    /// `median (lowest-highest)`.
    fn cell<'a>(&self, figures: impl Iterator<Item = &'a Figures>) -> String {
        let mut values: Vec<f64> = figures.filter_map(self.value).collect();
        values.sort_unstable_by(f64::total_cmp);
        let places = self.decimals;
        match values[..] {
            [] => "n/a".to_owned(),
            [only] => format!("{only:.places$}"),
            [lowest, .., highest] => format!("{:.places$} ({lowest:.places$}-{highest:.places$})", median(&values)),
        }
    }
}

/// Of two in the middle, the mean.
fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

fn conditions(plan: &Plan, contestants: &[Contestant], rounds: &[Round]) -> String {
    let planned = plan.rounds;
    let (done, load, build) = (rounds.len(), plan.load.as_secs(), build());
    let short = if done < planned { format!(" of {planned}, for want of time") } else { String::new() };
    let order = contestants.iter().map(|contestant| contestant.title).collect::<Vec<_>>().join(", then ");
    format!(
        "rounds: {done}{short}, in each {order}; median (lowest-highest); {build}\n\
         load: {load} s in each round, {CLIENTS} keep-alive connections from one thread, {WORKERS} service threads\n"
    )
}

fn meanings(plan: &Plan, contestants: &[Contestant], rounds: &[Round]) -> String {
    let (batches, idle) = (plan.batches, plan.idle.as_secs());
    let called =
        |(contestant, figures): (&Contestant, &Figures)| format!("{} on {}", figures.reclaimed.call, contestant.title);
    let calls: Vec<_> = rounds.last().into_iter().flat_map(|round| contestants.iter().zip(round)).map(called).collect();
    format!(
        "burst: {batches} imports of about a megabyte of JSON, then their deletion, the cache in use meanwhile\n\
         idle: {idle} s without a request\n\
         reclaim: {}\n",
        calls.join(", "),
    )
}

const fn build() -> &'static str {
    if cfg!(debug_assertions) { "an unoptimised build: not for comparing" } else { "a release build" }
}

/// Bandolier's word on the last round.
fn heap(rounds: &[Round]) -> String {
    let told = rounds.last().and_then(|round| {
        let figures = round.iter().find(|figures| figures.after_reclaim.heap.is_some())?;
        Some((figures.reclaimed.bytes?, figures.after_reclaim.heap?))
    });
    let Some((reclaimed, heap)) = told else {
        return String::new();
    };
    let sizes = [heap.from_backend, heap.in_use, reclaimed.released, reclaimed.purged];
    let [from_backend, in_use, released, purged] = sizes.map(|bytes| mebibytes(bytes as u64));
    format!(
        "Bandolier's own figures at the end of the last round: {from_backend:.1} MiB from the system, \
         {in_use:.1} MiB in use;\n  its reclaim released {released:.1} MiB and purged {purged:.1} MiB\n"
    )
}
