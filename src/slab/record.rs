//! The record of one slab: what is free in it, out of band.
//!
//! Bits are set by anybody who gives, and cleared by the party that holds the slab; the words of this file's parent say who
//! that is and what orders them.

use crate::dice::Throws;
use crate::geometry::{CHECKED, NARROW_WORDS, WIDE_WORDS, WORD_BITS};
use crate::magazine::Round;
use crate::pool::Record;
use crate::segment::Run;
use crate::size_class::SizeClass;
use crate::sync::{Atomic, AtomicU64, Ordering, Witness, array};
use crate::treiber::Index;
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// Where the program's hold on each chunk is noted, there is a second bitmap: it finds every double free, at once.
const BITMAPS: usize = if CHECKED { 2 } else { 1 };

/// The name of a slab: its index, and which of the two pools it is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SlabId(pub(super) Index);

impl SlabId {
    pub(super) fn new(index: Index, wide: bool) -> Option<Self> {
        Index::new(index.get() << 1 | u32::from(wide)).map(Self)
    }

    /// As a number that fits 31 bits and is never zero.
    pub(crate) fn to_bits(self) -> u32 {
        self.0.get()
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub(crate) fn from_bits(bits: u32) -> Option<Self> {
        Index::new(bits).map(Self)
    }

    pub(super) fn is_wide(self) -> bool {
        self.0.get() & 1 == 1
    }

    pub(super) fn index(self) -> Option<Index> {
        Index::new(self.0.get() >> 1)
    }
}

/// Count of free chunks and a flag, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct State(pub(super) u32);

impl State {
    const LISTED: u32 = 1;

    pub(super) fn new(count: i32, listed: bool) -> Self {
        Self((count as u32) << 1 | u32::from(listed))
    }

    pub(super) fn count(self) -> i32 {
        (self.0 as i32) >> 1
    }

    pub(super) fn listed(self) -> bool {
        self.0 & Self::LISTED != 0
    }
}

/// What never changes while the slab lives.
#[derive(Clone, Copy)]
pub(super) struct Shape {
    pub(super) run: Run,
    pub(super) class: SizeClass,
    pub(super) capacity: u16,
}

/// A slab's record, out of band, on cache lines of its own. `W` is an array of words, of one of two lengths.
#[repr(align(64))]
pub(super) struct Slab<W: ?Sized = [AtomicU64]> {
    pub(super) next: Atomic<u32>,
    pub(super) state: Atomic<u32>,
    pub(super) shape: Cell<Option<Shape>>,
    pub(super) purged: Cell<u16>,
    /// Nobody has taken from it since the last pass over the unused.
    pub(super) unused: Cell<bool>,
    pub(super) witness: Witness,
    words: W,
}

// SAFETY: everything is atomic but `purged` and `unused`, which are the holder's, and `shape`, which is written only by the holder of a
// slab without live chunks, before the chunks (or the stack) through which others get to know the slab, and after the last
// of them are gone.
unsafe impl<W: Sync + ?Sized> Sync for Slab<W> {}

impl<const N: usize> Record for Slab<[AtomicU64; N]> {
    fn new(_: Index) -> Self {
        Self {
            next: Atomic::new(0),
            state: Atomic::new(0),
            shape: Cell::new(None),
            purged: Cell::new(0),
            unused: Cell::new(false),
            witness: Witness::new(),
            words: array![AtomicU64::new(0); N],
        }
    }

    unsafe fn renew(slab: NonNull<Self>, _: Index) {
        // `carve` writes the rest, all of it. (A `Cell` is written whole: what it held is not looked at.)
        let place = slab.as_ptr().wrapping_byte_add(core::mem::offset_of!(Self, shape));
        // SAFETY: the record is the caller's; the field is no link, and nobody refers to it.
        unsafe { place.cast::<Cell<Option<Shape>>>().write(Cell::new(None)) };
    }

    fn next(&self) -> &Atomic<u32> {
        &self.next
    }
}

pub(super) type Narrow = Slab<[AtomicU64; NARROW_WORDS * BITMAPS]>;
pub(super) type Wide = Slab<[AtomicU64; WIDE_WORDS * BITMAPS]>;

/// 2⁴⁰ over the chunk size, rounded up: `offset * INVERSE >> 40` is `offset / size` for every offset below 2²⁴ (the
/// error is below `offset * size / 2⁴⁰ < 1 / size`).
const INVERSES: [u64; SizeClass::COUNT] = {
    let mut inverses = [0; SizeClass::COUNT];
    let mut number = 0;
    while let Some(class) = SizeClass::numbered(number) {
        inverses[number as usize] = (1_u64 << 40).div_ceil(class.bytes() as u64);
        number += 1;
    }
    inverses
};

/// The bits of a slab's first `count` chunks in word `word`.
pub(super) fn first_bits(count: usize, word: usize) -> u64 {
    let bits = WORD_BITS as usize;
    match count.saturating_sub(word * bits).min(bits) {
        0 => 0,
        n => u64::MAX >> (64 - n),
    }
}

/// An address that is no chunk of the slab.
#[derive(Debug)]
pub(super) struct NoChunk;

/// A chunk that was given back before, or never taken.
#[derive(Debug)]
pub(crate) struct NotTaken(pub(crate) Round);

impl Slab {
    pub(super) fn shape(&self) -> Option<Shape> {
        self.shape.get()
    }

