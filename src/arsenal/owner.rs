//! Whose an address is: what the map says of a unit, in one word.

use crate::geometry::HARDENED;
use crate::segment::SegmentId;
use crate::slab::SlabId;
use crate::treiber::Index;

/// What the map says of a unit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Owner {
    Nobody,
    Slab(SlabId),
    /// The first unit of a run.
    Run(SegmentId),
    /// Another unit of a run, in a hardened heap.
    Rest,
    /// A unit before or behind a run, where a guard is up.
    Guard,
    /// The first unit of a block of the back-end's, in a hardened heap.
    Large(Index),
}

/// No segment has the number 0, or 1.
const REST: u32 = 1;
const GUARD: u32 = 3;
/// Beyond the numbers of segments.
const LARGE: u32 = 1 << 31;

impl Owner {
    pub(super) fn to_bits(self) -> u32 {
        match self {
            Self::Nobody => 0,
            Self::Slab(id) => id.to_bits() << 1,
            Self::Run(id) => id.to_bits() << 1 | 1,
            Self::Rest => REST,
            Self::Guard => GUARD,
            Self::Large(index) => LARGE | index.get() << 1 | 1,
        }
    }

    pub(super) fn from_bits(bits: u32) -> Self {
        if bits & 1 == 0 {
            return SlabId::from_bits(bits >> 1).map_or(Self::Nobody, Self::Slab);
        }
        if HARDENED {
            if bits == REST {
                return Self::Rest;
            }
            if bits == GUARD {
                return Self::Guard;
            }
            if let (true, Some(index)) = (bits & LARGE != 0, Index::new((bits & !LARGE) >> 1)) {
                return Self::Large(index);
            }
        }
        Self::Run(SegmentId::from_bits(bits >> 1))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn owners_round_trip() {
        let of_slab = SlabId::from_bits(u32::MAX >> 1).unwrap();
        let mut owners = std::vec![Owner::Nobody, Owner::Slab(of_slab), Owner::Run(SegmentId::from_bits(64))];
        if HARDENED {
            let last = Owner::Run(SegmentId::from_bits(u32::MAX >> 2));
            let larges = [1, u32::MAX >> 2].map(|n| Owner::Large(Index::new(n).unwrap()));
            owners.extend([last, Owner::Rest, Owner::Guard, larges[0], larges[1]]);
        }
        for owner in owners {
            assert_eq!(Owner::from_bits(owner.to_bits()), owner);
        }
    }
}
