//! Magazines: batches of free chunks, owned by one party at a time, their whole state in one word.
//!
//! ```text
//!   a block of 1024 bytes, aligned to 1024
//!   ┌────────┬─ ─ ─ ─ ─┬──────┬───────┬───────┬─ ─ ─┬───────┐
//!   │ header │ not used │ null │ round │ round │      │ last  │
//!   └────────┴─ ─ ─ ─ ─┴──────┴───────┴───────┴─ ─ ─┴───────┘
//!                       ▲ mark                        ▲        ▲ end: the low ten bits are zero
//!                       └ top when empty              └ top when full
//!
//!   pop   round = *top;  null ─▶ empty;         top -= 1
//!   push  top + 1 has low bits zero ─▶ full;    top += 1;  *top = round
//! ```
//!
//! The capacity of a magazine is the place of its mark, chosen when it is *armed* for a class, so classes differ in
//! capacity while the two fast paths know nothing of it. One word is also what a cache can hand over with a single store.
//! The chunks themselves are not touched.
//!
//! `Top::NONE` is the last word of a static block of zeros: it reads as empty and as full, and so stands for "no
//! magazine yet" without a branch of its own.
//!
//! # Invariants
//! - A `Top` other than `NONE` points at the mark of an armed magazine or at one of the rounds above it, and is held by
//!   the magazine's owner alone. The words from the mark to `top` are initialised: null, then chunks.
//! - A magazine in the depot is *parked*: its header says how many rounds it holds.

use crate::geometry::{BLOCK, MOST_ROUNDS};
use crate::pool::Record;
use crate::sync::{Atomic, Ordering, Witness};
use crate::treiber::Index;
use core::cell::{Cell, UnsafeCell};
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

/// A free chunk: the address that `alloc` will return.
pub(crate) type Round = NonNull<u8>;

type Word = *mut u8;

/// A count of rounds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub(crate) struct Rounds(pub(crate) u16);

#[repr(C, align(8))]
struct Header {
    next: Atomic<u32>,
    /// In a cell, since a stale reader of the link may refer to the record while its next owner makes it anew.
    index: Cell<Index>,
    /// In it and in those below it on its stack: rounds, and magazines.
    piled: Atomic<u32>,
    height: Atomic<u16>,
    /// Read also by who counts what CPUs have, hence atomic; of no matter to anybody else.
    capacity: Atomic<u8>,
    parked: Cell<u8>,
    witness: Witness,
}

const WORDS: usize = (BLOCK - size_of::<Header>()) / size_of::<Word>();
const _: () = assert!(size_of::<Header>() % size_of::<Word>() == 0 && WORDS > MOST_ROUNDS);
const _: () = assert!(MOST_ROUNDS <= u8::MAX as usize);

/// A block of rounds.
#[repr(C, align(1024))]
pub(crate) struct Magazine {
    header: Header,
    words: UnsafeCell<[MaybeUninit<Word>; WORDS]>,
}

const _: () = assert!(size_of::<Magazine>() == BLOCK && align_of::<Magazine>() == BLOCK);
const _: () = assert!(core::mem::offset_of!(Magazine, words) == size_of::<Header>());

// SAFETY: the link and what lies on the stack are atomic; everything else is touched by the one owner only, who got the
// magazine through a stack that orders it after the last owner.
unsafe impl Sync for Magazine {}

impl Record for Magazine {
    fn new(index: Index) -> Self {
        Self {
            header: Header {
                next: Atomic::new(0),
                index: Cell::new(index),
                piled: Atomic::new(0),
                height: Atomic::new(0),
                capacity: Atomic::new(0),
                parked: Cell::new(0),
                witness: Witness::new(),
            },
            words: UnsafeCell::new([const { MaybeUninit::uninit() }; WORDS]),
        }
    }

    unsafe fn renew(magazine: NonNull<Self>, index: Index) {
        let place = magazine.as_ptr().wrapping_byte_add(core::mem::offset_of!(Self, header.index));
        // SAFETY: the record is the caller's; the field is no link, and nobody refers to it.
        unsafe { place.cast::<Cell<Index>>().write(Cell::new(index)) };
    }

    fn next(&self) -> &Atomic<u32> {
        &self.header.next
    }
}

impl Magazine {
    fn word(magazine: NonNull<Self>, place: usize) -> *mut Word {
        debug_assert!(place < WORDS);
        // INVARIANT: `place` is below `WORDS`, so the result is inside the block, whose provenance `magazine` has.
        magazine.as_ptr().wrapping_byte_add(size_of::<Header>()).cast::<Word>().wrapping_add(place)
    }

