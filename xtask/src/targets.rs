//! Every target that the library is for, how it is built there, how its tests are run, and what that needs.

use std::path::Path;

use crate::cargo::{self, Call, Package};

/// One target, or one way to build for it.
pub(crate) struct Row {
    pub(crate) target: &'static str,
    pub(crate) what: &'static str,
    /// Part of `cargo xtask test`; the others take long, or need much.
    pub(crate) shared: bool,
    needs: &'static [Package],
    way: Way,
}

enum Way {
    /// The library's tests are run.
    Run(Tests),
    /// The library alone, without `std`.
    Bare,
    /// The library and its tests, unlinked.
    Check,
    /// A module that node runs.
    Wasm,
    /// A program for a microcontroller that qemu runs.
    Board,
    /// The tests of Windows, by wine.
    Wine,
}

/// How tests are built and run.
struct Tests {
    /// Cargo's linker for the target.
    linker: &'static str,
    /// What runs its programs, if this machine cannot.
    runner: &'static str,
    /// Those that are part of `cargo xtask test`, beside the unit tests; by themselves all are run.
    short: &'static [&'static str],
    /// Names of tests that cannot be run there, and why.
    without: &'static [(&'static str, &'static str)],
}

const QEMU_USER: Package = Package { has: "qemu-aarch64", names: &["qemu-user"] };

/// What the user mode of qemu does not have.
const NOT_EMULATED: &[(&str, &str)] = &[
    ("a_drain_without_membarrier_says_what_it_missed", "no seccomp"),
    ("at_the_limit_there_is_null_and_after_frees_there_is_memory", "no limit of the address space"),
    ("reallocation_at_the_limit_keeps_the_block", "as above"),
    ("threads_at_the_limit_get_errors_and_go_on", "as above"),
];

const TABLE: &[Row] = &[
    Row {
        target: "x86_64-unknown-linux-musl",
        what: "tests with a libc that knows no restartable sequences",
        shared: true,
        needs: &[],
        way: Way::Run(Tests { linker: "cc", runner: "", short: &["*"], without: &[] }),
    },
    Row {
        target: "i686-unknown-linux-gnu",
        what: "tests with 32-bit addresses",
        shared: true,
        needs: &[
            Package { has: "i686-linux-gnu-gcc", names: &["gcc-i686-linux-gnu", "libc6-dev-i386-cross"] },
            Package { has: "/lib/ld-linux.so.2", names: &["libc6-i386"] },
            Package { has: "/usr/lib32/libgcc_s.so.1", names: &["lib32gcc-s1"] },
        ],
        way: Way::Run(Tests {
            linker: "i686-linux-gnu-gcc",
            runner: "",
            short: &["drops", "faults", "frusa", "global", "limits", "machine", "misuse", "oom", "stress"],
            without: &[],
        }),
    },
    Row {
        target: "aarch64-unknown-linux-gnu",
        what: "tests under qemu's user mode",
        shared: true,
        needs: &[
            QEMU_USER,
            Package { has: "aarch64-linux-gnu-gcc", names: &["gcc-aarch64-linux-gnu", "libc6-dev-arm64-cross"] },
        ],
        way: Way::Run(Tests {
            linker: "aarch64-linux-gnu-gcc",
            runner: "qemu-aarch64 -L /usr/aarch64-linux-gnu",
            short: &["machine", "misuse", "drops"],
            without: NOT_EMULATED,
        }),
    },
    Row {
        target: "riscv64gc-unknown-linux-gnu",
        what: "tests under qemu's user mode",
        shared: true,
        needs: &[
            QEMU_USER,
            Package { has: "riscv64-linux-gnu-gcc", names: &["gcc-riscv64-linux-gnu", "libc6-dev-riscv64-cross"] },
        ],
        way: Way::Run(Tests {
            linker: "riscv64-linux-gnu-gcc",
            runner: "qemu-riscv64 -L /usr/riscv64-linux-gnu",
            short: &["machine", "drops"],
            without: NOT_EMULATED,
        }),
    },
    Row {
        target: "thumbv7em-none-eabihf",
        what: "a program without 64-bit atomics, on an emulated Cortex-M4",
        shared: true,
        needs: &[Package { has: "qemu-system-arm", names: &["qemu-system-arm"] }],
        way: Way::Board,
    },
    Row {
        target: "wasm32-unknown-unknown",
        what: "a module with the heap of the process, in node",
        shared: true,
        needs: &[Package { has: "node", names: &["nodejs"] }],
        way: Way::Wasm,
    },
    bare("armv7a-none-eabi"),
    bare("aarch64-unknown-none"),
    bare("x86_64-unknown-none"),
    bare("wasm32-unknown-unknown"),
    check("wasm32-wasip1"),
    check("x86_64-pc-windows-gnu"),
    check("x86_64-apple-darwin"),
    check("aarch64-apple-darwin"),
    Row {
        target: "x86_64-pc-windows-gnu",
        what: "tests under wine",
        shared: false,
        needs: &[
            Package { has: "x86_64-w64-mingw32-gcc", names: &["gcc-mingw-w64-x86-64"] },
            Package { has: "wine", names: &["wine", "wine64"] },
        ],
        way: Way::Wine,
    },
];

