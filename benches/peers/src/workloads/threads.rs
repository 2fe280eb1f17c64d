//! Threads that live for a hundred blocks: what an allocator does for a thread's first block and at its end.

use super::{Payer, Workload};
use crate::block::Varied;
use crate::dice::Dice;
use std::thread;

/// Taken by each thread.
const BLOCKS: usize = 100;
/// From 16 B to below 2 KiB.
const DOUBLINGS: usize = 7;

pub(super) struct Threads;

pub(super) struct Hand {
    dice: Dice,
    blocks: Vec<Varied>,
}

impl Hand {
    /// On a thread of its own: takes the blocks, and frees every other one.
    fn live(&mut self) {
        let Self { dice, blocks } = self;
        for _ in 0..BLOCKS {
            let mut block = Varied::take(dice.any_size(DOUBLINGS));
            block.mark_ends(1);
            blocks.push(block);
        }
        let mut stays = false;
        blocks.retain(|_| {
            stays = !stays;
            stays
        });
    }
}

impl Workload for Threads {
    const PAYER: Payer = Payer::Process;

    type Hand = Hand;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Hand {
        Hand { dice: Dice::of(thread), blocks: Vec::with_capacity(BLOCKS) }
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        for _ in 0..pairs / BLOCKS as u64 {
            thread::scope(|scope| scope.spawn(|| hand.live()).join().expect("a loop does not panic"));
            hand.blocks.clear();
        }
    }
}
