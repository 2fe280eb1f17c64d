//! Buffers beyond every small class, of which each page is written: what an allocator keeps of them saves page faults,
//! and what it gives back saves memory.

use super::Workload;
use crate::block::hide;
use crate::dice::Dice;
use core::hint::black_box;

const LEAST: usize = 64 << 10;
/// From 64 KiB to 4 MiB.
const DOUBLINGS: usize = 6;
const PAGE: usize = 4 << 10;

/// With so many buffers alive per thread.
pub(super) struct Large<const ALIVE: usize>;

pub(super) struct Hand<const ALIVE: usize> {
    dice: Dice,
    alive: [Vec<u8>; ALIVE],
}

fn written(size: usize) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(hide(size));
    for byte in buffer.spare_capacity_mut().iter_mut().step_by(PAGE) {
        byte.write(1);
    }
    black_box(buffer)
}

impl<const ALIVE: usize> Workload for Large<ALIVE> {
    const UNIT: u64 = 200;
    /// As long as the run: until every page has been met, page faults are all that is seen.
    const WARM_UP: u64 = 1;

    type Hand = Hand<ALIVE>;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Hand<ALIVE> {
        let mut dice = Dice::of(thread);
        let alive = core::array::from_fn(|_| written(dice.size_from(LEAST, DOUBLINGS)));
        Hand { dice, alive }
    }

    fn run(&self, hand: &mut Hand<ALIVE>, pairs: u64) {
        let Hand { dice, alive } = hand;
        for _ in 0..pairs {
            let place = &mut alive[dice.below(ALIVE)];
            drop(core::mem::take(place));
            *place = written(dice.size_from(LEAST, DOUBLINGS));
        }
    }
}
