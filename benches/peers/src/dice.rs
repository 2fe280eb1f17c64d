//! A cheap random source (xorshift64): its cost is in every figure that uses it, so it is kept below the allocator's.

use crate::tail;

/// A sequence of pseudo-random numbers.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The sequence of thread number `thread`.
    pub fn of(thread: usize) -> Self {
        let number = thread as u64 + 1;
        Self(number.wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    /// Any number but zero.
    #[inline(always)]
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A number below `end`, from the high bits and without a division.
    #[inline(always)]
    pub fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.roll()) * end as u128) >> 64) as usize
    }

    /// 16, 32, .. 2048, each as often.
    #[inline(always)]
    pub fn power_of_two(&mut self) -> usize {
        16 << (self.roll() % 8)
    }

    /// From 16 to below `16 << doublings`: every doubling as often, and any size within it (log-uniform, nearly).
    #[inline(always)]
    pub fn any_size(&mut self, doublings: usize) -> usize {
        self.size_from(16, doublings)
    }

    /// The same, from `least`, which is a power of two.
    #[inline(always)]
    pub fn size_from(&mut self, least: usize, doublings: usize) -> usize {
        let base = least << self.below(doublings);
        base + (self.roll() as usize & (base - 1))
    }

    /// From 16 to below 32 Ki: each doubling 0.6 times as often as the one before it, and any size within it.
    #[inline(always)]
    pub fn long_tailed(&mut self) -> usize {
        tail::size(self.roll())
    }
}

#[cfg(test)]
mod tests {
    use super::Dice;

    #[test]
    fn sizes_stay_in_their_bounds() {
        let mut dice = Dice::of(0);
        for _ in 0..10_000 {
            let class = dice.power_of_two();
            assert!(class.is_power_of_two() && (16..=2048).contains(&class));
            assert!((16..32 << 10).contains(&dice.any_size(11)));
            assert!((64 << 10..4 << 20).contains(&dice.size_from(64 << 10, 6)));
            assert!((16..32 << 10).contains(&dice.long_tailed()));
            assert!(dice.below(10) < 10);
        }
    }
}
