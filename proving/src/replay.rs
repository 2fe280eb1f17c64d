//! Cases again: those of files, those of seeds, and how to do one of them once more.

use crate::confession;
use crate::target::random_bytes;
use std::fs;
use std::path::{Path, PathBuf};

/// Most bytes of a random case for the heap of the process.
pub const GLOBAL_LENGTH: usize = 3_000;

/// Where files of cases lie.
fn folder(kind: &str, target: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz").join(kind).join(target)
}

/// The files of cases of a target: its seeds, and what it once failed on.
#[must_use]
pub fn files(target: &str) -> Vec<PathBuf> {
    let entries = ["seeds", "crashes"].map(|kind| fs::read_dir(folder(kind, target)));
    let mut files: Vec<_> = entries.into_iter().flatten().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    files
}

/// How many cases are made of seeds: what the environment says (`BANDOLIER_CASES`, in percent of the usual).
fn share(cases: u64) -> u64 {
    let percent = std::env::var("BANDOLIER_CASES").ok().and_then(|percent| percent.parse().ok());
    cases * percent.unwrap_or(100_u64) / 100
}

/// Runs the cases of all files of a target, and so many that are made of seeds.
///
/// # Panics
/// When one fails.
pub fn all(target: &str, cases: u64, most: usize, run: impl Fn(&[u8])) {
    let files = files(target);
    files.iter().for_each(|path| one_file(target, path, &run));
    let cases = share(cases);
    (0..cases).for_each(|seed| one_seed(target, seed, most, &run));
    println!("{target}: {} files and {cases} cases of seeds", files.len());
}

/// Runs the case of one file.
///
/// # Panics
/// When it fails, or cannot be read.
pub fn one_file(target: &str, path: &Path, run: impl Fn(&[u8])) {
    let _confession = confession::prepare(format_args!("cargo xtask fuzz --replay {target} {}", path.display()));
    run(&fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())));
}

/// Runs the case of one seed.
///
/// # Panics
/// When it fails.
pub fn one_seed(target: &str, seed: u64, most: usize, run: impl Fn(&[u8])) {
    let _confession = confession::prepare(format_args!("cargo xtask fuzz --replay {target} {seed}"));
    run(&random_bytes(seed, most));
}
