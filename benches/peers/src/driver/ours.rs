//! Bandolier's.

use bandolier::{Bandolier, Reclaimer};

pub(super) use bandolier::Running;

/// A name of the heap that the program runs on.
static HEAP: Bandolier = Bandolier::new();

pub(super) fn start() -> Option<Running> {
    Reclaimer::new(&HEAP).spawn().ok()
}

pub(super) fn stop(running: Running) -> usize {
    running.stop().total()
}

pub(super) fn drain() -> bool {
    HEAP.drain_caches().is_complete()
}
