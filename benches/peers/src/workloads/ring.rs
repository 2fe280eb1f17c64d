//! Each thread frees what its left neighbour allocated, and allocates for its right neighbour.
//!
//! ```text
//!   ┌─▶ 0 ──▶ 1 ──▶ 2 ──▶ 3 ─┐
//!   └────────────────────────┘
//! ```
//!
//! A thread begins with as many blocks for its neighbour as it may be ahead. So `LEAD` blocks per thread are on their
//! way: a pipe may be full, but never all of them, nor are all of them empty before the last block is taken. In both
//! cases some thread can go on, whatever the numbers.
//!
//! Its CPU time has the waiting in it, so this workload is judged by wall time.

use super::Workload;
use super::pipe::{Cargo, Inlet, Outlet, ROOM, Sealed, pipe};
use super::seats::Seats;

/// By how many blocks a thread is ahead of what it got.
const LEAD: u64 = 512;
const _: () = assert!(LEAD < ROOM as u64);

pub(super) struct Ring(Seats<Hand>);

pub(super) struct Hand {
    left: Outlet<Sealed>,
    right: Inlet<Sealed>,
}

impl Hand {
    #[inline(always)]
    fn free(&mut self) {
        self.left.get().unload();
    }

    #[inline(always)]
    fn pass(&mut self, turn: u64) {
        self.right.put(Sealed::load(turn as u8));
    }
}

impl Workload for Ring {
    /// Every thread has one.
    type Hand = Option<Hand>;

    fn new(threads: usize) -> Self {
        let (rights, mut lefts): (Vec<_>, Vec<_>) = (0..threads).map(|_| pipe()).unzip();
        lefts.rotate_right(1);
        Self(Seats::of(lefts.into_iter().zip(rights).map(|(left, right)| Hand { left, right })))
    }

    fn hand(&self, thread: usize) -> Option<Hand> {
        self.0.take(thread)
    }

    fn run(&self, hand: &mut Option<Hand>, pairs: u64) {
        let Some(hand) = hand else { return };
        let lead = pairs.min(LEAD);
        (0..lead).for_each(|turn| hand.pass(turn));
        for turn in lead..pairs {
            hand.free();
            hand.pass(turn);
        }
        (0..lead).for_each(|_| hand.free());
    }
}

#[cfg(test)]
mod tests {
    use super::{LEAD, Ring};
    use crate::workloads::together;

    #[test]
    fn any_number_of_threads_ends_with_empty_pipes() {
        for threads in 1..=9 {
            for each in [0, 1, LEAD, LEAD + 1, 4_000] {
                let hands = together::<Ring>(threads, each);
                assert_eq!(hands.iter().flatten().count(), threads);
                let empty = hands.iter().flatten().all(|hand| hand.left.is_empty());
                assert!(empty, "{threads} threads, {each} blocks");
            }
        }
    }
}
