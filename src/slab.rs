//! Slabs: runs of units cut into chunks of one class, owned by nobody.
//!
//! ```text
//!   free bits   one a chunk, set = free                       state = │ count: i31 │ LISTED │
//!
//!   carve    a claimed run ─▶ held, all free                  count = capacity, LISTED
//!   pop      listed ─▶ held                                   off a partial stack: one holder
//!   take     free bits ─▶ chunks          holder only         bit &= !b     Acquire
//!   settle   held ─▶ listed | unlisted                        count -= taken;  listed while count > 0
//!   give     chunks ─▶ free bits          anybody             bit |= b      Release
//!            unlisted ─▶ held ─▶ listed                       count += given;  who sets LISTED lists it
//!   retire   held with count = capacity ─▶ a run of units     no live chunk, so no giver: nobody else knows it
//! ```
//!
//! That last line is the heart of reclaim, and it needs no lock and no hazard pointer. A give sets its bits before it
//! adds to the count, so `count = free bits − gives under way`: a taker can be ahead of the count, which is therefore
//! signed, and a count equal to the capacity says that every bit is set and no give is under way. A give touches the
//! slab after its addition only if that addition set LISTED, and then nobody else holds the slab.
//!
//! What the holder notes as `purged` are free chunks without pages: all of them after a purge, and as many fewer as are
//! taken. So `count - purged` tells how much another purge would find.
//!
//! A slab unlisted at a count ≤ 0 is listed by the late giver, perhaps with nothing in it, which is harmless.
//!
//! # Invariants
//! - LISTED is set while the slab is on a stack or held; one party takes it off.
//! - `purged` is read and written by the holder.
//! - Everything but that, the bits, the state and the link is written by `carve` and constant until `retire`.

use crate::backend::Backend;
use crate::geometry::{NARROW_WORDS, UNITS, WIDE_WORDS, WORD_BITS};
use crate::magazine::Round;
use crate::pool::{Pool, Record};
use crate::segment::{Contents, Run};
use crate::size_class::{PerClass, SizeClass};
use crate::stats::Counter;
use crate::supply::Supply;
use crate::surplus::Budget;
use crate::sync::{Atomic, Backoff, CachePadded, Ordering, Witness, array, const_fn};
use crate::treiber::{Index, Links, Stack};
use core::cell::Cell;
use core::mem::MaybeUninit;
use core::ptr::NonNull;

/// Debug builds keep a second bitmap: which chunks the program holds. It finds every double free, at once.
pub(crate) const CHECKED: bool = cfg!(debug_assertions) && !cfg!(all(test, loom));
const BITMAPS: usize = if CHECKED { 2 } else { 1 };

/// The name of a slab: its index, and which of the two pools it is in.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct SlabId(Index);

impl SlabId {
    fn new(index: Index, wide: bool) -> Option<Self> {
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

    fn is_wide(self) -> bool {
        self.0.get() & 1 == 1
    }

    fn index(self) -> Option<Index> {
        Index::new(self.0.get() >> 1)
    }
}

/// Count of free chunks and a flag, in one word.
#[derive(Clone, Copy, PartialEq, Eq)]
struct State(u32);

impl State {
    const LISTED: u32 = 1;

    fn new(count: i32, listed: bool) -> Self {
        Self((count as u32) << 1 | u32::from(listed))
    }

    fn count(self) -> i32 {
        (self.0 as i32) >> 1
    }

    fn listed(self) -> bool {
        self.0 & Self::LISTED != 0
    }
}

/// What never changes while the slab lives.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    run: Run,
    pub(crate) class: SizeClass,
    capacity: u16,
}

/// A slab's record, out of band, on cache lines of its own. `W` is an array of words, of one of two lengths.
#[repr(align(64))]
pub(crate) struct Slab<W: ?Sized = [Atomic<u64>]> {
    next: Atomic<u32>,
    state: Atomic<u32>,
    shape: Cell<Option<Shape>>,
    purged: Cell<u16>,
    witness: Witness,
    words: W,
}

// SAFETY: everything is atomic but `purged`, which is the holder's, and `shape`, which is written only by the holder of a
// slab without live chunks, before the chunks (or the stack) through which others get to know the slab, and after the last
// of them are gone.
unsafe impl<W: Sync + ?Sized> Sync for Slab<W> {}