    /// Notes what lies on a stack when this magazine, which is parked and the caller's, lies on `below`.
    pub(crate) fn pile_on(&self, below: Option<&Self>) {
        let (magazines, rounds) = below.map_or((0, 0), Self::piled);
        let rounds = rounds.saturating_add(self.header.parked.get().into());
        // Relaxed both: published by the Release of the push.
        self.header.piled.store(rounds, Ordering::Relaxed);
        self.header.height.store(magazines.saturating_add(1), Ordering::Relaxed);
    }

    /// Magazines and rounds that lay on a stack when this magazine was put on top.
    pub(crate) fn piled(&self) -> (u16, u32) {
        // Relaxed both: written before the Release of the push, which who finds the magazine on top has acquired. Who comes
        // late may read what was noted on another stack, and has counted wrongly then.
        (self.header.height.load(Ordering::Relaxed), self.header.piled.load(Ordering::Relaxed))
    }

    /// Makes an empty magazine ready for `capacity` rounds.
    ///
    /// # Safety
    /// The caller owns the magazine, and it holds no rounds. `0 < capacity <= MOST_ROUNDS`.
    pub(crate) unsafe fn arm(magazine: NonNull<Self>, capacity: Rounds) -> Top {
        debug_assert!(0 < capacity.0 && capacity.0 as usize <= MOST_ROUNDS);
        let mark = Self::word(magazine, WORDS - 1 - capacity.0 as usize);
        // SAFETY: ours, by the caller's promise, and inside the block.
        unsafe { mark.write(ptr::null_mut()) };
        let top = Top(mark);
        // SAFETY: as above.
        let header = unsafe { &magazine.as_ref().header };
        header.witness.touch();
        // Relaxed: the owner's; whoever owns the magazine next gets it with the magazine.
        header.capacity.store(capacity.0 as u8, Ordering::Relaxed);
        top
    }

    /// The state of a magazine that was parked.
    ///
    /// # Safety
    /// The caller owns the magazine, which its last owner has [parked](Top::park).
    pub(crate) unsafe fn unpark(magazine: NonNull<Self>) -> Top {
        // SAFETY: ours, by the caller's promise.
        let header = unsafe { &magazine.as_ref().header };
        header.witness.touch();
        // Relaxed: as in `arm`.
        let (capacity, rounds) = (header.capacity.load(Ordering::Relaxed), header.parked.get());
        Top(Self::word(magazine, WORDS - 1 - usize::from(capacity - rounds)))
    }
}

/// The whole state of a magazine in its owner's hands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub(crate) struct Top(*mut Word);

/// Reads as empty, and its last word as full. Never written.
#[repr(C, align(1024))]
struct NoMagazine([Word; BLOCK / size_of::<Word>()]);

// SAFETY: nothing ever writes to it.
unsafe impl Sync for NoMagazine {}

static NO_MAGAZINE: NoMagazine = NoMagazine([ptr::null_mut(); BLOCK / size_of::<Word>()]);

impl Top {
    /// No magazine: empty and full.
    pub(crate) const NONE: Self = {
        let last = (&raw const NO_MAGAZINE).cast::<Word>().wrapping_add(BLOCK / size_of::<Word>() - 1);
        Self(last.cast_mut())
    };

    /// The state as the word that a cache stores; never null.
    pub(crate) const fn to_raw(self) -> *mut *mut u8 {
        self.0
    }

    /// The inverse of [`to_raw`](Self::to_raw); null is no state.
    pub(crate) fn from_raw(raw: *mut *mut u8) -> Option<Self> {
        if raw.is_null() { None } else { Some(Self(raw)) }
    }

    /// Takes a round, unless there is none.
    ///
    /// # Safety
    /// The caller owns the magazine, and goes on with the `Top` returned.
    #[inline(always)]
    pub(crate) unsafe fn pop(self) -> Option<(Round, Self)> {
        // SAFETY: `top` points at an initialised word, by the type's invariant; ours, by the caller's promise.
        let round = NonNull::new(unsafe { self.0.read() })?;
        // INVARIANT: the mark lies below every round, so one word down is the mark or a round.
        Some((round, Self(self.0.wrapping_sub(1))))
    }

    /// Puts a round in, unless the magazine is full.
    ///
    /// # Safety
    /// The caller owns the magazine and the chunk, and goes on with the `Top` returned.
    #[inline(always)]
    pub(crate) unsafe fn push(self, round: Round) -> Option<Self> {
        let top = self.0.wrapping_add(1);
        if top.addr() & (BLOCK - 1) == 0 {
            return None;
        }
        // SAFETY: not past the end of the block, so a word of the magazine above the rounds; ours, by the promise.
        unsafe { top.write(round.as_ptr()) };
        Some(Self(top))
    }

