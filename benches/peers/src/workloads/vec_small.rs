//! A small vector as most code makes it: empty, then pushed to, so that it moves to a larger block now and then.

use super::Workload;
use crate::block::hide;
use core::hint::black_box;

/// In the end; on the way there std asks for room for 4, 8, 16, 32 and 64.
const ELEMENTS: usize = 64;

pub(super) struct VecSmall;

impl Workload for VecSmall {
    type Hand = ();

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for pair in 0..pairs {
            let mut elements = Vec::new();
            for _ in 0..hide(ELEMENTS) {
                elements.push(pair);
            }
            black_box(&mut elements);
        }
    }
}
