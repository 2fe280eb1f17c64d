//! The back-end of the process's own heap.

use super::{Backend, Os, Sole};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;

/// The operating system's memory, for the one heap of the process that every `Bandolier` of this type is. For a heap of
/// its own on the same memory there is [`Os`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

// SAFETY: every call is one of `Os`, which keeps the contract.
unsafe impl Backend for Native {
    const SOLE: Option<Sole> = Some(Sole);
    const UNIT: usize = Os::UNIT;
    const SEGMENT: usize = Os::SEGMENT;
    const ADDRESS_BITS: u32 = Os::ADDRESS_BITS;
    const ZEROED: bool = Os::ZEROED;
    const PURGES: bool = Os::PURGES;
    const GUARDS: bool = Os::GUARDS;

    fn base(&self) -> usize {
        Os.base()
    }

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(layout)
    }

    fn acquire_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire_zeroed(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }

    fn granule(&self) -> usize {
        Os.granule()
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.purge(start, bytes) }
    }

    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.guard(start, bytes) }
    }

    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.unguard(start, bytes) }
    }

    unsafe fn expect_dense(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Os.expect_dense(block, layout) }
    }

    fn uptime(&self) -> Option<Duration> {
        Os.uptime()
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { Os.remap(block, layout, bytes) }
    }
}