    /// The magazine, unless this is `NONE`.
    fn magazine(self) -> Option<NonNull<Magazine>> {
        if self == Self::NONE {
            return None;
        }
        // The block is aligned to its size, and the pointer carries the provenance of the whole block.
        NonNull::new(self.0.map_addr(|top| top & !(BLOCK - 1)).cast())
    }

    fn header(&self) -> Option<&Header> {
        // SAFETY: a `Top` that is not `NONE` points into a magazine, which is immortal.
        self.magazine().map(|magazine| unsafe { &(*magazine.as_ptr()).header })
    }

    /// The name of the magazine, unless this is `NONE`.
    pub(crate) fn index(self) -> Option<Index> {
        self.header().map(|header| header.index.get())
    }

    /// How many rounds fit into the magazine; none into `NONE`.
    pub(crate) fn capacity(self) -> Rounds {
        // Relaxed: as in `arm`.
        self.header().map_or(Rounds(0), |header| Rounds(header.capacity.load(Ordering::Relaxed).into()))
    }

    /// Rounds that still fit in.
    pub(crate) fn room(self) -> Rounds {
        let words_above = (BLOCK - 1 - (self.0.addr() & (BLOCK - 1))) / size_of::<Word>();
        Rounds(words_above as u16)
    }

    /// Rounds inside.
    pub(crate) fn rounds(self) -> Rounds {
        Rounds(self.capacity().0 - self.room().0.min(self.capacity().0))
    }

    /// Writes down how many rounds are inside, for whoever takes the magazine from the depot. `None` for `NONE`.
    pub(crate) fn park(self) -> Option<Index> {
        let header = self.header()?;
        header.witness.touch();
        header.parked.set(self.rounds().0 as u8);
        Some(header.index.get())
    }

    /// The rounds as a slice.
    ///
    /// # Safety
    /// The caller owns the magazine, and pushes and pops nothing as long as it uses the slice.
    pub(crate) unsafe fn inside<'a>(self) -> &'a mut [Round] {
        let rounds = usize::from(self.rounds().0);
        if let Some(header) = self.header() {
            header.witness.touch();
        }
        // SAFETY: the `rounds` words up to `top` are chunks, none of them null, by the type's invariant; nobody else looks
        // at them, by the caller's promise. Of `NONE` it is an empty slice at an aligned address.
        unsafe { core::slice::from_raw_parts_mut(self.0.wrapping_sub(rounds).wrapping_add(1).cast(), rounds) }
    }