    pub(super) fn bitmap(&self) -> &[AtomicU64] {
        &self.words[..self.words.len() / BITMAPS]
    }

    /// The shadow bitmap of debug builds.
    pub(super) fn held(&self) -> &[AtomicU64] {
        &self.words[self.words.len() / BITMAPS..]
    }

    /// Where the bit of the chunk at `address` is.
    pub(super) fn bit(&self, shape: &Shape, address: usize) -> Result<(usize, u64), NoChunk> {
        let offset = address.wrapping_sub(shape.run.start.addr().get());
        if offset >= usize::from(shape.capacity) * shape.class.bytes() {
            return Err(NoChunk);
        }
        let chunk = ((offset as u64 * INVERSES[usize::from(shape.class.number())]) >> 40) as usize;
        if chunk * shape.class.bytes() != offset {
            return Err(NoChunk);
        }
        let bits = WORD_BITS as usize;
        Ok((chunk / bits, 1 << (chunk % bits)))
    }

    /// Sets the free bits of `rounds`, chunks of this slab, neighbours in the order being neighbours in the bitmap.
    pub(super) fn set_bits(&self, shape: &Shape, rounds: &[Round]) -> Result<(), NotTaken> {
        let (mut word, mut bits, mut first) = (0, 0, None);
        for &round in rounds {
            let (at, bit) = self.bit(shape, round.addr().get()).map_err(|NoChunk| NotTaken(round))?;
            if at != word || bits & bit != 0 {
                self.set_word(word, bits, first)?;
                (word, bits, first) = (at, 0, None);
            }
            bits |= bit;
            first = first.or(Some(round));
        }
        self.set_word(word, bits, first)
    }

    fn set_word(&self, word: usize, bits: u64, first: Option<Round>) -> Result<(), NotTaken> {
        let Some(first) = first else { return Ok(()) };
        // Release: all that the chunks' users did with them comes before the Acquire of the `take` that gets them.
        let before = self.bitmap()[word].fetch_or(bits, Ordering::Release);
        if before & bits == 0 { Ok(()) } else { Err(NotTaken(first)) }
    }

    /// Calls `each` with every stretch of free chunks, as the number of the first and how many; the holder's right.
    pub(super) fn each_free(&self, mut each: impl FnMut(usize, usize)) {
        let bits = WORD_BITS as usize;
        let mut stretch = 0..0;
        for (place, word) in self.bitmap().iter().enumerate() {
            // Acquire: the chunks' last use, by the Release of their `set_word`. Only the holder clears bits.
            let mut free = word.load(Ordering::Acquire);
            let mut at = place * bits;
            while at < (place + 1) * bits {
                let ones = free.trailing_ones() as usize;
                if stretch.is_empty() {
                    stretch = at..at;
                }
                stretch.end += ones;
                at += ones;
                free = free.checked_shr(ones as u32).unwrap_or(0);
                let zeros = (free.trailing_zeros() as usize).min((place + 1) * bits - at);
                if zeros > 0 && !stretch.is_empty() {
                    each(stretch.start, stretch.len());
                    stretch = 0..0;
                }
                at += zeros;
                free = free.checked_shr(zeros as u32).unwrap_or(0);
            }
        }
        if !stretch.is_empty() {
            each(stretch.start, stretch.len());
        }
    }

    /// Takes up to `chunks.len()` chunks, lowest address first; the holder's right.
    pub(super) fn take(&self, shape: &Shape, chunks: &mut [MaybeUninit<Round>]) -> usize {
        self.take_from(0, shape, chunks, lowest)
    }

    /// Takes up to `chunks.len()` chunks, any of them, in any order; the holder's right.
    pub(super) fn take_any(&self, shape: &Shape, chunks: &mut [MaybeUninit<Round>], throws: &mut Throws) -> usize {
        let taken = self.take_from(throws.below(self.bitmap().len()), shape, chunks, |free, most| {
            let turn = throws.below(WORD_BITS as usize) as u32;
            lowest(free.rotate_right(turn), most).rotate_left(turn)
        });
        throws.shuffle(&mut chunks[..taken]);
        taken
    }

