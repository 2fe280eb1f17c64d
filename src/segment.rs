//! Segments: 64 units each, handed out in runs by one exchange on one word.
//!
//! ```text
//!   group ──next──▶ group ──next──▶ …                       append-only: never shrinks while the heap lives
//!   ├─ hints[k]   bit s: segment s may have 2^k free units in a row
//!   ├─ vacant     bit s: slot s has no memory
//!   └─ segment s  free: bit u = unit u is free    dirty: bit u = unit u may hold old bytes and pages, if it is free
//!
//!   install   vacant ─▶ all free          base, then free = all            Release
//!   claim     free ─▶ claimed             free &= !run                     Acquire
//!   free      claimed ─▶ free             dirty |= run, then free |= run   Release
//!   purge     free and dirty ─▶ claimed ─▶ free and clean
//!   release   all free ─▶ all claimed ─▶ vacant       exclusive, because no unit is anybody else's
//! ```
//!
//! Who looks for a run begins at one of the segments that may serve, by its home, and goes on with the next ones; within a
//! segment, units whose pages are there already are preferred to fresh ones.
//!
//! # Invariants
//! - A unit whose bit in `free` is clear belongs to the one party that cleared it (or does not exist).
//! - While `free` has 2^k bits in a row, the segment's bit in `hints[k]` is set, or someone is about to set it: a free
//!   that makes such a run sets it afterwards, and who clears it looks at `free` again afterwards.

use crate::backend::Backend;
use crate::geometry::{HARDENED, SEGMENTS, UNITS, WIPED};
use crate::home::Home;
use crate::map::Map;
use crate::pool::{Pool, Record};
use crate::supply::{self, Supply};
use crate::surplus::{Budget, Scope};
use crate::sync::{Atomic, AtomicPtr, AtomicU64, Backoff, Ordering, Witness, array, const_fn};
use crate::treiber::Index;
use crate::wipe::wipe;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// `hints` for runs of 1, 2, 4 … 64 units.
const LENGTHS: usize = 7;

/// The name of a segment: its group, and its slot there.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentId(u32);

impl SegmentId {
    fn new(group: Index, slot: u32) -> Self {
        Self(group.get() * SEGMENTS + slot)
    }

    /// As a number that fits 31 bits and is never zero.
    pub(crate) fn to_bits(self) -> u32 {
        self.0
    }

    /// The inverse of [`to_bits`](Self::to_bits).
    pub(crate) fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn group(self) -> Option<Index> {
        Index::new(self.0 / SEGMENTS)
    }

    fn slot(self) -> u32 {
        self.0 % SEGMENTS
    }
}

/// Units in a row, owned by whoever claimed them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Run {
    pub(crate) start: NonNull<u8>,
    pub(crate) segment: SegmentId,
    pub(crate) first: u32,
    pub(crate) units: u32,
}

/// What is claimed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Wish {
    /// Units in a row.
    pub(crate) units: u32,
    /// With so many free ones from the first on, if that can be had: room to grow.
    pub(crate) room: u32,
    /// Parties with different homes begin to look in different segments, and are less in each other's way.
    pub(crate) home: Home,
}

impl Wish {
    /// In the lowest segment that has so many.
    pub(crate) fn units(units: u32) -> Self {
        Self { units, room: units, home: Home::COMMON }
    }
}

/// What a claim found out about the contents of its run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Contents {
    /// As the back-end gave it: zero, if it says so of what it gives.
    Untouched,
    /// Perhaps bytes of an earlier owner, but for so many units.
    Unknown { untouched: u32 },
}

impl Contents {
    /// How many of `units` units are as the back-end gave them.
    pub(crate) fn untouched(self, units: u32) -> u32 {
        match self {
            Self::Untouched => units,
            Self::Unknown { untouched } => untouched,
        }
    }
}

/// Units at each end of a segment, and of a run that is a block, that nobody can touch.
pub(crate) const fn guards<B: Backend>() -> u32 {
    if HARDENED && B::GUARDS { 1 } else { 0 }
}

/// The units of a segment that can be claimed, `edge` at each end being guards.
fn room(units: u32, edge: u32) -> u64 {
    mask(edge, units - 2 * edge)
}

