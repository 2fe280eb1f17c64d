//! Builds `measure` once per allocator, runs all of them in turns, and prints markdown tables.
//!
//! ```text
//!   options ─▶ peer (build) ─▶ rounds ─▶ series ─▶ table (markdown)
//!                 └──── progress ────┘     machine ──┘
//! ```
//!
//! Each figure is the median of several short runs, each in a process of its own, and the allocators take turns within
//! a round: what else the machine does falls on all of them alike.

mod machine;
mod options;
mod peer;
mod progress;
mod rounds;
mod series;
mod table;

use core::error::Error;
use options::Options;
use std::process::ExitCode;

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
    let built = peer::build(options);
    let load = machine::load();
    let series = rounds::run(options, &built);
    let markdown = table::markdown(options, &built, &series, &load)?;
    match &options.out {
        Some(file) => std::fs::write(file, markdown)?,
        None => print!("{markdown}"),
    }
    Ok(())
}
