//! What unit tests of several layers share: a small back-end that writes down what it is asked for.

use crate::backend::Backend;
use crate::map::Map;
use crate::segment::{Run, Segments, Wish};
use crate::supply::{Drawn, Supply};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use core::time::Duration;
use std::sync::Mutex;
use std::vec::Vec;

/// Bytes of a unit of [`Paper`].
pub(crate) const UNIT: usize = 64 << 10;
/// Bytes of a page of it: sixteen to a unit.
pub(crate) const PAGE: usize = 4096;

/// Blocks of the system's, at pages; and a list of what was purged.
pub(crate) struct Paper {
    purged: Mutex<Vec<(usize, usize)>>,
    /// Purges are refused.
    refuses: AtomicBool,
    /// Bytes of records that can still be acquired.
    left: AtomicUsize,
    /// Bytes of segments. (How many records the map needs is a matter of where blocks lie.)
    left_for_segments: AtomicUsize,
    /// What the clock says, in seconds.
    now: AtomicUsize,
    granule: AtomicUsize,
}

impl Paper {
    pub(crate) const fn new() -> Self {
        Self {
            purged: Mutex::new(Vec::new()),
            refuses: AtomicBool::new(false),
            left: AtomicUsize::new(usize::MAX),
            left_for_segments: AtomicUsize::new(usize::MAX),
            now: AtomicUsize::new(0),
            granule: AtomicUsize::new(PAGE),
        }
    }

    /// What was purged since the last call, by address and bytes, in the order of the addresses.
    pub(crate) fn purged(&self) -> Vec<(usize, usize)> {
        let mut purged = core::mem::take(&mut *self.purged.lock().unwrap());
        purged.sort_unstable();
        purged
    }

    /// From now on purges are refused, or not.
    pub(crate) fn refuse(&self, refuses: bool) {
        self.refuses.store(refuses, Ordering::Relaxed);
    }

    /// From now on so many bytes of records can be acquired, and as many of segments.
    pub(crate) fn leave(&self, bytes: usize) {
        self.left.store(bytes, Ordering::Relaxed);
        self.leave_for_segments(bytes);
    }

    /// From now on so many bytes of segments can be acquired.
    pub(crate) fn leave_for_segments(&self, bytes: usize) {
        self.left_for_segments.store(bytes, Ordering::Relaxed);
    }

    /// The clock says that so many seconds are over.
    pub(crate) fn at(&self, seconds: usize) {
        self.now.store(seconds, Ordering::Relaxed);
    }

    /// From now on so much is purged at once.
    pub(crate) fn set_granule(&self, bytes: usize) {
        self.granule.store(bytes, Ordering::Relaxed);
    }

    fn layout(layout: Layout) -> Layout {
        layout.align_to(PAGE).unwrap()
    }
}

// SAFETY: blocks are the system allocator's, at pages; what is purged is written over with zeros.
unsafe impl Backend for Paper {
    const UNIT: usize = UNIT;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let count = |left: &AtomicUsize| {
            left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(layout.size())).ok()
        };
        count(if layout.align() < UNIT { &self.left } else { &self.left_for_segments })?;
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { std::alloc::alloc_zeroed(Self::layout(layout)) })
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: acquired above, with this layout.
        unsafe { std::alloc::dealloc(block.as_ptr(), Self::layout(layout)) }
    }

    fn granule(&self) -> usize {
        self.granule.load(Ordering::Relaxed)
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let granule = self.granule();
        assert_eq!((start.addr().get() % granule, bytes % granule), (0, 0), "no whole pages");
        self.purged.lock().unwrap().push((start.addr().get(), bytes));
        let done = !self.refuses.load(Ordering::Relaxed);
        // A tool that knows that it is free lets nobody write there.
        if done && !cfg!(feature = "annotate") {
            // SAFETY: the caller's, and nobody uses what is there.
            unsafe { start.write_bytes(0, bytes) };
        }
        done
    }

    fn uptime(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.now.load(Ordering::Relaxed) as u64))
    }
}

/// Segments, and what they need.
pub(crate) struct Bench {
    pub(crate) paper: Paper,
    pub(crate) drawn: Drawn,
    pub(crate) map: Map,
    pub(crate) segments: Segments,
}

impl Bench {
    pub(crate) fn new() -> Self {
        Self { paper: Paper::new(), drawn: Drawn::new(), map: Map::new(), segments: Segments::new() }
    }

    pub(crate) fn supply(&self) -> Supply<'_, Paper> {
        Supply { backend: &self.paper, drawn: &self.drawn }
    }

    /// Segments of so many units each.
    pub(crate) fn with(units: &[u32]) -> Self {
        let bench = Self::new();
        units.iter().for_each(|&units| bench.grow(units, units).unwrap());
        bench
    }

    pub(crate) fn grow(&self, units: u32, most: u32) -> Option<()> {
        self.segments.grow(self.supply(), &self.map, units, most)
    }

    pub(crate) fn claim(&self, units: u32) -> Run {
        self.segments.claim::<Paper>(Wish::units(units)).expect("no such run").0
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // SAFETY: nobody uses any of it any more.
        unsafe { self.segments.release(self.supply()) };
        // SAFETY: as above.
        unsafe { self.map.release(self.supply()) };
    }
}

#[path = "camp.rs"]
mod camp;
pub(crate) use camp::Camp;
