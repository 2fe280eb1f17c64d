//! The models: every test whose path has a `loom_tests` in it, on the library built with `--cfg loom`.

use core::time::Duration;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cargo::{self, Built, Call, Ended};

/// The child module of each file that holds its models.
const MODULE: &str = "loom_tests::";
/// Enough for each push; the nightly run asks for more.
const PREEMPTIONS: &str = "2";

/// `slab::loom_tests::retire` is called `slab::retire` by people.
pub(crate) fn short(name: &str) -> String {
    name.replace(MODULE, "")
}

/// The models of one tree and where they are built.
pub(crate) struct Models<'a> {
    pub(crate) tree: &'a Path,
    pub(crate) target: PathBuf,
    /// Say nothing while it compiles, unless it fails.
    pub(crate) quiet: bool,
}

impl Models<'_> {
    /// Builds the library's tests under loom.
    pub(crate) fn build(&self) -> Result<Built, String> {
        let mut args =
            vec!["test", "--lib", "--profile", "loom", "--no-run", "--message-format=json-render-diagnostics"];
        args.extend(self.quiet.then_some("--quiet"));
        let call = Call::cargo(self.tree, &args).env("RUSTFLAGS", "--cfg loom").env("CARGO_TARGET_DIR", &self.target);
        let messages = if self.quiet { call.output_alone()? } else { call.output()? };
        cargo::built_test(&messages).ok_or_else(|| "cargo built no test binary of the library".into())
    }

    /// The full names of the models that are not `#[ignore]`d.
    pub(crate) fn list(&self, built: &Built) -> Result<Vec<String>, String> {
        let names = |more: &[&str]| {
            let args = [&["--list", "--format", "terse"], more].concat();
            Call::new(self.tree, &built.path, &args).output().map(|out| listed(&out))
        };
        let ignored = names(&["--ignored"])?;
        Ok(names(&[])?.into_iter().filter(|n| !ignored.contains(n)).collect())
    }

    fn call(&self, built: &Built, args: &[&str]) -> Call {
        let call = Call::new(self.tree, &built.path, args);
        match std::env::var_os("LOOM_MAX_PREEMPTIONS") {
            Some(_) => call,
            None => call.env("LOOM_MAX_PREEMPTIONS", PREEMPTIONS),
        }
    }

    /// Runs one model and tells what became of it.
    pub(crate) fn run_one(&self, built: &Built, name: &str, limit: Duration, log: &Path) -> Result<Verdict, String> {
        let started = Instant::now();
        let call = self.call(built, &["--exact", name]).env("RUST_BACKTRACE", "0");
        let ended = call.run_for(limit, log)?;
        let output = std::fs::read(log).map_err(|e| format!("{}: {e}", log.display()))?;
        Ok(Verdict { outcome: outcome(ended, &String::from_utf8_lossy(&output)), time: started.elapsed() })
    }
}

pub(crate) struct Verdict {
    pub(crate) outcome: Outcome,
    pub(crate) time: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Outcome {
    Green,
    /// The model ran and did not hold: a failed assertion, a race, loom's own limits, or an abort on the way.
    Red,
    Late,
    /// The binary did not run exactly this one test.
    NotRun,
}

fn outcome(ended: Ended, output: &str) -> Outcome {
    let ran = output.lines().any(|l| l.trim() == "running 1 test");
    match ended {
        Ended::Late => Outcome::Late,
        _ if !ran => Outcome::NotRun,
        Ended::Well if output.contains("test result: ok. 1 passed;") => Outcome::Green,
        Ended::Well => Outcome::NotRun,
        Ended::Badly => Outcome::Red,
    }
}

/// The models in what `--list --format terse` prints.
fn listed(output: &str) -> Vec<String> {
    let names = output.lines().filter_map(|l| l.strip_suffix(": test"));
    names.filter(|n| n.starts_with(MODULE) || n.contains("::loom_tests::")).map(String::from).collect()
}

fn chosen(names: Vec<String>, filter: &str) -> Vec<String> {
    names.into_iter().filter(|n| n.contains(filter) || short(n).contains(filter)).collect()
}

/// Runs all models whose name contains `filter`.
pub(crate) fn run(root: &Path, filter: &str) -> Result<(), String> {
    let models = Models { tree: root, target: cargo::target(root, "loom"), quiet: false };
    let built = models.build()?;
    let names = chosen(models.list(&built)?, filter);
    if names.is_empty() {
        return Err(format!("loom: no model ran: no test below {MODULE} has a name with \"{filter}\""));
    }
    let started = Instant::now();
    let args: Vec<&str> = ["--exact"].into_iter().chain(names.iter().map(String::as_str)).collect();
    models.call(&built, &args).run().map_err(|_| format!("loom: of {} models, one or more failed", names.len()))?;
    println!("loom: {} models hold ({})", names.len(), cargo::seconds(started.elapsed()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_models_are_listed() {
        let output = "a::loom_tests::b: test\nc::tests::d: test\nloom_tests::e: test\ne::bench: benchmark\nmy_loom_tests::f: test\n";
        assert_eq!(listed(output), ["a::loom_tests::b", "loom_tests::e"]);
    }

    #[test]
    fn a_filter_takes_long_and_short_names() {
        let names = || vec!["a::loom_tests::b".to_string(), "c::loom_tests::d".to_string()];
        assert_eq!(chosen(names(), "a::b"), ["a::loom_tests::b"]);
        assert_eq!(chosen(names(), "c::loom"), ["c::loom_tests::d"]);
        assert_eq!(chosen(names(), "").len(), 2);
    }

    #[test]
    fn only_a_test_that_ran_is_red_or_green() {
        let ran = "\nrunning 1 test\ntest a ... ok\n\ntest result: ok. 1 passed; 0 failed; 0 ignored\n";
        let none = "\nrunning 0 tests\n\ntest result: ok. 0 passed; 0 failed; 0 ignored\n";
        let ignored = "\nrunning 1 test\ntest a ... ignored\n\ntest result: ok. 0 passed; 0 failed; 1 ignored\n";
        assert_eq!(outcome(Ended::Well, ran), Outcome::Green);
        assert_eq!(outcome(Ended::Well, none), Outcome::NotRun);
        assert_eq!(outcome(Ended::Well, ignored), Outcome::NotRun);
        assert_eq!(outcome(Ended::Badly, "running 1 test\nthread panicked"), Outcome::Red);
        assert_eq!(outcome(Ended::Badly, "error while loading shared libraries"), Outcome::NotRun);
        assert_eq!(outcome(Ended::Late, "running 1 test"), Outcome::Late);
    }
}
