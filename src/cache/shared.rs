//! Slots that any thread may claim: for `no_std`, for heaps that no thread calls its own, and for threads whose own
//! cache is not there yet or not any more.
//!
//! ```text
//!         exchange(TAKEN)  Acquire                    trade while claimed
//!   idle(top) ────────────────────────▶ claimed(TAKEN) ───┐
//!       ▲                                   │  ▲──────────┘
//!       └───────────────────────────────────┘
//!             store(top)   Release
//! ```
//!
//! A slot is one class of one shard. A thread tries its own shard first, found by where its stack is, and then the next
//! ones; when all are taken it goes past the magazines. It never waits, so a claim that is never given back (a forked
//! child's copy of another thread's) costs a slot and nothing more.
//!
//! # Invariants
//! - `loaded` is `TAKEN` exactly while somebody owns the pair; `previous` is touched by that party only.

use super::Pair;
use super::pouch::Pouch;
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::SHARDS;
use crate::home::Home;
use crate::magazine::{Round, Top};
use crate::size_class::{PerClass, SizeClass};
use crate::sync::{AtomicPtr, CachePadded, Ordering, Witness, array, const_fn};
use core::cell::Cell;
use core::ptr;

struct Slot {
    /// The `Top` of the loaded magazine; null = taken.
    loaded: AtomicPtr<*mut u8>,
    previous: Cell<Top>,
    witness: Witness,
}

// SAFETY: `previous` is touched only by the party that has claimed the slot, in the order of the claims.
unsafe impl Sync for Slot {}

const TAKEN: *mut *mut u8 = ptr::null_mut();

impl Slot {
    fn claim(&self) -> Option<Pair> {
        // Relaxed: the exchange checks it. A compare-exchange rather than a swap, so that a slot which is taken is not
        // written to by those who pass by.
        let top = self.loaded.load(Ordering::Relaxed);
        let loaded = Top::from_raw(top)?;
        // Acquire: the magazines, and `previous`, as the last owner left them before the Release in `yield_up`.
        self.loaded.compare_exchange(top, TAKEN, Ordering::Acquire, Ordering::Relaxed).ok()?;
        self.witness.touch();
        Some(Pair { loaded, previous: self.previous.get() })
    }

    fn yield_up(&self, pair: Pair) {
        self.witness.touch();
        self.previous.set(pair.previous);
        // Release: see `claim`.
        self.loaded.store(pair.loaded.to_raw(), Ordering::Release);
    }
}

/// The shared slots of a heap.
pub(crate) struct Slots {
    shards: [CachePadded<PerClass<Slot>>; SHARDS],
}

impl Slots {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                shards: array![
                    CachePadded::new(PerClass(array![
                        Slot {
                            loaded: AtomicPtr::new(Top::NONE.to_raw()),
                            previous: Cell::new(Top::NONE),
                            witness: Witness::new(),
                        };
                        SizeClass::COUNT
                    ]));
                    SHARDS
                ],
            }
        }
    }

    /// Works on the first pair of `class` that is not taken; `None` when all are.
    fn with<R>(&self, class: SizeClass, home: Home, work: impl FnOnce(&mut Pair, &Pouch<0>) -> R) -> Option<R> {
        let (slot, mut pair) = home.turns(SHARDS).find_map(|shard| {
            let slot = &self.shards[shard][class];
            slot.claim().map(|pair| (slot, pair))
        })?;
        let result = work(&mut pair, &Pouch::new(home));
        slot.yield_up(pair);
        Some(result)
    }

    /// Takes a chunk; `None` when there is no memory left.
    pub(crate) fn alloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Round> {
        let home = Home::of_stack();
        self.with(class, home, |pair, pouch| pair.pop().or_else(|| pair.alloc(arsenal, backend, class, pouch)))
            .unwrap_or_else(|| arsenal.take_one(backend, class))
    }

    /// Gives a chunk; the home that what was freed is noted for.
    pub(crate) fn dealloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass, round: Round) -> Home {
        let home = Home::of_stack();
        let given = self.with(class, home, |pair, pouch| {
            pair.give(arsenal, backend, class, round, pouch);
            pouch.settle(arsenal);
        });
        if given.is_none() {
            arsenal.give(backend, &mut [round]);
        }
        home
    }

    /// Hands all magazines in at the depot, but those whose slots are taken.
    pub(crate) fn hand_in(&self, arsenal: &Arsenal) {
        for shard in &self.shards {
            for (class, slot) in shard.iter() {
                if let Some(pair) = slot.claim() {
                    slot.yield_up(Pair { loaded: Top::NONE, previous: Top::NONE });
                    pair.hand_in(arsenal, class, Home::of_stack());
                }
            }
        }
    }

    /// Rounds of `class` in slots that are not taken.
    pub(crate) fn rounds(&self, class: SizeClass) -> usize {
        let rounds = |shard: &CachePadded<PerClass<Slot>>| {
            let slot = &shard[class];
            slot.claim().map_or(0, |pair| {
                let rounds = pair.rounds();
                slot.yield_up(pair);
                rounds
            })
        };
        self.shards.iter().map(rounds).sum()
    }
}

#[cfg(all(test, loom))]
#[path = "../../loom-tests/shared.rs"]
mod loom_tests;