/// Puts guards up in the first and last unit of a block, if there are guards; which units are guarded now.
fn guard_edges<B: Backend>(supply: Supply<'_, B>, base: NonNull<u8>, units: u32) -> u64 {
    if guards::<B>() == 0 {
        return 0;
    }
    let guard = |unit: u32| {
        // SAFETY: inside the block.
        let place = unsafe { base.add(unit as usize * B::UNIT) };
        // SAFETY: a unit of ours that nobody uses.
        u64::from(unsafe { supply.backend.guard(place, B::UNIT) }) << unit
    };
    guard(0) | guard(units - 1)
}

/// Takes the guards of a block down, before it goes back.
fn unguard<B: Backend>(supply: Supply<'_, B>, base: NonNull<u8>, mut guarded: u64) {
    while guarded != 0 {
        // SAFETY: inside the block.
        let place = unsafe { base.add(guarded.trailing_zeros() as usize * B::UNIT) };
        // SAFETY: ours, with a guard. If it stays, it goes with the block.
        let _ = unsafe { supply.backend.unguard(place, B::UNIT) };
        guarded &= guarded - 1;
    }
}

/// A double free of units.
#[derive(Debug)]
pub(crate) struct AlreadyFree;

fn mask(first: u32, units: u32) -> u64 {
    debug_assert!(0 < units && first + units <= UNITS);
    (u64::MAX >> (64 - units)) << first
}

/// Where in `bits` a run of `units` ones begins.
fn starts(bits: u64, units: u32) -> u64 {
    let (mut starts, mut long) = (bits, 1);
    while long < units {
        let step = long.min(units - long);
        starts &= starts >> step;
        long += step;
    }
    starts
}

/// The place of a one in `bits`, another one for other homes.
fn one_of(bits: u64, home: Home) -> u32 {
    let mut rest = bits;
    for _ in 0..home.first(bits.count_ones().max(1)) {
        rest &= rest - 1;
    }
    rest.trailing_zeros() % u64::BITS
}

/// The lengths 2^k, as a count of `k`s, that `bits` has in a row.
fn lengths(bits: u64) -> usize {
    (0..LENGTHS).take_while(|k| starts(bits, 1 << k) != 0).count()
}

/// On a cache line of its own: threads keep to different segments so that they are not in each other's way.
#[repr(align(64))]
struct Segment {
    free: AtomicU64,
    dirty: AtomicU64,
    /// Units that were free at the last pass over the unused, and were not claimed since, as far as is known: a preference.
    unused: AtomicU64,
    /// Of a hardened heap: units with a guard that cannot be taken down. They are nobody's, and go back with the segment.
    stuck: [AtomicU64; HARDENED as usize],
    base: AtomicPtr<u8>,
    units: Atomic<u32>,
    /// Of the memory being put in and taken out.
    witness: Witness,
}

/// Sixty-four segments, or slots for them.
pub(crate) struct Group {
    pool_link: Atomic<u32>,
    behind: Atomic<u32>,
    vacant: AtomicU64,
    hints: [AtomicU64; LENGTHS],
    witness: Witness,
    segments: [Segment; SEGMENTS as usize],
}

impl Record for Group {
    fn new(_: Index) -> Self {
        Self {
            pool_link: Atomic::new(0),
            behind: Atomic::new(0),
            vacant: AtomicU64::new(u64::MAX >> (64 - SEGMENTS)),
            hints: array![AtomicU64::new(0); LENGTHS],
            witness: Witness::new(),
            segments: array![Segment {
                free: AtomicU64::new(0),
                dirty: AtomicU64::new(0),
                unused: AtomicU64::new(0),
                stuck: array![AtomicU64::new(0); HARDENED as usize],
                base: AtomicPtr::new(ptr::null_mut()),
                units: Atomic::new(0),
                witness: Witness::new(),
            }; SEGMENTS as usize],
        }
    }

    unsafe fn renew(_: NonNull<Self>, _: Index) {
        // A group never comes back.
    }

