//! Everything that must hold before a change is done, cheapest first.

use core::cell::RefCell;
use core::time::Duration;
use std::path::Path;
use std::time::Instant;

use crate::cargo::{self, Call};
use crate::nightly::{self, Miri};
use crate::{fuzz, layers, loom, orderings, progress, soak, targets, valgrind};

/// The library's package, where a command would otherwise take the whole workspace.
const LIBRARY: &[&str] = &["-p", "bandolier"];

/// Every feature that a stable compiler has.
const ALL_APIS: &[&str] = &["--features=allocator-api2/alloc"];

/// A run of the steps: where, and what could not be had.
struct Run<'a> {
    root: &'a Path,
    skipped: RefCell<Vec<String>>,
}

struct Step {
    name: &'static str,
    what: &'static str,
    go: fn(&Run<'_>) -> Result<(), String>,
}

const STEPS: &[Step] = &[
    Step { name: "fmt", what: "the whole workspace as rustfmt has it", go: fmt },
    Step { name: "clippy", what: "no warning, with and without features", go: clippy },
    Step {
        name: "layers",
        what: "modules in order, one door to each dangerous thing",
        go: |run| layers::run(run.root),
    },
    Step {
        name: "orderings",
        what: "every atomic operation is in docs/ORDERINGS.md",
        go: |run| orderings::run(run.root),
    },
    Step { name: "test", what: "unit, integration and doc tests; examples build", go: test },
    Step { name: "release", what: "unit and integration tests, optimised", go: release },
    Step { name: "caches", what: "the same tests with other caches than the default", go: caches },
    Step { name: "hardened", what: "the tests of a heap that is checked, wiped and guarded", go: hardened },
    Step { name: "service", what: "the example service, briefly, and how it says what is wrong", go: service },
    Step { name: "xtask", what: "the tests of these checks themselves", go: xtask },
    Step { name: "miri", what: "unit tests under Miri, and those in which threads meet with a few seeds", go: miri },
    Step { name: "sanitizers", what: "some tests under ThreadSanitizer and AddressSanitizer", go: sanitizers },
    Step { name: "valgrind", what: "some tests under valgrind", go: valgrind },
    Step { name: "fuzz", what: "cases that reach far, cases that once failed, and random ones", go: fuzz },
    Step { name: "soak", what: "half a minute of it", go: soak },
    Step { name: "loom", what: "all models", go: |run| loom::run(run.root, "") },
    Step {
        name: "targets",
        what: "tests, builds and checks for other targets (`cargo xtask targets --list`)",
        go: targets,
    },
    Step {
        name: "progress",
        what: "a thread that stops anywhere holds up nobody",
        go: |run| progress::run(run.root, &[]),
    },
    Step { name: "msrv", what: "checks with the rust-version of Cargo.toml", go: msrv },
    Step { name: "doc", what: "documentation without a warning", go: doc },
];

pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if args.iter().any(|a| a == "--list") {
        STEPS.iter().for_each(|step| println!("{:10} {}", step.name, step.what));
        return Ok(());
    }
    let steps = chosen(args)?;
    let run = Run { root, skipped: RefCell::default() };
    let started = Instant::now();
    for (i, step) in steps.iter().enumerate() {
        println!("\n── {}/{} {}: {}", i + 1, steps.len(), step.name, step.what);
        let (begun, skipped) = (Instant::now(), run.skipped.borrow().len());
        let result = (step.go)(&run);
        let time = cargo::seconds(begun.elapsed());
        if let Err(error) = result {
            run.say_skipped();
            return Err(format!("{error}\nxtask test: FAILED in step {} after {time}", step.name));
        }
        match run.skipped.borrow().len() - skipped {
            0 => println!("── {} passed ({time})", step.name),
            n => println!("── {} passed but for {n} parts SKIPPED ({time})", step.name),
        }
    }
    run.say_skipped();
    println!("{}", run.summary(steps.len(), started.elapsed()));
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Step>, String> {
    let unknown = names.iter().find(|n| STEPS.iter().all(|s| s.name != n.as_str()));
    match unknown {
        Some(name) => Err(format!("there is no step `{name}`; `cargo xtask test --list` shows them")),
        None => Ok(STEPS.iter().filter(|s| names.is_empty() || names.iter().any(|n| n == s.name)).collect()),
    }
}

impl Run<'_> {
    fn cargo(&self, args: &[&str]) -> Result<(), String> {
        Call::cargo(self.root, args).run()
    }

