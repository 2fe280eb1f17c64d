//! The heap of the process with a count of its own beside it: every block that the program holds, whoever asked for it.

use crate::books::Books;
use crate::common::{is_large, rounded};
use crate::subject::{Subject, verbs_of_heap};
use bandolier::{Backend, Bandolier, Limits, Native, SizeClass};
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::Relaxed};
use crossbeam_utils::CachePadded;

/// A `#[global_allocator]` that counts.
///
/// An allocation of somebody who cannot do without is not refused: the limits that refused it are lifted, and that is counted.
pub struct Counted {
    heap: Bandolier,
    /// By threads, so that they do not wait for each other more than the heap makes them.
    held: [CachePadded<AtomicIsize>; COUNTERS],
    lifted: AtomicUsize,
}

const COUNTERS: usize = 64;

impl Counted {
    /// The heap of the process.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            heap: Bandolier::new(),
            held: [const { CachePadded::new(AtomicIsize::new(0)) }; COUNTERS],
            lifted: AtomicUsize::new(0),
        }
    }

    /// The heap itself.
    #[must_use]
    pub const fn heap(&self) -> &Bandolier {
        &self.heap
    }

    /// Bytes in blocks that the program holds, as the heap should have them; exact while nobody works.
    #[must_use]
    pub fn held(&self) -> usize {
        let sum: isize = self.held.iter().map(|held| held.load(Relaxed)).sum();
        usize::try_from(sum).expect("more was freed than allocated")
    }

    /// How often limits had to be lifted for somebody who could not do without.
    #[must_use]
    pub fn lifted(&self) -> usize {
        self.lifted.load(Relaxed)
    }

    /// The calling thread's counter: stacks lie further apart than that.
    fn counter(&self) -> &AtomicIsize {
        let here = 0_u8;
        &self.held[((&raw const here).addr() >> 20) % COUNTERS]
    }

    fn count(&self, block: *mut u8, layout: Layout, sign: isize) {
        if !block.is_null() {
            self.counter().fetch_add(sign * rounded::<Native>(layout).cast_signed(), Relaxed);
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    unsafe fn counted_realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { self.heap.realloc(block, layout, size) };
        if !moved.is_null() {
            self.count(block, layout, -1);
            // SAFETY: the size fits the alignment, by the caller's promise.
            self.count(moved, unsafe { Layout::from_size_align_unchecked(size, layout.align()) }, 1);
        }
        moved
    }

    /// Asks again without limits, if there was nothing.
    fn insist(&self, ask: impl Fn() -> *mut u8) -> *mut u8 {
        let block = ask();
        if !block.is_null() {
            return block;
        }
        self.heap.set_limits(Limits::NONE);
        self.lifted.fetch_add(1, Relaxed);
        ask()
    }
}

impl Default for Counted {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every block is the heap's.
unsafe impl GlobalAlloc for Counted {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = self.insist(|| unsafe { self.heap.alloc(layout) });
        self.count(block, layout, 1);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        self.count(block, layout, -1);
        // SAFETY: the caller's promise.
        unsafe { self.heap.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = self.insist(|| unsafe { self.heap.alloc_zeroed(layout) });
        self.count(block, layout, 1);
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise, of which nothing has changed if there was nothing.
        self.insist(|| unsafe { self.counted_realloc(block, layout, size) })
    }
}

/// The same heap for the oracle, which is told when there is no memory.
pub struct Process {
    heap: &'static Bandolier,
    counted: &'static Counted,
}

impl Process {
    /// The heap that `counted` is.
    #[must_use]
    pub const fn new(counted: &'static Counted) -> Self {
        Self { heap: &counted.heap, counted }
    }
}

// SAFETY: every block is the heap's.
unsafe impl GlobalAlloc for Process {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.heap.alloc(layout) };
        self.counted.count(block, layout, 1);
        block
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.counted.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let block = unsafe { self.heap.alloc_zeroed(layout) };
        self.counted.count(block, layout, 1);
        block
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.counted.counted_realloc(block, layout, size) }
    }
}

impl Subject for Process {
    fn rounded(&self, layout: Layout) -> usize {
        rounded::<Native>(layout)
    }

    fn is_chunk(&self, layout: Layout) -> bool {
        SizeClass::of(layout).is_some_and(|class| class.bytes() <= Native::UNIT / 2)
    }

    fn is_large(&self, layout: Layout) -> bool {
        is_large::<Native>(layout)
    }

    fn is_ample(&self) -> bool {
        true
    }

    fn in_use(&self, _: usize) -> usize {
        self.counted.held()
    }

    fn is_alone(&self) -> bool {
        false
    }

    fn books(&self) -> Option<Books> {
        None
    }

    fn tick(&self, _: u64) {}

    verbs_of_heap!();
}
