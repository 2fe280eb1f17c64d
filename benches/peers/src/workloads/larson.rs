//! A server after Larson and Krishnan ("Memory allocation for long-running server applications", 1998): a table of
//! live blocks is handed from thread to thread.
//!
//! ```text
//!   thread ─ 10,000 replaced ─▶ table ─▶ fresh thread ─ 10,000 replaced ─▶ table ─▶ ..
//! ```
//!
//! A thread frees what threads before it allocated, and what it leaves behind is freed when it has long ended. Sizes
//! are those of `larson-sized` in mimalloc-bench.

use super::{Payer, Workload};
use crate::block::Varied;
use crate::dice::Dice;
use core::ops::RangeInclusive;
use std::thread;

/// In the table of each thread of the crew.
const SLOTS: usize = 1_000;
const SIZES: RangeInclusive<usize> = 8..=1_000;
/// What a thread replaces before its successor comes.
const TERM: u64 = 10_000;

pub(super) struct Larson;

pub(super) struct Table {
    dice: Dice,
    blocks: Vec<Varied>,
}

fn taken(dice: &mut Dice) -> Varied {
    let mut block = Varied::take(SIZES.start() + dice.below(SIZES.end() - SIZES.start() + 1));
    block.mark(1);
    block
}

impl Table {
    fn replace(&mut self, pairs: u64) {
        let Self { dice, blocks } = self;
        for _ in 0..pairs {
            let place = dice.below(blocks.len());
            blocks[place] = taken(dice);
        }
    }

    /// A fresh thread does it.
    fn hand_over(&mut self, pairs: u64) {
        // The end of a scope would not wait until the thread has given back what it cached.
        thread::scope(|scope| scope.spawn(|| self.replace(pairs)).join().expect("a loop does not panic"));
    }
}

impl Workload for Larson {
    const PAYER: Payer = Payer::Process;

    type Hand = Table;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Table {
        let mut dice = Dice::of(thread);
        let blocks = (0..SLOTS).map(|_| taken(&mut dice)).collect();
        Table { dice, blocks }
    }

    fn run(&self, table: &mut Table, pairs: u64) {
        let terms = (0..pairs).step_by(TERM as usize);
        terms.for_each(|done| table.hand_over(TERM.min(pairs - done)));
    }
}
