//! All that the caches of a heap share, from the depot down: what a cache trades with when it runs empty or full.
//!
//! ```text
//!   refill   depot: a full magazine             else   slabs: chunks in the order of their addresses
//!   spill    depot: the magazine, rounds and all  else   slabs: its rounds, grouped by slab
//!   units    free ones                          else   those of slabs without a live chunk   else   the back-end's
//! ```
//!
//! Nothing here blocks, and nothing is lost when the back-end has no more: every function that needs memory says `None`
//! and leaves the heap as it was.

mod holds;
mod large;
mod owner;
mod runs;

use crate::backend::Backend;
use crate::breach::Breach;
use crate::depot::Depot;
use crate::geometry::WIPED;
use crate::home::Home;
use crate::magazine::{Round, Top};
use crate::map::Map;
use crate::passes::Passes;
use crate::patience::Patience;
use crate::pool::Pool;
use crate::segment::{Contents, Run, Segments, Wish};
use crate::size_class::SizeClass;
use crate::slab::{Held, NotTaken, SlabId, Slabs};
use crate::stats::{ClassStats, Reclaimed};
use crate::supply::{Drawn, Supply};
use crate::surplus::{Budget, Holds, Scope, Surplus};
use crate::sync::{Atomic, Ordering, const_fn};
use crate::wipe::wipe;
use core::mem::MaybeUninit;
use core::ptr::NonNull;
use owner::Owner;

pub(crate) use large::Outer;

/// Depot, slabs, segments, and the map from addresses to them.
pub(crate) struct Arsenal {
    map: Map,
    pub(crate) segments: Segments,
    pub(crate) slabs: Slabs,
    pub(crate) depot: Depot,
    /// Blocks of the back-end's, in a hardened heap.
    larges: Pool<large::Entry>,
    pub(crate) drawn: Drawn,
    pub(crate) surplus: Surplus,
    pub(crate) patience: Patience,
    pub(crate) passes: Passes,
    threads: Atomic<usize>,
    generation: Atomic<u32>,
    /// What a thread does that has left, if that can be done without the heap's value at hand. Set before anybody sees it.
    pub(crate) tidy: Option<fn(&Self, Home)>,
}