    fn next(&self) -> &Atomic<u32> {
        &self.pool_link
    }
}

impl Segment {
    /// Units with guards that stay.
    fn stuck(&self) -> u64 {
        // Relaxed: `evict` looks again once it cannot change.
        self.stuck.iter().fold(0, |all, stuck| all | stuck.load(Ordering::Relaxed))
    }

    /// Which of its units a pass looks at.
    fn within(&self, scope: Scope) -> u64 {
        // Relaxed: policy.
        if scope == Scope::Unused { self.unused.load(Ordering::Relaxed) } else { u64::MAX }
    }

    /// Notes that units are claimed.
    fn use_units(&self, run: u64) {
        // Models are of protocols, and of this there is none.
        // Relaxed: policy.
        if !cfg!(all(test, loom)) && self.unused.load(Ordering::Relaxed) & run != 0 {
            self.unused.fetch_and(!run, Ordering::Relaxed);
        }
    }
}

impl Group {
    /// Says that segment `slot` may have runs of the lengths `new` which it had not before, being `old` long.
    fn hint(&self, slot: u32, old: u64, new: u64) {
        for hints in &self.hints[lengths(old)..lengths(new).max(lengths(old))] {
            // Release: who clears this bit later, acquiring it, sees the free units behind it.
            hints.fetch_or(1 << slot, Ordering::Release);
        }
    }

    /// Takes the hint back that segment `slot` has 2^k free units in a row, unless it has.
    fn unhint(&self, slot: u32, k: usize) {
        // Acquire: the free units behind every hint that this clears are seen by the load that follows.
        self.hints[k].fetch_and(!(1 << slot), Ordering::Acquire);
        // Relaxed: see above.
        let free = self.segments[slot as usize].free.load(Ordering::Relaxed);
        if starts(free, 1 << k) != 0 {
            // Relaxed: whoever freed has set this hint with Release or is about to, and read-modify-writes do not end its
            // release sequence.
            self.hints[k].fetch_or(1 << slot, Ordering::Relaxed);
        }
    }

    /// Takes a slot without memory.
    fn occupy(&self) -> Option<u32> {
        // Relaxed: the read-modify-write decides.
        let mut vacant = self.vacant.load(Ordering::Relaxed);
        while vacant != 0 {
            let slot = vacant.trailing_zeros();
            // Acquire: the last segment's release is over, by the Release in `vacate`.
            let before = self.vacant.fetch_and(!(1 << slot), Ordering::Acquire);
            if before >> slot & 1 == 1 {
                return Some(slot);
            }
            vacant = before;
        }
        None
    }

    fn vacate(&self, slot: u32) {
        // Release: what we did with the slot comes before what its next occupant does.
        self.vacant.fetch_or(1 << slot, Ordering::Release);
    }

    /// Puts memory into a slot that the caller occupies. The dirty bits of its edges, which are never free, say which of them are
    /// `guarded`.
    fn install(&self, slot: u32, base: NonNull<u8>, units: u32, edge: u32, guarded: u64) {
        let segment = &self.segments[slot as usize];
        segment.witness.touch();
        // Relaxed, all five: published by the store to `free`, which no claim can succeed before.
        segment.base.store(base.as_ptr(), Ordering::Relaxed);
        segment.units.store(units, Ordering::Relaxed);
        segment.dirty.store(guarded, Ordering::Relaxed);
        segment.unused.store(0, Ordering::Relaxed);
        segment.stuck.iter().for_each(|stuck| stuck.store(0, Ordering::Relaxed));
        // Release: a claim that acquires these bits sees the base. `free` is 0 until here, and nobody else writes it.
        segment.free.store(room(units, edge), Ordering::Release);
        self.hint(slot, 0, room(units, edge));
    }

