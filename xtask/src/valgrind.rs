//! Tests under valgrind's memcheck, with the heap telling it what is free.

use std::path::Path;

use crate::cargo::{self, Call};
use crate::nightly::FEW_TURNS;

/// Those of which a share runs in `test`, and the rest.
const SHARE: &[&str] = &["races", "global"];
const REST: &[&str] = &["stress", "threads"];
/// A program that only takes blocks and gives them back: so many at a time, so often.
const EXAMPLE: (&str, &[&str]) = ("fast_path", &["1000", "20000"]);

/// memcheck ends with this where it has found something.
const FOUND: &str = "--error-exitcode=99";

/// Runs all tests that there are for valgrind, and an example.
pub(crate) fn run(root: &Path) -> Result<(), String> {
    need(root)?;
    watch(root, &[SHARE, REST].concat())
}

/// Runs those that `test` has time for.
pub(crate) fn share(root: &Path) -> Result<(), String> {
    watch(root, SHARE)
}

/// Makes sure that valgrind runs, where it can be installed.
pub(crate) fn need(root: &Path) -> Result<(), String> {
    let runs = || Call::new(root, "valgrind", &["--version"]).succeeds();
    if runs() {
        return Ok(());
    }
    let is_root = Call::new(root, "id", &["-u"]).output().is_ok_and(|id| id.trim() == "0");
    if !is_root {
        return Err("valgrind does not run; on Debian or Ubuntu, `apt-get install valgrind`".into());
    }
    Call::new(root, "apt-get", &["update", "-q"]).run()?;
    Call::new(root, "apt-get", &["install", "-q", "-y", "--no-install-recommends", "valgrind"]).run()?;
    if runs() { Ok(()) } else { Err("valgrind was installed, and does not run".into()) }
}

fn watch(root: &Path, tests: &[&str]) -> Result<(), String> {
    for test in tests {
        under_valgrind(root, &built(root, &["test", "--no-run", "--test", test])?, &["--test-threads=1"])?;
    }
    let (example, args) = EXAMPLE;
    under_valgrind(root, &built(root, &["build", "--example", example])?, args)?;
    // This one runs valgrind itself.
    let args = [&["test", "--test", "told"], COMMON].concat();
    lean(root, &args).env("BANDOLIER_TOOL", "valgrind").run()
}

const COMMON: &[&str] = &["-p", "bandolier", "--features", "annotate"];

/// Cargo, without what only other examples and benches depend on, and with as many turns as valgrind can do.
fn lean(root: &Path, args: &[&str]) -> Call {
    let call = Call::cargo(root, args).env("RUSTFLAGS", "--cfg lean").env(FEW_TURNS.0, FEW_TURNS.1);
    call.env("CARGO_TARGET_DIR", cargo::target(root, "valgrind"))
}

fn built(root: &Path, args: &[&str]) -> Result<String, String> {
    let args = [args, COMMON, &["--message-format=json-render-diagnostics"]].concat();
    let messages = lean(root, &args).output()?;
    let built = cargo::built_test(&messages).ok_or("cargo built nothing")?;
    Ok(built.path.to_string_lossy().into_owned())
}

fn under_valgrind(root: &Path, program: &str, args: &[&str]) -> Result<(), String> {
    // Threads take turns under valgrind; without this some of them hardly get one.
    let options = ["-q", FOUND, "--fair-sched=yes", "--num-callers=30", program];
    Call::new(root, "valgrind", &[&options, args].concat()).run()
}