impl Arsenal {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                map: Map::new(),
                segments: Segments::new(),
                slabs: Slabs::new(),
                depot: Depot::new(),
                larges: Pool::new(),
                drawn: Drawn::new(),
                surplus: Surplus::new(),
                patience: Patience::new(),
                passes: Passes::new(),
                threads: Atomic::new(0),
                generation: Atomic::new(0),
                tidy: None,
            }
        }
    }

    pub(crate) fn supply<'a, B>(&'a self, backend: &'a B) -> Supply<'a, B> {
        Supply { backend, drawn: &self.drawn }
    }

    // ---- caches trade ------------------------------------------------------------------------------------------------

    /// An empty magazine for `class`.
    pub(crate) fn arm<B: Backend>(&self, backend: &B, class: SizeClass, home: Home) -> Option<Top> {
        self.depot.arm(self.supply(backend), class, home)
    }

    /// Fills an empty magazine, which the caller owns, from the slabs; as far as memory goes.
    pub(crate) fn refill<B: Backend>(&self, backend: &B, class: SizeClass, empty: Top) -> Top {
        // SAFETY: the caller owns the magazine, which is empty.
        let empty = unsafe { self.depot.rearm(class, empty) };
        // SAFETY: as above; the chunks are taken from slabs for it.
        unsafe { empty.fill(|words| self.take(backend, class, words)) }
    }

    /// One chunk, past all magazines.
    pub(crate) fn take_one<B: Backend>(&self, backend: &B, class: SizeClass) -> Option<Round> {
        let mut chunk = [MaybeUninit::uninit()];
        // SAFETY: `take` says that it has written one.
        (self.take(backend, class, &mut chunk) == 1).then(|| unsafe { chunk[0].assume_init() })
    }

    /// Takes chunks of `class` from slabs, new ones where need be, as many as fit or memory allows.
    fn take<B: Backend>(&self, backend: &B, class: SizeClass, chunks: &mut [MaybeUninit<Round>]) -> usize {
        let mut taken = 0;
        while taken < chunks.len() {
            let held = match self.slabs.pop(class) {
                Some(held) => held,
                // A magazine half filled is enough: more slabs only when there is nothing.
                None if taken > 0 => break,
                None => match self.carve(backend, class) {
                    Some(held) => held,
                    None => break,
                },
            };
            let (count, purged) = self.slabs.take(held, &mut chunks[taken..]);
            self.surplus.draw(purged * class.bytes());
            taken += count;
        }
        taken
    }

    /// Gives the rounds of a magazine back to their slabs; the empty magazine, still the caller's.
    ///
    /// # Safety
    /// The caller owns the magazine, and goes on with the `Top` returned.
    pub(crate) unsafe fn spill<B: Backend>(&self, backend: &B, top: Top) -> Top {
        // SAFETY: the caller's promise; every round goes to its slab below.
        let (rounds, empty) = unsafe { top.take_all() };
        self.give(backend, rounds);
        empty
    }

    /// Gives chunks back to their slabs, grouped: one exchange per bitmap word and one per slab.
    pub(crate) fn give<B: Backend>(&self, backend: &B, rounds: &mut [Round]) {
        rounds.sort_unstable();
        let mut rest = &rounds[..];
        while let Some(&first) = rest.first() {
            let Owner::Slab(id) = self.owner(backend, first) else {
                self.breach("free of an address that is no chunk", first, 0, 1, None)
            };
            let same = |round: &&Round| {
                (round.addr().get() ^ first.addr().get()) < B::UNIT
                    || matches!(self.owner(backend, **round), Owner::Slab(other) if other == id)
            };
            let group = rest.iter().take_while(same).count();
            if let Err(NotTaken(round)) = self.slabs.give(id, &rest[..group]) {
                self.breach("double free", round, 0, 1, Some(id));
            }
            rest = &rest[group..];
        }
    }

    // ---- runs of units -----------------------------------------------------------------------------------------------

    /// A fresh slab.
    fn carve<B: Backend>(&self, backend: &B, class: SizeClass) -> Option<Held> {
        let units = Slabs::units::<B>(class);
        self.carve_from(backend, class, units, Self::ample::<B>()).or_else(|| self.carve_short(backend, class, units))
    }

    /// A fresh slab when memory is short: of fewer units if need be, and with no more taken for segments than it needs,
    /// which leaves more for records.
    #[cold]
    fn carve_short<B: Backend>(&self, backend: &B, class: SizeClass, mut units: u32) -> Option<Held> {
        self.release_free(backend, Scope::All, &Budget::of(usize::MAX));
        loop {
            let held = self.carve_from(backend, class, units, units);
            units /= 2;
            if held.is_some() || units as usize * B::UNIT < class.bytes() {
                return held;
            }
        }
    }

    /// A fresh slab of `units` units, from segments of at most `most` units if new ones are needed.
    fn carve_from<B: Backend>(&self, backend: &B, class: SizeClass, units: u32, most: u32) -> Option<Held> {
        let (run, found) = self.claim(backend, Wish::units(units), most)?;
        let contents = if WIPED { self.blank(backend, run, found) } else { found };
        match self.slabs.carve(self.supply(backend), run, contents, class) {
            Some(held) => {
                self.map.set(backend, run.start, run.units, Owner::Slab(held.id()).to_bits());
                Some(held)
            }
            None => {
                self.free_units(run);
                None
            }
        }
    }

    /// Units of a segment that is not spared on.
    fn ample<B: Backend>() -> u32 {
        (B::SEGMENT / B::UNIT) as u32
    }

    /// Returns segments without a claimed unit, as the budget allows; their bytes.
    pub(crate) fn release_free<B: Backend>(&self, backend: &B, scope: Scope, budget: &Budget<'_>) -> usize {
        self.segments.release_free(self.supply(backend), scope, budget)
    }

    fn claim<B: Backend>(&self, backend: &B, wish: Wish, most: u32) -> Option<(Run, Contents)> {
        loop {
            if let Some(claimed) = self.segments.claim::<B>(wish) {
                return Some(claimed);
            }
            if self.retire_idle(backend, Scope::Worthwhile) {
                if let Some(claimed) = self.segments.claim::<B>(wish) {
                    return Some(claimed);
                }
            }
            // Another thread may claim all of the new segment before us, hence the loop; each turn is somebody's gain.
            self.segments.grow(self.supply(backend), &self.map, wish.units, most)?;
        }
    }

    fn free_units(&self, run: Run) {
        if self.segments.free(run).is_err() {
            self.breach("double free", run.start, 0, 1, None);
        }
    }

    /// Takes the units of slabs without a live chunk back; whether there were any.
    pub(crate) fn retire_idle<B: Backend>(&self, backend: &B, scope: Scope) -> bool {
        let mut any = false;
        for class in SizeClass::all() {
            self.slabs.retire_idle(class, scope, |run| {
                any = true;
                self.map.set(backend, run.start, run.units, Owner::Nobody.to_bits());
                self.free_units(run);
                if scope == Scope::Unused {
                    self.segments.note_unused(run);
                }
            });
        }
        any
    }

    /// Gives the pages back of free units and of free chunks of slabs in use, as the budget allows, and of records not in
    /// use.
    pub(crate) fn purge<B: Backend>(&self, backend: &B, scope: Scope, budget: &Budget<'_>) -> Reclaimed {
        let supply = self.supply(backend);
        let purged_units = self.segments.purge(supply, scope, budget);
        let purged_chunks = self.purge_slabs(backend, scope, budget);
        // Windows takes pages out and puts others in, and who looks at a record between the two, as a stale reader may, faults.
        let records = budget.is_left() && scope != Scope::Unused && !cfg!(windows);
        let purged_records =
            if records { self.slabs.trim(supply) + self.depot.trim(supply) + self.larges.trim(supply) } else { 0 };
        Reclaimed { purged_units, purged_chunks, purged_records, ..Reclaimed::default() }
    }

    /// Gives the pages back that lie wholly in free chunks of slabs in use; the bytes of them.
    fn purge_slabs<B: Backend>(&self, backend: &B, scope: Scope, budget: &Budget<'_>) -> usize {
        let (granule, mut bytes) = (backend.granule(), 0);
        for class in SizeClass::all() {
            self.slabs.each_free_page(class, granule, scope, budget, |start, length| {
                // SAFETY: whole granules of free chunks that are nobody else's meanwhile.
                let purged = unsafe { backend.purge(start, length) };
                if purged {
                    bytes += length;
                    budget.spend(length);
                } else if WIPED {
                    // SAFETY: as above.
                    unsafe { wipe(start, length) };
                }
                purged
            });
        }
        bytes
    }

    // ---- who owns what -----------------------------------------------------------------------------------------------

    fn owner<B: Backend>(&self, backend: &B, address: NonNull<u8>) -> Owner {
        Owner::from_bits(self.map.get(backend, address.addr().get()))
    }

    #[cold]
    fn breach(&self, what: &'static str, chunk: Round, size: usize, align: usize, slab: Option<SlabId>) -> ! {
        let class = slab.and_then(|id| self.slabs.class_of(id)).map_or(0, SizeClass::bytes);
        Breach { what, chunk: chunk.addr().get(), size, align, class }.abort()
    }

    // ---- threads that keep a cache -----------------------------------------------------------------------------------

    /// Counts a thread that keeps magazines of this arsenal from now on; the home it gets.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn enlist(&self) -> Home {
        // Relaxed: the thread itself is the witness that the heap lives; `threads` is asked for that only when no call
        // is under way.
        Home::nth(self.threads.fetch_add(1, Ordering::Relaxed))
    }

    /// Counts a thread off that has handed in its magazines, as its last act here.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn discharge(&self) {
        // Release: the thread's use of this heap comes before its end, by the Acquire in `threads`.
        self.threads.fetch_sub(1, Ordering::Release);
    }

    /// Threads that keep magazines. When it is 0, no thread will come back to hand any in.
    pub(crate) fn threads(&self) -> usize {
        // Acquire: see `discharge`.
        self.threads.load(Ordering::Acquire)
    }

    /// Asks all threads to hand in their magazines when they next come by.
    pub(crate) fn recall(&self) {
        // Relaxed: a wish; whoever sees it later obeys later.
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// Changes when magazines are recalled.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn generation(&self) -> u32 {
        // Relaxed: see `recall`.
        self.generation.load(Ordering::Relaxed)
    }

    // ---- accounts ----------------------------------------------------------------------------------------------------

    /// The shared part of a class's figures.
    pub(crate) fn class_stats(&self, class: SizeClass) -> ClassStats {
        let partial = self.slabs.class(class);
        let (magazines, cached) = self.depot.counts(class);
        let (bytes, slabs, taken) = (class.bytes(), partial.slabs.get(), partial.taken.get());
        ClassStats { bytes, slabs, taken, magazines, cached }
    }

    /// Bytes of chunks that are neither in slabs nor in the depot, and of runs.
    pub(crate) fn used(&self) -> usize {
        let out = |class| self.slabs.class(class).taken.get().saturating_sub(self.depot.counts(class).1);
        SizeClass::all().map(|class| out(class) * class.bytes()).sum::<usize>() + self.run_bytes()
    }

    /// What the segments hold, and what is used of it.
    pub(crate) fn holds(&self) -> Holds {
        Holds { held: self.drawn.segments.get(), used: self.used() }
    }

    /// Bytes of runs that the program holds.
    pub(crate) fn run_bytes(&self) -> usize {
        self.surplus.run_bytes()
    }

    /// Bytes of records in use.
    pub(crate) fn metadata_in_use(&self) -> usize {
        let (slabs, depot) = (self.slabs.bytes_in_use(), self.depot.bytes_in_use());
        self.map.bytes() + self.segments.bytes_in_use() + slabs + depot + self.larges.bytes_in_use()
    }

    /// Gives every byte back to the back-end.
    ///
    /// # Safety
    /// Nobody uses the heap, nor any block of it, any more.
    pub(crate) unsafe fn release<B: Backend>(&self, backend: &B) {
        let supply = self.supply(backend);
        // SAFETY: the caller's promise, which holds for each part.
        unsafe { self.depot.release(supply) };
        // SAFETY: as above.
        unsafe { self.slabs.release(supply) };
        self.unguard_all(backend);
        // SAFETY: as above.
        unsafe { self.segments.release(supply) };
        // SAFETY: as above.
        unsafe { self.larges.release(supply, false) };
        // SAFETY: as above.
        unsafe { self.map.release(supply) };
    }
}