const fn bare(target: &'static str) -> Row {
    Row { target, what: "builds without std", shared: true, needs: &[], way: Way::Bare }
}

const fn check(target: &'static str) -> Row {
    Row { target, what: "checked", shared: true, needs: &[], way: Way::Check }
}

/// How much of a target's tests is run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Extent {
    Short,
    Whole,
}

/// The rows that are part of `cargo xtask test`.
pub(crate) fn shared() -> impl Iterator<Item = &'static Row> {
    TABLE.iter().filter(|row| row.shared)
}

/// The named targets, or all; each with all of its tests, or with `--short` with those that are part of `cargo xtask test`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if args.iter().any(|arg| arg == "--list") {
        let part = |row: &Row| if row.shared { "" } else { " (not part of `test`)" };
        TABLE.iter().for_each(|row| println!("{:30} {}{}", row.target, row.what, part(row)));
        return Ok(());
    }
    let (options, args): (Vec<_>, Vec<_>) = args.iter().cloned().partition(|arg| arg == "--short");
    let extent = if options.is_empty() { Extent::Whole } else { Extent::Short };
    if let Some(unknown) = args.iter().find(|name| TABLE.iter().all(|row| row.target != name.as_str())) {
        return Err(format!("there is no target `{unknown}`; `cargo xtask targets --list` shows them"));
    }
    for row in TABLE.iter().filter(|row| args.is_empty() || args.iter().any(|name| name == row.target)) {
        println!("\n── {}: {}", row.target, row.what);
        row.prepare(root)?;
        row.go(root, extent)?;
    }
    Ok(())
}

/// Makes sure that tests of a target can be built and run; the environment that cargo needs for that.
pub(crate) fn ready(root: &Path, target: &str) -> Result<Vec<(String, String)>, String> {
    let ways = TABLE.iter().filter(|row| row.target == target);
    let run = ways.filter_map(|row| if let Way::Run(tests) = &row.way { Some((row, tests)) } else { None }).next();
    let (row, tests) = run.ok_or_else(|| format!("no tests are run for `{target}`"))?;
    row.prepare(root)?;
    let set = |what: &str, value: &str| (row.variable(what), value.to_string());
    let runner = (!tests.runner.is_empty()).then(|| set("RUNNER", tests.runner));
    Ok([set("RUSTFLAGS", "--cfg lean"), set("LINKER", tests.linker)].into_iter().chain(runner).collect())
}

impl Row {
    /// Makes sure that what it needs is there.
    pub(crate) fn prepare(&self, root: &Path) -> Result<(), String> {
        cargo::need_target(root, self.target)?;
        self.needs.iter().try_for_each(|package| cargo::need_package(root, package))
    }

    pub(crate) fn go(&self, root: &Path, extent: Extent) -> Result<(), String> {
        match &self.way {
            Way::Run(tests) => self.run(root, tests, extent),
            Way::Bare => self.cargo(root, &["build", "-p", "bandolier", "--lib", "--no-default-features"]).run(),
            Way::Check => self.cargo(root, &["check", "-p", "bandolier", "--lib", "--tests"]).run(),
            Way::Wasm => self.wasm(root),
            Way::Board => self.board(root),
            Way::Wine => self.wine(root),
        }
    }

    /// Cargo for this target, without what only benches need.
    fn cargo(&self, root: &Path, args: &[&str]) -> Call {
        Call::cargo(root, &[args, &["--target", self.target]].concat()).env(&self.variable("RUSTFLAGS"), "--cfg lean")
    }

    /// The name of a setting of cargo's for this target.
    fn variable(&self, what: &str) -> String {
        format!("CARGO_TARGET_{}_{what}", self.target.to_uppercase().replace('-', "_"))
    }

