//! The depot: full magazines of each class, and the supply of empty ones.
//!
//! ```text
//!              give(class, magazine with rounds)            take(class)
//!   a cache ───────────────────────────────────▶ │ stack │ ─────────────▶ a cache
//!   a cache ◀─── arm(class) ───  racks, else the pool  ◀──── discard(empty) ─── a cache
//! ```
//!
//! A trade moves a whole magazine with one exchange, tens of chunks at a time. Magazines that a thread leaves behind may
//! hold fewer rounds than fit in; they are traded like full ones.
//!
//! Each class has several shelves, and empty magazines lie on as many racks. Threads trade with the one at home as long as it has something, so magazines, and the
//! chunks in them, stay with the processor that has them in its caches; else they look at the others.
//!
//! Counts are approximate and decide policy only: when a class has enough, and when collisions ask for larger magazines.
//!
//! # Invariants
//! - A magazine on a stack is parked, and holds at least one round.

use crate::backend::Backend;
use crate::geometry::{DEPOT_BYTES, DEPOT_MAGAZINES, MAGAZINE_BYTES, MAGAZINE_BYTES_GROWN, MOST_ROUNDS, SHELVES};
use crate::home::Home;
use crate::magazine::{Magazine, Rounds, Top};
use crate::pool::Pool;
use crate::size_class::{PerClass, SizeClass};
use crate::stats::Counter;
use crate::supply::Supply;
use crate::sync::{Atomic, CachePadded, Ordering, array, const_fn};
use crate::treiber::{Collisions, Index, Stack};

/// Full magazines of one class.
struct Shelf {
    stack: Stack,
    magazines: Counter,
    rounds: Counter,
}

/// The full magazines of one class, on shelves.
struct Full {
    shelves: [CachePadded<Shelf>; SHELVES],
    /// Doublings of the capacity that collisions have asked for, times `PATIENCE`.
    impatience: Atomic<u32>,
}

/// Empty magazines.
struct Rack {
    stack: Stack,
    magazines: Counter,
}

/// Collisions that double the capacity of a class's magazines.
const PATIENCE: u32 = 64;

/// The depot of a heap.
pub(crate) struct Depot {
    magazines: Pool<Magazine>,
    racks: [CachePadded<Rack>; SHELVES],
    classes: PerClass<Full>,
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
                racks: array![CachePadded::new(Rack { stack: Stack::new(), magazines: Counter::new() }); SHELVES],
                classes: PerClass(array![Full {
                    shelves: array![CachePadded::new(Shelf {
                        stack: Stack::new(),
                        magazines: Counter::new(),
                        rounds: Counter::new(),
                    }); SHELVES],
                    impatience: Atomic::new(0),
                }; SizeClass::COUNT]),
            }
        }
    }

    /// A magazine with rounds, if there is one: from the shelf at home before others.
    pub(crate) fn take(&self, class: SizeClass, home: Home) -> Option<Top> {
        let shelves = &self.classes[class].shelves;
        home.turns(SHELVES).find_map(|place| self.take_from(class, &shelves[place]))
    }

    fn take_from(&self, class: SizeClass, shelf: &Shelf) -> Option<Top> {
        let (index, collisions) = shelf.stack.pop(&self.magazines);
        self.grow(class, collisions);
        // SAFETY: off the stack, so ours; parked by whoever gave it.
        let top = unsafe { Magazine::unpark(self.magazines.address(index?)) };
        shelf.magazines.sub(1);
        shelf.rounds.sub(usize::from(top.rounds().0));
        Some(top)
    }

    /// Takes a magazine over, with the rounds in it, onto the shelf at home; one without is kept as an empty one.
    pub(crate) fn give(&self, class: SizeClass, top: Top, home: Home) {
        if top.rounds() == Rounds(0) {
            return self.discard(top, home);
        }
        let Some(index) = top.park() else { return };
        let shelf = self.shelf(class, home);
        shelf.magazines.add(1);
        shelf.rounds.add(usize::from(top.rounds().0));
        let collisions = shelf.stack.push(&self.magazines, index);
        self.grow(class, collisions);
    }

    fn shelf(&self, class: SizeClass, home: Home) -> &Shelf {
        &self.classes[class].shelves[home.first(SHELVES as u32) as usize]
    }

    /// Whether the shelf at home has as many rounds as it is allowed to keep.
    pub(crate) fn has_enough(&self, class: SizeClass, home: Home) -> bool {
        let shelf = self.shelf(class, home);
        shelf.rounds.get() * class.bytes() >= DEPOT_BYTES || shelf.magazines.get() >= DEPOT_MAGAZINES
    }

    /// An empty magazine for `class`; `None` when there is no memory for one.
    pub(crate) fn arm<B: Backend>(&self, supply: Supply<'_, B>, class: SizeClass, home: Home) -> Option<Top> {
        let rack = &self.racks[home.first(SHELVES as u32) as usize];
        let others = || self.racks.iter().find_map(|rack| self.take_empty(rack));
        let index = self.take_empty(rack).or_else(|| self.magazines.take(supply)).or_else(others)?;
        // SAFETY: taken off a stack of empty ones, so ours, and empty: `discard` takes no other.
        Some(unsafe { Magazine::arm(self.magazines.address(index), self.capacity(class)) })
    }

    fn take_empty(&self, rack: &Rack) -> Option<Index> {
        let index = rack.stack.pop(&self.magazines).0?;
        rack.magazines.sub(1);
        Some(index)
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

    /// Takes an empty magazine back: onto the rack at home, as long as there are not enough.
    pub(crate) fn discard(&self, empty: Top, home: Home) {
        debug_assert!(empty.rounds() == Rounds(0));
        let Some(index) = empty.park() else { return };
        let rack = &self.racks[home.first(SHELVES as u32) as usize];
        if rack.magazines.get() >= DEPOT_MAGAZINES {
            return self.magazines.give(index);
        }
        rack.magazines.add(1);
        rack.stack.push(&self.magazines, index);
    }

    /// Gives the empty magazines of all racks up.
    pub(crate) fn clear_racks(&self) {
        for rack in &self.racks {
            let most = rack.magazines.get();
            (0..most).map_while(|_| self.take_empty(rack)).for_each(|index| self.magazines.give(index));
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
        let shelves = self.classes[class].shelves.iter();
        shelves
            .fold((0, 0), |(magazines, rounds), shelf| (magazines + shelf.magazines.get(), rounds + shelf.rounds.get()))
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
