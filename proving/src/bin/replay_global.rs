//! Runs cases again with the heap as this process's own: from files, or by their seeds.

use bandolier_proving::{Counted, GLOBAL, Process, Script, replay};
use std::path::Path;

#[global_allocator]
static COUNTED: Counted = Counted::new();
static PROCESS: Process = Process::new(&COUNTED);

fn main() {
    let run = |bytes: &[u8]| _ = Script::run_as_global(bytes, &PROCESS);
    // After the target's name, which is but one here.
    for case in std::env::args().skip(2) {
        match case.parse() {
            Ok(seed) => replay::one_seed(GLOBAL, seed, replay::GLOBAL_LENGTH, run),
            Err(_) => replay::one_file(GLOBAL, Path::new(&case), run),
        }
    }
}
