//! Tests on arm64, on a kernel of its own: qemu's user mode has no restartable sequences, and its whole machines have.

use std::path::Path;

use crate::cargo::{self, Call};

const TARGET: &str = "aarch64-unknown-linux-musl";

/// One without `mm_cid`, and one with it.
const KERNELS: [&str; 2] = ["6.1", "6.12"];

/// Builds the named tests, or those of the CPUs' caches, and runs them on each kernel.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let tests: Vec<&str> = if args.is_empty() { vec!["cpus"] } else { args.iter().map(String::as_str).collect() };
    cargo::need_target(root, TARGET)?;
    let folder = cargo::target(root, "arm64");
    for test in tests {
        let program = build(root, test)?;
        for kernel in KERNELS {
            println!("arm64: {test}, on Linux {kernel}");
            let args = [&*folder.to_string_lossy(), kernel, &program, "--test-threads=1"];
            Call::new(root, "bash", &[&["xtask/arm64/boot.sh"], args.as_slice()].concat()).run()?;
        }
    }
    Ok(())
}

fn build(root: &Path, test: &str) -> Result<String, String> {
    let args = ["test", "--no-run", "--release", "--target", TARGET, "--test", test];
    // Rust has all that it needs to link such a program; what dependencies of the benches want a C compiler for is not linked.
    let linker = format!("target.{TARGET}.linker=\"rust-lld\"");
    let args = [&args, ["--config", &linker, "--message-format=json-render-diagnostics"].as_slice()].concat();
    let messages = Call::cargo(root, &args).env("CC_aarch64_unknown_linux_musl", "cc").output()?;
    let built = cargo::built_test(&messages).ok_or("cargo built no test")?;
    Ok(built.path.to_string_lossy().into_owned())
}
