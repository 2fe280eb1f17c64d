//! A static block of bytes as the back-end.
//!
//! ```text
//!   Arena<N>   │ bitmap: one bit a page, set = taken │ page 0 │ page 1 │ … │ page P-1 │ rest │
//! ```
//!
//! All zeros is an arena with nothing taken, so a `static` one costs no bytes in the executable.
//!
//! # Invariants
//! - A page is handed out by whoever set its bit, and by nobody else until the bit is cleared.

use super::Backend;
use crate::sync::{AtomicU64, Ordering};
use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::fmt;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

const PAGE: usize = 4096;

/// `N` bytes of static memory, for kernels, embedded targets and tests.
///
/// When it is full, allocation returns null; after frees it works again. The back-end is a `&'static Arena<N>`, not the
/// arena itself: blocks lie inside it, so it must never move, not even together with its heap.
///
/// About N / 32768 bytes go to the arena's own bitmap. Give it at least 256 KiB; a smaller one serves only a few
/// classes at a time.
///
/// # Examples
///
/// ```
/// use bandolier::{Arena, Bandolier};
///
/// static ARENA: Arena<{ 8 << 20 }> = Arena::new();
/// static HEAP: Bandolier<&Arena<{ 8 << 20 }>> = Bandolier::with_backend(&ARENA);
/// assert_eq!(HEAP.stats().from_backend, 0);
/// ```
#[repr(C, align(4096))]
pub struct Arena<const N: usize> {
    bytes: UnsafeCell<MaybeUninit<[u8; N]>>,
}

// SAFETY: all access goes through the bitmap, whose bits are taken and given back atomically.
unsafe impl<const N: usize> Sync for Arena<N> {}
// SAFETY: the arena is plain bytes; nothing in it belongs to a thread.
unsafe impl<const N: usize> Send for Arena<N> {}

impl<const N: usize> Arena<N> {
    /// Pages that the bitmap takes at the front, were it to cover all of `N`.
    const FRONT: usize = (N / PAGE).div_ceil(8 * PAGE);
    const PAGES: usize = (N / PAGE).saturating_sub(Self::FRONT);
    const WORDS: usize = Self::PAGES.div_ceil(64);

    /// An arena with nothing taken.
    #[must_use]
    pub const fn new() -> Self {
        Self { bytes: UnsafeCell::new(MaybeUninit::zeroed()) }
    }

    fn start(&self) -> NonNull<u8> {
        NonNull::from(&self.bytes).cast()
    }

    fn pages(&self) -> PageMap<'_> {
        // SAFETY: the first `FRONT` pages are zeroed by `new`, page-aligned, hold `WORDS` words, and are used as these
        // atomics only: `page` skips them.
        PageMap(unsafe { core::slice::from_raw_parts(self.start().cast::<AtomicU64>().as_ptr(), Self::WORDS) })
    }

    fn page(&self, number: usize) -> NonNull<u8> {
        // SAFETY: `number <= PAGES`, so the offset is inside the `N` bytes or one past them.
        unsafe { self.start().add((Self::FRONT + number) * PAGE) }
    }

    /// The page number of a block, and how many pages it takes.
    fn extent(&self, block: NonNull<u8>, layout: Layout) -> (usize, usize) {
        let first = (block.addr().get() - self.page(0).addr().get()) / PAGE;
        (first, layout.size().div_ceil(PAGE))
    }
}

impl<const N: usize> Default for Arena<N> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> fmt::Debug for Arena<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Arena").field("bytes", &N).finish_non_exhaustive()
    }
}

// SAFETY: blocks are runs of pages inside the arena, which is in its place for ever; each is taken by setting its bits,
// which one party does at a time; nothing here allocates or panics.
unsafe impl<const N: usize> Backend for &'static Arena<N> {
    /// A sixty-fourth of the arena, so that a small one still serves several classes.
    const UNIT: usize = {
        let share = N / 64;
        if share >= 64 << 10 {
            64 << 10
        } else if share >= 16 << 10 {
            16 << 10
        } else {
            PAGE
        }
    };

    const SEGMENT: usize = 16 * Self::UNIT;

    /// The arena, and the part of a unit that lies before it.
    const ADDRESS_BITS: u32 = (N + Self::UNIT).next_power_of_two().ilog2();

    fn base(&self) -> usize {
        self.start().addr().get() & !(Self::UNIT - 1)
    }

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let origin = self.page(0).addr().get();
        let first = self.pages().take(origin, Arena::<N>::PAGES, layout)?;
        Some(self.page(first))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let (first, count) = self.extent(block, layout);
        self.pages().give(first, count);
    }
}

/// The first and the last of some pages that were found taken.
struct Taken {
    first: usize,
    last: usize,
}

/// One bit a page, set = taken.
struct PageMap<'a>(&'a [AtomicU64]);

