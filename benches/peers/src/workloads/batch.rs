//! `N` blocks out, then all of them back, in one order or another.

use super::Workload;
use super::order::{Block, Order};
use core::marker::PhantomData;

pub(super) struct Batch<const N: usize, O>(PhantomData<fn() -> O>);

pub(super) struct Hand<O> {
    blocks: Vec<Block>,
    order: O,
}

impl<const N: usize, O: Order> Workload for Batch<N, O> {
    type Hand = Hand<O>;

    fn new(_threads: usize) -> Self {
        Self(PhantomData)
    }

    fn hand(&self, thread: usize) -> Hand<O> {
        Hand { blocks: Vec::with_capacity(N), order: O::of(N, thread) }
    }

    fn run(&self, hand: &mut Hand<O>, pairs: u64) {
        let Hand { blocks, order } = hand;
        for _ in 0..pairs / N as u64 {
            // The loop is to cost little beside the allocator, so there is no look at the capacity for each block.
            blocks.extend((0..N).map(|_| Block::take()));
            order.free(blocks);
        }
    }
}
