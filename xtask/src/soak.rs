//! The heap under mixed loads for as long as one likes, and what is said of it.

use std::path::Path;

use crate::cargo::{self, Call};

/// Runs the soak: `(--hours N | --minutes N) [--seed N] [--mode MODE] [--epoch N]`.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    if !cfg!(target_os = "linux") {
        return Err("the soak reads /proc and forks: it is for Linux".into());
    }
    Call::cargo(root, &["build", "--release", "-p", "bandolier-proving", "--bin", "soak"]).run()?;
    let args: Vec<_> = args.iter().map(String::as_str).collect();
    Call::new(root, cargo::target(root, "release").join("soak"), &args).run()
}
