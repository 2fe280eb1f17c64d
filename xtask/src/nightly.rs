//! What needs a nightly compiler: Miri and the sanitizers.

use std::path::Path;

use crate::cargo::{self, Call};

pub(crate) const NIGHTLY: &str = "nightly";
const HOST: &str = "x86_64-unknown-linux-gnu";

/// Leaves out what only examples and benches depend on: everything is built anew here.
const LEAN: &str = "--cfg lean";

// ---- Miri ----------------------------------------------------------------------------------------------------------

/// The tests in which threads meet, cut to what Miri can do; these are run with many seeds.
const RACES: &str = "races";

/// Seeds of a run by hand.
const SEEDS: u32 = 64;

/// What Miri is asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Miri {
    /// How many ways of threads to take turns, and of loads to see old values, are tried; always the same ones.
    pub(crate) seeds: u32,
    pub(crate) target: Option<String>,
    pub(crate) filter: Option<String>,
}

impl Miri {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut asked = Self { seeds: SEEDS, target: None, filter: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match arg.as_str() {
                "--seeds" => asked.seeds = value()?.parse().map_err(|e| format!("--seeds: {e}"))?,
                "--target" => asked.target = Some(value()?.clone()),
                option if option.starts_with('-') => return Err(format!("miri knows no {option}")),
                filter => asked.filter = Some(filter.into()),
            }
        }
        Ok(asked)
    }

    /// The runs: which tests, and with which flags.
    ///
    /// Stacked Borrows first, which allow less; a few seeds with Tree Borrows, which see what goes on inside of a cell of two
    /// references better. Both with pointers that have provenance or none.
    fn runs(&self) -> Vec<(&'static [&'static str], String)> {
        let trees = self.seeds.div_ceil(8);
        let seeds = |from: u32, count: u32| format!("-Zmiri-many-seeds={from}..{}", from + count);
        vec![
            (&["--lib"], String::new()),
            (&["--test", RACES], format!("{} -Zmiri-preemption-rate=0.03", seeds(0, self.seeds))),
            (&["--test", RACES], format!("{} -Zmiri-tree-borrows", seeds(self.seeds, trees))),
        ]
    }
}

/// Runs the unit tests under Miri, and those in which threads meet with many seeds.
pub(crate) fn miri(root: &Path, args: &[String]) -> Result<(), String> {
    let asked = Miri::parse(args)?;
    need_miri(root)?;
    run_miri(root, &asked)
}

pub(crate) fn need_miri(root: &Path) -> Result<(), String> {
    cargo::need_toolchain(root, NIGHTLY)?;
    cargo::need_component(root, Some(NIGHTLY), "miri", &["miri", "--version"])?;
    need_rust_src(root)
}

pub(crate) fn run_miri(root: &Path, asked: &Miri) -> Result<(), String> {
    for (tests, flags) in asked.runs() {
        let mut args = vec!["miri", "test", "-p", "bandolier"];
        args.extend(tests);
        args.extend(asked.target.iter().flat_map(|target| ["--target", target]));
        args.push("--");
        args.extend(asked.filter.as_deref());
        let own = std::env::var("MIRIFLAGS").unwrap_or_default();
        let flags = ["-Zmiri-strict-provenance", &flags, &own].join(" ");
        let call = Call::cargo_of(NIGHTLY, root, &args).env("RUSTFLAGS", LEAN).env("MIRIFLAGS", flags.trim());
        call.env("CARGO_TARGET_DIR", cargo::target(root, "miri")).run()?;
    }
    Ok(())
}

// ---- sanitizers ----------------------------------------------------------------------------------------------------

/// What is run under a sanitizer, and how it is told to behave.
pub(crate) struct Sanitizer {
    kind: &'static str,
    /// Those of which a share runs in `test`, and the rest.
    share: &'static [&'static str],
    rest: &'static [&'static str],
    skipped: &'static [&'static str],
    options: &'static [(&'static str, &'static str)],
}

/// The standard library is built for it, too: what its locks and channels order is seen by no other way.
pub(crate) const THREAD: Sanitizer = Sanitizer {
    kind: "thread",
    share: &["races", "stress"],
    // Not `reclaim`: it measures what is resident, and much of that is the sanitizer's.
    rest: &["threads", "limits", "cpus", "global"],
    // Millions of blocks for the sake of figures.
    skipped: &["hybrids_earn_and_cool"],
    // Children of a fork from several threads go on; they allocate, but start no threads.
    options: &[("TSAN_OPTIONS", "halt_on_error=1:die_after_fork=0")],
};

