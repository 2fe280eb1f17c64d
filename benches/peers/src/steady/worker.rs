//! A thread under load: it replaces blocks at random, and has as many as the load says.

use crate::load::Load;
use bandolier_peers::dice::Dice;
use core::time::Duration;
use std::thread;
use std::time::Instant;

/// Blocks replaced between two looks at the clock.
const TURN: usize = 64;
/// From 16 bytes to below 32 KiB.
const DOUBLINGS: usize = 11;

pub(crate) struct Worker {
    load: Load,
    dice: Dice,
    blocks: Vec<Vec<u8>>,
    /// Blocks allocated so far.
    operations: u64,
}

impl Worker {
    pub(crate) fn new(load: Load, seed: usize) -> Self {
        Self { load, dice: Dice::of(seed), blocks: Vec::with_capacity(load.most()), operations: 0 }
    }

    /// Works from `from` to `until`, times of the load; the blocks that it allocated.
    pub(crate) fn work(&mut self, born: Instant, until: Duration) -> u64 {
        let before = self.operations;
        loop {
            let at = born.elapsed();
            if at >= until {
                return self.operations - before;
            }
            match self.load.rest_at(at) {
                Some(rest) => thread::sleep(rest),
                None => self.turn(self.load.live_at(at)),
            }
        }
    }

    /// A block that is written all over.
    fn taken(&mut self) -> Vec<u8> {
        self.operations += 1;
        vec![1; self.dice.any_size(DOUBLINGS)]
    }

    fn turn(&mut self, live: usize) {
        while self.blocks.len() < live {
            let block = self.taken();
            self.blocks.push(block);
        }
        while self.blocks.len() > live {
            let place = self.dice.below(self.blocks.len());
            drop(self.blocks.swap_remove(place));
        }
        for _ in 0..TURN.min(live) {
            let place = self.dice.below(live);
            self.blocks[place] = self.taken();
        }
    }
}