    /// Takes all rounds but the last that was put in, in the stead of the magazine's owner, who may be about to take that one,
    /// or to put another on top of it. What is left is a magazine with room for no more than that and those on top.
    ///
    /// # Safety
    /// The owner does nothing more than that, and comes back only after the caller is done. The caller takes over the chunks.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) unsafe fn strip(self, take: impl FnOnce(&mut [Round])) {
        let rounds = usize::from(self.rounds().0);
        let (Some(header), true) = (self.header(), rounds > 1) else { return };
        header.witness.touch();
        let first = self.0.wrapping_sub(rounds).wrapping_add(1);
        // SAFETY: the words below `top` are chunks, by the type's invariant; the caller's, by its promise.
        take(unsafe { core::slice::from_raw_parts_mut(first.cast(), rounds - 1) });
        // INVARIANT: the word below the one round that is left is the mark now.
        // SAFETY: of the magazine, and one of those that were taken.
        unsafe { self.0.wrapping_sub(1).write(ptr::null_mut()) };
        // Relaxed: as in `arm`.
        header.capacity.store(self.room().0 as u8 + 1, Ordering::Relaxed);
    }

    /// The rounds as a slice, and the state of the magazine without them.
    ///
    /// # Safety
    /// The caller owns the magazine and drops `self`; it takes over all chunks of the slice.
    pub(crate) unsafe fn take_all<'a>(self) -> (&'a mut [Round], Self) {
        // SAFETY: the caller's promise.
        let rounds = unsafe { self.inside() };
        let mark = self.0.wrapping_sub(rounds.len());
        (rounds, Self(mark))
    }

    /// Fills an empty magazine so that `fill`'s first chunk is the first to be popped, and so on.
    ///
    /// `fill` is handed the free words, puts chunks into a prefix of them, and says how many; the rest is moved up.
    ///
    /// # Safety
    /// The caller owns the magazine, which is empty, and goes on with the `Top` returned. The chunks are its own.
    pub(crate) unsafe fn fill(self, fill: impl FnOnce(&mut [MaybeUninit<Round>]) -> usize) -> Self {
        let room = usize::from(self.room().0);
        let first = self.0.wrapping_add(1).cast::<MaybeUninit<Round>>();
        if let Some(header) = self.header() {
            header.witness.touch();
        }
        // SAFETY: `room` words lie between `top` and the end of the block; ours, by the caller's promise.
        let words = unsafe { core::slice::from_raw_parts_mut(first, room) };
        let filled = fill(words);
        words[..filled].reverse();
        // INVARIANT: `filled` words above the mark are chunks now.
        Self(self.0.wrapping_add(filled))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::boxed::Box;

    /// A magazine for a test.
    struct Owned(NonNull<Magazine>);

    impl Owned {
        fn new() -> Self {
            Self(NonNull::from(Box::leak(Box::new(Magazine::new(Index::MIN)))))
        }

        fn armed(&self, capacity: u16) -> Top {
            // SAFETY: fresh, empty, ours.
            unsafe { Magazine::arm(self.0, Rounds(capacity)) }
        }
    }

    impl Drop for Owned {
        fn drop(&mut self) {
            // SAFETY: leaked in `new`, and the test is over.
            drop(unsafe { Box::from_raw(self.0.as_ptr()) });
        }
    }

    fn chunk(n: usize) -> Round {
        NonNull::new(ptr::without_provenance_mut(n * 16)).unwrap()
    }

    #[test]
    fn none_is_empty_and_full() {
        // SAFETY: `NONE` belongs to nobody and is never written.
        assert!(unsafe { Top::NONE.pop() }.is_none());
        // SAFETY: as above.
        assert!(unsafe { Top::NONE.push(chunk(1)) }.is_none());
        // SAFETY: as above.
        assert!(unsafe { Top::NONE.take_all() }.0.is_empty());
        assert_eq!((Top::NONE.rounds(), Top::NONE.room(), Top::NONE.index()), (Rounds(0), Rounds(0), None));
    }

    #[test]
    fn rounds_come_out_in_reverse_and_are_counted() {
        for capacity in [1, 2, 63, MOST_ROUNDS as u16] {
            let magazine = Owned::new();
            let mut top = magazine.armed(capacity);
            for n in 1..=usize::from(capacity) {
                assert_eq!(usize::from(top.rounds().0), n - 1);
                // SAFETY: ours.
                top = unsafe { top.push(chunk(n)) }.unwrap();
            }
            // SAFETY: ours.
            assert!(unsafe { top.push(chunk(999)) }.is_none());
            assert_eq!((top.rounds(), top.room()), (Rounds(capacity), Rounds(0)));
            for n in (1..=usize::from(capacity)).rev() {
                // SAFETY: ours.
                let (round, below) = unsafe { top.pop() }.unwrap();
                assert_eq!(round, chunk(n));
                top = below;
            }
            // SAFETY: ours.
            assert!(unsafe { top.pop() }.is_none());
        }
    }

    #[test]
    fn a_parked_magazine_keeps_its_rounds() {
        let magazine = Owned::new();
        let mut top = magazine.armed(5);
        for n in 1..4 {
            // SAFETY: ours.
            top = unsafe { top.push(chunk(n)) }.unwrap();
        }
        assert_eq!(top.park(), Some(Index::MIN));
        // SAFETY: parked just now, ours.
        let again = unsafe { Magazine::unpark(top.magazine().unwrap()) };
        assert_eq!(again, top);
        // SAFETY: ours.
        let (rounds, empty) = unsafe { again.take_all() };
        assert_eq!(rounds, [chunk(1), chunk(2), chunk(3)]);
        assert_eq!(empty.rounds(), Rounds(0));
    }

    #[test]
    fn a_fill_pops_in_its_own_order_even_when_short() {
        for count in 0..=4 {
            let magazine = Owned::new();
            // SAFETY: fresh, empty, ours.
            let mut top = unsafe {
                magazine.armed(4).fill(|words| {
                    assert_eq!(words.len(), 4);
                    for (n, word) in words[..count].iter_mut().enumerate() {
                        word.write(chunk(n + 1));
                    }
                    count
                })
            };
            for n in 1..=count {
                // SAFETY: ours.
                let (round, below) = unsafe { top.pop() }.unwrap();
                assert_eq!(round, chunk(n));
                top = below;
            }
            // SAFETY: ours.
            assert!(unsafe { top.pop() }.is_none());
        }
    }
}
