//! Fuzzing: what every test run repeats, and what a fuzzer finds in as many minutes as one likes.
//!
//! ```text
//!   fuzz/seeds/TARGET    small cases that reach far, kept in the tree
//!   fuzz/crashes/TARGET  cases that once failed, kept in the tree
//!   fuzz/corpus/TARGET   what the fuzzer has found so far on this machine
//! ```

use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Call};
use crate::nightly::NIGHTLY;

/// `proving/src/target.rs` says what each is.
const TARGETS: [&str; 6] = ["sequences", "threads", "classes", "runs", "misuse", "global"];
/// Optimised, with the library's own checks.
const CHECKED: &str = "loom";

/// The targets are a package of their own, since only a fuzzer's compiler can link them.
pub(crate) fn check(root: &Path) -> Result<(), String> {
    const PACKAGE: [&str; 2] = ["--manifest-path", "fuzz/Cargo.toml"];
    Call::cargo(root, &[&["fmt"], &PACKAGE[..], &["--check"]].concat()).run()?;
    // Nothing is linked, so the fuzzer itself need not be there, or built.
    let check =
        Call::cargo(root, &[&["check"], &PACKAGE[..]].concat()).env("CUSTOM_LIBFUZZER_PATH", "none/libfuzzer.a");
    check.env("CARGO_TARGET_DIR", cargo::target(root, "fuzz-check")).run()
}

/// Repeats all seeds and crashes, and runs cases made of seeds: with a stable compiler, with the library's own checks and without.
pub(crate) fn replay_all(root: &Path) -> Result<(), String> {
    for profile in [CHECKED, "release"] {
        Call::cargo(root, &["test", "-p", "bandolier-proving", "--profile", profile]).run()?;
    }
    Ok(())
}

/// The same with hardened heaps, and a share of the cases.
pub(crate) fn replay_hardened(root: &Path) -> Result<(), String> {
    let args = ["test", "-p", "bandolier-proving", "--features=hardened", "--profile", CHECKED];
    Call::cargo(root, &args).env("BANDOLIER_CASES", "15").run()
}

/// `--replay TARGET (FILE | SEED)..`, or `[--minutes N] [--minimise] [target..]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if let [first, rest @ ..] = args
        && first == "--replay"
    {
        return replay(root, rest);
    }
    let options = Options::parse(args)?;
    cargo::need_toolchain(root, NIGHTLY)?;
    need_cargo_fuzz(root)?;
    let seconds = options.minutes * 60.0 / options.targets.len() as f64;
    let results: Vec<_> = options.targets.iter().map(|target| fuzz(root, target, seconds)).collect();
    if options.minimises {
        options.targets.iter().try_for_each(|target| minimise(root, target))?;
    }
    results.into_iter().collect()
}

struct Options {
    /// For all targets together.
    minutes: f64,
    /// Whether the seeds in the tree are made anew of all that is known.
    minimises: bool,
    targets: Vec<&'static str>,
}

impl Options {
    fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self { minutes: 6.0, minimises: false, targets: Vec::new() };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            match arg.as_str() {
                "--minutes" => {
                    let minutes = args.next().and_then(|minutes| minutes.parse().ok());
                    options.minutes = minutes.filter(|n| *n > 0.0).ok_or("--minutes wants a number")?;
                }
                "--minimise" => options.minimises = true,
                name => {
                    let known = TARGETS.iter().find(|target| **target == name);
                    options.targets.push(known.ok_or(format!("{name} is none of {}", TARGETS.join(", ")))?);
                }
            }
        }
        if options.targets.is_empty() {
            options.targets = TARGETS.to_vec();
        }
        Ok(options)
    }
}

fn need_cargo_fuzz(root: &Path) -> Result<(), String> {
    if Call::new(root, "cargo", &["fuzz", "--version"]).succeeds() {
        return Ok(());
    }
    if !Call::new(root, "c++", &["--version"]).succeeds() {
        return Err("libFuzzer is built with a C++ compiler, and there is no `c++`".into());
    }
    Call::cargo(root, &["install", "--locked", "cargo-fuzz"]).run()
}