pub(crate) const ADDRESS: Sanitizer = Sanitizer {
    kind: "address",
    share: &["told", "races", "global", "stress"],
    // Not `misuse`: it wants the heap itself to find what this finds before. Not `reclaim`: it measures what is resident, and much
    // of that is the sanitizer's.
    rest: &["threads", "limits", "cpus", "drops", "ebb", "faults", "frusa", "oom"],
    skipped: &[],
    options: &[
        // Otherwise frames lie anywhere, and a heap no longer tells threads without a cache by their stacks.
        ("ASAN_OPTIONS", "detect_stack_use_after_return=0"),
        ("LSAN_OPTIONS", "suppressions=xtask/lsan.supp:print_suppressions=0"),
    ],
};

/// Runs all tests that there are for a sanitizer.
pub(crate) fn sanitizer(root: &Path, of: &Sanitizer) -> Result<(), String> {
    need_sanitizer(root)?;
    run_sanitizer(root, of, &[of.share, of.rest].concat(), &[])
}

/// Runs those that `test` has time for.
pub(crate) fn share_of(root: &Path, of: &Sanitizer) -> Result<(), String> {
    run_sanitizer(root, of, of.share, &[FEW_TURNS])
}

pub(crate) fn need_sanitizer(root: &Path) -> Result<(), String> {
    let host = Call::new(root, "rustc", &["-vV"]).output().unwrap_or_default();
    if !host.contains(&format!("host: {HOST}")) {
        return Err(format!("the sanitizers are run on {HOST} only"));
    }
    cargo::need_toolchain(root, NIGHTLY)?;
    need_rust_src(root)
}

/// What tests are built with that a slow tool watches: some of their turns.
pub(crate) const FEW_TURNS: (&str, &str) = ("BANDOLIER_TURNS", "few");

fn run_sanitizer(root: &Path, of: &Sanitizer, tests: &[&str], with: &[(&str, &str)]) -> Result<(), String> {
    let mut args = vec!["test", "-p", "bandolier", "--features", "annotate", "--target", HOST, "--lib"];
    tests.iter().for_each(|test| args.extend(["--test", test]));
    if of.kind == "thread" {
        args.push("-Zbuild-std");
    }
    args.push("--");
    of.skipped.iter().for_each(|test| args.extend(["--skip", test]));
    let call = Call::cargo_of(NIGHTLY, root, &args).env("RUSTFLAGS", format!("-Zsanitizer={} {LEAN}", of.kind));
    let call = of.options.iter().chain(with).fold(call, |call, (name, options)| call.env(name, options));
    let call = call.env("BANDOLIER_TOOL", of.kind);
    call.env("CARGO_TARGET_DIR", cargo::target(root, of.kind)).run()
}

/// What cargo builds to run ThreadSanitizer's share of tests, and in which environment.
pub(crate) fn share_of_races() -> (Vec<&'static str>, Vec<(&'static str, &'static str)>) {
    let cargo =
        ["--features=annotate", "--target=x86_64-unknown-linux-gnu", "-Zbuild-std", "--test=races", "--test=stress"];
    let flags = ("RUSTFLAGS", "-Zsanitizer=thread --cfg lean");
    (cargo.to_vec(), [&[flags, FEW_TURNS, ("BANDOLIER_TOOL", THREAD.kind)], THREAD.options].concat())
}

fn need_rust_src(root: &Path) -> Result<(), String> {
    let sysroot = Call::new(root, "rustup", &["run", NIGHTLY, "rustc", "--print", "sysroot"]).output()?;
    if Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library").is_dir() {
        return Ok(());
    }
    Call::new(root, "rustup", &["component", "add", "rust-src", "--toolchain", NIGHTLY]).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Miri, String> {
        Miri::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn miri_is_asked_for_seeds_a_target_and_a_filter() {
        let some = parse(&["--seeds", "5", "--target", "s390x-unknown-linux-gnu", "trimmed"]).unwrap();
        let (target, filter) = (Some("s390x-unknown-linux-gnu".into()), Some("trimmed".into()));
        assert_eq!(some, Miri { seeds: 5, target, filter });
        assert_eq!(parse(&[]).unwrap().seeds, SEEDS);
        assert!(parse(&["--seeds"]).is_err() && parse(&["--seeds", "many"]).is_err() && parse(&["--sees"]).is_err());
    }

    #[test]
    fn the_two_aliasing_models_have_seeds_of_their_own() {
        let runs = Miri { seeds: 16, target: None, filter: None }.runs();
        assert!(runs[1].1.contains("=0..16") && !runs[1].1.contains("tree"), "{runs:?}");
        assert!(runs[2].1.contains("=16..18") && runs[2].1.contains("tree"), "{runs:?}");
    }
}
