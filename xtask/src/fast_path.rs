//! The example `fast_path`, whose functions are the fast paths.

use std::path::Path;

use crate::cargo::{self, Call};

/// With a constant layout, then with one known at run time: to allocate, to free.
pub(crate) const SYMBOLS: [&str; 4] =
    ["bandolier_alloc_64", "bandolier_dealloc_64", "bandolier_alloc", "bandolier_dealloc"];

/// Builds it with the profile `fat`; returns the binary's path.
pub(crate) fn build(root: &Path) -> Result<String, String> {
    Call::cargo(root, &["build", "-p", "bandolier", "--example", "fast_path", "--profile", "fat"]).run()?;
    let binary = cargo::target(root, "fat/examples/fast_path").into_os_string();
    binary.into_string().map_err(|path| format!("the path of the example is no text: {}", path.display()))
}
