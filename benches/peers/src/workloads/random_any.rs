//! One block at a time, of any size: the larger ones leave the small classes of most allocators.

use super::Workload;
use crate::block::Varied;
use crate::dice::Dice;

/// From 16 B to 32 KiB.
const DOUBLINGS: usize = 11;

pub(super) struct RandomAny;

impl Workload for RandomAny {
    type Hand = Dice;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Dice {
        Dice::of(thread)
    }

    fn run(&self, dice: &mut Dice, pairs: u64) {
        for _ in 0..pairs {
            drop(Varied::take(dice.any_size(DOUBLINGS)));
        }
    }
}