    /// Claims units in a row in segment `slot`.
    fn claim(&self, slot: u32, wish: Wish) -> Option<(u32, Contents)> {
        let Wish { units, room, .. } = wish;
        let segment = &self.segments[slot as usize];
        let backoff = Backoff::new();
        // Relaxed: the exchange checks it; `dirty` is a preference here.
        let mut free = segment.free.load(Ordering::Relaxed);
        loop {
            let fit = starts(free, units);
            if fit == 0 {
                return None;
            }
            let dirty = free & segment.dirty.load(Ordering::Relaxed);
            let warm = if dirty == free { fit } else { starts(dirty, units) };
            let roomy = if room == units { fit } else { starts(free, room) };
            let best = [warm & roomy, roomy, warm, fit].into_iter().find(|places| *places != 0);
            let first = best.unwrap_or(fit).trailing_zeros();
            let run = mask(first, units);
            // Acquire: the base, written before `install`'s Release; and the last owners' use of the units, before
            // the Release in `free`.
            match segment.free.compare_exchange_weak(free, free & !run, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => {
                    // Relaxed: the bits of our units were set before the Release that we acquired, and are ours now. They
                    // stay as they are, for most are to be set again.
                    let dirty = segment.dirty.load(Ordering::Relaxed) & run;
                    segment.use_units(run);
                    let unknown = Contents::Unknown { untouched: units - dirty.count_ones() };
                    return Some((first, if dirty == 0 { Contents::Untouched } else { unknown }));
                }
                Err(now) => free = now,
            }
            backoff.spin();
        }
    }

    /// Gives claimed units back, as dirty or clean ones.
    fn free(&self, slot: u32, run: u64, dirty: bool) -> Result<(), AlreadyFree> {
        let segment = &self.segments[slot as usize];
        // Relaxed both: these bits are the caller's; published by the Release below.
        if dirty && segment.dirty.load(Ordering::Relaxed) & run != run {
            segment.dirty.fetch_or(run, Ordering::Relaxed);
        }
        // Release: our use of the units, and their dirty bits, come before the next claim's Acquire.
        let before = segment.free.fetch_or(run, Ordering::Release);
        self.hint(slot, before, before | run);
        if before & run == 0 { Ok(()) } else { Err(AlreadyFree) }
    }

    /// Claims exactly the units of `run`, if all of them are free.
    fn claim_exactly(&self, slot: u32, run: u64) -> bool {
        let segment = &self.segments[slot as usize];
        // Relaxed: the exchange checks it.
        let mut free = segment.free.load(Ordering::Relaxed);
        while free & run == run {
            // Acquire: as in `claim`.
            match segment.free.compare_exchange_weak(free, free & !run, Ordering::Acquire, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => free = now,
            }
        }
        false
    }

    /// Takes a wholly free segment's memory out of its slot.
    fn evict(&self, slot: u32, scope: Scope, edge: u32) -> Option<Evicted> {
        let segment = &self.segments[slot as usize];
        // Relaxed: looked at again below, once it cannot change.
        let units = segment.units.load(Ordering::Relaxed);
        if units == 0 {
            return None;
        }
        let stuck = segment.stuck();
        let room = room(units, edge) & !stuck;
        if segment.within(scope) & room != room || !self.claim_exactly(slot, room) {
            return None;
        }
        // Relaxed: the units are ours, so nobody changes these, and the claim acquired what `install` wrote.
        let now = segment.units.load(Ordering::Relaxed);
        if now != units || segment.stuck() != stuck {
            // The slot was emptied and filled in between, with another segment.
            let _ = self.free(slot, room, true);
            return None;
        }
        segment.witness.touch();
        // Relaxed, all: as above, and published by `vacate`.
        segment.units.store(0, Ordering::Relaxed);
        let (base, dirty) = (segment.base.load(Ordering::Relaxed), segment.dirty.load(Ordering::Relaxed));
        NonNull::new(base).map(|base| Evicted {
            base,
            units,
            dirty: (dirty & room).count_ones(),
            guarded: (dirty | stuck) & !room,
        })
    }
}

/// A segment's memory, out of its slot.
struct Evicted {
    base: NonNull<u8>,
    units: u32,
    /// Of them, that may have pages.
    dirty: u32,
    /// Those with guards in them.
    guarded: u64,
}

/// All segments of a heap.
pub(crate) struct Segments {
    groups: Pool<Group>,
    first: Atomic<u32>,
}

