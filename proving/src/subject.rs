//! A heap as the oracle sees it, whatever its back-end.

use crate::books::Books;
use bandolier::{Bounds, Limits, Reclaimed, Stats};
use core::alloc::{GlobalAlloc, Layout};

/// A heap, and what is known of it from outside.
pub trait Subject: GlobalAlloc + Sync {
    /// Bytes that a block takes, as `stats` counts them.
    fn rounded(&self, layout: Layout) -> usize;
    /// Whether a block is a chunk.
    fn is_chunk(&self, layout: Layout) -> bool;
    /// Whether a block is the back-end's own.
    fn is_large(&self, layout: Layout) -> bool;
    /// Whether there is memory for whatever is asked here, but for limits and refusals.
    fn is_ample(&self) -> bool;
    /// What `stats` must call in use when the oracle holds so much, and nobody works.
    fn in_use(&self, held: usize) -> usize;
    /// Whether the heap is the oracle's alone, so that it can be emptied.
    fn is_alone(&self) -> bool;
    /// The back-end's books, if it has any.
    fn books(&self) -> Option<Books>;
    /// Lets the back-end's clock go on, if it is one that can be set.
    fn tick(&self, milliseconds: u64);

    /// [`Bandolier::trim_within`](bandolier::Bandolier::trim_within)
    fn trim(&self, bounds: Bounds) -> Reclaimed;
    /// [`Bandolier::drain_within`](bandolier::Bandolier::drain_within)
    fn drain(&self, bounds: Bounds) -> Reclaimed;
    /// [`Bandolier::drain_caches_within`](bandolier::Bandolier::drain_caches_within)
    fn drain_caches(&self, bounds: Bounds) -> Reclaimed;
    /// [`Bandolier::flush_thread`](bandolier::Bandolier::flush_thread)
    fn flush_thread(&self);
    /// [`Bandolier::set_limits`](bandolier::Bandolier::set_limits)
    fn set_limits(&self, limits: Limits) -> bool;
    /// [`Bandolier::committed`](bandolier::Bandolier::committed)
    fn committed(&self) -> usize;
    /// [`Bandolier::stats`](bandolier::Bandolier::stats)
    fn stats(&self) -> Stats;
}

/// The rest of a subject that has a field `heap`.
macro_rules! verbs_of_heap {
    () => {
        fn trim(&self, bounds: bandolier::Bounds) -> bandolier::Reclaimed {
            self.heap.trim_within(bounds)
        }

        fn drain(&self, bounds: bandolier::Bounds) -> bandolier::Reclaimed {
            self.heap.drain_within(bounds)
        }

        fn drain_caches(&self, bounds: bandolier::Bounds) -> bandolier::Reclaimed {
            self.heap.drain_caches_within(bounds)
        }

        fn flush_thread(&self) {
            self.heap.flush_thread();
        }

        fn set_limits(&self, limits: bandolier::Limits) -> bool {
            self.heap.set_limits(limits)
        }

        fn committed(&self) -> usize {
            self.heap.committed()
        }

        fn stats(&self) -> bandolier::Stats {
            self.heap.stats()
        }
    };
}
pub(crate) use verbs_of_heap;
