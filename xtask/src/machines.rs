//! Tests on kernels of their own, in emulated machines: what qemu's user mode does not have, restartable sequences and pages of
//! other sizes, whole machines have.

use std::path::Path;

use crate::cargo::{self, Call};

/// One of Debian's kernels, and what a static program for it is built with.
struct Machine {
    architecture: &'static str,
    kernel: &'static str,
    flavour: &'static str,
    target: &'static str,
    /// Options for cargo's configuration of the target.
    config: &'static [&'static str],
    needs: &'static [cargo::Package],
    what: &'static str,
}

const QEMU_ARM: cargo::Package = cargo::Package { has: "qemu-system-aarch64", names: &["qemu-system-arm"] };
const CPIO: cargo::Package = cargo::Package { has: "cpio", names: &["cpio"] };

/// Arm64 with the usual pages: one without `mm_cid`, and one with it.
const ARM64: &[Machine] =
    &[arm64("6.1", "cloud-arm64", "pages of 4 KiB"), arm64("6.12", "cloud-arm64", "pages of 4 KiB")];

/// Pages of other sizes. Debian has arm64 with 16 KiB, and 64 KiB on POWER alone.
const PAGES: &[Machine] = &[
    arm64("6.12", "arm64-16k", "pages of 16 KiB"),
    Machine {
        architecture: "ppc64el",
        kernel: "6.1",
        flavour: "powerpc64le",
        target: "powerpc64le-unknown-linux-gnu",
        config: &[
            "linker=\"powerpc64le-linux-gnu-gcc\"",
            "rustflags=[\"--cfg\", \"lean\", \"-Ctarget-feature=+crt-static\"]",
        ],
        needs: &[
            cargo::Package { has: "qemu-system-ppc64", names: &["qemu-system-ppc"] },
            cargo::Package {
                has: "powerpc64le-linux-gnu-gcc",
                names: &["gcc-powerpc64le-linux-gnu", "libc6-dev-ppc64el-cross"],
            },
            CPIO,
        ],
        what: "pages of 64 KiB",
    },
];

const fn arm64(kernel: &'static str, flavour: &'static str, what: &'static str) -> Machine {
    Machine {
        architecture: "arm64",
        kernel,
        flavour,
        target: "aarch64-unknown-linux-musl",
        // Rust has all that it needs to link such a program.
        config: &["linker=\"rust-lld\"", "rustflags=[\"--cfg\", \"lean\"]"],
        needs: &[QEMU_ARM, CPIO],
        what,
    }
}

/// The named tests, or those of the CPUs' caches, on each kernel of arm64.
pub(crate) fn arm64_kernels(root: &Path, args: &[String]) -> Result<(), String> {
    on(root, ARM64, args, &["cpus"])
}

/// The named tests, or those that look at what goes back, on each size of pages.
pub(crate) fn pages(root: &Path, args: &[String]) -> Result<(), String> {
    on(root, PAGES, args, &["lib", "reclaim", "global", "ebb", "limits"])
}

fn on(root: &Path, machines: &[Machine], args: &[String], default: &[&str]) -> Result<(), String> {
    let tests: Vec<&str> = if args.is_empty() { default.to_vec() } else { args.iter().map(String::as_str).collect() };
    for machine in machines {
        cargo::need_target(root, machine.target)?;
        machine.needs.iter().try_for_each(|package| cargo::need_package(root, package))?;
        for test in &tests {
            machine.run(root, test)?;
        }
    }
    Ok(())
}

impl Machine {
    fn run(&self, root: &Path, test: &str) -> Result<(), String> {
        println!("{test}, on Linux {} {}: {}", self.kernel, self.flavour, self.what);
        let program = self.build(root, test)?;
        let folder = cargo::target(root, "machines").join(self.architecture);
        let folder = folder.to_string_lossy();
        let args = [&*folder, self.architecture, self.kernel, self.flavour, &program, "--test-threads=1"];
        Call::new(root, "bash", &[&["xtask/machine/boot.sh"], args.as_slice()].concat()).run()
    }

    fn build(&self, root: &Path, test: &str) -> Result<String, String> {
        let config: Vec<_> = self.config.iter().map(|set| format!("target.{}.{set}", self.target)).collect();
        let mut args = vec!["test", "--no-run", "-p", "bandolier", "--profile", "targets", "--target", self.target];
        args.extend(if test == "lib" { vec!["--lib"] } else { vec!["--test", test] });
        config.iter().for_each(|set| args.extend(["--config", set]));
        args.push("--message-format=json-render-diagnostics");
        let built = cargo::built_test(&Call::cargo(root, &args).output()?).ok_or("cargo built no test")?;
        Ok(built.path.to_string_lossy().into_owned())
    }
}
