//! What the figures were made on and with.

use crate::peer::{Peer, root};
use std::fs::read_to_string;
use std::process::{Command, Stdio};
use std::thread::available_parallelism;

const UNKNOWN: &str = "unknown";

/// The machine and the tools, one fact per line.
pub(crate) fn facts() -> Vec<(&'static str, String)> {
    vec![
        ("CPU", format!("{}, {} cores for this process", cpu(), cores())),
        ("kernel", format!("{}, {}", line("/proc/sys/kernel/osrelease"), std::env::consts::ARCH)),
        ("huge pages", line("/sys/kernel/mm/transparent_hugepage/enabled")),
        ("compilers", format!("{}; {}; {}", said("rustc", &["-V"]), said("cc", &["--version"]), cmake())),
        ("revision", revision()),
    ]
}

/// How busy the machine is: for 1, 5 and 15 minutes.
pub(crate) fn load() -> String {
    line("/proc/loadavg")
}

/// The versions of an allocator's packages, from the lock file, without what build metadata they carry.
pub(crate) fn versions(peer: &Peer) -> String {
    let lock = read_to_string(root().join("Cargo.lock")).unwrap_or_default();
    let found: Vec<_> = peer.packages.iter().map(|name| format!("{name} {}", version(&lock, name))).collect();
    if found.is_empty() { said("getconf", &["GNU_LIBC_VERSION"]) } else { found.join(", ") }
}

fn version<'a>(lock: &'a str, package: &str) -> &'a str {
    let entry = format!("name = \"{package}\"\nversion = \"");
    let after = lock.split_once(&entry).map(|(_, after)| after);
    after.and_then(|after| after.split(['"', '+']).next()).unwrap_or(UNKNOWN)
}

fn cpu() -> String {
    let info = read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    model.map_or(UNKNOWN, |(_, model)| model).to_owned()
}

/// How many threads can run at once.
pub(crate) fn cores() -> usize {
    available_parallelism().map_or(1, usize::from)
}

fn cmake() -> String {
    said("cmake", &["--version"])
}

fn revision() -> String {
    let git = |args: &[&str]| said("git", args);
    let changed = git(&["status", "--porcelain"]) != UNKNOWN;
    format!("{}{}", git(&["rev-parse", "--short", "HEAD"]), if changed { ", with changes" } else { "" })
}

fn line(file: &str) -> String {
    read_to_string(file).map_or_else(|_| UNKNOWN.to_owned(), |text| text.trim().to_owned())
}

/// The first line that a program prints.
fn said(program: &str, args: &[&str]) -> String {
    let output = Command::new(program).args(args).current_dir(root()).stderr(Stdio::null()).output();
    let text = output.map_or_else(|_| String::new(), |output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.lines().next().unwrap_or(UNKNOWN).to_owned()
}

#[cfg(test)]
mod tests {
    use super::version;

    #[test]
    fn a_version_is_read_from_the_lock_file() {
        let package = |name, version| format!("[[package]]\nname = \"{name}\"\nversion = \"{version}\"\n\n");
        let lock = package("talc-extra", "1.0.0") + &package("talc", "5.1.1+9a");
        assert_eq!(version(&lock, "talc"), "5.1.1");
        assert_eq!(version(&lock, "none"), "unknown");
    }
}
