//! Running commands: cargo, rustup and whatever cargo has built.
//!
//! Plain calls keep the toolchain that runs xtask. Calls for another toolchain go through `rustup run`
//! in an environment without what rustup and cargo left there for their own child.

use core::time::Duration;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

/// What rustup and `cargo run` set for xtask and its children must not see.
const OURS: &[&str] =
    &["CARGO", "CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_PRIMARY_PACKAGE", "CARGO_BIN_NAME"];
/// What names a toolchain.
const TOOLCHAIN: &[&str] = &["RUSTUP_TOOLCHAIN", "RUSTC", "RUSTDOC", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH"];

/// The repository that xtask is a member of.
pub(crate) fn root() -> PathBuf {
    let own = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    Path::new(&own).parent().expect("xtask lies in the repository").to_path_buf()
}

/// A folder of our own below the target directory.
pub(crate) fn target(root: &Path, name: &str) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(dir) => std::path::absolute(dir).expect("CARGO_TARGET_DIR is a path").join(name),
        None => root.join("target").join(name),
    }
}

/// One command, printed before it runs.
pub(crate) struct Call {
    command: Command,
    shown: String,
}

impl Call {
    pub(crate) fn new(root: &Path, program: impl AsRef<OsStr>, args: &[&str]) -> Self {
        let mut command = Command::new(&program);
        command.args(args).current_dir(root);
        for (key, _) in std::env::vars_os() {
            let name = key.to_string_lossy();
            if name.starts_with("CARGO_PKG_") || OURS.contains(&&*name) {
                command.env_remove(&key);
            }
        }
        if let Some(dir) = std::env::var_os("CARGO_TARGET_DIR") {
            command.env("CARGO_TARGET_DIR", std::path::absolute(dir).expect("CARGO_TARGET_DIR is a path"));
        }
        let name = Path::new(program.as_ref()).file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { command, shown: [&[name.as_str()], args].concat().join(" ") }
    }

    /// Cargo of the toolchain that runs us.
    pub(crate) fn cargo(root: &Path, args: &[&str]) -> Self {
        Self::new(root, "cargo", args)
    }

    /// Cargo of another toolchain.
    pub(crate) fn cargo_of(toolchain: &str, root: &Path, args: &[&str]) -> Self {
        let mut call = Self::new(root, "rustup", &[&["run", toolchain, "cargo"], args].concat());
        for key in TOOLCHAIN {
            call.command.env_remove(key);
        }
        call
    }

    pub(crate) fn env(mut self, key: &str, value: impl AsRef<OsStr>) -> Self {
        if !key.ends_with("TARGET_DIR") {
            self.shown = format!("{key}={:?} {}", value.as_ref(), self.shown);
        }
        if key == "RUSTFLAGS" {
            self.command.env_remove("CARGO_ENCODED_RUSTFLAGS");
        }
        self.command.env(key, value);
        self
    }

    /// Runs to the end with our own input and output.
    pub(crate) fn run(mut self) -> Result<(), String> {
        println!("  $ {}", self.shown);
        match self.command.status() {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(format!("`{}` failed: {status}", self.shown)),
            Err(error) => Err(format!("`{}` could not be started: {error}", self.shown)),
        }
    }

    /// Runs to the end and returns what it printed; its errors are ours.
    pub(crate) fn output(mut self) -> Result<String, String> {
        match self.command.stderr(Stdio::inherit()).output() {
            Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            Ok(out) => Err(format!("`{}` failed: {}", self.shown, out.status)),
            Err(error) => Err(format!("`{}` could not be started: {error}", self.shown)),
        }
    }

    /// The same, but its errors come with ours.
    pub(crate) fn output_alone(mut self) -> Result<String, String> {
        match self.command.output() {
            Ok(out) if out.status.success() => Ok(String::from_utf8_lossy(&out.stdout).into_owned()),
            Ok(out) => Err(format!("{}`{}` failed: {}", String::from_utf8_lossy(&out.stderr), self.shown, out.status)),
            Err(error) => Err(format!("`{}` could not be started: {error}", self.shown)),
        }
    }

    /// Runs to the end; whether it succeeded.
    pub(crate) fn run_either_way(mut self) -> Result<bool, String> {
        println!("  $ {}", self.shown);
        self.command
            .status()
            .map(|status| status.success())
            .map_err(|e| format!("`{}` could not be started: {e}", self.shown))
    }

    /// Whether it runs and succeeds; says nothing.
    pub(crate) fn succeeds(mut self) -> bool {
        self.command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|s| s.success())
    }

    /// Runs for at most `limit` with its output in a file.
    pub(crate) fn run_for(mut self, limit: Duration, log: &Path) -> Result<Ended, String> {
        let describe = |e: std::io::Error| format!("`{}`: {e}", self.shown);
        let out = File::create(log).map_err(describe)?;
        let err = out.try_clone().map_err(describe)?;
        let mut child = self.command.stdin(Stdio::null()).stdout(out).stderr(err).spawn().map_err(describe)?;
        let started = Instant::now();
        loop {
            match child.try_wait().map_err(describe)? {
                Some(status) if status.success() => return Ok(Ended::Well),
                Some(_) => return Ok(Ended::Badly),
                None if started.elapsed() > limit => {
                    child.kill().and_then(|()| child.wait()).map_err(describe)?;
                    return Ok(Ended::Late);
                }
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        }
    }
}

/// How a command with a limit ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Well,
    Badly,
    /// It was killed at its limit.
    Late,
}

