//! Whether a thread that stops anywhere holds up others: `progress-tests/`, on the library built with `--cfg steps`.

use std::path::Path;

use crate::cargo::{self, Call};

/// The tests, those of the paths alone whose name contains a part that is given.
pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let part = match args {
        [] => "",
        [part] if !part.starts_with('-') => part,
        _ => return Err("progress takes a part of a path's name".into()),
    };
    let args = ["test", "--lib", "--profile", "loom", "-p", "bandolier", "progress::", "--", "--nocapture"];
    let call = Call::cargo(root, &args).env("RUSTFLAGS", "--cfg steps").env("STEPS_PATH", part);
    call.env("CARGO_TARGET_DIR", cargo::target(root, "progress")).run()
}
