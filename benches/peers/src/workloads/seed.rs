//! The concurrent benchmark of the crate frusa, written anew after its shape.
//!
//! Each thread allocates a random power of two from 16 to 2,048 bytes, aligned to 8, and frees it at once. There is no
//! barrier and no warm-up, and the clock runs from the first spawn to the last join. Two things differ from the
//! original: its random numbers come from `rand::thread_rng`, which costs more than this one's, and it calls the
//! allocator through `dyn GlobalAlloc`; both add the same few ns to every allocator there.

use super::{Start, Workload};
use crate::block::Varied;
use crate::dice::Dice;

pub(super) struct Seed;

impl Workload for Seed {
    const START: Start = Start::Cold;

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
