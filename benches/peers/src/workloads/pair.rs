//! One block at a time, of one size, known when compiled: the floor of an allocator.

use super::Workload;
use crate::block::Fixed;

pub(super) struct Pair;

impl Workload for Pair {
    type Hand = ();

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for _ in 0..pairs {
            drop(Fixed::<64>::take());
        }
    }
}