impl PageMap<'_> {
    /// Takes a free run of pages that serves `layout`; page 0 is at the address `origin`. Blocks aligned to more than a page
    /// come from the end, others from the front, so that neither leaves gaps between the other.
    fn take(&self, origin: usize, pages: usize, layout: Layout) -> Option<usize> {
        let count = layout.size().div_ceil(PAGE);
        let last = pages.checked_sub(count)?;
        if layout.align() <= PAGE { self.take_first(last, count) } else { self.take_last(origin, last, count, layout) }
    }

    /// The first run that is free, and begins at `last` at the latest.
    fn take_first(&self, last: usize, count: usize) -> Option<usize> {
        let mut first = 0;
        while first <= last {
            match self.try_take(first, count) {
                Ok(()) => return Some(first),
                Err(taken) => first = taken.last + 1,
            }
        }
        None
    }

    /// The last run that is free and aligned, and begins at `last` at the latest.
    fn take_last(&self, origin: usize, last: usize, count: usize, layout: Layout) -> Option<usize> {
        let aligned = |page: usize| {
            let astray = (origin + page * PAGE) & (layout.align() - 1);
            page.checked_sub(astray / PAGE)
        };
        let mut first = aligned(last)?;
        loop {
            match self.try_take(first, count) {
                Ok(()) => return Some(first),
                Err(taken) => first = aligned(taken.first.checked_sub(count)?)?,
            }
        }
    }

    /// Takes the pages, or says which of them are known to be taken.
    fn try_take(&self, first: usize, count: usize) -> Result<(), Taken> {
        for (word, mask) in words(first, count) {
            if let Err(taken) = self.take_word(word, mask) {
                let done = (word * 64).saturating_sub(first);
                self.give(first, done);
                let page = |bit: u32| word * 64 + bit as usize;
                let taken = taken & mask;
                return Err(Taken { first: page(taken.trailing_zeros()), last: page(63 - taken.leading_zeros()) });
            }
        }
        Ok(())
    }

    /// Sets the bits of `mask` where all of them are clear; else the word as it is.
    fn take_word(&self, word: usize, mask: u64) -> Result<(), u64> {
        // Relaxed: the exchange checks it.
        let mut now = self.0[word].load(Ordering::Relaxed);
        while now & mask == 0 {
            // Acquire: what the last users of the pages did, released by `give`, is over.
            match self.0[word].compare_exchange_weak(now, now | mask, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return Ok(()),
                Err(other) => now = other,
            }
        }
        Err(now)
    }

    fn give(&self, first: usize, count: usize) {
        for (word, mask) in words(first, count) {
            // Release: our use of the pages comes before the next `take_word` that acquires this word.
            self.0[word].fetch_and(!mask, Ordering::Release);
        }
    }
}

/// The words of a bitmap that `count` bits from `first` lie in, with the bits in each.
fn words(first: usize, count: usize) -> impl Iterator<Item = (usize, u64)> {
    let end = first + count;
    (first / 64..end.div_ceil(64)).filter(move |_| count > 0).map(move |word| {
        let from = first.saturating_sub(word * 64);
        let to = (end - word * 64).min(64);
        (word, (u64::MAX >> (64 - (to - from))) << from)
    })
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::vec::Vec;

    #[test]
    fn words_cover_exactly_the_bits_asked() {
        // Miri takes seconds for a hundred.
        const STEP: usize = if cfg!(miri) { 21 } else { 1 };
        for first in (0..130).step_by(STEP) {
            for count in (0..140).step_by(STEP) {
                let mut bits: Vec<_> = Vec::new();
                for (word, mask) in words(first, count) {
                    bits.extend((0..64).filter(|b| mask >> b & 1 == 1).map(|b| word * 64 + b));
                }
                assert_eq!(bits, (first..first + count).collect::<Vec<_>>());
            }
        }
    }

    /// The bitmap of every size of arena lies before its pages.
    #[test]
    fn the_bitmap_is_no_page() {
        macro_rules! check {
            ($($pages:literal)*) => {$(
                assert!(Arena::<{ $pages * PAGE }>::WORDS * 8 <= Arena::<{ $pages * PAGE }>::FRONT * PAGE, "{} pages", $pages);
                assert!(Arena::<{ $pages * PAGE }>::FRONT + Arena::<{ $pages * PAGE }>::PAGES <= $pages, "{} pages", $pages);
            )*};
        }
        check!(1 2 3 4 5 6 7 8 9 64 65 32767 32768 32769 32770 32771 32775 32776 65538);
    }

    #[test]
    fn runs_are_disjoint_aligned_and_come_back() {
        static ARENA: Arena<{ 1 << 20 }> = Arena::new();
        let arena = &ARENA;
        let layouts = [(1, 1), (4096, 4096), (70_000, 8192), (300_000, 16384), (5000, 65536)];
        let mut held = Vec::new();
        for (size, align) in layouts {
            let layout = Layout::from_size_align(size, align).unwrap();
            let block = arena.acquire(layout).unwrap();
            assert_eq!(block.addr().get() % align, 0);
            held.push((block.addr().get(), block, layout));
        }
        held.sort_by_key(|h| h.0);
        assert!(held.windows(2).all(|w| w[0].0 + w[0].2.size() <= w[1].0));
        assert!(arena.acquire(Layout::from_size_align(900_000, 1).unwrap()).is_none());
        for (_, block, layout) in held {
            // SAFETY: acquired above with this layout, and not used.
            unsafe { arena.release(block, layout) };
        }
        assert!(arena.acquire(Layout::from_size_align(1_000_000, 1).unwrap()).is_some());
    }
}

#[cfg(all(test, loom))]
#[path = "../../loom-tests/arena.rs"]
mod loom_tests;
