//! Builds `measure` once per allocator, runs all of them in turns, and writes a report in markdown with plots.
//!
//! ```text
//!   options ─▶ plan ─▶ peer (build) ─▶ rounds ─▶ sheets of series, start_up ─▶ losses, targets ─▶ report
//!                          └─── progress ───┘              └──▶ plots ─────────────────────────────┘
//! ```
//!
//! Each figure is the median of several short runs, each in a process of its own, and the allocators take turns within
//! a round: what else the machine does falls on all of them alike.

mod aspect;
mod figure;
#[cfg(test)]
mod fixture;
mod loss;
mod machine;
mod options;
mod pattern;
mod peer;
mod plan;
mod plots;
mod progress;
mod reasons;
mod report;
mod rounds;
mod row;
mod series;
mod set;
mod sheet;
mod spread;
mod start_up;
mod target;

use core::error::Error;
use options::Options;
use plan::Plan;
use plots::Plot;
use reasons::Reasons;
use report::Report;
use sheet::Sheet;
use std::path::Path;
use std::process::ExitCode;
use std::{fs, io};

/// Below the workspace.
const REASONS: &str = "docs/benchmarks/reasons.md";
/// Beside the report.
const PLOTS: &str = "plots";

fn main() -> ExitCode {
    match Options::from(std::env::args().skip(1)) {
        Ok(options) => done(compare(&options)),
        Err(wrong) => {
            eprintln!("{wrong}\n{}", options::USAGE);
            ExitCode::from(2)
        }
    }
}

fn done(result: Result<(), Box<dyn Error>>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("compare: {why}");
            ExitCode::FAILURE
        }
    }
}

fn compare(options: &Options) -> Result<(), Box<dyn Error>> {
    let plans = Plan::all(options);
    let profiles = plan::profiles(options, &plans);
    let built = peer::build(options, &profiles);
    let of = |profile: &str| profiles.iter().position(|&other| other == profile).unwrap_or(0);
    let mut sheets: Vec<_> =
        plans.iter().map(|plan| Sheet::new(plan.clone(), built[of(&plan.profile)].clone())).collect();
    let load = machine::load();
    let start_up = rounds::run(options, &built[0], &mut sheets);
    // Read last: they may be written while the runs go on.
    let reasons = Reasons::from(&fs::read_to_string(peer::root().join(REASONS)).unwrap_or_default());
    let plots = if options.out.is_some() { plots::all(&sheets)? } else { Vec::new() };
    let report = Report {
        options,
        built: &built[0],
        sheets: &sheets,
        start_up: &start_up,
        reasons: &reasons,
        plots: &plots,
        load: &load,
    };
    let markdown = report.markdown()?;
    match &options.out {
        Some(file) => keep(file, &markdown, &plots)?,
        None => print!("{markdown}"),
    }
    Ok(())
}

fn keep(file: &Path, markdown: &str, plots: &[Plot]) -> io::Result<()> {
    let folder = file.with_file_name(PLOTS);
    fs::create_dir_all(&folder)?;
    plots.iter().try_for_each(|plot| fs::write(folder.join(&plot.file), &plot.svg))?;
    fs::write(file, markdown)
}
