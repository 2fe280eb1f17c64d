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
//! - `purged` and `unused` are read and written by the holder.
//! - Everything but that, the bits, the state and the link is written by `carve` and constant until `retire`.

mod record;

use crate::backend::Backend;
use crate::dice::Dice;
use crate::geometry::{HARDENED, NARROW_WORDS, UNITS, WIDE_WORDS, WORD_BITS};
use crate::magazine::Round;
use crate::pool::Pool;
use crate::segment::{Contents, Run};
use crate::size_class::{PerClass, SizeClass};
use crate::stats::Counter;
use crate::supply::Supply;
use crate::surplus::{Budget, Scope};
use crate::sync::{Atomic, Backoff, Ordering, array, const_fn};
use crate::treiber::{Index, Links, Stack};
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use record::{Narrow, NoChunk, Shape, Slab, State, Wide, first_bits};
pub(crate) use record::{NotTaken, SlabId};

/// Slabs of one class with free chunks, by how free they are, and what is known of all slabs of the class: a cache
/// line.
#[repr(align(64))]
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

/// What a program does with a chunk.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hold {
    Taken,
    Given,
    /// Holds it still.
    Kept,
}

/// All slabs of a heap.
pub(crate) struct Slabs {
    narrow: Pool<Narrow>,
    wide: Pool<Wide>,
    classes: PerClass<Partial>,
    /// Which free chunks of a slab are taken, in a hardened heap.
    pub(crate) dice: Dice,
}

impl Slabs {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                narrow: Pool::new(),
                wide: Pool::new(),
                classes: PerClass(array![Partial {
                    stacks: array![Stack::new(); STACKS],
                    swept: Stack::new(),
                    slabs: Counter::new(),
                    taken: Counter::new(),
                    idle: Atomic::new(0),
                }; SizeClass::COUNT]),
                dice: Dice::new(),
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
        slab.unused.set(false);
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

    /// Takes up to `chunks.len()` chunks from a held slab, lowest address first (but of a hardened heap any, in any order), and lets
    /// go of it; how many, and how many of them may be without pages.
    pub(crate) fn take(&self, held: Held, chunks: &mut [MaybeUninit<Round>]) -> (usize, usize) {
        let slab = self.slab(held.id);
        let Some(shape) = slab.shape() else { return (0, 0) };
        let taken =
            if HARDENED { slab.take_any(&shape, chunks, &mut self.dice.throws()) } else { slab.take(&shape, chunks) };
        slab.unused.set(false);
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

    /// Retires every slab of `class` without a live chunk, in that scope, if there are any, and if they are to be worth it,
    /// enough for a pass over all slabs of the class.
    pub(crate) fn retire_idle(&self, class: SizeClass, scope: Scope, mut each: impl FnMut(Run)) {
        let partial = self.class(class);
        // Relaxed: a hint, which is right in a quiet heap.
        let idle = partial.idle.load(Ordering::Relaxed) as usize;
        if idle == 0 || (scope == Scope::Worthwhile && idle * WORTH_A_PASS < partial.slabs.get()) {
            return;
        }
        self.sweep(
            class,
            || true,
            |held| {
                if !self.is_idle(&held) || (scope == Scope::Unused && !self.slab(held.id).unused.get()) {
                    return Some(held);
                }
                self.retire(held).into_iter().for_each(&mut each);
                None
            },
        );
    }

    /// Has `each` purge every stretch of whole pages of `page` bytes, by start and length, that lie in free chunks of
    /// listed slabs of `class`, and say whether it did, if chunks were given to the slab since the last time, as long as the budget has something
    /// left. Nobody else has the pages while `each` runs.
    ///
    /// It is worth while to look at slabs of which since then more came back than is still out; so while the
    /// slab empties, each of its pages is met a few times at most. Those from which nobody has taken since the last such pass are
    /// unused.
    pub(crate) fn each_free_page(
        &self,
        class: SizeClass,
        page: usize,
        scope: Scope,
        budget: &Budget<'_>,
        mut each: impl FnMut(NonNull<u8>, usize) -> bool,
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
                let due = match scope {
                    Scope::Worthwhile => back > out,
                    Scope::Unused => slab.unused.replace(true) && back > 0,
                    Scope::All => back > 0,
                };
                if due {
                    slab.witness.touch();
                    let mut done = true;
                    slab.each_free(|first, count| {
                        let (start, end) = (first * class.bytes(), (first + count) * class.bytes());
                        let (start, end) = (start.next_multiple_of(page), end & !(page - 1));
                        if start < end {
                            // SAFETY: inside the slab's run, which begins at a page.
                            done &= each(unsafe { shape.run.start.add(start) }, end - start);
                        }
                    });
                    // What was refused is asked for again.
                    if done {
                        slab.purged.set(count as u16);
                    }
                }
                Some(held)
            },
        );
    }

    /// The class of the chunks of a slab that has live ones.
    pub(crate) fn class_of(&self, id: SlabId) -> Option<SizeClass> {
        self.slab(id).shape().map(|shape| shape.class)
    }

    /// Notes what the program does with the chunk at `address`, where that is noted. Says what is wrong with it.
    pub(crate) fn note(&self, id: SlabId, address: usize, hold: Hold) -> Result<(), &'static str> {
        let slab = self.slab(id);
        let shape = slab.shape().ok_or("free of a chunk in a retired slab")?;
        let (word, bit) = slab.bit(&shape, address).map_err(|NoChunk| "free of an address inside a chunk")?;
        let Some(word) = slab.held().get(word) else { return Ok(()) };
        // Relaxed: each bit has one owner, unless the program frees twice, and then any order will do.
        let before = match hold {
            Hold::Taken => word.fetch_or(bit, Ordering::Relaxed),
            Hold::Given => word.fetch_and(!bit, Ordering::Relaxed),
            Hold::Kept => word.load(Ordering::Relaxed),
        };
        match (before & bit != 0, hold) {
            (true, Hold::Taken) => Err("a chunk in use was handed out again"),
            (false, Hold::Given) => Err("double free"),
            (false, Hold::Kept) => Err("realloc of a free chunk"),
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
        unsafe { self.narrow.release(supply, false) };
        // SAFETY: the caller's promise.
        unsafe { self.wide.release(supply, false) };
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
#[path = "../../unit-tests/slab.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "../../loom-tests/slab.rs"]
mod loom_tests;
