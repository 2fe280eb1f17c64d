//! Size classes: which chunk serves a layout.
//!
//! ```text
//!  bytes   16 32 … 128 | 160 192 224 256 | 320 384 448 512 | … | 20480 24576 28672 32768
//!  class    0  1 …   7 |   8   9  10  11 |  12  13  14  15 | … |    36    37    38    39
//!          16-byte steps    four steps to every doubling (waste ≤ 25 % of a step: 12.5 % of the chunk on average)
//! ```
//!
//! Every class size is a multiple of every power of two that a request rounded to its own alignment can have
//! (see `every_layout_fits_and_is_aligned`), so alignment needs no branch: it is rounded into the size.
//!
//! # Invariants
//! - A `SizeClass` is below [`SizeClass::COUNT`]; the only makers are here, so indexing a [`PerClass`] is in bounds.

use crate::geometry::{CHUNK_BYTES, CLASSES};
use core::alloc::Layout;
use core::ops::Index;

/// A class of chunks of one size, in bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct SizeClass(u8);

/// Requests up to this many bytes are looked up, larger ones computed (512 bytes of table beat both the formula
/// alone and a finer, larger table; `docs/DESIGN.md` has the figures).
const TABLED: usize = 8 << 10;
const STEP: usize = 16;

/// By steps; the first is that of 1 to 16 bytes.
const TABLE: [u8; TABLED / STEP] = {
    let mut table = [0; TABLED / STEP];
    let mut i = 0;
    while i < table.len() {
        table[i] = computed((i + 1) * STEP);
        i += 1;
    }
    table
};

/// Marks a branch that is seldom taken, and keeps it a branch of its own.
#[cold]
#[inline]
const fn rare() {}

/// The class of a chunk of `size` bytes, `0 < size <= SizeClass::MAX_BYTES`, without a branch.
const fn computed(size: usize) -> u8 {
    let last = size - 1;
    let doubling = (last | 64).ilog2();
    ((doubling - 6) as usize * 4 + (last >> (doubling - 2))) as u8
}

impl SizeClass {
    /// How many classes there are.
    pub const COUNT: usize = CLASSES;

    /// The largest chunk of any class, in bytes; larger blocks are runs of units.
    pub const MAX_BYTES: usize = CHUNK_BYTES;

    /// The class whose chunks serve `layout`, or `None` when it asks for more than [`MAX_BYTES`](Self::MAX_BYTES).
    ///
    /// A zero-sized layout gets the class that one byte would.
    #[must_use]
    #[inline]
    pub const fn of(layout: Layout) -> Option<Self> {
        if layout.size() == 0 && layout.align() <= Self::MAX_BYTES {
            return Some(Self(computed(layout.align())));
        }
        Self::within(layout, Self::MAX_BYTES)
    }

    /// As [`of`](Self::of), for a heap whose chunks have at most `limit` bytes. The size is not zero: `GlobalAlloc` forbids
    /// that (and gets the smallest class, whatever the alignment).
    #[inline]
    pub(crate) const fn within(layout: Layout, limit: usize) -> Option<Self> {
        let mask = layout.align() - 1;
        // A layout's size rounded up to its alignment is at most `isize::MAX`.
        let size = (layout.size() + mask) & !mask;
        if size > limit {
            None
        } else if size <= TABLED {
            Some(Self(TABLE[size.saturating_sub(1) / STEP]))
        } else {
            Some(Self(computed(size)))
        }
    }

    /// As [`within`](Self::within) of layouts that are looked up and ask for no more than the usual alignment; `None` of all
    /// others. It is the part of it that belongs into every call of the allocator.
    #[inline(always)]
    pub(crate) const fn usual(layout: Layout, limit: usize) -> Option<Self> {
        let most = if limit < TABLED { limit } else { TABLED };
        // Chunks of every class are aligned to a step, so such an alignment needs no rounding. A size of zero wraps.
        let last = layout.size().wrapping_sub(1);
        if layout.align() > STEP {
            rare();
            return None;
        }
        if last >= most {
            rare();
            return None;
        }
        Some(Self(TABLE[last / STEP]))
    }

