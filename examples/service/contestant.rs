//! The allocators that are compared, each with the program that is a service on it.
//!
//! ```text
//!   bandolier, system   this program                                   told by the environment which it is
//!   mimalloc, jemalloc  benches/peers, bin `service`, built when asked for: they want a C compiler
//! ```

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use crate::Failure;
use crate::either::{Side, VARIABLE};

/// Of `benches/peers`: what it is called, and its feature.
const PEERS: [(&str, &str); 2] = [("mimalloc", "mimalloc"), ("jemalloc", "jemalloc")];

pub(crate) struct Contestant {
    pub(crate) title: &'static str,
    pub(crate) name: &'static str,
    program: PathBuf,
}

/// A peer that is left out, and why.
pub(crate) type Missing = String;

impl Contestant {
    /// Bandolier and System.
    pub(crate) fn ours() -> Result<Vec<Self>, Failure> {
        let program = std::env::current_exe()?;
        let of = |(title, side): (_, Side)| Self { title, name: side.name(), program: program.clone() };
        Ok([("Bandolier", Side::Bandolier), ("System", Side::System)].map(of).into())
    }

    /// Those peers that can be built, and what keeps the others out.
    pub(crate) fn peers(before: impl Fn(&str)) -> (Vec<Self>, Vec<Missing>) {
        let (mut built, mut missing) = (Vec::new(), Vec::new());
        for (title, name) in PEERS {
            before(name);
            match build(name) {
                Ok(program) => built.push(Self { title, name, program }),
                Err(why) => missing.push(format!("LEFT OUT: {name}, since {why}")),
            }
        }
        (built, missing)
    }

    /// Its service, to be started.
    pub(crate) fn command(&self, port: u16) -> Result<Command, Failure> {
        let mut command = Command::new(&self.program);
        command.arg("--port").arg(port.to_string()).env(VARIABLE.to_str()?, self.name);
        Ok(command)
    }
}

/// With the profile of this program, in cargo's folder, where this program lies: `target/PROFILE/examples/service`.
fn build(name: &str) -> Result<PathBuf, Failure> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let program = std::env::current_exe()?;
    let folder = program.ancestors().nth(2).filter(|_| workspace.join("benches/peers").is_dir());
    let folder = folder.ok_or("it is built in the repository, by cargo, which this program is not run from")?;
    let (target, profile) = folder.parent().zip(folder.file_name()).ok_or("there is no folder of cargo's")?;
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--package", "bandolier-peers", "--bin", "service", "--features"]);
    cargo.arg(format!("service,{name}")).arg("--target-dir").arg(target).arg("--profile");
    cargo.arg(if profile == "debug" { "dev".as_ref() } else { profile });
    let output = cargo.current_dir(workspace).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        return Err(format!("it does not build here: {}", reason(&output)).into());
    }
    set_aside(folder, name)
}

/// Copies the program to where the next one does not replace it.
fn set_aside(folder: &Path, name: &str) -> Result<PathBuf, Failure> {
    let extension = std::env::consts::EXE_SUFFIX;
    let kept = folder.join("peers").join(format!("service-{name}{extension}"));
    std::fs::create_dir_all(folder.join("peers"))?;
    std::fs::copy(folder.join(format!("service{extension}")), &kept)?;
    Ok(kept)
}

/// The first error.
fn reason(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let error = text.lines().find(|line| line.starts_with("error"));
    error.or(text.lines().last()).unwrap_or("no reason given").trim().to_owned()
}