/// A test binary that cargo has built.
pub(crate) struct Built {
    pub(crate) path: PathBuf,
    /// Nothing had to be compiled.
    pub(crate) fresh: bool,
}

/// Reads the test binary of the library out of `cargo test --no-run --message-format=json..`.
pub(crate) fn built_test(messages: &str) -> Option<Built> {
    let artifacts = messages.lines().filter(|l| l.starts_with(r#"{"reason":"compiler-artifact""#));
    let (line, path) = artifacts.filter_map(|l| Some((l, json_string(l, "executable")?))).next_back()?;
    Some(Built { path: path.into(), fresh: line.contains(r#""fresh":true"#) })
}

/// The string behind `"key":` in one line of JSON, if a string stands there.
fn json_string(line: &str, key: &str) -> Option<String> {
    let (_, rest) = line.split_once(&format!("\"{key}\":\""))?;
    let mut chars = rest.chars();
    let mut value = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(value),
            '\\' => value.push(chars.next()?), // paths escape only `\` and `"`
            c => value.push(c),
        }
    }
}

/// Packages of Debian's, and what is there when they are: a program, or a file.
pub(crate) struct Package {
    pub(crate) has: &'static str,
    pub(crate) names: &'static [&'static str],
}

impl Package {
    fn is_there(&self) -> bool {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        match self.has.starts_with('/') {
            true => Path::new(self.has).exists(),
            false => std::env::split_paths(&paths).any(|folder| folder.join(self.has).is_file()),
        }
    }
}

/// Makes sure that a program of Debian's is there; installs it, if that is allowed.
pub(crate) fn need_package(root: &Path, package: &Package) -> Result<(), String> {
    if package.is_there() {
        return Ok(());
    }
    let names = package.names.join(" ");
    let is_root = Call::new(root, "id", &["-u"]).output_alone().is_ok_and(|id| id.trim() == "0");
    if !is_root {
        return Err(format!("there is no {} (Debian: apt-get install {names})", package.has));
    }
    const APT: &[&str] = &["-q", "-o", "DPkg::Lock::Timeout=300"];
    let apt = |args: &[&str]| {
        Call::new(root, "apt-get", &[APT, args].concat()).env("DEBIAN_FRONTEND", "noninteractive").output_alone()
    };
    println!("  installing {names}");
    apt(&["update"])?;
    apt(&[&["install", "-y", "--no-install-recommends"], package.names].concat())?;
    if package.is_there() { Ok(()) } else { Err(format!("{names}: installed, and still there is no {}", package.has)) }
}

/// Makes sure that the current toolchain can build for a target.
pub(crate) fn need_target(root: &Path, target: &str) -> Result<(), String> {
    let libdir = Call::new(root, "rustc", &["--print", "target-libdir", "--target", target]).output();
    if libdir.is_ok_and(|dir| Path::new(dir.trim()).is_dir()) {
        return Ok(());
    }
    Call::new(root, "rustup", &["target", "add", target]).run()
}

/// Makes sure that a component's command runs, of the current or of a named toolchain.
pub(crate) fn need_component(
    root: &Path,
    toolchain: Option<&str>,
    component: &str,
    probe: &[&str],
) -> Result<(), String> {
    let probe = match toolchain {
        Some(name) => Call::cargo_of(name, root, probe),
        None => Call::cargo(root, probe),
    };
    if probe.succeeds() {
        return Ok(());
    }
    let of: &[&str] = &toolchain.map_or(vec![], |name| vec!["--toolchain", name]);
    Call::new(root, "rustup", &[&["component", "add", component], of].concat()).run()
}

/// Makes sure that a toolchain is there.
pub(crate) fn need_toolchain(root: &Path, toolchain: &str) -> Result<(), String> {
    if Call::cargo_of(toolchain, root, &["--version"]).succeeds() {
        return Ok(());
    }
    let install = ["toolchain", "install", toolchain, "--profile", "minimal", "--no-self-update"];
    Call::new(root, "rustup", &install).run()
}

/// `3.1 s`, for people.
pub(crate) fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARTIFACT: &str = r#"{"reason":"compiler-artifact","target":{"name":"x"},"profile":{"test":true},"executable":"/t/a b\"\\x","fresh":false}"#;

    #[test]
    fn the_test_binary_is_found_among_the_messages() {
        let library = r#"{"reason":"compiler-artifact","executable":null,"fresh":true}"#;
        let built = built_test(&format!("{library}\n{ARTIFACT}\n{{\"reason\":\"build-finished\"}}\n")).unwrap();
        assert_eq!((built.path.to_str().unwrap(), built.fresh), ("/t/a b\"\\x", false));
        assert!(built_test(library).is_none());
    }

    #[cfg(unix)]
    #[test]
    fn a_command_is_stopped_at_its_limit() {
        let log = std::env::temp_dir().join(format!("xtask-{}", std::process::id()));
        let sh = |script: &str| {
            let call = Call::new(Path::new("/"), "sh", &["-c", script]);
            call.run_for(Duration::from_millis(500), &log).unwrap()
        };
        assert_eq!([sh("exec sleep 30"), sh("exit 3"), sh("true")], [Ended::Late, Ended::Badly, Ended::Well]);
        std::fs::remove_file(log).unwrap();
    }

    #[test]
    fn a_failing_command_is_an_error() {
        let missing = Call::new(Path::new("/"), "no-such-command", &["a"]).run();
        assert!(missing.unwrap_err().contains("no-such-command a"));
    }
}
