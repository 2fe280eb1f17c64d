//! What needs a nightly compiler: Miri and the sanitizers. Not part of `test`.

use std::path::Path;

use crate::cargo::{self, Call};

pub(crate) const NIGHTLY: &str = "nightly";
const HOST: &str = "x86_64-unknown-linux-gnu";
/// The integration test that threads fight in.
const STRESS: &str = "stress";

/// Runs the unit tests under Miri, and those integration tests that know about it.
pub(crate) fn miri(root: &Path, filter: &[String]) -> Result<(), String> {
    cargo::need_toolchain(root, NIGHTLY)?;
    cargo::need_component(root, Some(NIGHTLY), "miri", &["miri", "--version"])?;
    cargo::need_component(root, Some(NIGHTLY), "rust-src", &["miri", "setup"])?;
    let (run, left_out) = integration_tests(root)?;
    if !left_out.is_empty() {
        println!("not under Miri, as they mention no cfg(miri): {}", left_out.join(", "));
    }
    let mut args: Vec<&str> = vec!["miri", "test", "--lib"];
    run.iter().for_each(|name| args.extend(["--test", name]));
    args.push("--");
    args.extend(filter.iter().map(String::as_str));
    let flags = ["-Zmiri-strict-provenance", &std::env::var("MIRIFLAGS").unwrap_or_default()].join(" ");
    let call = Call::cargo_of(NIGHTLY, root, &args).env("MIRIFLAGS", flags.trim());
    call.env("CARGO_TARGET_DIR", cargo::target(root, "miri")).run()
}

/// The integration tests for Miri and the others. A test chooses by saying `miri` in a `cfg`: one that
/// does not has never been cut to what Miri can do in a day.
fn integration_tests(root: &Path) -> Result<(Vec<String>, Vec<String>), String> {
    let mut found = (Vec::new(), Vec::new());
    let Ok(entries) = std::fs::read_dir(root.join("tests")) else {
        return Ok(found);
    };
    for path in entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "rs")) {
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        if text.contains("(miri") { found.0.push(name) } else { found.1.push(name) }
    }
    found.0.sort();
    found.1.sort();
    Ok(found)
}

/// Runs the unit tests and the stress test under a sanitizer, with a standard library built for it.
pub(crate) fn sanitizer(root: &Path, kind: &str) -> Result<(), String> {
    cargo::need_toolchain(root, NIGHTLY)?;
    need_rust_src(root)?;
    let args = ["test", "-Zbuild-std", "--target", HOST, "--lib", "--test", STRESS];
    let call = Call::cargo_of(NIGHTLY, root, &args).env("RUSTFLAGS", format!("-Zsanitizer={kind}"));
    call.env("CARGO_TARGET_DIR", cargo::target(root, kind)).run()
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

    #[test]
    fn a_test_chooses_miri_by_naming_it() {
        let root = std::env::temp_dir().join(format!("xtask-miri-{}", std::process::id()));
        std::fs::create_dir_all(root.join("tests")).unwrap();
        std::fs::write(root.join("tests/a.rs"), "const N: u32 = if cfg!(miri) { 1 } else { 9 };").unwrap();
        std::fs::write(root.join("tests/b.rs"), "// Miri is not for this").unwrap();
        let found = integration_tests(&root).unwrap();
        std::fs::remove_dir_all(&root).unwrap();
        assert_eq!(found, (vec!["a".to_string()], vec!["b".to_string()]));
    }
}
