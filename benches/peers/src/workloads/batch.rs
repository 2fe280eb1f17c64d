//! `N` blocks out, then all of them back, the last one first.

use super::Workload;
use crate::block::Fixed;

pub(super) struct Batch<const N: usize>;

impl<const N: usize> Workload for Batch<N> {
    type Hand = Vec<Fixed<64>>;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) -> Vec<Fixed<64>> {
        Vec::with_capacity(N)
    }

    fn run(&self, blocks: &mut Vec<Fixed<64>>, pairs: u64) {
        for _ in 0..pairs / N as u64 {
            for _ in 0..N {
                blocks.push(Fixed::take());
            }
            while let Some(block) = blocks.pop() {
                drop(block);
            }
        }
    }
}
