//! The allocators, and the binary of each.

use crate::options::Options;
use crate::progress::Progress;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::rc::Rc;
use std::{env, fs, io};

/// An allocator.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Its feature of this package.
    pub(crate) name: &'static str,
    /// The packages whose versions tell what was measured.
    pub(crate) packages: &'static [&'static str],
    /// What its build needs beside a Rust compiler.
    pub(crate) needs: &'static str,
    /// Set for its build alone.
    env: Option<(&'static str, &'static str)>,
}

impl Peer {
    pub(crate) const fn of(name: &'static str, packages: &'static [&'static str], needs: &'static str) -> Self {
        Self { name, packages, needs, env: None }
    }
}

pub(crate) const OURS: &str = "bandolier";
pub(crate) const SYSTEM: &str = "system";

/// Whether it is Bandolier, in whatever mode: no peer to be compared with.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

pub(crate) static PEERS: [Peer; 8] = [
    Peer::of(OURS, &["bandolier"], ""),
    Peer::of(SYSTEM, &[], ""),
    Peer::of("mimalloc", &["mimalloc", "libmimalloc-sys"], "a C compiler"),
    Peer::of("mimalloc-v2", &["mimalloc", "libmimalloc-sys"], "a C compiler"),
    Peer::of("jemalloc", &["tikv-jemallocator", "tikv-jemalloc-sys"], "a C compiler, make"),
    Peer::of("snmalloc", &["snmalloc-rs", "snmalloc-sys"], "a C++ compiler, cmake"),
    Peer::of("talc", &["talc", "spinning_top"], ""),
    // Its library has `#![feature(test)]`; this permits the feature to that crate alone.
    Peer { env: Some(("RUSTC_BOOTSTRAP", "frusa")), ..Peer::of("frusa", &["frusa"], "RUSTC_BOOTSTRAP=frusa") },
];

/// An allocator with its binary, or with the reason why there is none.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) peer: &'static Peer,
    pub(crate) binary: Result<PathBuf, String>,
}

impl Built {
    /// The name and the binary, when there is one.
    pub(crate) fn ready(&self) -> Option<Ready<'_>> {
        Some((self.peer.name, self.binary.as_deref().ok()?))
    }
}

/// An allocator's name and its binary.
pub(crate) type Ready<'a> = (&'static str, &'a Path);

/// Where the workspace is.
pub(crate) fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Builds every allocator that was asked for, with each of these profiles.
pub(crate) fn build(options: &Options, profiles: &[&str]) -> Vec<Rc<[Built]>> {
    let mut progress = Progress::new("building", profiles.len() * options.peers.len());
    let mut with = |profile: &&str| options.peers.iter().map(|peer| one(peer, profile, &mut progress)).collect();
    profiles.iter().map(&mut with).collect()
}

fn one(peer: &'static Peer, profile: &str, progress: &mut Progress) -> Built {
    progress.at(&format!("{} ({profile})", peer.name));
    let binary = built(peer, profile);
    progress.step();
    if let Err(why) = &binary {
        progress.say(&format!("{} does not build: {why}", peer.name));
    }
    Built { peer, binary }
}

fn built(peer: &Peer, profile: &str) -> Result<PathBuf, String> {
    let output = cargo(peer, profile).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(reason(&output));
    }
    let made = executable(&output).ok_or("cargo names no executable")?;
    set_aside(&made, peer.name).map_err(|error| error.to_string())
}

fn cargo(peer: &Peer, profile: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo.args(["build", "--package", "bandolier-peers", "--bin", "measure", "--features", peer.name]);
    cargo.args(["--profile", profile, "--message-format", "json-render-diagnostics"]);
    // With debug information in the profile the C and C++ peers would build themselves with their assertions.
    cargo.env(format!("CARGO_PROFILE_{}_DEBUG", profile.to_uppercase()), "false");
    cargo.envs(peer.env);
    cargo
}

/// The first line of the errors.
fn reason(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let error = text.lines().find(|line| line.trim_start().starts_with("error"));
    error.or(text.lines().last()).unwrap_or("no reason given").trim().to_owned()
}

/// Where cargo's report says the binary is.
fn executable(output: &Output) -> Option<PathBuf> {
    const KEY: &str = "\"executable\":\"";
    let text = String::from_utf8_lossy(&output.stdout);
    let (_, path) = text.rsplit_once(KEY)?;
    path.split_once('"').map(|(path, _)| PathBuf::from(path))
}

/// Copies the binary to where the next allocator's build does not replace it.
fn set_aside(made: &Path, name: &str) -> io::Result<PathBuf> {
    let folder = made.with_file_name("peers");
    fs::create_dir_all(&folder)?;
    let kept = folder.join(name);
    fs::copy(made, &kept)?;
    Ok(kept)
}
