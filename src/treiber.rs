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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// Links of three records, at which somebody else gets in the way.
    struct Crowded {
        links: [Atomic<u32>; 3],
        stack: Stack,
        /// How often the record 3 gets in the way yet, of a push and of a pop.
        pushes: Cell<u32>,
        pops: Cell<u32>,
        busy: Cell<bool>,
    }

    fn index(n: u32) -> Index {
        Index::new(n).unwrap()
    }

    impl Crowded {
        /// Puts the record 3 on the stack, and takes it off again.
        fn intrude(&self, times: &Cell<u32>) {
            if times.get() > 0 && !self.busy.replace(true) {
                times.set(times.get() - 1);
                self.stack.push(self, index(3));
                assert_eq!(self.stack.pop(self).0, Some(index(3)));
                self.busy.set(false);
            }
        }
    }

    impl Links for Crowded {
        fn next(&self, index: Index) -> &Atomic<u32> {
            self.intrude(&self.pops);
            &self.links[index.get() as usize - 1]
        }

        fn pile(&self, _: Index, _: Option<Index>) {
            self.intrude(&self.pushes);
        }
    }

    #[test]
    fn every_collision_is_counted() {
        let crowded = Crowded {
            links: [const { Atomic::new(0) }; 3],
            stack: Stack::new(),
            pushes: Cell::new(2),
            pops: Cell::new(0),
            busy: Cell::new(false),
        };
        // Elsewhere an exchange may fail though nobody else was there.
        let is_exact = cfg!(all(target_arch = "x86_64", not(miri)));
        let are = |collisions: Collisions, so_many| {
            assert!(
                collisions.0 == so_many || !is_exact && collisions.0 > so_many,
                "{collisions:?}, and not {so_many}"
            );
        };
        are(crowded.stack.push(&crowded, index(1)), 2);
        are(crowded.stack.push(&crowded, index(2)), 0);
        crowded.pops.set(3);
        let (first, collisions) = crowded.stack.pop(&crowded);
        are(collisions, 3);
        assert_eq!((first, crowded.stack.top()), (Some(index(2)), Some(index(1))));
        let (second, collisions) = crowded.stack.pop(&crowded);
        are(collisions, 0);
        assert_eq!(second, Some(index(1)));
        assert_eq!((crowded.stack.pop(&crowded).0, crowded.stack.top()), (None, None));
    }

    /// Were it not so, a pop that was overtaken would not notice that the same record is on top again.
    #[test]
    fn no_head_is_like_an_earlier_one() {
        let (pool, stack) = ([const { Atomic::new(0) }; 1], Stack::new());
        struct Plain<'a>(&'a [Atomic<u32>; 1]);
        impl Links for Plain<'_> {
            fn next(&self, index: Index) -> &Atomic<u32> {
                &self.0[index.get() as usize - 1]
            }
        }
        let (links, mut heads) = (Plain(&pool), std::vec::Vec::new());
        for _ in 0..8 {
            stack.push(&links, index(1));
            heads.push(stack.head.load(Ordering::Relaxed));
            assert_eq!(stack.pop(&links).0, Some(index(1)));
            heads.push(stack.head.load(Ordering::Relaxed));
        }
        heads.sort_unstable();
        assert!(heads.windows(2).all(|pair| pair[0] != pair[1]));
        let head = Head { index: 7, tag: u32::MAX };
        let again = Head::of(head.then(9).word());
        assert_eq!((again.index, again.tag), (9, 0));
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/treiber.rs"]
mod loom_tests;