    /// Goes on without what cannot be had, but not in silence.
    fn unless_missing(
        &self,
        what: &str,
        had: Result<(), String>,
        go: impl FnOnce() -> Result<(), String>,
    ) -> Result<(), String> {
        match had {
            Ok(()) => go(),
            Err(error) => {
                let line = format!("SKIPPED: {what}: {error}");
                println!("\n!!!! {line}\n");
                self.skipped.borrow_mut().push(line);
                Ok(())
            }
        }
    }

    fn say_skipped(&self) {
        self.skipped.borrow().iter().for_each(|line| println!("!!!! {line}"));
    }

    fn summary(&self, steps: usize, time: Duration) -> String {
        let skipped = match self.skipped.borrow().len() {
            0 => String::new(),
            n => format!(", but {n} parts were SKIPPED, see above"),
        };
        format!("\nxtask test: {steps} steps passed in {}{skipped}", cargo::seconds(time))
    }
}

fn fmt(run: &Run<'_>) -> Result<(), String> {
    cargo::need_component(run.root, None, "rustfmt", &["fmt", "--version"])?;
    run.cargo(&["fmt", "--all", "--check"])
}

fn clippy(run: &Run<'_>) -> Result<(), String> {
    cargo::need_component(run.root, None, "clippy", &["clippy", "--version"])?;
    run.cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"])?;
    // The peers' service, here on System: the others want C.
    run.cargo(&["clippy", "-p", "bandolier-peers", "--bin", "service", "--features=service", "--", "-D", "warnings"])?;
    for features in ["--no-default-features", "--features=allocator-api2", "--features=annotate"] {
        run.cargo(&[&["clippy", "--lib"], LIBRARY, &[features, "--", "-D", "warnings"]].concat())?;
    }
    Ok(())
}

fn test(run: &Run<'_>) -> Result<(), String> {
    run.cargo(&[&["test"], LIBRARY, ALL_APIS].concat())?;
    run.cargo(&["test", "-p", "bandolier-tokio"])
}

fn release(run: &Run<'_>) -> Result<(), String> {
    run.cargo(&[&["test"], LIBRARY, &["--release", "--lib", "--tests"], ALL_APIS].concat())
}

/// The tests are built anew for each, since a static's value is chosen at compile time.
fn caches(run: &Run<'_>) -> Result<(), String> {
    const TESTS: [&str; 4] = ["--test=global", "--test=misuse", "--test=oom", "--test=threads"];
    for caches in ["per-thread", "per-cpu", "hybrid"] {
        println!("caches: {caches}");
        let args = [&["test"], LIBRARY, &["--release"], &TESTS].concat();
        Call::cargo(run.root, &args).env("BANDOLIER_CACHES", caches).run()?;
    }
    Ok(())
}

fn hardened(run: &Run<'_>) -> Result<(), String> {
    const FEATURES: &str = "--features=hardened,allocator-api2/alloc";
    run.cargo(&[&["clippy", "--all-targets"], LIBRARY, &[FEATURES, "--", "-D", "warnings"]].concat())?;
    run.cargo(&[&["test"], LIBRARY, &["--release", "--lib", "--tests", FEATURES]].concat())?;
    fuzz::replay_hardened(run.root)
}

fn service(run: &Run<'_>) -> Result<(), String> {
    run.cargo(&[&["build", "--release", "--example", "service"], LIBRARY].concat())?;
    let built = cargo::target(run.root, "release").join("examples/service");
    Call::new(run.root, "bash", &["examples/service/checks.sh", &built.to_string_lossy()]).run()
}

fn xtask(run: &Run<'_>) -> Result<(), String> {
    run.cargo(&["test", "-p", "xtask"])
}

fn fuzz(run: &Run<'_>) -> Result<(), String> {
    fuzz::check(run.root)?;
    fuzz::replay_all(run.root)
}

fn soak(run: &Run<'_>) -> Result<(), String> {
    let had = if cfg!(target_os = "linux") { Ok(()) } else { Err("not on this system".into()) };
    let args = ["--minutes", "0.5"].map(String::from);
    run.unless_missing("a soak", had, || soak::run(run.root, &args))
}

