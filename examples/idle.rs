//! What a process keeps of a burst of 1 GiB when its threads have gone to sleep, with Bandolier and with other allocators.
//!
//! ```sh
//! cargo run --release --example idle
//! ```
//!
//! Each allocator is the global one of a process of its own (`benches/peers/src/idle`), which this program builds. Eight threads
//! allocate the burst in blocks of 16 bytes to 32 KiB, use it, free it, and sleep; then nobody calls anything. `--mib 256` makes
//! the burst smaller.

mod way;

use std::process::ExitCode;
use way::{Program, Way, driven, finish, jemalloc, say, way};

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
    jemalloc("jemalloc, background threads", "background_thread:true"),
    way("snmalloc", "snmalloc"),
];

fn mib(kib: &str) -> String {
    kib.parse::<f64>().map_or_else(|_| "–".into(), |kib| format!("{:.1}", kib / 1024.0))
}

fn milliseconds(micros: &str) -> String {
    micros.parse::<f64>().map_or_else(|_| "–".into(), |micros| format!("{:.1}", micros / 1000.0))
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let Some(program) = Program::find("idle") else { return ExitCode::FAILURE };
    println!(
        "MiB resident: at the height of a burst, some time after all of it was freed, and after one drain_caches().\n"
    );
    println!("| allocator | height | 0 s | 0.1 s | 1 s | 5 s | drained | in ms |");
    println!("|---|--:|--:|--:|--:|--:|--:|--:|");
    let mut missing = Vec::new();
    for way in &WAYS {
        say(&format!("{} …", way.name));
        let figures = way.build(&program).and_then(|program| way.run(&program, &words));
        say("");
        match figures.as_deref() {
            Some([_, height, at_0, at_100, at_1000, at_5000, drained, micros]) => {
                let sizes = [height, at_0, at_100, at_1000, at_5000, drained].map(|kib| mib(kib)).join(" | ");
                println!("| {} | {sizes} | {} |", way.name, milliseconds(micros));
            }
            _ => missing.push(way.name),
        }
    }
    finish(&missing, WAYS.len())
}
