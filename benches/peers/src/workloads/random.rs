//! One block at a time, each of another class.

use super::Workload;
use crate::block::Varied;
use crate::dice::Dice;

pub(super) struct Random;

impl Workload for Random {
    type Hand = Dice;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Dice {
        Dice::of(thread)
    }

    fn run(&self, dice: &mut Dice, pairs: u64) {
        for _ in 0..pairs {
            drop(Varied::take(dice.power_of_two()));
        }
    }
}
