//! Numbers that are hard to guess, for a hardened heap: which of the free chunks comes next.
//!
//! SplitMix64 (G. L. Steele, D. Lea and C. H. Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014) from a seed of the
//! system's. It is no cipher: who sees where many chunks lie may find out where the next ones will.

use crate::process::Visitor;
use crate::sync::{AtomicU64, Ordering, const_fn};

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

/// What nobody can guess, as far as the system has it.
pub(crate) fn entropy() -> u64 {
    #[cfg(all(feature = "std", not(all(test, loom))))]
    return crate::backend::os::entropy();
    #[cfg(not(all(feature = "std", not(all(test, loom)))))]
    0
}

/// A source of throws that all share.
pub(crate) struct Dice {
    next: AtomicU64,
    thrower: Visitor,
}

/// Numbers for one party.
pub(crate) struct Throws(u64);

impl Dice {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { next: AtomicU64::new(0), thrower: Visitor::new() }
        }
    }

    pub(crate) fn seed(&self, seed: u64) {
        self.thrower.is_new();
        // Relaxed: before anybody throws.
        self.next.store(seed, Ordering::Relaxed);
    }

    /// Throws that differ from those of everybody else. A forked child begins anew, for its siblings begin as it did, and who has seen
    /// one of them should not know it.
    pub(crate) fn throws(&self) -> Throws {
        if self.thrower.is_new() {
            // Relaxed: as below.
            self.next.fetch_add(entropy(), Ordering::Relaxed);
        }
        // Relaxed: a number that nobody else gets.
        Throws(mixed(self.next.fetch_add(STEP, Ordering::Relaxed)))
    }
}

fn mixed(mut z: u64) -> u64 {
    z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

impl Throws {
    /// A number below `limit`, or zero.
    pub(crate) fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(STEP);
        ((u64::from(mixed(self.0) as u32) * limit as u64) >> 32) as usize
    }

    /// Puts things into another order, each being as likely as any (R. Durstenfeld, Algorithm 235, 1964).
    pub(crate) fn shuffle<T>(&mut self, things: &mut [T]) {
        for last in (1..things.len()).rev() {
            things.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "long")]
    fn every_place_gets_everything_equally_often() {
        let dice = Dice::new();
        dice.seed(42);
        let mut seen = [[0; 8]; 8];
        for _ in 0..8000 {
            let mut things = [0, 1, 2, 3, 4, 5, 6, 7];
            dice.throws().shuffle(&mut things);
            things.iter().enumerate().for_each(|(place, &thing)| seen[place][thing] += 1);
        }
        assert!(seen.iter().flatten().all(|times| (800..1200).contains(times)), "{seen:?}");
    }

    #[test]
    fn other_seeds_give_other_throws() {
        let throws = |seed| {
            let dice = Dice::new();
            dice.seed(seed);
            let (mut first, mut second) = (dice.throws(), dice.throws());
            [first.below(1 << 30), first.below(1 << 30), second.below(1 << 30)]
        };
        assert_eq!(throws(1), throws(1));
        assert!(throws(1).iter().all(|number| !throws(2).contains(number)));
        assert_ne!(throws(1)[0], throws(1)[2]);
        assert_eq!(Dice::new().throws().below(0), 0);
    }
}