impl<const N: usize> Record for Slab<[Atomic<u64>; N]> {
    fn new(_: Index) -> Self {
        Self {
            next: Atomic::new(0),
            state: Atomic::new(0),
            shape: Cell::new(None),
            purged: Cell::new(0),
            witness: Witness::new(),
            words: array![Atomic::new(0); N],
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

type Narrow = Slab<[Atomic<u64>; NARROW_WORDS * BITMAPS]>;
type Wide = Slab<[Atomic<u64>; WIDE_WORDS * BITMAPS]>;

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
fn first_bits(count: usize, word: usize) -> u64 {
    let bits = WORD_BITS as usize;
    match count.saturating_sub(word * bits).min(bits) {
        0 => 0,
        n => u64::MAX >> (64 - n),
    }
}

/// An address that is no chunk of the slab.
#[derive(Debug)]
pub(crate) struct NoChunk;

/// A chunk that was given back before, or never taken.
#[derive(Debug)]
pub(crate) struct NotTaken(pub(crate) Round);

impl Slab {
    fn shape(&self) -> Option<Shape> {
        self.shape.get()
    }

    fn bitmap(&self) -> &[Atomic<u64>] {
        &self.words[..self.words.len() / BITMAPS]
    }

    /// The shadow bitmap of debug builds.
    fn held(&self) -> &[Atomic<u64>] {
        &self.words[self.words.len() / BITMAPS..]
    }

    /// Where the bit of the chunk at `address` is.
    fn bit(&self, shape: &Shape, address: usize) -> Result<(usize, u64), NoChunk> {
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
    fn set_bits(&self, shape: &Shape, rounds: &[Round]) -> Result<(), NotTaken> {
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
    fn each_free(&self, mut each: impl FnMut(usize, usize)) {
        let bits = WORD_BITS as usize;
        let mut stretch = 0..0;
        for (place, word) in self.bitmap().iter().enumerate() {
            // Acquire: the chunks' last use, by the Release of their `set_word`. Only the holder clears bits.
            let mut free = word.load(Ordering::Acquire);
            let mut at = place * bits;
            while at < (place + 1) * bits {
                let ones = (free.trailing_ones() as usize).min((place + 1) * bits - at);
                if stretch.end != at || stretch.is_empty() {
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
    fn take(&self, shape: &Shape, chunks: &mut [MaybeUninit<Round>]) -> usize {
        let mut taken = 0;
        for (place, word) in self.bitmap().iter().enumerate() {
            if taken == chunks.len() {
                break;
            }
            // Relaxed: bits that are set stay so, since only the holder clears them; the exchange below acquires.
            let free = word.load(Ordering::Relaxed);
            if free == 0 {
                continue;
            }
            let ours = lowest(free, chunks.len() - taken);
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

/// Slabs of one class with free chunks, by how free they are, and what is known of all slabs of the class.
pub(crate) struct Partial {
    stacks: [Stack; STACKS],
    /// Slabs that a pass over all of them has seen already.
    swept: Stack,
    pub(crate) slabs: Counter,
    /// Chunks that are out of their slabs.
    pub(crate) taken: Counter,
    /// Slabs without a live chunk.
    idle: Atomic<u32>,
}

/// Stacks by quarters of the capacity that are free; the fullest slabs are taken from first, so the rest drain.
const STACKS: usize = if cfg!(all(test, loom)) { 2 } else { 4 };

/// Slabs found on the wrong stack that a `pop` puts right before it takes what comes.
const MISPLACED: usize = if cfg!(all(test, loom)) { 1 } else { 4 };

/// Slabs of a class that a pass may look at for each idle one it will find.
const WORTH_A_PASS: usize = 16;

impl Partial {
    /// The number of the stack for a slab with `count` free chunks of `capacity`.
    fn quarter(count: i32, capacity: u16) -> usize {
        let quarter = (count - 1).max(0) as usize * STACKS / usize::from(capacity);
        quarter.min(STACKS - 1)
    }
}

/// A slab off its stack, in the hands of one party.
///
/// It is put back by [`Slabs::settle`] or [`Slabs::retire`]; dropping it would leak the slab.
#[must_use]
pub(crate) struct Held {
    id: SlabId,
}

/// All slabs of a heap.
pub(crate) struct Slabs {
    narrow: Pool<Narrow>,
    wide: Pool<Wide>,
    classes: PerClass<CachePadded<Partial>>,
}

impl Slabs {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                narrow: Pool::new(),
                wide: Pool::new(),
                classes: PerClass(array![CachePadded::new(Partial {
                    stacks: array![Stack::new(); STACKS],
                    swept: Stack::new(),
                    slabs: Counter::new(),
                    taken: Counter::new(),
                    idle: Atomic::new(0),
                }); SizeClass::COUNT]),
            }
        }
    }

    fn slab(&self, id: SlabId) -> &Slab {
        let index = id.index().unwrap_or(Index::MIN);
        if id.is_wide() { self.wide.get(index) } else { self.narrow.get(index) }
    }

    pub(crate) fn class(&self, class: SizeClass) -> &Partial {
        &self.classes[class]
    }

    /// Units of a slab of `class`: sixteen chunks at least, while that is at most an eighth of a segment.
    pub(crate) fn units<B: Backend>(class: SizeClass) -> u32 {
        let units = (class.bytes() * 16).div_ceil(B::UNIT).next_power_of_two();
        (units as u32).min((UNITS / 8).max(1))
    }

    fn capacity<B: Backend>(units: u32, class: SizeClass) -> usize {
        let chunks = units as usize * B::UNIT / class.bytes();
        chunks.min(WIDE_WORDS * WORD_BITS as usize)
    }

    /// Cuts a claimed run into chunks of `class`; `None` when there is no record to be had for it.
    ///
    /// `contents` tells whether there is something in its pages already.
    pub(crate) fn carve<B: Backend>(
        &self,
        supply: Supply<'_, B>,
        run: Run,
        contents: Contents,
        class: SizeClass,
    ) -> Option<Held> {
        let capacity = Self::capacity::<B>(run.units, class);
        let wide = capacity > NARROW_WORDS * WORD_BITS as usize;
        let index = if wide { self.wide.take(supply) } else { self.narrow.take(supply) }?;
        let id = SlabId::new(index, wide)?;
        let slab = self.slab(id);
        slab.witness.touch();
        slab.shape.set(Some(Shape { run, class, capacity: capacity as u16 }));
        for (place, word) in slab.bitmap().iter().enumerate() {
            // Relaxed: the slab is ours; published by whatever publishes it or its chunks.
            word.store(first_bits(capacity, place), Ordering::Relaxed);
        }
        for word in slab.held() {
            // Relaxed: as above.
            word.store(0, Ordering::Relaxed);
        }
        // Relaxed: as above.
        slab.state.store(State::new(capacity as i32, true).0, Ordering::Relaxed);
        slab.purged.set(if contents == Contents::Untouched { capacity as u16 } else { 0 });
        self.class(class).slabs.add(1);
        self.count_idle(class, 1);
        Some(Held { id })
    }

    fn count_idle(&self, class: SizeClass, change: i32) {
        // Relaxed: a hint for `retire_idle`, exact in a quiet heap.
        self.class(class).idle.fetch_add(change as u32, Ordering::Relaxed);
    }

    /// Takes a slab with free chunks off its stack, one of the fullest.
    pub(crate) fn pop(&self, class: SizeClass) -> Option<Held> {
        for _ in 0..MISPLACED {
            let (held, place) = self.pop_any(class)?;
            // A slab is listed at its first free chunk and stays where it is while more become free.
            if self.quarter(&held) <= place {
                return Some(held);
            }
            self.settle(held, 0);
        }
        self.pop_any(class).map(|(held, _)| held)
    }

    /// A slab off the first stack that has one, and which stack that was.
    fn pop_any(&self, class: SizeClass) -> Option<(Held, usize)> {
        let partial = self.class(class);
        let mut stacks = partial.stacks.iter().chain([&partial.swept]).enumerate();
        stacks.find_map(|(place, stack)| Some((self.hold(stack)?, place)))
    }

    fn hold(&self, stack: &Stack) -> Option<Held> {
        let id = SlabId(stack.pop(self).0?);
        self.slab(id).witness.touch();
        Some(Held { id })
    }

    /// The stack that a held slab belongs on.
    fn quarter(&self, held: &Held) -> usize {
        let slab = self.slab(held.id);
        // Relaxed: decides where the slab is looked for.
        let count = State(slab.state.load(Ordering::Relaxed)).count();
        slab.shape().map_or(0, |shape| Partial::quarter(count, shape.capacity))
    }

    /// Takes up to `chunks.len()` chunks from a held slab, lowest address first, and lets go of it; how many, and how many
    /// of them may be without pages.
    pub(crate) fn take(&self, held: Held, chunks: &mut [MaybeUninit<Round>]) -> (usize, usize) {
        let slab = self.slab(held.id);
        let Some(shape) = slab.shape() else { return (0, 0) };
        let taken = slab.take(&shape, chunks);
        let purged = usize::from(slab.purged.get());
        slab.purged.set(purged.saturating_sub(taken) as u16);
        self.class(shape.class).taken.add(taken);
        self.settle(held, taken);
        (taken, purged.min(taken))
    }

    /// Lets go of a held slab after `taken` of its chunks were taken.
    pub(crate) fn settle(&self, held: Held, taken: usize) {
        self.settle_on(held, taken, |partial, quarter| &partial.stacks[quarter]);
    }

    /// As `settle`, with the stack to list it on, if it is listed.
    fn settle_on(&self, held: Held, taken: usize, stack: impl FnOnce(&Partial, usize) -> &Stack) {
        let slab = self.slab(held.id);
        let Some(shape) = slab.shape() else { return };
        slab.witness.touch();
        let backoff = Backoff::new();
        // Relaxed: the exchange checks it.
        let mut now = State(slab.state.load(Ordering::Relaxed));
        loop {
            let count = now.count() - taken as i32;
            let new = State::new(count, count > 0);
            // Release: what we did as the holder comes before what the giver does who lists the slab next.
            match slab.state.compare_exchange_weak(now.0, new.0, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => now = State(other),
            }
            backoff.spin();
        }
        if taken > 0 && now.count() == i32::from(shape.capacity) {
            self.count_idle(shape.class, -1);
        }
        let count = now.count() - taken as i32;
        if count > 0 {
            stack(self.class(shape.class), Partial::quarter(count, shape.capacity)).push(self, held.id.0);
        }
    }

    /// Gives chunks of one slab back to it, whoever took them. They are in the order of their addresses, or nearly so.
    pub(crate) fn give(&self, id: SlabId, rounds: &[Round]) -> Result<(), NotTaken> {
        let slab = self.slab(id);
        let Some(shape) = slab.shape() else { return Ok(()) };
        slab.set_bits(&shape, rounds)?;
        self.class(shape.class).taken.sub(rounds.len());
        let backoff = Backoff::new();
        // Relaxed: the exchange checks it.
        let mut now = State(slab.state.load(Ordering::Relaxed));
        loop {
            let new = State::new(now.count() + rounds.len() as i32, true);
            // Release: our use of the chunks, and of the slab, comes before its retirement by who acquires this count.
            // Acquire: if this sets LISTED, what the last holder did with the slab, who released it unlisted.
            match slab.state.compare_exchange_weak(now.0, new.0, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => break,
                Err(other) => now = State(other),
            }
            backoff.spin();
        }
        // From here on the slab may be retired by others, unless this listed it: `shape` is a copy.
        let count = now.count() + rounds.len() as i32;
        if count == i32::from(shape.capacity) {
            self.count_idle(shape.class, 1);
        }
        if !now.listed() {
            slab.witness.touch();
            self.class(shape.class).stacks[Partial::quarter(count, shape.capacity)].push(self, id.0);
        }
        Ok(())
    }

    /// Whether a held slab has no live chunk. Then nobody but the holder knows it, and it may be retired.
    fn is_idle(&self, held: &Held) -> bool {
        let slab = self.slab(held.id);
        // Acquire: the last use of the slab and its chunks by everyone who gave, by the Release in `give`.
        let state = State(slab.state.load(Ordering::Acquire));
        slab.shape().is_some_and(|shape| state.count() == i32::from(shape.capacity))
    }

    /// Takes the run of units out of a held slab that is idle.
    fn retire(&self, held: Held) -> Option<Run> {
        let slab = self.slab(held.id);
        slab.witness.touch();
        let shape = slab.shape.take()?;
        self.class(shape.class).slabs.sub(1);
        self.count_idle(shape.class, -1);
        let index = held.id.index()?;
        if held.id.is_wide() {
            self.wide.give(index)
        } else {
            self.narrow.give(index)
        }
        Some(shape.run)
    }

    /// Holds the listed slabs of `class` one after the other while `wanted`; `visit` gives back those that live on.
    ///
    /// One slab at a time is off the stacks. Those seen wait on a stack of their own, where `pop` finds them too.
    fn sweep(&self, class: SizeClass, wanted: impl Fn() -> bool, mut visit: impl FnMut(Held) -> Option<Held>) {
        let partial = self.class(class);
        let mut left = partial.slabs.get();
        for stack in &partial.stacks {
            while let Some(held) = (left > 0 && wanted()).then(|| self.hold(stack)).flatten() {
                left -= 1;
                if let Some(held) = visit(held) {
                    self.settle_on(held, 0, |partial, _| &partial.swept);
                }
            }
        }
        for held in (0..partial.slabs.get()).map_while(|_| self.hold(&partial.swept)) {
            self.settle(held, 0);
        }
    }

    /// Retires every slab of `class` without a live chunk, if there are any, and unless `thorough`, enough to be worth the
    /// pass over all slabs of the class.
    pub(crate) fn retire_idle(&self, class: SizeClass, thorough: bool, mut each: impl FnMut(Run)) {
        let partial = self.class(class);
        // Relaxed: a hint, which is right in a quiet heap.
        let idle = partial.idle.load(Ordering::Relaxed) as usize;
        if idle == 0 || (!thorough && idle * WORTH_A_PASS < partial.slabs.get()) {
            return;
        }
        self.sweep(
            class,
            || true,
            |held| {
                if !self.is_idle(&held) {
                    return Some(held);
                }
                self.retire(held).into_iter().for_each(&mut each);
                None
            },
        );
    }

    /// Calls `each` with the start and length of every stretch of whole pages of `page` bytes that lie in free chunks of
    /// listed slabs of `class`, if chunks were given to the slab since the last time, as long as the budget has something
    /// left. Nobody else has the pages while `each` runs.
    ///
    /// Unless `thorough`, only slabs are looked at of which since then more came back than is still out; so while the
    /// slab empties, each of its pages is met a few times at most.
    pub(crate) fn each_free_page(
        &self,
        class: SizeClass,
        page: usize,
        thorough: bool,
        budget: &Budget,
        mut each: impl FnMut(NonNull<u8>, usize),
    ) {
        self.sweep(
            class,
            || budget.is_left(),
            |held| {
                let slab = self.slab(held.id);
                let Some(shape) = slab.shape() else { return Some(held) };
                // Acquire: the bits of every give that is counted here, by the Release in `give`.
                let count = State(slab.state.load(Ordering::Acquire)).count();
                let back = count - i32::from(slab.purged.get());
                let out = i32::from(shape.capacity) - count;
                if back > if thorough { 0 } else { out } {
                    slab.witness.touch();
                    slab.purged.set(count as u16);
                    slab.each_free(|first, count| {
                        let (start, end) = (first * class.bytes(), (first + count) * class.bytes());
                        let (start, end) = (start.next_multiple_of(page), end & !(page - 1));
                        if start < end {
                            // SAFETY: inside the slab's run, which begins at a page.
                            each(unsafe { shape.run.start.add(start) }, end - start);
                        }
                    });
                }
                Some(held)
            },
        );
    }

    /// The class of the chunks of a slab that has live ones.
    pub(crate) fn class_of(&self, id: SlabId) -> Option<SizeClass> {
        self.slab(id).shape().map(|shape| shape.class)
    }

    /// Notes that the program holds the chunk at `address` now, or does no longer; debug builds only. Says what is
    /// wrong with that.
    pub(crate) fn note(&self, id: SlabId, address: usize, held: bool) -> Result<(), &'static str> {
        let slab = self.slab(id);
        let shape = slab.shape().ok_or("free of a chunk in a retired slab")?;
        let (word, bit) = slab.bit(&shape, address).map_err(|NoChunk| "free of an address inside a chunk")?;
        let Some(word) = slab.held().get(word) else { return Ok(()) };
        // Relaxed: each bit has one owner, unless the program frees twice, and then any order will do.
        let before = if held { word.fetch_or(bit, Ordering::Relaxed) } else { word.fetch_and(!bit, Ordering::Relaxed) };
        match (before & bit != 0, held) {
            (false, false) => Err("double free"),
            (true, true) => Err("a chunk in use was handed out again"),
            _ => Ok(()),
        }
    }

    /// Gives the pages of records back that are not in use; the bytes of them.
    pub(crate) fn trim<B: Backend>(&self, supply: Supply<'_, B>) -> usize {
        self.narrow.trim(supply) + self.wide.trim(supply)
    }

    /// Bytes of records in use.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.narrow.bytes_in_use() + self.wide.bytes_in_use()
    }

    /// Gives all records back.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        // SAFETY: the caller's promise.
        unsafe { self.narrow.release(supply) };
        // SAFETY: the caller's promise.
        unsafe { self.wide.release(supply) };
    }
}

impl Links for Slabs {
    fn next(&self, index: Index) -> &Atomic<u32> {
        &self.slab(SlabId(index)).next
    }
}

/// A slab's own segment, for whoever wants to name it in the map.
impl Held {
    pub(crate) fn id(&self) -> SlabId {
        self.id
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::segment::Wish;
    use std::vec::Vec;

    #[test]
    fn inverses_divide_exactly() {
        for class in SizeClass::all() {
            let inverse = INVERSES[usize::from(class.number())];
            let largest: usize = 64 * (64 << 10) / 8;
            for offset in (0..largest).step_by(class.bytes()) {
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
        for round in 0..200 {
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
    fn the_lowest_ones_are_taken() {
        assert_eq!(lowest(0b1011_0100, 2), 0b0001_0100);
        assert_eq!(lowest(u64::MAX, 64), u64::MAX);
        assert_eq!(lowest(0b1010, 5), 0b1010);
        assert_eq!(Bits(0b1001_0010).collect::<Vec<_>>(), [1, 4, 7]);
    }

    /// Slabs of 64-byte chunks in an arena of their own, and all chunks of two of them.
    fn two_full_slabs(
        arena: &&'static crate::backend::Arena<{ 4 << 20 }>,
        work: impl FnOnce(&Slabs, SizeClass, [(SlabId, Vec<Round>); 2]),
    ) {
        let drawn = crate::supply::Drawn::new();
        let supply = Supply { backend: arena, drawn: &drawn };
        let (map, segments, slabs) = (crate::map::Map::new(), crate::segment::Segments::new(), Slabs::new());
        let class = SizeClass::numbered(3).unwrap();
        segments.grow(supply, &map, 2, 2).unwrap();
        let full = || {
            let (run, contents) =
                segments.claim::<&'static crate::backend::Arena<{ 4 << 20 }>>(Wish::units(1)).unwrap();
            let held = slabs.carve(supply, run, contents, class).unwrap();
            let (id, mut chunks) = (held.id(), std::vec![MaybeUninit::uninit(); 4096]);
            let (taken, _) = slabs.take(held, &mut chunks);
            // SAFETY: `take` has written that many.
            (id, chunks[..taken].iter().map(|chunk| unsafe { chunk.assume_init() }).collect::<Vec<_>>())
        };
        work(&slabs, class, [full(), full()]);
        // SAFETY: nobody uses any of it any more.
        unsafe { segments.release(supply) };
    }

    /// Slabs are listed at their first free chunk; what becomes free later does not make them come first.
    #[test]
    fn the_fullest_slab_is_taken_from_first() {
        static ARENA: crate::backend::Arena<{ 4 << 20 }> = crate::backend::Arena::new();
        two_full_slabs(&&ARENA, |slabs, class, [(dense, some), (sparse, most)]| {
            slabs.give(dense, &some[..1]).unwrap();
            slabs.give(sparse, &most[..1]).unwrap();
            slabs.give(sparse, &most[1..most.len() - 1]).unwrap();
            let first = slabs.pop(class).unwrap();
            assert_eq!(first.id(), dense);
            assert_eq!(slabs.pop(class).unwrap().id(), sparse);
            assert!(slabs.pop(class).is_none());
            slabs.settle(first, 0);
        });
    }

    /// While a pass looks at one slab, others find the rest, those seen and those not.
    #[test]
    fn a_pass_hides_one_slab_at_a_time() {
        static ARENA: crate::backend::Arena<{ 4 << 20 }> = crate::backend::Arena::new();
        two_full_slabs(&&ARENA, |slabs, class, given| {
            given.iter().for_each(|(id, chunks)| slabs.give(*id, &chunks[1..]).unwrap());
            let mut visits = 0;
            slabs.each_free_page(class, 4096, true, &Budget::of(usize::MAX), |_, _| {
                visits += 1;
                let other = slabs.pop(class).expect("the other slab is hidden");
                slabs.settle(other, 0);
            });
            assert_eq!(visits, 2);
        });
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

#[cfg(all(test, loom))]
#[path = "../loom-tests/slab.rs"]
mod loom_tests;
