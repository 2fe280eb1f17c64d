//! Where a party looks first: parties with different homes are less in each other's way.
//!
//! A home decides which of several equal places is tried before the others, never what is found in them.

/// A number by which parties differ.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Home(u32);

impl Home {
    /// For who has none of his own.
    pub(crate) const COMMON: Self = Self(0);

    /// The `n`th of those who came.
    pub(crate) const fn nth(n: usize) -> Self {
        Self(n as u32)
    }

    /// By the calling thread's stack: those of different threads lie far apart.
    pub(crate) fn of_stack() -> Self {
        if cfg!(all(test, loom)) {
            // A model must be the same at every run.
            return Self::COMMON;
        }
        let here = 0_u8;
        let stack = (&raw const here).addr() >> 17;
        Self((stack.wrapping_mul(0x9e37_79b9) >> 8) as u32)
    }

    /// A part of `whole`, the less the more came before: those of `n` parties are together `whole` times log₂ `n` at most.
    pub(crate) fn part(self, whole: usize) -> usize {
        whole >> self.0.saturating_add(1).ilog2()
    }

    /// Which of `places` is the first; `places` is not zero.
    pub(crate) fn first(self, places: u32) -> u32 {
        self.0 % places
    }

    /// All of `places`, the first one first.
    pub(crate) fn turns(self, places: usize) -> impl Iterator<Item = usize> {
        let first = self.0 as usize % places;
        (first..places).chain(0..first)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Home;

    #[test]
    fn parts_are_bounded_together() {
        assert_eq!([0, 1, 2, 3, 7].map(|n| Home::nth(n).part(256)), [256, 128, 128, 64, 32]);
        assert!((0..1000).map(|n| Home::nth(n).part(1 << 20)).sum::<usize>() <= 10 << 20);
        assert_eq!(Home::nth(usize::MAX).part(1 << 20), 0);
    }

    #[test]
    fn every_place_has_its_turn() {
        assert_eq!(Home::nth(6).turns(4).collect::<std::vec::Vec<_>>(), [2, 3, 0, 1]);
        assert_eq!(Home::nth(6).first(4), 2);
    }
}
