//! Small blocks, `BLOCKS` of them alive, of which one after the other is replaced: what a pair costs as the heap grows
//! out of one cache after the other.

use super::Workload;
use crate::block::Varied;
use crate::dice::Dice;

/// From 16 B to below 128 B.
const DOUBLINGS: usize = 3;
/// Before the clock starts each block is replaced once, on average, since a fresh heap is too tidy; of the largest heap
/// so many are, over all threads, since more would take too long.
const MOST_AGED: usize = 1_000_000;

/// With so many blocks alive, over all threads.
pub(super) struct Live<const BLOCKS: usize> {
    each: usize,
    aged: u64,
}

pub(super) struct Hand {
    dice: Dice,
    blocks: Vec<Varied>,
}

fn taken(dice: &mut Dice) -> Varied {
    let mut block = Varied::take(dice.any_size(DOUBLINGS));
    block.mark(1);
    block
}

impl<const BLOCKS: usize> Workload for Live<BLOCKS> {
    /// A large heap takes long to fill, so its first trial is to be long enough to be the only one.
    const UNIT: u64 = if BLOCKS < 1_000_000 { 4_000 } else { 100_000 };

    type Hand = Hand;

    fn new(threads: usize) -> Self {
        Self { each: BLOCKS / threads, aged: (BLOCKS.min(MOST_AGED) / threads) as u64 }
    }

    fn hand(&self, thread: usize) -> Hand {
        let mut dice = Dice::of(thread);
        let blocks = (0..self.each).map(|_| taken(&mut dice)).collect();
        let mut hand = Hand { dice, blocks };
        self.run(&mut hand, self.aged);
        hand
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        let Hand { dice, blocks } = hand;
        for _ in 0..pairs {
            let place = dice.below(blocks.len());
            blocks[place] = taken(dice);
        }
    }
}