/// Always the same seeds.
fn miri(run: &Run<'_>) -> Result<(), String> {
    let asked = Miri { seeds: 2, target: None, filter: None };
    run.unless_missing("Miri", nightly::need_miri(run.root), || nightly::run_miri(run.root, &asked))
}

fn sanitizers(run: &Run<'_>) -> Result<(), String> {
    run.unless_missing("sanitizers", nightly::need_sanitizer(run.root), || {
        nightly::share_of(run.root, &nightly::THREAD)?;
        nightly::share_of(run.root, &nightly::ADDRESS)
    })
}

fn valgrind(run: &Run<'_>) -> Result<(), String> {
    run.unless_missing("valgrind", valgrind::need(run.root), || valgrind::share(run.root))
}

/// What cannot be had here is skipped, not what fails.
fn targets(run: &Run<'_>) -> Result<(), String> {
    for row in targets::shared() {
        let name = format!("{}: {}", row.target, row.what);
        println!("{name}");
        run.unless_missing(&name, row.prepare(run.root), || row.go(run.root, targets::Extent::Short))?;
    }
    Ok(())
}

fn msrv(run: &Run<'_>) -> Result<(), String> {
    let manifest = std::fs::read_to_string(run.root.join("Cargo.toml")).map_err(|e| format!("Cargo.toml: {e}"))?;
    let toolchain = rust_version(&manifest).ok_or("Cargo.toml has no rust-version")?;
    let check =
        |more: &[&str]| Call::cargo_of(&toolchain, run.root, &[&["check", "--lib"], LIBRARY, more].concat()).run();
    let had = cargo::need_toolchain(run.root, &toolchain);
    run.unless_missing(&format!("check with Rust {toolchain}"), had, || {
        check(&[])?;
        check(&["--features=allocator-api2"])?;
        check(&["--no-default-features"])
    })
}

/// The toolchain of the first `rust-version = ".."`; `1.85` is called 1.85.0.
fn rust_version(manifest: &str) -> Option<String> {
    let values = manifest.lines().filter_map(|l| l.trim().strip_prefix("rust-version")?.trim().strip_prefix('='));
    let version = values.map(|v| v.split('#').next().unwrap_or_default().trim().trim_matches('"')).next()?;
    Some(if version.matches('.').count() == 1 { format!("{version}.0") } else { version.into() })
}

fn doc(run: &Run<'_>) -> Result<(), String> {
    let args = [&["doc", "--no-deps", "--lib"], LIBRARY].concat();
    Call::cargo(run.root, &args).env("RUSTDOCFLAGS", "-D warnings").run()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_the_manifest() {
        let read = |text: &str| rust_version(text).unwrap_or_default();
        assert_eq!(read("[workspace.package]\nrust-version = \"1.85\" # edition 2024\n"), "1.85.0");
        assert_eq!(read("rust-version=\"1.86.1\"\n"), "1.86.1");
        assert_eq!(read("rust-version.workspace = true\nrust-version = \"1.85\""), "1.85.0");
        assert_eq!(read("edition = \"2024\""), "");
    }

    #[test]
    fn steps_are_chosen_by_name_and_run_in_our_order() {
        let names = |args: &[&str]| {
            let args: Vec<_> = args.iter().map(ToString::to_string).collect();
            chosen(&args).map(|steps| steps.iter().map(|s| s.name).collect::<Vec<_>>())
        };
        assert_eq!(names(&["layers", "fmt"]).unwrap(), ["fmt", "layers"]);
        assert_eq!(names(&[]).unwrap().len(), STEPS.len());
        assert!(names(&["fmt", "nope"]).is_err());
    }

    #[test]
    fn what_cannot_be_had_is_skipped_aloud_and_failures_are_not() {
        let run = Run { root: Path::new("/"), skipped: RefCell::default() };
        run.unless_missing("a thing", Err("no network".into()), || panic!("must not run")).unwrap();
        assert_eq!(*run.skipped.borrow(), ["SKIPPED: a thing: no network"]);
        assert!(run.summary(1, Duration::ZERO).contains("1 parts were SKIPPED"));
        assert!(run.unless_missing("a thing", Ok(()), || Err("broken".into())).is_err());
    }
}
