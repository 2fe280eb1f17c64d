//! What a heap holds, counted on slow paths only.
//!
//! The fast paths count nothing: what a thread does with its magazines shows when it trades them. So the figures are
//! exact while no thread works.
//! A feature that switches the counting off would save nothing that could be measured.

use crate::size_class::{PerClass, SizeClass};
use crate::sync::{Atomic, Ordering, const_fn};
use core::ops::AddAssign;
use core::time::Duration;

/// What a heap holds at a moment, in bytes unless a field says otherwise.
///
/// The figures are read one after the other while others work, so they agree with each other only in a quiet heap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Taken from the back-end and not given back: segments, large blocks and metadata.
    pub from_backend: usize,
    /// In blocks that the program holds.
    pub in_use: usize,
    /// Of `in_use`: blocks too large for a segment, which are the back-end's own.
    pub large: usize,
    /// Taken from the back-end for the allocator's own records.
    pub metadata: usize,
    /// Of `metadata`: in records that are in use.
    pub metadata_in_use: usize,
    /// In chunks that wait in the depot and in all magazines that threads, CPUs and shared slots have.
    pub cached: usize,
    /// Threads that have a cache of their own in this heap.
    pub threads: usize,
    /// Where threads find the magazines that they work from.
    pub locator: Locator,
    /// Why that is another than was asked for; `None` when it is not.
    pub why: Option<&'static str>,
    /// Each size class by itself, smallest chunks first.
    pub classes: [ClassStats; SizeClass::COUNT],
}

/// Where the threads that use a heap find the magazines that they work from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Locator {
    /// With the CPU that they run on, and for classes in which they are busy, with themselves.
    Hybrid,
    /// With themselves.
    PerThread,
    /// With the CPU that they run on.
    PerCpu,
    /// In slots that all of them share.
    #[default]
    Shared,
}

/// What a heap holds of one size class. Rounds are chunks in magazines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ClassStats {
    /// Bytes of one chunk.
    pub bytes: usize,
    /// Slabs cut into chunks of this class.
    pub slabs: usize,
    /// Chunks that are out of their slabs: in the program's hands or in magazines.
    pub taken: usize,
    /// Magazines in the depot.
    pub magazines: usize,
    /// Rounds in the depot and in all magazines that threads, CPUs and shared slots have.
    pub cached: usize,
}

impl Default for Stats {
    /// The figures of a heap that has never been used.
    fn default() -> Self {
        Self {
            from_backend: 0,
            in_use: 0,
            large: 0,
            metadata: 0,
            metadata_in_use: 0,
            cached: 0,
            threads: 0,
            locator: Locator::default(),
            why: None,
            classes: [ClassStats::default(); SizeClass::COUNT],
        }
    }
}

impl Stats {
    /// The figures that `taken` and `cached` chunks per class imply.
    pub(crate) fn of_classes(classes: PerClass<ClassStats>) -> Self {
        let cached = classes.0.iter().map(|c| c.cached * c.bytes).sum();
        let taken: usize = classes.0.iter().map(|c| c.taken * c.bytes).sum();
        Self { in_use: taken.saturating_sub(cached), cached, classes: classes.0, ..Self::default() }
    }
}

/// How much one pass of reclaim may do, so that nobody waits for it long.
///
/// ```
/// use bandolier::Bounds;
/// use std::time::Duration;
///
/// const GENTLE: Bounds = Bounds::NONE.bytes(32 << 20).time(Duration::from_millis(2));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub(crate) bytes: usize,
    pub(crate) time: Option<Duration>,
}

impl Bounds {
    /// None: the pass goes on until it is through.
    pub const NONE: Self = Self { bytes: usize::MAX, time: None };

    /// Gives back so many bytes, and what it takes to end with a whole segment or a whole run of pages.
    #[must_use]
    pub const fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// Begins no step (a segment, a slab, or the magazines of a class) after so long, where the back-end has a clock.
    #[must_use]
    pub const fn time(self, time: Duration) -> Self {
        Self { time: Some(time), ..self }
    }
}

/// What one pass of reclaim gave back, in bytes, and what it could not reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[must_use = "says what went back; use `let _ =` where that is of no interest"]
#[non_exhaustive]
pub struct Reclaimed {
    /// Bytes of segments, returned to the back-end for good.
    pub released: usize,
    /// Bytes of units that no slab and no block lies in: kept as addresses, while the physical memory under them went back.
    pub purged_units: usize,
    /// Bytes of pages between blocks in use, likewise.
    pub purged_chunks: usize,
    /// Bytes of pages of the allocator's own records, likewise.
    pub purged_records: usize,
    /// Threads whose magazines were to be taken, and could not be: those just then in a slow path of the allocator, which
    /// hand in what they have when they next come by; or all, where the system does not let a thread reach into others.
    pub missed_threads: usize,
    /// CPUs whose magazines were to be taken, and could not be: because the system does not let a thread reach into them, because
    /// there is no memory for others in their place, or because another thread does the same just now.
    pub missed_cpus: usize,
}

impl Reclaimed {
    /// All that went back, in bytes.
    #[must_use]
    pub const fn total(self) -> usize {
        self.released + self.purged()
    }

    /// What is kept as addresses, while the physical memory went back, in bytes.
    #[must_use]
    pub const fn purged(self) -> usize {
        self.purged_units + self.purged_chunks + self.purged_records
    }

    /// Whether the pass has reached all that it was to reach.
    #[must_use]
    pub const fn is_complete(self) -> bool {
        self.missed_threads == 0 && self.missed_cpus == 0
    }
}

impl AddAssign for Reclaimed {
    fn add_assign(&mut self, other: Self) {
        self.released += other.released;
        self.purged_units += other.purged_units;
        self.purged_chunks += other.purged_chunks;
        self.purged_records += other.purged_records;
        self.missed_threads += other.missed_threads;
        self.missed_cpus += other.missed_cpus;
    }
}

/// A number that many parties change and nobody decides anything by.
pub(crate) struct Counter(Atomic<usize>);

impl Counter {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(Atomic::new(0))
        }
    }

    pub(crate) fn add(&self, n: usize) {
        // Relaxed: a statistic; no other memory hangs on it.
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    pub(crate) fn sub(&self, n: usize) {
        // Relaxed: as in `add`.
        self.0.fetch_sub(n, Ordering::Relaxed);
    }

    /// Begins anew.
    pub(crate) fn reset(&self) {
        // Relaxed: as in `add`.
        self.0.store(0, Ordering::Relaxed);
    }

    /// The number; 0 while a subtraction is ahead of its addition.
    pub(crate) fn get(&self) -> usize {
        // Relaxed: as in `add`.
        let n = self.0.load(Ordering::Relaxed);
        if n > usize::MAX / 2 { 0 } else { n }
    }
}
