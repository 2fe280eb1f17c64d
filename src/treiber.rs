//! A lock-free LIFO of records, named by index.
//!
//! ```text
//!            head: one 64-bit word
//!          ┌────────────┬─────────┐     ┌───┐ next ┌───┐ next
//!          │ index: u32 │ tag: u32│────▶│ 7 │─────▶│ 2 │─────▶ 0
//!          └────────────┴─────────┘     └───┘      └───┘
//!   push(i)    Owned  ─▶ Linked   next(i) = head.index;  head = (i, tag+1)        Acquire, Release
//!   pop()      Linked ─▶ Owned    n = next(head.index);  head = (n, tag+1)        Acquire
//!   top()      looks only         head.index, whose record may be somebody's      Acquire
//! ```
//!
//! # Invariants
//! - An index is linked once or owned once; `next(i)` is written only by the owner of `i`.
//! - Records are never unmapped: a stale reader reads a stale link, and its exchange fails on the tag.
//! - A tag comes round after 2³² exchanges on one stack. For an exchange to succeed wrongly, exactly a multiple of
//!   2³² must fall between its load and itself, and the same index be on top again: at 50 ns an exchange that is
//!   a thread asleep for 214 s or a multiple of it, to the exchange.
//!
//! The stack is R. K. Treiber's ("Systems Programming: Coping with Parallelism", IBM RJ 5118, 1986).

use crate::sync::{Atomic, AtomicU64, Backoff, Ordering, const_fn};
use core::num::NonZeroU32;

/// The name of a record. Never zero, so that all-zero memory is an empty stack.
pub(crate) type Index = NonZeroU32;

/// Where the link of a record is.
pub(crate) trait Links {
    /// The link of the record named `index`, which somebody has owned at least once.
    fn next(&self, index: Index) -> &Atomic<u32>;

    /// Called with a record that its owner is about to link above `below`, perhaps several times.
    fn pile(&self, index: Index, below: Option<Index>) {
        let _ = (index, below);
    }
}

#[derive(Clone, Copy)]
struct Head {
    index: u32,
    tag: u32,
}

impl Head {
    const EMPTY: u64 = Self { index: 0, tag: 0 }.word();

    const fn word(self) -> u64 {
        self.index as u64 | (self.tag as u64) << 32
    }

    const fn of(word: u64) -> Self {
        Self { index: word as u32, tag: (word >> 32) as u32 }
    }

    fn then(self, index: u32) -> Self {
        Self { index, tag: self.tag.wrapping_add(1) }
    }
}

/// A stack of records, and the exchanges that another party got in the way of.
pub(crate) struct Stack {
    head: AtomicU64,
}

/// How often an exchange failed because somebody else's came first.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(crate) struct Collisions(pub(crate) u32);

impl Stack {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { head: AtomicU64::new(Head::EMPTY) }
        }
    }

    /// Links `index`, which the caller owns and hereby gives up.
    pub(crate) fn push(&self, links: &impl Links, index: Index) -> Collisions {
        let backoff = Backoff::new();
        let mut collisions = Collisions::default();
        // Acquire, here and on failure: the record below, and what `pile` reads of it, were written before the Release of
        // the `push` that made this head. If it has been taken off since, what is read is stale, and the exchange fails.
        let mut head = Head::of(self.head.load(Ordering::Acquire));
        loop {
            // Relaxed: published by the exchange below. Atomic, because a stale `pop` may read it at any time.
            links.next(index).store(head.index, Ordering::Relaxed);
            links.pile(index, Index::new(head.index));
            let new = head.then(index.get());
            // Release: the link, and all that the owner wrote to the record, is seen by the `pop` that acquires
            // this head.
            match self.head.compare_exchange_weak(head.word(), new.word(), Ordering::Release, Ordering::Acquire) {
                Ok(_) => return collisions,
                Err(now) => head = Head::of(now),
            }
            collisions.0 += 1;
            backoff.spin();
        }
    }

    /// The record on top, which may be somebody's by the time that it is looked at.
    pub(crate) fn top(&self) -> Option<Index> {
        // Acquire: what was written to the record before the Release of the `push` that made this head.
        Index::new(Head::of(self.head.load(Ordering::Acquire)).index)
    }

    /// Takes the record on top, if there is one.
    pub(crate) fn pop(&self, links: &impl Links) -> (Option<Index>, Collisions) {
        let backoff = Backoff::new();
        let mut collisions = Collisions::default();
        // Acquire: the link read below was written before the Release of the `push` that made this head.
        let mut head = Head::of(self.head.load(Ordering::Acquire));
        loop {
            let Some(index) = Index::new(head.index) else {
                return (None, collisions);
            };
            let new = head.then(links.next(index).load(Ordering::Relaxed));
            // Acquire on failure: as the load. Relaxed on success: the head that compares equal, tag and all, is the
            // one acquired when it was loaded. Every exchange is a read-modify-write, so the release sequence of each
            // `push` goes on through the exchanges above it.
            match self.head.compare_exchange_weak(head.word(), new.word(), Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return (Some(index), collisions),
                Err(now) => head = Head::of(now),
            }
            collisions.0 += 1;
            backoff.spin();
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/treiber.rs"]
mod loom_tests;