    /// Takes up to `chunks.len()` chunks, beginning with the word `first`; of each word the ones that `choose` says.
    #[inline]
    fn take_from(
        &self,
        first: usize,
        shape: &Shape,
        chunks: &mut [MaybeUninit<Round>],
        mut choose: impl FnMut(u64, usize) -> u64,
    ) -> usize {
        let mut taken = 0;
        let (before, from) = self.bitmap().split_at(first);
        for (place, word) in (first..).zip(from).chain(before.iter().enumerate()) {
            if taken == chunks.len() {
                break;
            }
            // Relaxed: bits that are set stay so, since only the holder clears them; the exchange below acquires.
            let free = word.load(Ordering::Relaxed);
            if free == 0 {
                continue;
            }
            let ours = choose(free, chunks.len() - taken);
            // Acquire: all that the chunks' last users did with them, by the Release of their `set_word`.
            word.fetch_and(!ours, Ordering::Acquire);
            for bit in Bits(ours) {
                chunks[taken].write(shape.chunk(place * WORD_BITS as usize + bit as usize));
                taken += 1;
            }
        }
        taken
    }
}

impl Shape {
    fn chunk(&self, number: usize) -> Round {
        // SAFETY: the bitmap has a bit for chunks inside the run only.
        unsafe { self.run.start.add(number * self.class.bytes()) }
    }
}

/// The lowest `most` ones of `bits`.
fn lowest(bits: u64, most: usize) -> u64 {
    if bits.count_ones() as usize <= most {
        return bits;
    }
    let mut rest = bits;
    for _ in 0..most {
        rest &= rest - 1;
    }
    bits & !rest
}

/// The places of the ones in a word, lowest first.
struct Bits(u64);

impl Iterator for Bits {
    type Item = u32;

    fn next(&mut self) -> Option<u32> {
        let bit = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (bit < 64).then_some(bit)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn inverses_divide_exactly() {
        for class in SizeClass::all() {
            let inverse = INVERSES[usize::from(class.number())];
            let largest: usize = 64 * (64 << 10) / 8;
            for offset in (0..largest).step_by(class.bytes() * if cfg!(miri) { 499 } else { 1 }) {
                for near in [offset.saturating_sub(1), offset, offset + 1, offset + class.bytes() - 1] {
                    assert_eq!(((near as u64 * inverse) >> 40) as usize, near / class.bytes());
                }
            }
        }
    }

    #[test]
    fn free_stretches_are_those_of_the_naive_search() {
        let slab = Narrow::new(Index::MIN);
        let slab: &Slab = &slab;
        let mut random = 0x9e37_79b9_7f4a_7c15_u64;
        for round in 0..if cfg!(miri) { 8 } else { 200 } {
            for word in slab.bitmap() {
                random = random.rotate_left(9).wrapping_mul(0x2545_f491_4f6c_dd1d);
                word.store([random, 0, u64::MAX, random | random >> 7][round % 4], Ordering::Relaxed);
            }
            let is_free = |n: usize| slab.bitmap()[n / 64].load(Ordering::Relaxed) >> (n % 64) & 1 == 1;
            let mut naive = Vec::new();
            for n in (0..NARROW_WORDS * 64).filter(|&n| is_free(n)) {
                match naive.last_mut() {
                    Some((first, count)) if *first + *count == n => *count += 1,
                    _ => naive.push((n, 1)),
                }
            }
            let mut found = Vec::new();
            slab.each_free(|first, count| found.push((first, count)));
            assert_eq!(found, naive);
        }
    }

    #[test]
    fn the_name_of_a_slab_says_which_pool_it_is_in() {
        for (index, wide) in [(1, false), (1, true), (6, false), (7, true)] {
            let index = Index::new(index).unwrap();
            let id = SlabId::new(index, wide).unwrap();
            assert_eq!((id.index(), id.is_wide(), SlabId::from_bits(id.to_bits())), (Some(index), wide, Some(id)));
        }
    }

    #[test]
    fn the_lowest_ones_are_taken() {
        assert_eq!(lowest(0b1011_0100, 2), 0b0001_0100);
        assert_eq!(lowest(u64::MAX, 64), u64::MAX);
        assert_eq!(lowest(0b1010, 5), 0b1010);
        assert_eq!(Bits(0b1001_0010).collect::<Vec<_>>(), [1, 4, 7]);
    }

    #[test]
    fn states_round_trip_below_zero() {
        for count in [-4096, -1, 0, 1, 4096] {
            for listed in [false, true] {
                let state = State::new(count, listed);
                assert_eq!((state.count(), state.listed()), (count, listed));
            }
        }
    }
}
