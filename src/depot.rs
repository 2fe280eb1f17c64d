//! The depot: full magazines of each class, and the supply of empty ones.
//!
//! ```text
//!              give(class, magazine with rounds)            take(class)
//!   a cache ───────────────────────────────────▶ │ stack │ ─────────────▶ a cache
//!   a cache ◀─── arm(class) ─── pool of magazines ◀──────── discard(empty) ─── a cache
//! ```
//!
//! A trade moves a whole magazine with one exchange, tens of chunks at a time. Magazines that a thread leaves behind may
//! hold fewer rounds than fit in; they are traded like full ones.
//!
//! Counts are approximate and decide policy only: when a class has enough, and when collisions ask for larger magazines.
//!
//! # Invariants
//! - A magazine on a stack is parked, and holds at least one round.

use crate::backend::Backend;
use crate::geometry::{DEPOT_BYTES, DEPOT_MAGAZINES, MAGAZINE_BYTES, MAGAZINE_BYTES_GROWN, MOST_ROUNDS};
use crate::magazine::{Magazine, Rounds, Top};
use crate::pool::Pool;
use crate::size_class::{PerClass, SizeClass};
use crate::stats::Counter;
use crate::supply::Supply;
use crate::sync::{Atomic, CachePadded, Ordering, array, const_fn};
use crate::treiber::{Collisions, Stack};

/// The full magazines of one class.
struct Full {
    stack: Stack,
    magazines: Counter,
    rounds: Counter,
    /// Doublings of the capacity that collisions have asked for, times `PATIENCE`.
    impatience: Atomic<u32>,
}

/// Collisions that double the capacity of a class's magazines.
const PATIENCE: u32 = 64;

/// The depot of a heap.
pub(crate) struct Depot {
    magazines: Pool<Magazine>,
    classes: PerClass<CachePadded<Full>>,
}

/// The capacity of magazines for chunks of `bytes`, after `doublings`.
fn capacity(bytes: usize, doublings: u32) -> Rounds {
    let grown = (MAGAZINE_BYTES << doublings.min(8)).min(MAGAZINE_BYTES_GROWN);
    Rounds((grown / bytes).clamp(2, MOST_ROUNDS) as u16)
}

impl Depot {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                magazines: Pool::new(),
                classes: PerClass(array![CachePadded::new(Full {
                    stack: Stack::new(),
                    magazines: Counter::new(),
                    rounds: Counter::new(),
                    impatience: Atomic::new(0),
                }); SizeClass::COUNT]),
            }
        }
    }

    /// A magazine with rounds, if there is one.
    pub(crate) fn take(&self, class: SizeClass) -> Option<Top> {
        let full = &self.classes[class];
        let (index, collisions) = full.stack.pop(&self.magazines);
        self.grow(class, collisions);
        // SAFETY: off the stack, so ours; parked by whoever gave it.
        let top = unsafe { Magazine::unpark(self.magazines.address(index?)) };
        full.magazines.sub(1);
        full.rounds.sub(usize::from(top.rounds().0));
        Some(top)
    }

    /// Takes a magazine over, with the rounds in it; one without is kept as an empty one.
    pub(crate) fn give(&self, class: SizeClass, top: Top) {
        if top.rounds() == Rounds(0) {
            return self.discard(top);
        }
        let Some(index) = top.park() else { return };
        let full = &self.classes[class];
        full.magazines.add(1);
        full.rounds.add(usize::from(top.rounds().0));
        let collisions = full.stack.push(&self.magazines, index);
        self.grow(class, collisions);
    }

    /// Whether the class has as many rounds here as it is allowed to keep.
    pub(crate) fn has_enough(&self, class: SizeClass) -> bool {
        let full = &self.classes[class];
        full.rounds.get() * class.bytes() >= DEPOT_BYTES || full.magazines.get() >= DEPOT_MAGAZINES
    }

    /// An empty magazine for `class`; `None` when there is no memory for one.
    pub(crate) fn arm<B: Backend>(&self, supply: Supply<'_, B>, class: SizeClass) -> Option<Top> {
        let index = self.magazines.take(supply)?;
        // SAFETY: taken from the pool, so ours, and empty: `discard` takes no other.
        Some(unsafe { Magazine::arm(self.magazines.address(index), self.capacity(class)) })
    }

    /// Gives an empty magazine the capacity that `class` has now.
    ///
    /// # Safety
    /// The caller owns the magazine, which holds no rounds, and goes on with the `Top` returned.
    pub(crate) unsafe fn rearm(&self, class: SizeClass, empty: Top) -> Top {
        let capacity = self.capacity(class);
        match empty.index() {
            // SAFETY: the caller's promise.
            Some(index) if empty.capacity() != capacity => unsafe {
                Magazine::arm(self.magazines.address(index), capacity)
            },
            _ => empty,
        }
    }

    /// Takes an empty magazine back.
    pub(crate) fn discard(&self, empty: Top) {
        debug_assert!(empty.rounds() == Rounds(0));
        if let Some(index) = empty.park() {
            self.magazines.give(index);
        }
    }

    fn capacity(&self, class: SizeClass) -> Rounds {
        // Relaxed: policy.
        let impatience = self.classes[class].impatience.load(Ordering::Relaxed);
        capacity(class.bytes(), impatience / PATIENCE)
    }

    /// Larger magazines for a class whose trades collide.
    fn grow(&self, class: SizeClass, collisions: Collisions) {
        if collisions.0 > 0 && self.capacity(class) < capacity(class.bytes(), u32::MAX) {
            // Relaxed: policy.
            self.classes[class].impatience.fetch_add(collisions.0, Ordering::Relaxed);
        }
    }

    /// Magazines and rounds of `class` here.
    pub(crate) fn counts(&self, class: SizeClass) -> (usize, usize) {
        let full = &self.classes[class];
        (full.magazines.get(), full.rounds.get())
    }

    /// Gives the pages of magazines back that are not in use; the bytes of them.
    pub(crate) fn trim<B: Backend>(&self, supply: Supply<'_, B>) -> usize {
        self.magazines.trim(supply)
    }

    /// Bytes of records in use.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.magazines.bytes_in_use()
    }

    /// Gives all records back.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        // SAFETY: the caller's promise.
        unsafe { self.magazines.release(supply) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn capacities_are_bounded_in_rounds_and_in_bytes() {
        for class in SizeClass::all() {
            for doublings in [0, 1, 2, 3, u32::MAX] {
                let rounds = usize::from(capacity(class.bytes(), doublings).0);
                assert!((2..=MOST_ROUNDS).contains(&rounds));
                assert!(rounds == 2 || rounds * class.bytes() <= MAGAZINE_BYTES_GROWN);
            }
        }
        assert_eq!(capacity(16, 0), Rounds(125));
        assert_eq!(capacity(256, 0), Rounds(64));
        assert_eq!(capacity(256, 1), Rounds(125));
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/depot.rs"]
mod loom_tests;
