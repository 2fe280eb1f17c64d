//! The orders in which a batch of blocks is freed.

use crate::block::Fixed;
use crate::dice::Dice;

pub(super) type Block = Fixed<64>;

/// Random orders that are prepared: to roll them in the loop would cost more than the allocator does.
const PREPARED: usize = 4;

/// An order, for batches of one size.
pub(super) trait Order {
    /// For batches of `count` blocks on thread number `thread`.
    fn of(count: usize, thread: usize) -> Self;

    /// Frees all the blocks.
    fn free(&mut self, blocks: &mut Vec<Block>);
}

/// The last block first.
pub(super) struct Lifo;

impl Order for Lifo {
    fn of(_count: usize, _thread: usize) -> Self {
        Self
    }

    #[inline(always)]
    fn free(&mut self, blocks: &mut Vec<Block>) {
        blocks.drain(..).rev().for_each(drop);
    }
}

/// The first block first.
pub(super) struct Fifo;

impl Order for Fifo {
    fn of(_count: usize, _thread: usize) -> Self {
        Self
    }

    #[inline(always)]
    fn free(&mut self, blocks: &mut Vec<Block>) {
        blocks.drain(..).for_each(drop);
    }
}

/// A random order, each of a few by turns.
pub(super) struct Shuffled {
    /// In each, the place where the next block is taken out and the last one put in.
    orders: [Vec<u16>; PREPARED],
    turn: usize,
}

impl Order for Shuffled {
    fn of(count: usize, thread: usize) -> Self {
        let mut dice = Dice::of(thread);
        let mut order = || (1..=count).rev().map(|left| dice.below(left) as u16).collect();
        Self { orders: core::array::from_fn(|_| order()), turn: 0 }
    }

    #[inline(always)]
    fn free(&mut self, blocks: &mut Vec<Block>) {
        self.turn = (self.turn + 1) % PREPARED;
        for &place in &self.orders[self.turn] {
            drop(blocks.swap_remove(usize::from(place)));
        }
    }
}
