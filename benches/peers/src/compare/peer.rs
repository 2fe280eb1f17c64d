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
    build_env: Option<(&'static str, &'static str)>,
    /// Set for its runs alone.
    run_env: Option<(&'static str, &'static str)>,
}

impl Peer {
    pub(crate) const fn of(name: &'static str, packages: &'static [&'static str], needs: &'static str) -> Self {
        Self { name, packages, needs, build_env: None, run_env: None }
    }

    /// Its binary, to be run.
    pub(crate) fn command(&self, binary: &Path) -> Command {
        let mut command = Command::new(binary);
        command.envs(self.run_env).stdin(Stdio::null());
        command
    }
}

pub(crate) const OURS: &str = "bandolier";
pub(crate) const SYSTEM: &str = "system";

/// Whether it is Bandolier, in whichever mode.
pub(crate) fn is_ours(name: &str) -> bool {
    name.starts_with(OURS)
}

pub(crate) static PEERS: [Peer; 14] = [
    Peer::of(OURS, &["bandolier"], ""),
    Peer::of("bandolier-per-thread", &["bandolier"], ""),
    Peer::of("bandolier-per-cpu", &["bandolier"], ""),
    Peer::of("bandolier-shared", &["bandolier"], ""),
    Peer::of(SYSTEM, &[], ""),
    Peer::of("mimalloc", &["mimalloc", "libmimalloc-sys"], "a C compiler"),
    Peer::of("mimalloc-v2", &["mimalloc", "libmimalloc-sys"], "a C compiler"),
    Peer::of("jemalloc", &["tikv-jemallocator", "tikv-jemalloc-sys"], "a C compiler, make"),
    Peer::of("snmalloc", &["snmalloc-rs", "snmalloc-sys"], "a C++ compiler, cmake"),
    // Its per-CPU caches need the thread's `rseq` area, which glibc otherwise keeps to itself.
    Peer {
        run_env: Some(("GLIBC_TUNABLES", "glibc.pthread.rseq=0")),
        ..Peer::of(
            "tcmalloc",
            &["tcmalloc-better", "libtcmalloc-sys"],
            "a C++ compiler; to run, GLIBC_TUNABLES=glibc.pthread.rseq=0",
        )
    },
    // It would link what the system has of it, of whatever version.
    Peer {
        build_env: Some(("LIBRPMALLOC_NO_PKG_CONFIG", "1")),
        ..Peer::of("rpmalloc", &["rpmalloc", "rpmalloc-sys"], "a C compiler")
    },
    Peer::of("rusty_alloc", &["rusty_alloc-api", "rusty_alloc"], ""),
    Peer::of("talc", &["talc", "spinning_top"], ""),
    // Its library has `#![feature(test)]`; this permits the feature to that crate alone.
    Peer { build_env: Some(("RUSTC_BOOTSTRAP", "frusa")), ..Peer::of("frusa", &["frusa"], "RUSTC_BOOTSTRAP=frusa") },
];

/// Those that catch misuse at the price of time: compared with each other, by name.
pub(crate) static CAREFUL: [Peer; 3] = [
    Peer::of("bandolier-hardened", &["bandolier"], ""),
    Peer::of("mimalloc-secure", &["mimalloc", "libmimalloc-sys"], "a C compiler"),
    Peer::of("snmalloc-check", &["snmalloc-rs", "snmalloc-sys"], "a C++ compiler, cmake"),
];

/// An allocator with its binary, or with what keeps it from being measured.
#[derive(Debug)]
pub(crate) struct Built {
    pub(crate) peer: &'static Peer,
    pub(crate) binary: Result<PathBuf, String>,
}

impl Built {
    /// The allocator with its binary, when there is one.
    pub(crate) fn ready(&self) -> Option<Ready<'_>> {
        Some((self.peer, self.binary.as_deref().ok()?))
    }
}

/// An allocator and its binary.
pub(crate) type Ready<'a> = (&'static Peer, &'a Path);

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
        progress.say(&format!("{} {why}", peer.name));
    }
    Built { peer, binary }
}

fn built(peer: &Peer, profile: &str) -> Result<PathBuf, String> {
    let output = cargo(peer, profile).output().map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(format!("does not build here: {}", reason(&output)));
    }
    let made = executable(&output).ok_or("cargo names no executable")?;
    let kept = set_aside(&made, peer.name).map_err(|error| error.to_string())?;
    tried(peer, &kept)?;
    Ok(kept)
}

/// Runs the binary for a moment.
fn tried(peer: &Peer, binary: &Path) -> Result<(), String> {
    let output = peer.command(binary).args(["--millis", "1", "pair"]).output().map_err(|error| error.to_string())?;
    if output.status.success() { Ok(()) } else { Err(format!("does not run here: {}", reason(&output))) }
}

fn cargo(peer: &Peer, profile: &str) -> Command {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    cargo.current_dir(root()).stdin(Stdio::null());
    cargo.args(["build", "--package", "bandolier-peers", "--bin", "measure", "--features", peer.name]);
    cargo.args(["--profile", profile, "--message-format", "json-render-diagnostics"]);
    // With debug information in the profile the C and C++ peers would build themselves with their assertions.
    cargo.env(format!("CARGO_PROFILE_{}_DEBUG", profile.to_uppercase()), "false");
    cargo.envs(peer.build_env);
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