    /// Bytes of the chunks of each class.
    pub(crate) const SIZES: [u16; Self::COUNT] = {
        let mut bytes = [0; Self::COUNT];
        let mut size = STEP;
        while size <= Self::MAX_BYTES {
            bytes[computed(size) as usize] = size as u16;
            size += STEP;
        }
        bytes
    };

    /// Bytes of one chunk of this class.
    #[must_use]
    #[inline]
    pub const fn bytes(self) -> usize {
        Self::SIZES[self.0 as usize] as usize
    }

    /// All classes, smallest chunks first.
    pub fn all() -> impl DoubleEndedIterator<Item = Self> + ExactSizeIterator {
        (0..Self::COUNT as u8).map(Self)
    }

    /// The class numbered `number`, as [`number`](Self::number) gave it.
    pub(crate) const fn numbered(number: u8) -> Option<Self> {
        if (number as usize) < Self::COUNT { Some(Self(number)) } else { None }
    }

    /// Its place among the classes, from 0.
    #[must_use]
    #[inline]
    pub const fn number(self) -> u8 {
        self.0
    }
}

/// One `T` for each class.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PerClass<T>(pub(crate) [T; SizeClass::COUNT]);

impl<T> PerClass<T> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SizeClass, &T)> {
        SizeClass::all().zip(&self.0)
    }
}

impl<T> Index<SizeClass> for PerClass<T> {
    type Output = T;

    #[inline(always)]
    fn index(&self, class: SizeClass) -> &T {
        // SAFETY: a `SizeClass` is below `COUNT`, by the invariant of this module; no branch on the fast path.
        unsafe { self.0.get_unchecked(class.0 as usize) }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).unwrap()
    }

    /// Sizes from `first` on: all of them, or, in Miri, a few dozen.
    fn sizes(first: usize) -> impl Iterator<Item = usize> {
        (first..=SizeClass::MAX_BYTES).step_by(if cfg!(miri) { 1151 } else { 1 })
    }

    /// The naive twin: the first class that is large enough.
    fn naive(size: usize) -> SizeClass {
        SizeClass::all().find(|c| c.bytes() >= size).unwrap()
    }

    #[test]
    fn every_size_has_the_first_class_that_fits() {
        for size in sizes(0) {
            assert_eq!(SizeClass::of(layout(size, 1)), Some(naive(size)), "{size}");
        }
        assert_eq!(SizeClass::of(layout(SizeClass::MAX_BYTES + 1, 1)), None);
        assert_eq!(SizeClass::of(layout(isize::MAX as usize, 1)), None);
    }

    #[test]
    fn every_layout_fits_and_is_aligned() {
        for align in (0..16).map(|log| 1 << log) {
            for size in sizes(0) {
                let Some(class) = SizeClass::of(layout(size, align)) else {
                    assert!(size.max(1).next_multiple_of(align) > SizeClass::MAX_BYTES);
                    continue;
                };
                assert!(class.bytes() >= size);
                assert_eq!(class.bytes() % align, 0, "size {size} align {align}");
            }
        }
    }

    #[test]
    fn the_usual_layouts_are_looked_up_alike() {
        for align in (0..16).map(|log| 1 << log) {
            for (size, limit) in sizes(1).flat_map(|size| [(size, 2048), (size, SizeClass::MAX_BYTES)]) {
                let (usual, within) =
                    (SizeClass::usual(layout(size, align), limit), SizeClass::within(layout(size, align), limit));
                assert!(usual.is_none() || usual == within, "size {size} align {align} limit {limit}");
                assert_eq!(usual.is_some(), align <= 16 && size <= limit.min(TABLED), "size {size} align {align}");
            }
        }
    }

    #[test]
    fn steps_grow_and_waste_little() {
        let sizes: Vec<_> = SizeClass::all().map(SizeClass::bytes).collect();
        assert!(sizes.is_sorted_by(|a, b| a < b));
        assert_eq!((sizes[0], sizes[39]), (16, SizeClass::MAX_BYTES));
        for pair in sizes.windows(2).filter(|pair| pair[0] >= 128) {
            assert!((pair[1] - pair[0]) * 4 <= pair[0]);
        }
    }

    #[test]
    fn numbers_round_trip() {
        for class in SizeClass::all() {
            assert_eq!(SizeClass::numbered(class.number()), Some(class));
        }
        assert_eq!(SizeClass::numbered(SizeClass::COUNT as u8), None);
    }
}
