//! Buffers of medium size, of which little is written: what is seen is the allocator, not the pages.

use super::Workload;
use crate::block::Varied;
use crate::dice::Dice;

const LEAST: usize = 32 << 10;
/// From 32 KiB, and one byte, to 512 KiB.
const DOUBLINGS: usize = 4;
const ALIVE: usize = 16;

pub(super) struct Buffers;

pub(super) struct Hand {
    dice: Dice,
    alive: Vec<Varied>,
}

fn taken(dice: &mut Dice) -> Varied {
    let mut buffer = Varied::take(dice.size_from(LEAST, DOUBLINGS) + 1);
    buffer.mark_ends(1);
    buffer
}

impl Workload for Buffers {
    type Hand = Hand;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Hand {
        let mut dice = Dice::of(thread);
        let alive = (0..ALIVE).map(|_| taken(&mut dice)).collect();
        Hand { dice, alive }
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        let Hand { dice, alive } = hand;
        for _ in 0..pairs {
            drop(alive.swap_remove(dice.below(ALIVE)));
            alive.push(taken(dice));
        }
    }
}
