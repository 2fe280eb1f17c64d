//! Runs cases again: from files, or by their seeds.

use bandolier_proving::{TARGETS, replay};
use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args().skip(1).collect();
    let [name, cases @ ..] = &args[..] else { return usage() };
    let Some(target) = TARGETS.iter().find(|target| target.name == name) else { return usage() };
    for case in cases {
        match case.parse() {
            Ok(seed) => replay::one_seed(name, seed, target.length, target.run),
            Err(_) => replay::one_file(name, Path::new(case), target.run),
        }
    }
    ExitCode::SUCCESS
}

fn usage() -> ExitCode {
    eprintln!("replay TARGET (FILE | SEED)..");
    TARGETS.iter().for_each(|target| eprintln!("  {:10} {}", target.name, target.what));
    ExitCode::FAILURE
}
