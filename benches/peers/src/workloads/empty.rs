//! What `random` costs before it calls an allocator.

use super::Workload;
use crate::block::hide;
use crate::dice::Dice;

pub(super) struct Empty;

impl Workload for Empty {
    type Hand = Dice;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Dice {
        Dice::of(thread)
    }

    fn run(&self, dice: &mut Dice, pairs: u64) {
        for _ in 0..pairs {
            hide(dice.power_of_two());
        }
    }
}