    fn run(&self, root: &Path, tests: &Tests, extent: Extent) -> Result<(), String> {
        let mut args = vec!["test", "-p", "bandolier", "--profile", "targets", "--lib"];
        match extent {
            Extent::Short if tests.short != ["*"] => tests.short.iter().for_each(|test| args.extend(["--test", test])),
            _ => args.push("--tests"),
        }
        let mut call_args = [&args[..], &["--target", self.target, "--"]].concat();
        for (test, why) in tests.without {
            println!("without {test}: {why}");
            call_args.extend(["--skip", test]);
        }
        let call = Call::cargo(root, &call_args).env(&self.variable("RUSTFLAGS"), "--cfg lean");
        let call = call.env(&self.variable("LINKER"), tests.linker);
        match tests.runner {
            "" => call.run(),
            runner => call.env(&self.variable("RUNNER"), runner).env("BANDOLIER_TEST_RUNNER", runner).run(),
        }
    }

    /// Builds a package of its own below `tests/`; the folder of what was built.
    fn package(&self, root: &Path, name: &str) -> Result<std::path::PathBuf, String> {
        let (manifest, folder) = (format!("tests/{name}/Cargo.toml"), cargo::target(root, name));
        let args = ["build", "--release", "--locked", "--manifest-path", &manifest, "--target", self.target];
        Call::cargo(root, &args).env("CARGO_TARGET_DIR", &folder).run()?;
        Ok(folder.join(self.target).join("release"))
    }

    fn wasm(&self, root: &Path) -> Result<(), String> {
        let module = self.package(root, "wasm")?.join("bandolier_wasm.wasm");
        Call::new(root, "node", &["tests/wasm/run.mjs", &module.to_string_lossy()]).run()
    }

    /// The clock counts instructions, so that every run is the same.
    fn board(&self, root: &Path) -> Result<(), String> {
        let program = self.package(root, "embedded")?.join("bandolier-embedded");
        let machine = ["-M", "mps2-an386", "-cpu", "cortex-m4", "-icount", "shift=5,sleep=off", "-nographic"];
        let host = ["-semihosting-config", "enable=on,target=native", "-kernel", &*program.to_string_lossy()];
        Call::new(root, "qemu-system-arm", &[machine.as_slice(), &host].concat()).run()
    }

    /// Wine 8 lacks a library that Rust's standard library takes random numbers from, so one is made.
    fn wine(&self, root: &Path) -> Result<(), String> {
        let folder = cargo::target(root, "wine");
        std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        let library = folder.join("bcryptprimitives.dll");
        let make = ["-shared", "-O2", "-o", &*library.to_string_lossy(), "tests/wine/bcryptprimitives.c", "-ladvapi32"];
        Call::new(root, "x86_64-w64-mingw32-gcc", &make).run()?;
        self.cargo(root, &["test", "-p", "bandolier", "--profile", "targets", "--lib", "--tests"])
            .env(&self.variable("RUNNER"), "wine")
            .env("WINEPATH", folder.as_os_str())
            .env("WINEPREFIX", folder.join("prefix"))
            .env("WINEDEBUG", "-all")
            .run()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_named_as_cargo_names_it() {
        assert_eq!(check("wasm32-wasip1").variable("RUNNER"), "CARGO_TARGET_WASM32_WASIP1_RUNNER");
        assert_eq!(bare("x86_64-unknown-none").variable("LINKER"), "CARGO_TARGET_X86_64_UNKNOWN_NONE_LINKER");
    }

    #[test]
    fn tests_that_are_named_are_there() {
        let root = cargo::root();
        for row in TABLE {
            let Way::Run(tests) = &row.way else { continue };
            for test in tests.short.iter().filter(|&&test| test != "*") {
                assert!(root.join(format!("tests/{test}.rs")).is_file(), "{}: {test}", row.target);
            }
            let text: String = crate::source::rust_files(&root, "tests")
                .unwrap()
                .iter()
                .map(|path| std::fs::read_to_string(root.join(path)).unwrap())
                .collect();
            for (name, _) in tests.without {
                assert!(text.contains(&format!("fn {name}(")), "{}: {name}", row.target);
            }
        }
    }

    #[test]
    fn a_target_that_is_not_in_the_table_is_refused() {
        assert!(run(Path::new("/"), &["nope".to_string()]).unwrap_err().contains("--list"));
    }
}
