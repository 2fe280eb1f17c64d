//! A way to run an allocator: it is the global one of a process of its own, which is built here and run with some words.
//!
//! ```text
//!   Way ──build──▶ target/peers/<program>-<feature> ──run──▶ one line of fields
//! ```
//!
//! Some allocators want a C compiler, C++ and cmake. Those that cannot be built are left out, not in silence.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// What it is called, the feature that it is built with, and what it is run with.
pub(crate) struct Way {
    pub(crate) name: &'static str,
    pub(crate) feature: &'static str,
    pub(crate) driver: bool,
    pub(crate) env: Option<(&'static str, &'static str)>,
}

/// With nothing but the allocator.
pub(crate) const fn way(name: &'static str, feature: &'static str) -> Way {
    Way { name, feature, driver: false, env: None }
}

/// With a `Reclaimer`.
pub(crate) const fn driven(name: &'static str, feature: &'static str) -> Way {
    Way { driver: true, ..way(name, feature) }
}

/// jemalloc, with what `MALLOC_CONF` would say.
pub(crate) const fn jemalloc(name: &'static str, conf: &'static str) -> Way {
    Way { env: Some(("_RJEM_MALLOC_CONF", conf)), ..way(name, "jemalloc") }
}

/// A program of `benches/peers`, built once for each allocator.
pub(crate) struct Program {
    name: &'static str,
    workspace: &'static Path,
    target: PathBuf,
}

impl Program {
    /// `None`, and a word about it, where the sources of the other allocators' programs are not at hand.
    pub(crate) fn find(name: &'static str) -> Option<Self> {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
        let found = workspace.join("benches/peers").is_dir();
        if !found {
            eprintln!("{name}: the other allocators are built from the repository, in benches/peers");
        }
        found.then(|| Self { name, workspace, target: target.join("peers") })
    }

    /// Builds it with this allocator, and says where it is.
    fn build(&self, feature: &str) -> Option<PathBuf> {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--package", "bandolier-peers", "--bin", self.name]);
        cargo.args(["--features", feature, "--target-dir"]).arg(&self.target).current_dir(self.workspace);
        let built = cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
        // The next allocator's program will have the same name.
        let program = self.target.join(format!("{}-{feature}", self.name));
        let kept = built && std::fs::copy(self.target.join("release").join(self.name), &program).is_ok();
        kept.then_some(program)
    }
}

impl Way {
    /// Builds the program with this allocator, and says where it is.
    pub(crate) fn build(&self, program: &Program) -> Option<PathBuf> {
        program.build(self.feature)
    }

    /// The fields of the line that the program prints, but for the first, its name.
    pub(crate) fn run(&self, program: &Path, words: &[String]) -> Option<Vec<String>> {
        let mut command = Command::new(program);
        command.args(words).args(self.driver.then_some("--driver")).envs(self.env).stderr(Stdio::inherit());
        let output = command.output().ok().filter(|output| output.status.success())?;
        let line = String::from_utf8(output.stdout).ok()?;
        Some(line.trim().split('\t').skip(1).map(str::to_owned).collect())
    }
}

/// Says on the terminal what is being done, in place of what was said before.
pub(crate) fn say(what: &str) {
    eprint!("\r\x1b[K{what}");
}

/// Names what was left out; a failure if nothing is left.
pub(crate) fn finish(missing: &[&str], ways: usize) -> ExitCode {
    println!();
    missing.iter().for_each(|name| println!("LEFT OUT, since it could not be built or run: {name}"));
    if missing.len() == ways { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
