//! The target whose heap is the process's own. Nothing else may run beside it, for what is in use is compared.

use bandolier_proving::{Counted, GLOBAL, Process, Script, replay};

#[global_allocator]
static COUNTED: Counted = Counted::new();
static PROCESS: Process = Process::new(&COUNTED);

#[test]
fn the_heap_of_the_process_does_what_the_oracle_says() {
    replay::all(GLOBAL, 500, replay::GLOBAL_LENGTH, |bytes| _ = Script::run_as_global(bytes, &PROCESS));
}