fn folder(root: &Path, kind: &str, target: &str) -> Result<PathBuf, String> {
    let path = root.join("fuzz").join(kind).join(target);
    fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// The fuzzed library has its own checks (debug assertions); AddressSanitizer knows nothing of what a heap has on pages of its
/// own, and would only make it slower.
fn cargo_fuzz(root: &Path, verb: &str, target: &str, more: &[&str]) -> Result<(), String> {
    let args = [&["fuzz", verb, "--sanitizer", "none", target], more].concat();
    Call::cargo_of(NIGHTLY, root, &args).env("CARGO_TARGET_DIR", cargo::target(root, "fuzz")).run()
}

fn fuzz(root: &Path, target: &str, seconds: f64) -> Result<(), String> {
    let [corpus, seeds, crashes] = ["corpus", "seeds", "crashes"].map(|kind| folder(root, kind, target));
    let [corpus, seeds] = [corpus?, seeds?].map(|path| path.to_string_lossy().into_owned());
    let artifacts = format!("-artifact_prefix={}/", crashes?.display());
    let time = format!("-max_total_time={}", seconds.ceil());
    let libfuzzer = ["-max_len=4096", "-len_control=0", "-timeout=60", "-rss_limit_mb=4096", &time, &artifacts];
    cargo_fuzz(root, "run", target, &[&[corpus.as_str(), &seeds, "--"], &libfuzzer[..]].concat()).map_err(|error| {
        format!("{error}\nthe case is in fuzz/crashes/{target}; cargo xtask fuzz --replay {target} FILE")
    })
}

/// Makes the seeds in the tree the fewest and shortest cases that reach as far as all that are known.
fn minimise(root: &Path, target: &str) -> Result<(), String> {
    let [corpus, seeds] = [folder(root, "corpus", target)?, folder(root, "seeds", target)?];
    for seed in fs::read_dir(&seeds).map_err(|e| e.to_string())?.flatten() {
        fs::rename(seed.path(), corpus.join(seed.file_name())).map_err(|e| e.to_string())?;
    }
    let (corpus, seeds) = (corpus.to_string_lossy(), seeds.to_string_lossy());
    cargo_fuzz(root, "run", target, &[&seeds, &corpus, "--", "-set_cover_merge=1", "-max_len=1024", "-timeout=60"])
}

/// Runs cases again, of files or of seeds.
fn replay(root: &Path, args: &[String]) -> Result<(), String> {
    let [target, ..] = args else { return Err("--replay TARGET (FILE | SEED)..".into()) };
    let program = if target == "global" { "replay-global" } else { "replay" };
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    let run = ["run", "--profile", CHECKED, "-p", "bandolier-proving", "--bin", program, "--"];
    Call::cargo(root, &[&run[..], &args].concat()).run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_targets_are_those_that_there_are() {
        let path = cargo::root().join("fuzz/fuzz_targets");
        let files = fs::read_dir(path).unwrap().flatten().map(|entry| entry.path());
        let mut found: Vec<_> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
        let mut named = TARGETS.map(String::from);
        found.sort();
        named.sort();
        assert_eq!(found, named);
    }

    #[test]
    fn options_are_read_and_unknown_targets_refused() {
        let parse = |args: &[&str]| Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let options = parse(&["--minutes", "0.5", "runs"]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!((options.minutes, options.targets), (0.5, vec!["runs"]));
        assert_eq!(parse(&[]).map(|options| options.targets.len()), Ok(TARGETS.len()));
        assert!(parse(&["walks"]).is_err() && parse(&["--minutes", "0"]).is_err());
    }

    #[test]
    fn seeds_stay_small() {
        let sizes = TARGETS.iter().flat_map(|target| fs::read_dir(cargo::root().join("fuzz/seeds").join(target)));
        let bytes: u64 = sizes.flatten().flatten().map(|file| file.metadata().unwrap().len()).sum();
        assert!(0 < bytes && bytes < 500 << 10, "{bytes} bytes of seeds");
    }
}
