//! The surplus: memory that is held and not used, and when a heap gives it back without being asked.
//!
//! ```text
//!   bytes │ held ───────────╮
//!         │       used ╲    │ a pass: what is free has grown by all that is used still, and by `KEEP`,
//!         │             ╲   ╰─────╮   since it was least
//!         │              ╲        │
//!         │               ╲       ╰────
//!         └────────────────╲────────────▶ frees
//! ```
//!
//! A heap that keeps its size never comes here: what is freed is taken again, and what is free stays as it is. When it
//! shrinks, a pass is due each time that what is used has halved, so all passes of a decline together cost a small
//! multiple of the frees that made it; the last `KEEP` bytes stay. What a pass cannot give back (pages with survivors)
//! is not tried again until as much is free on top of it.
//!
//! Heaps that swell and shrink in quick turn would fault the same pages in again and again: within [`PERIOD`] at most
//! [`SHARE`] times the most that was ever held goes back, and the rest stays for the next swell.
//!
//! Looks cost a sum over the classes, and are made every [`LOOK`] bytes. All of it is policy: nothing hangs on how
//! these numbers race.

use crate::geometry::{KEEP, LOOK};
use crate::stats::Counter;
use crate::sync::{Atomic, Ordering, const_fn};
use core::cell::Cell;
use core::time::Duration;

/// The time in which the debt of a full share is forgotten.
const PERIOD: Duration = Duration::from_secs(60);
/// Times the most that was ever held, that go back within a period.
const SHARE: usize = 4;

/// Bytes that a pass may give back.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Cell<usize>,
}

impl Budget {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { left: Cell::new(bytes) }
    }

    pub(crate) fn is_left(&self) -> bool {
        self.left.get() > 0
    }

    /// Takes what has gone back off; a piece may be larger than what was left.
    pub(crate) fn spend(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
    }
}

/// What a heap holds and does not use.
pub(crate) struct Surplus {
    /// Bytes given back by caches since the last look.
    given: Counter,
    /// The least that was free since the last pass.
    least: Atomic<usize>,
    /// The most that was ever held.
    most: Atomic<usize>,
    /// Bytes that went back and are not forgotten yet, and when that was so, in ms.
    debt: Atomic<usize>,
    booked: Atomic<usize>,
    /// Parts of a pass are made, and more are to come.
    begun: Atomic<bool>,
}

impl Surplus {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                given: Counter::new(),
                least: Atomic::new(0),
                most: Atomic::new(0),
                debt: Atomic::new(0),
                booked: Atomic::new(0),
                begun: Atomic::new(false),
            }
        }
    }

    /// Notes that `bytes` were freed.
    pub(crate) fn note(&self, bytes: usize) {
        self.given.add(bytes);
    }

    /// Whether it is time for a look.
    pub(crate) fn is_due(&self) -> bool {
        self.given.get() >= LOOK
    }

    /// Looks at what a heap holds; whether the caller shall make a part of a pass, and end it.
    pub(crate) fn begin(&self, heap: Holds, now: Duration) -> bool {
        self.given.reset();
        let most = self.most.fetch_max(heap.held, Ordering::Relaxed).max(heap.held);
        let least = self.least.fetch_min(heap.free(), Ordering::Relaxed).min(heap.free());
        let due = heap.free() - least >= heap.used.max(KEEP) || self.begun.load(Ordering::Relaxed);
        due && self.affords(SHARE.saturating_mul(most), now)
    }

    /// Whether less than `limit` bytes went back within a period.
    fn affords(&self, limit: usize, now: Duration) -> bool {
        let (now, period) = (now.as_millis() as usize, PERIOD.as_millis() as usize);
        let passed = now.wrapping_sub(self.booked.swap(now, Ordering::Relaxed)).min(period);
        let forgotten = (limit as u64 * passed as u64 / period as u64) as usize;
        let debt = self.debt.load(Ordering::Relaxed).saturating_sub(forgotten);
        self.debt.store(debt, Ordering::Relaxed);
        debt < limit
    }

    /// Ends a part of a pass that gave so many bytes back; with it the pass, if the heap that is left is told.
    pub(crate) fn end(&self, given: usize, left: Option<Holds>) {
        self.debt.fetch_add(given, Ordering::Relaxed);
        self.begun.store(left.is_none(), Ordering::Relaxed);
        if let Some(heap) = left {
            self.least.store(heap.free(), Ordering::Relaxed);
        }
    }
}

/// Bytes that a heap holds, and those that are used of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    pub(crate) held: usize,
    pub(crate) used: usize,
}

impl Holds {
    fn free(self) -> usize {
        self.held.saturating_sub(self.used)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    fn heap(held: usize, used: usize) -> Holds {
        Holds { held: held * MIB, used: used * MIB }
    }

    #[test]
    fn a_look_is_due_after_so_many_bytes() {
        let surplus = Surplus::new();
        surplus.note(LOOK - 1);
        assert!(!surplus.is_due());
        surplus.note(1);
        assert!(surplus.is_due());
        surplus.begin(heap(1, 1), SECOND);
        assert!(!surplus.is_due());
    }

    #[test]
    fn a_heap_that_keeps_its_size_keeps_its_memory() {
        let surplus = Surplus::new();
        // Nearly half empty, as it may be by the way it grew; then up and down.
        for used in [510, 510, 700, 520, 800, 505, 1000] {
            assert!(!surplus.begin(heap(1000, used), SECOND), "{used}");
        }
    }

    #[test]
    fn a_small_heap_keeps_its_memory() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(KEEP / MIB, KEEP / MIB), SECOND));
        assert!(!surplus.begin(heap(KEEP / MIB, 1), SECOND));
    }

    #[test]
    fn a_pass_is_due_when_half_is_freed_and_not_again_before_half_of_that() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(!surplus.begin(heap(1000, 510), SECOND));
        assert!(surplus.begin(heap(1000, 490), SECOND));
        // Survivors everywhere: hardly a segment went back.
        surplus.end(400 * MIB, Some(heap(990, 490)));
        assert!(!surplus.begin(heap(990, 260), SECOND));
        assert!(surplus.begin(heap(990, 240), SECOND));
    }

    #[test]
    fn a_pass_goes_on_until_it_is_complete() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(surplus.begin(heap(1000, 490), SECOND));
        surplus.end(32 * MIB, None);
        assert!(surplus.begin(heap(968, 489), SECOND));
        surplus.end(32 * MIB, Some(heap(936, 489)));
        assert!(!surplus.begin(heap(936, 488), SECOND));
    }

    #[test]
    fn who_swells_and_shrinks_in_quick_turn_keeps_its_memory() {
        let surplus = Surplus::new();
        let breaths = (0..100).filter(|breath| {
            let now = Duration::from_millis(10 * breath);
            assert!(!surplus.begin(heap(1000, 1000), now));
            let shrinks = surplus.begin(heap(1000, 0), now);
            if shrinks {
                surplus.end(1000 * MIB, Some(heap(0, 0)));
            }
            shrinks
        });
        assert!((1..=SHARE + 1).contains(&breaths.count()));
        assert!(!surplus.begin(heap(1000, 1000), SECOND + PERIOD));
        assert!(surplus.begin(heap(1000, 0), SECOND + PERIOD));
    }
}
