//! Memory asked for as zeros and used sparsely: pages fresh from the system need not be written.

use super::Workload;
use crate::block::hide;
use core::hint::black_box;

/// Of each so many bytes one is read and one, of another page, is written.
const STEP: usize = 64 << 10;

/// Blocks of `SIZE` bytes.
pub(super) struct Zeroed<const SIZE: usize>;

fn used(mut block: Vec<u8>) {
    for part in black_box(&mut block).chunks_mut(STEP) {
        black_box(part[0]);
        part[part.len() / 2] = 1;
    }
    black_box(&mut block);
}

impl<const SIZE: usize> Workload for Zeroed<SIZE> {
    /// 64 MiB.
    const UNIT: u64 = ((64 << 20) / SIZE) as u64;

    type Hand = ();

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for _ in 0..pairs {
            used(vec![0; hide(SIZE)]);
        }
    }
}
