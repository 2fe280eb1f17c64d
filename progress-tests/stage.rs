//! The back-end of the tests: an arena for each lane, of which one heap after the other has all.

use super::steps::{Kind, about_to};
use crate::backend::{Arena, Backend};
use core::alloc::Layout;
use core::cell::Cell;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use core::time::Duration;

/// Most tests that go on beside each other.
pub(super) const LANES: usize = 16;

const BYTES: usize = 32 << 20;

/// Of each lane, once it is used.
static ARENAS: [AtomicPtr<Arena<BYTES>>; LANES] = [const { AtomicPtr::new(ptr::null_mut()) }; LANES];

std::thread_local! {
    static LANE: Cell<usize> = const { Cell::new(0) };
}

/// The calling thread plays in a lane from now on.
pub(super) fn enter(lane: usize) {
    LANE.set(lane);
}

/// Begins to play in a lane, with an arena of which nothing is taken: another one, if something of the last is lost.
pub(super) fn open(lane: usize) {
    enter(lane);
    if ARENAS[lane].load(Relaxed).is_null() || !Stage::is_empty() {
        // SAFETY: all zeros is an arena, page-aligned by its layout; it is there for ever.
        let arena = unsafe { std::alloc::alloc_zeroed(Layout::new::<Arena<BYTES>>()) };
        ARENAS[lane].store(arena.cast(), Relaxed);
    }
}

/// Memory of the calling thread's lane: of no size, so that a thread which leaves can tidy up.
pub(super) struct Stage;

impl Stage {
    fn arena() -> &'static Arena<BYTES> {
        // SAFETY: made in `open`, before there is a heap.
        unsafe { &*ARENAS[LANE.get()].load(Relaxed) }
    }

    /// Whether nothing is taken.
    pub(super) fn is_empty() -> bool {
        // One page for the arena's own bitmap.
        let all = Layout::from_size_align(BYTES - (4 << 10), 1).unwrap();
        let Some(block) = (&Self::arena()).acquire(all) else { return false };
        // SAFETY: acquired just now.
        unsafe { (&Self::arena()).release(block, all) };
        true
    }
}

/// A call of the system: others see what it does between its two ends.
fn call<R>(work: impl FnOnce() -> R) -> R {
    about_to(Kind::Change);
    let answer = work();
    about_to(Kind::Change);
    answer
}

// SAFETY: blocks are those of an arena, for all threads of a lane the same one.
unsafe impl Backend for Stage {
    const UNIT: usize = 4 << 10;
    const SEGMENT: usize = 16 * Self::UNIT;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        call(|| (&Self::arena()).acquire(layout))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        call(|| unsafe { (&Self::arena()).release(block, layout) });
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        call(|| {
            for word in 0..bytes / size_of::<AtomicU64>() {
                // Atomic, for records are looked at meanwhile.
                let word = start.as_ptr().cast::<AtomicU64>().wrapping_add(word);
                // SAFETY: in the range, which nobody writes to otherwise.
                unsafe { &*word }.store(0, Relaxed);
            }
        });
        true
    }

    fn uptime(&self) -> Option<Duration> {
        Some(Duration::from_secs(1))
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        let moved = self.acquire(Layout::from_size_align(bytes, layout.align()).ok()?)?;
        // SAFETY: two blocks of at least so many bytes.
        unsafe { moved.copy_from_nonoverlapping(block, bytes.min(layout.size())) };
        // SAFETY: the caller's promise.
        unsafe { self.release(block, layout) };
        Some(moved)
    }
}
