//! Mutants of the library: small changes of its source, each of which some test must notice.
//!
//! ```text
//!   cargo-mutants ──▶ unit tests, and paths with stopped threads ──missed──▶ models of the file ──missed──▶ small integration tests
//!                       │ caught                                               │ caught                       │ caught   │ missed
//!                       ▼                                                      ▼                              ▼          ▼
//!                                                                                              in docs/MUTANTS.md, or a failure
//! ```
//!
//! The cheapest come first, and each asks only about what those before have missed (`--iterate`). A change that makes no difference is
//! listed in `docs/MUTANTS.md` with the reason, by the line that it is made in and what it does, so that a new survivor is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Call};
use crate::orderings::{code_span, split_cells};

/// Where exceptions are listed.
pub(crate) const RECORD: &str = "docs/MUTANTS.md";

/// Integration tests that take a few seconds.
const SMALL: [&str; 5] = ["--test=drops", "--test=frusa", "--test=limits", "--test=oom", "--test=ebb"];

/// Files that have models.
const MODELS: &str = "loom-tests";

/// A change, as people know it: where, whatever the line's number, and what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Mutant {
    file: String,
    /// The line, without what is around it.
    line: String,
    what: String,
}

impl Mutant {
    /// `src/a.rs:12:5: replace < with <= in f`
    fn of(root: &Path, name: &str) -> Option<Self> {
        let (place, what) = name.split_once(": ")?;
        let mut place = place.split(':');
        let (file, number) = (place.next()?, place.next()?.parse::<usize>().ok()?);
        let text = fs::read_to_string(root.join(file)).ok()?;
        let line = text.lines().nth(number.checked_sub(1)?)?.trim().to_string();
        Some(Self { file: file.into(), line, what: what.into() })
    }
}

/// What became of the mutants of a run.
#[derive(Default)]
struct Found {
    made: Vec<String>,
    missed: Vec<String>,
    late: Vec<String>,
    unviable: Vec<String>,
}

/// One run of cargo-mutants after the other, in one place.
struct Bench<'a> {
    root: &'a Path,
    folder: PathBuf,
    chosen: Vec<String>,
}

impl Bench<'_> {
    /// Tries what was not caught before.
    fn run(&self, files: &[String], cargo: &[&str], test: &[&str], env: &[(&str, &str)]) -> Result<(), String> {
        let folder = self.folder.to_string_lossy();
        let mut args = vec!["mutants", "-p", "bandolier", "--no-shuffle", "--iterate", "--baseline=skip", "-o", &folder];
        args.extend(["--timeout", "60", "--build-timeout", "600"]);
        args.extend(self.chosen.iter().map(String::as_str));
        let files: Vec<_> = files.iter().map(|file| format!("--file={file}")).collect();
        args.extend(files.iter().map(String::as_str));
        let cargo: Vec<_> = cargo.iter().map(|arg| format!("-C={arg}")).collect();
        args.extend(cargo.iter().map(String::as_str));
        args.extend([&["--", "--"], test].concat());
        let mut call = Call::cargo(self.root, &args);
        for (key, value) in env {
            call = call.env(key, value);
        }
        // It fails when something is missed, which is ours to judge.
        if !call.run_either_way()? && !self.folder.join("mutants.out/outcomes.json").exists() {
            return Err("cargo-mutants did not run".into());
        }
        Ok(())
    }

    fn names(&self, list: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("mutants.out").join(list)).unwrap_or_default();
        text.lines().map(String::from).collect()
    }
}

pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    need_cargo_mutants(root)?;
    let (shard, files) = parse(args)?;
    let bench = Bench { root, folder: cargo::target(root, "mutants"), chosen: shard.into_iter().collect() };
    let listed = exceptions(root)?;
    fs::create_dir_all(&bench.folder).map_err(|e| e.to_string())?;
    let found = hunt(&bench, &files)?;
    judge(root, &found, &listed)
}

/// `2/5`, and parts of files' names.
fn parse(args: &[String]) -> Result<(Option<String>, Vec<String>), String> {
    let (mut shard, mut files) = (None, Vec::new());
    for arg in args {
        if let Some((n, of)) = arg.split_once('/').and_then(|(n, of)| Some((n.parse::<u32>().ok()?, of.parse::<u32>().ok()?))) {
            (1..=of).contains(&n).then_some(()).ok_or_else(|| format!("`{arg}` is no shard; 2/5 is"))?;
            shard = Some(format!("--shard={}/{of}", n - 1));
        } else if arg.starts_with('-') {
            return Err(format!("`{arg}` is no option of mutants"));
        } else {
            files.push(format!("src/**/*{arg}*"));
        }
    }
    Ok((shard, files))
}

fn need_cargo_mutants(root: &Path) -> Result<(), String> {
    if Call::cargo(root, &["mutants", "--version"]).succeeds() {
        return Ok(());
    }
    Call::cargo(root, &["install", "--locked", "cargo-mutants"]).run()
}

/// Tries all chosen mutants, cheapest test first.
fn hunt(bench: &Bench<'_>, files: &[String]) -> Result<Found, String> {
    let _ = fs::remove_dir_all(bench.folder.join("mutants.out"));
    // Quick to build, and quick enough to run.
    let quick = [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"), ("RUST_BACKTRACE", "0")];
    let steps = [("RUSTFLAGS", "--cfg steps"), ("STEPS_EVERY", "97"), ("STEPS_PAIRS", "20")];
    bench.run(files, &["--lib"], &["--skip", "a_pass_that"], &[&quick[..], &steps].concat())?;
    let mut found = Found { late: bench.names("timeout.txt"), unviable: bench.names("unviable.txt"), ..Found::default() };
    found.made = ["caught.txt", "missed.txt", "timeout.txt", "unviable.txt"].into_iter().flat_map(|list| bench.names(list)).collect();
    println!("mutants: {} of {} are not caught by unit tests and paths", bench.names("missed.txt").len(), found.made.len());
    for (file, module) in modelled(bench.root, &bench.names("missed.txt")) {
        let models = format!("{module}::loom_tests");
        bench.run(&[file], &["--lib", "--profile=loom"], &[&models], &[("RUSTFLAGS", "--cfg loom"), ("LOOM_MAX_PREEMPTIONS", "2")])?;
    }
    found.missed = bench.names("missed.txt");
    println!("mutants: {} are not caught by models", found.missed.len());
    Ok(found)
}
