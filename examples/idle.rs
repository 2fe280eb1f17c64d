//! What a process keeps of a burst of 1 GiB when its threads have gone to sleep, with Bandolier and with other allocators.
//!
//! ```sh
//! cargo run --release --example idle
//! ```
//!
//! Each allocator is the global one of a process of its own (`benches/peers/src/idle`), which this program builds: some want a C
//! compiler, C++ and cmake, and those that cannot be built are left out, not in silence. Eight threads allocate the burst in
//! blocks of 16 bytes to 32 KiB, use it, free it, and sleep; then nobody calls anything. `--mib 256` makes the burst smaller.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

/// A way to run an allocator: what it is called, the feature that it is built with, and what it is run with.
struct Way {
    name: &'static str,
    feature: &'static str,
    driver: bool,
    env: Option<(&'static str, &'static str)>,
}

const fn way(name: &'static str, feature: &'static str) -> Way {
    Way { name, feature, driver: false, env: None }
}

const fn driven(name: &'static str, feature: &'static str) -> Way {
    Way { driver: true, ..way(name, feature) }
}

const WAYS: [Way; 11] = [
    way("Bandolier", "bandolier"),
    driven("Bandolier, with a Reclaimer", "bandolier"),
    way("Bandolier, per thread", "bandolier-per-thread"),
    driven("Bandolier, per thread, with a Reclaimer", "bandolier-per-thread"),
    way("Bandolier, per CPU", "bandolier-per-cpu"),
    driven("Bandolier, per CPU, with a Reclaimer", "bandolier-per-cpu"),
    way("System", "system"),
    way("mimalloc v3", "mimalloc"),
    way("jemalloc", "jemalloc"),
    Way {
        env: Some(("_RJEM_MALLOC_CONF", "background_thread:true")),
        ..way("jemalloc, background threads", "jemalloc")
    },
    way("snmalloc", "snmalloc"),
];

impl Way {
    /// Builds the program with this allocator, and says where it is.
    fn build(&self, workspace: &Path, target: &Path) -> Option<PathBuf> {
        let target = target.join("idle").join(self.feature);
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["build", "--quiet", "--release", "--package", "bandolier-peers", "--bin", "idle", "--features"]);
        cargo.arg(self.feature).arg("--target-dir").arg(&target).current_dir(workspace);
        let built = cargo.stdin(Stdio::null()).status().is_ok_and(|status| status.success());
        built.then(|| target.join("release").join("idle"))
    }

    /// The fields of the line that the program prints.
    fn run(&self, program: &Path, words: &[String]) -> Option<Vec<String>> {
        let mut command = Command::new(program);
        command.args(words).args(self.driver.then_some("--driver")).envs(self.env).stderr(Stdio::inherit());
        let output = command.output().ok().filter(|output| output.status.success())?;
        let line = String::from_utf8(output.stdout).ok()?;
        Some(line.trim().split('\t').skip(1).map(str::to_owned).collect())
    }
}

fn mib(kib: &str) -> String {
    kib.parse::<f64>().map_or_else(|_| "–".into(), |kib| format!("{:.1}", kib / 1024.0))
}

fn milliseconds(micros: &str) -> String {
    micros.parse::<f64>().map_or_else(|_| "–".into(), |micros| format!("{:.1}", micros / 1000.0))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| workspace.join("target"), PathBuf::from);
    if !workspace.join("benches/peers").is_dir() {
        eprintln!("idle: the other allocators are built from the repository, in benches/peers");
        return ExitCode::FAILURE;
    }
    println!(
        "MiB resident: at the height of a burst, some time after all of it was freed, and after one drain_caches().\n"
    );
    println!("| allocator | height | 0 s | 0.1 s | 1 s | 5 s | drained | in ms |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let mut missing = Vec::new();
    for way in &WAYS {
        eprint!("\r\x1b[K{} …", way.name);
        let figures = way.build(workspace, &target).and_then(|program| way.run(&program, &words));
        eprint!("\r\x1b[K");
        match figures.as_deref() {
            Some([_, height, at_0, at_100, at_1000, at_5000, drained, micros]) => {
                let sizes = [height, at_0, at_100, at_1000, at_5000, drained].map(|kib| mib(kib)).join(" | ");
                println!("| {} | {sizes} | {} |", way.name, milliseconds(micros));
            }
            _ => missing.push(way.name),
        }
    }
    println!();
    missing.iter().for_each(|name| println!("LEFT OUT, since it could not be built or run: {name}"));
    if missing.len() == WAYS.len() { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
