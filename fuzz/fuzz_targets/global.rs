//! The heap is the fuzzer's own, too: all that is of Rust in it.

#![no_main]

use bandolier_proving::{Counted, Process, Script};

#[global_allocator]
static COUNTED: Counted = Counted::new();
static PROCESS: Process = Process::new(&COUNTED);

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let _ = Script::run_as_global(bytes, &PROCESS);
});
