//! What a child reports, as a line to its parent and as a row of the report.

use core::fmt::Write as _;

macro_rules! record {
    ($($(#[$attr:meta])* $field:ident: $title:literal, $kind:ident;)*) => {
        /// What happened in one mode.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct Record {
            pub(crate) mode: String,
            /// Where threads found their magazines, as the heap says.
            pub(crate) locator: String,
            $($(#[$attr])* pub(crate) $field: u64,)*
        }

        impl Record {
            pub(crate) fn line(&self) -> String {
                let mut line = format!("record mode={} locator={}", self.mode, self.locator);
                $(let _ = write!(line, " {}={}", stringify!($field), self.$field);)*
                line
            }

            pub(crate) fn parse(said: &str) -> Option<Self> {
                let line = said.lines().find_map(|line| line.strip_prefix("record "))?;
                let value = |name: &str| line.split(' ').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='));
                Some(Self {
                    mode: value("mode")?.into(),
                    locator: value("locator")?.into(),
                    $($field: value(stringify!($field))?.parse().ok()?,)*
                })
            }
        }

        /// The rows of the report: what each is called, and what it is of a record.
        const ROWS: &[(&str, fn(&Record) -> String)] = &[$(($title, |record| $kind(record.$field)),)*];
    };
}

record! {
    seconds: "seconds", plain;
    epochs: "epochs", plain;
    ops: "operations", plain;
    blocks: "blocks handed out to the oracle", plain;
    bytes: "GiB in them", gib;
    refused: "allocations refused at hard limits", plain;
    lifted: "hard limits lifted for who could not do without", plain;
    threads: "threads", plain;
    forks: "forks", plain;
    signals: "signals handled", plain;
    steps: "runs of a driver", plain;
    checkpoints: "checkpoints", plain;
    emptied: "of them with all freed and drained", plain;
    peak: "MiB resident at most", mib;
    early: "MiB resident when emptied, early on (median)", mib;
    late: "MiB resident when emptied, at the end (median)", mib;
    residue: "MiB from the back-end that are no records, when emptied (most)", mib;
    records: "MiB of records, when emptied (most)", mib;
}

fn plain(n: u64) -> String {
    let digits = n.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1 << 20) as f64)
}

fn gib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / (1 << 30) as f64)
}

/// All modes beside each other, in Markdown.
pub(crate) fn report(seed: u64, records: &[Record]) -> String {
    let mut text = format!("\nSoak, seed {seed}, no invariant broken:\n\n|");
    records.iter().for_each(|record| _ = write!(text, " | {} ({})", record.mode, record.locator));
    let _ = write!(text, " |\n|---{}|\n", "|--:".repeat(records.len()));
    for (title, value) in ROWS {
        let _ = write!(text, "| {title} |");
        records.iter().for_each(|record| _ = write!(text, " {} |", value(record)));
        text.push('\n');
    }
    text
}
