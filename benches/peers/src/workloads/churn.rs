//! A full heap in which one block after the other is replaced: caches miss, and slabs are never wholly free.

use super::Workload;
use crate::block::Varied;
use crate::dice::Dice;

/// Blocks alive at any time, over all threads.
const LIVE: usize = 100_000;
/// How often each block has been replaced, on average, before the clock starts: a fresh heap is too tidy.
const AGE: u64 = 2;

pub(super) struct Churn {
    live_each: usize,
}

pub(super) struct Hand {
    dice: Dice,
    live: Vec<Varied>,
}

fn taken(dice: &mut Dice) -> Varied {
    let mut block = Varied::take(dice.long_tailed());
    block.mark_ends(1);
    block
}

impl Workload for Churn {
    type Hand = Hand;

    fn new(threads: usize) -> Self {
        Self { live_each: LIVE / threads }
    }

    fn hand(&self, thread: usize) -> Hand {
        let mut dice = Dice::of(thread);
        let live = (0..self.live_each).map(|_| taken(&mut dice)).collect();
        let mut hand = Hand { dice, live };
        self.run(&mut hand, AGE * self.live_each as u64);
        hand
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        let Hand { dice, live } = hand;
        for _ in 0..pairs {
            let place = dice.below(live.len());
            live[place] = taken(dice);
        }
    }
}
