//! A vector that becomes large, as a file or a reply that is read into memory: std doubles it by `realloc`, and an
//! allocator may grow it in place, move its pages, or copy.
//!
//! A pair is 64 KiB of the final length, so that vectors of different lengths compare. The pieces are larger than an
//! element, so that the allocator is seen and not the push.

use super::Workload;
use core::hint::black_box;

const PIECE: [u8; 64] = [1; 64];
/// One pair.
const STEP: usize = 64 << 10;

/// To so many MiB.
pub(super) struct VecGrown<const MIB: usize>;

impl<const MIB: usize> VecGrown<MIB> {
    const LENGTH: usize = MIB << 20;
}

impl<const MIB: usize> Workload for VecGrown<MIB> {
    /// One vector.
    const UNIT: u64 = (Self::LENGTH / STEP) as u64;

    type Hand = ();

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, _thread: usize) {}

    fn run(&self, _hand: &mut (), pairs: u64) {
        for _ in 0..pairs / Self::UNIT {
            let mut bytes = Vec::new();
            while bytes.len() < Self::LENGTH {
                bytes.extend_from_slice(&PIECE);
            }
            black_box(&mut bytes);
        }
    }
}
