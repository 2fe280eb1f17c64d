//! What this is, and how it was made.

use super::Report;
use core::fmt::{Result, Write};

pub(super) fn write(report: &Report<'_>, out: &mut String) -> Result {
    let (rounds, target) = (report.options.rounds(), report.options.target());
    let long_rounds = report.options.long_rounds();
    writeln!(out, "# {}\n", if report.options.growing { "Growth" } else { "Benchmarks" })?;
    writeln!(
        out,
        "Bandolier beside other allocators, each as the global allocator of processes of its own, in turns."
    )?;
    writeln!(
        out,
        "Medians of {rounds} rounds of {target:?}, or {long_rounds} where a run takes seconds; ns per allocation"
    )?;
    writeln!(out, "with its free.")?;
    writeln!(out, "`benches/README.md` says how it is measured and what the figures do not mean.")?;
    writeln!(out, "This file is generated; only the reasons are written by hand, in `docs/benchmarks/reasons.md`.\n")?;
    writeln!(out, "    {}\n", command_line())
}

fn command_line() -> String {
    let words: Vec<_> = std::env::args().skip(1).collect();
    format!("cargo run --release -p bandolier-peers --bin compare -- {}", words.join(" ")).trim_end().to_owned()
}