impl Segments {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { groups: Pool::new(), first: Atomic::new(0) }
        }
    }

    fn groups(&self) -> impl Iterator<Item = (Index, &Group)> {
        let mut next = &self.first;
        core::iter::from_fn(move || {
            // Acquire: the group, made before the Release in `append`.
            let index = Index::new(next.load(Ordering::Acquire))?;
            let group = self.groups.get(index);
            group.witness.look();
            next = &group.behind;
            Some((index, group))
        })
    }

    fn group(&self, id: SegmentId) -> Option<&Group> {
        id.group().map(|index| self.groups.get(index))
    }

    fn base(&self, id: SegmentId) -> *mut u8 {
        let base = self.group(id).map(|group| &group.segments[id.slot() as usize].base);
        // Relaxed: whoever asks owns a unit of the segment, and got it after the base was written.
        base.map_or(ptr::null_mut(), |base| base.load(Ordering::Relaxed))
    }

    /// Claims `0 < units <= UNITS` units in a row, in segments that are there already.
    pub(crate) fn claim<B: Backend>(&self, wish: Wish) -> Option<(Run, Contents)> {
        let Wish { units, home, .. } = wish;
        let k = units.ilog2() as usize;
        for (index, group) in self.groups() {
            // Relaxed: a hint.
            let mut hints = group.hints[k].load(Ordering::Relaxed);
            let first = one_of(hints, home);
            while hints != 0 {
                let slot = (hints.rotate_right(first).trailing_zeros() + first) % u64::BITS;
                if let Some((first, contents)) = group.claim(slot, wish) {
                    return self.run::<B>(SegmentId::new(index, slot), first, units).map(|run| (run, contents));
                }
                // Relaxed: a hint that is wrong is taken back by who meets it next.
                let free = group.segments[slot as usize].free.load(Ordering::Relaxed);
                if starts(free, 1 << k) == 0 {
                    group.unhint(slot, k);
                }
                hints &= !(1 << slot);
            }
        }
        None
    }

    /// The run that the caller has claimed.
    fn run<B: Backend>(&self, segment: SegmentId, first: u32, units: u32) -> Option<Run> {
        let base = NonNull::new(self.base(segment))?;
        // SAFETY: a claimed unit lies inside the segment.
        let start = unsafe { base.add(first as usize * B::UNIT) };
        Some(Run { start, segment, first, units })
    }

    /// The run of `units` units from `start`, a live address in the segment.
    pub(crate) fn locate<B: Backend>(&self, segment: SegmentId, start: NonNull<u8>, units: u32) -> Option<Run> {
        let offset = start.addr().get().wrapping_sub(self.base(segment).addr());
        let first = u32::try_from(offset / B::UNIT).ok()?;
        (offset % B::UNIT == 0 && first + units <= UNITS).then_some(())?;
        self.run::<B>(segment, first, units)
    }

    /// Gives a run back.
    pub(crate) fn free(&self, run: Run) -> Result<(), AlreadyFree> {
        match self.group(run.segment) {
            Some(group) => group.free(run.segment.slot(), mask(run.first, run.units), true),
            None => Ok(()),
        }
    }

    /// Makes a run `more` units longer in place, if the units behind it are free.
    pub(crate) fn extend(&self, run: Run, more: u32) -> Option<Run> {
        let end = run.first + run.units;
        (end + more <= UNITS).then_some(())?;
        let group = self.group(run.segment)?;
        let slot = run.segment.slot();
        group.claim_exactly(slot, mask(end, more)).then_some(())?;
        group.segments[slot as usize].use_units(mask(end, more));
        Some(Run { units: run.units + more, ..run })
    }

    /// Draws a segment of `most` units from the back-end, or of fewer, but of `units` at least; `None` when so much, or a
    /// record for it, is not to be had.
    pub(crate) fn grow<B: Backend>(&self, supply: Supply<'_, B>, map: &Map, units: u32, most: u32) -> Option<()> {
        let least = units + 2 * guards::<B>();
        let mut tried = most.clamp(least, UNITS);
        loop {
            let grown = self.grow_by(supply, map, tried);
            if grown.is_some() || tried == least {
                return grown;
            }
            // Also when only the records were too much: a smaller segment may leave room for them.
            tried = (tried / 2).max(least);
        }
    }

    fn grow_by<B: Backend>(&self, supply: Supply<'_, B>, map: &Map, units: u32) -> Option<()> {
        let layout = segment_layout::<B>(units)?;
        let base = supply.acquire(supply::SEGMENTS, layout)?;
        let guarded = guard_edges(supply, base, units);
        let installed = self.install(supply, map, base, units, guarded);
        if installed.is_none() {
            unguard(supply, base, guarded);
            // SAFETY: acquired just now with this layout; nobody was told.
            unsafe { supply.release(supply::SEGMENTS, base, layout) };
        }
        installed
    }

    fn install<B: Backend>(
        &self,
        supply: Supply<'_, B>,
        map: &Map,
        base: NonNull<u8>,
        units: u32,
        guarded: u64,
    ) -> Option<()> {
        map.cover(supply, base, units)?.ok()?;
        let edge = guards::<B>();
        for (_, group) in self.groups() {
            if let Some(slot) = group.occupy() {
                group.install(slot, base, units, edge, guarded);
                return Some(());
            }
        }
        let index = self.groups.take(supply)?;
        let group = self.groups.get(index);
        let slot = group.occupy()?;
        group.install(slot, base, units, edge, guarded);
        group.witness.touch();
        self.append(index);
        Some(())
    }

    /// Puts a group of the caller's at the end.
    fn append(&self, new: Index) {
        let mut end = &self.first;
        // Release: the group. Acquire on failure: the group found there, whose link is read next.
        while let Err(other) = end.compare_exchange(0, new.get(), Ordering::Release, Ordering::Acquire) {
            let Some(index) = Index::new(other) else { continue };
            let group = self.groups.get(index);
            group.witness.look();
            end = &group.behind;
        }
    }

    /// Returns every segment without a claimed unit to the back-end, as the budget allows; the bytes of them.
    pub(crate) fn release_free<B: Backend>(&self, supply: Supply<'_, B>, scope: Scope, budget: &Budget<'_>) -> usize {
        let mut bytes = 0;
        for (_, group) in self.groups() {
            for slot in (0..SEGMENTS).take_while(|_| budget.is_left()) {
                let Some(Evicted { base, units, dirty, guarded }) = group.evict(slot, scope, guards::<B>()) else {
                    continue;
                };
                unguard(supply, base, guarded);
                if let Some(layout) = segment_layout::<B>(units) {
                    // SAFETY: acquired in `grow` with this layout; all its units are ours, so nobody uses any.
                    unsafe { supply.release(supply::SEGMENTS, base, layout) };
                    bytes += layout.size();
                    // Pages are what takes time, and the call itself some.
                    budget.spend(dirty.max(1) as usize * B::UNIT);
                }
                group.vacate(slot);
            }
        }
        bytes
    }

    /// Gives the pages of free units back, where the back-end can and as the budget allows; the bytes of them.
    pub(crate) fn purge<B: Backend>(&self, supply: Supply<'_, B>, scope: Scope, budget: &Budget<'_>) -> usize {
        let mut bytes = 0;
        for (index, group) in self.groups() {
            for slot in (0..SEGMENTS).take_while(|_| budget.is_left()) {
                let id = SegmentId::new(index, slot);
                let purged = self.purge_segment(supply, group, id, scope);
                bytes += purged;
                budget.spend(purged);
            }
        }
        bytes
    }

    /// Notes which units are free now, for the next pass over the unused.
    pub(crate) fn begin_interval(&self) {
        for segment in self.groups().flat_map(|(_, group)| &group.segments) {
            // Relaxed, all: policy. A claim that gets in between is noted as none; its units are then purged early.
            let free = segment.free.load(Ordering::Relaxed);
            if free != segment.unused.load(Ordering::Relaxed) {
                segment.unused.store(free, Ordering::Relaxed);
            }
        }
    }

    /// Leaves a unit of the caller's to nobody, whose guard cannot be taken down.
    pub(crate) fn note_stuck(&self, run: Run) {
        if let Some(group) = self.group(run.segment) {
            // Relaxed: who finds all others free has acquired what comes before they are.
            let stuck = &group.segments[run.segment.slot() as usize].stuck;
            stuck.iter().for_each(|stuck| _ = stuck.fetch_or(mask(run.first, run.units), Ordering::Relaxed));
        }
    }

    /// All segments as a whole, of a heap that nobody uses any more.
    pub(crate) fn left<B: Backend>(&self) -> impl Iterator<Item = Run> {
        let slots = self.groups().flat_map(|(index, group)| (0..SEGMENTS).map(move |slot| (index, group, slot)));
        slots.filter_map(|(index, group, slot)| {
            // Relaxed: the caller alone is left.
            let units = group.segments[slot as usize].units.load(Ordering::Relaxed);
            if units > 0 { self.run::<B>(SegmentId::new(index, slot), 0, units) } else { None }
        })
    }

    /// Notes that a run which is free now was not used in this interval.
    pub(crate) fn note_unused(&self, run: Run) {
        if let Some(group) = self.group(run.segment) {
            // Relaxed: policy.
            let unused = &group.segments[run.segment.slot() as usize].unused;
            unused.fetch_or(mask(run.first, run.units), Ordering::Relaxed);
        }
    }

    /// Each run is asked for once: what the back-end refuses, because it is locked for instance, waits for the next pass.
    fn purge_segment<B: Backend>(&self, supply: Supply<'_, B>, group: &Group, id: SegmentId, scope: Scope) -> usize {
        let segment = &group.segments[id.slot() as usize];
        let (mut bytes, mut left) = (0, u64::MAX);
        loop {
            // Relaxed both: the claim checks the one, and the other is ours once claimed.
            let idle = segment.free.load(Ordering::Relaxed) & segment.dirty.load(Ordering::Relaxed);
            let idle = idle & segment.within(scope) & left;
            if idle == 0 {
                return bytes;
            }
            let first = idle.trailing_zeros();
            let units = (idle >> first).trailing_ones();
            if !group.claim_exactly(id.slot(), mask(first, units)) {
                continue;
            }
            let purged = self.run::<B>(id, first, units).is_some_and(|run| {
                let length = units as usize * B::UNIT;
                // SAFETY: the run is ours, free, and whole units.
                let purged = unsafe { supply.backend.purge(run.start, length) };
                if WIPED && !purged {
                    // SAFETY: as above. What is in it is unspecified.
                    unsafe { wipe(run.start, length) };
                }
                purged
            });
            if purged {
                // Relaxed: published by the Release in `free`.
                segment.dirty.fetch_and(!mask(first, units), Ordering::Relaxed);
                bytes += units as usize * B::UNIT;
            }
            left &= !mask(first, units);
            let _ = group.free(id.slot(), mask(first, units), !purged);
        }
    }

    /// Bytes of records in use.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.groups.bytes_in_use()
    }

    /// Gives everything back, whether free or not.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        for segment in self.groups().flat_map(|(_, group)| &group.segments) {
            // Relaxed, all: the caller alone is left.
            let (base, units) = (segment.base.load(Ordering::Relaxed), segment.units.load(Ordering::Relaxed));
            if let (Some(base), Some(layout)) = (NonNull::new(base), segment_layout::<B>(units)) {
                let room = room(units, guards::<B>());
                unguard(supply, base, segment.dirty.load(Ordering::Relaxed) & !room);
                // SAFETY: acquired in `grow` with this layout; unused, by the caller's promise.
                unsafe { supply.release(supply::SEGMENTS, base, layout) };
            }
        }
        // SAFETY: the caller's promise.
        unsafe { self.groups.release(supply, false) };
    }
}

/// `None` for a segment without units.
fn segment_layout<B: Backend>(units: u32) -> Option<Layout> {
    let bytes = units as usize * B::UNIT;
    (bytes != 0).then_some(())?;
    Layout::from_size_align(bytes, B::UNIT).ok()
}

#[cfg(all(test, not(loom)))]
#[path = "../unit-tests/segment.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "../loom-tests/segment.rs"]
mod loom_tests;
