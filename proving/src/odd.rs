//! A user's back-end with all that a back-end may differ in: small units, a segment that is no power of two of them, memory that
//! is never zero, purges that are refused or clear, blocks that grow now and then, and a clock that is set by hand.

use bandolier::{Backend, FromGlobal};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::alloc::System;
use std::sync::Arc;

pub(crate) struct Odd {
    memory: FromGlobal<System>,
    /// Milliseconds, as the owner of the stand has it.
    clock: Arc<AtomicU64>,
    calls: AtomicU64,
}

impl Odd {
    pub(crate) fn new(clock: Arc<AtomicU64>) -> Self {
        Self { memory: FromGlobal::new(&System), clock, calls: AtomicU64::new(0) }
    }

    /// Every other call.
    fn is_odd(&self) -> bool {
        self.calls.fetch_add(1, Relaxed) % 2 == 1
    }
}

/// What a purge leaves that did not clear.
const LEFT: u8 = 0x5a;

// SAFETY: all memory is the inner back-end's; what is written to it here is so only where the contract gives it up.
unsafe impl Backend for Odd {
    const UNIT: usize = 8192;
    const SEGMENT: usize = 40 * 8192;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.memory.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.memory.release(block, layout) }
    }

    fn granule(&self) -> usize {
        2048
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let clears = !self.is_odd();
        // SAFETY: nothing uses the contents any more, by the caller's promise.
        unsafe { start.write_bytes(if clears { 0 } else { LEFT }, bytes) };
        clears
    }

    fn uptime(&self) -> Option<Duration> {
        Some(Duration::from_millis(self.clock.load(Relaxed)))
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        if self.is_odd() {
            return None;
        }
        // SAFETY: the caller's promise.
        unsafe { self.memory.remap(block, layout, bytes) }
    }
}
