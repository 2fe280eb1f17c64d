//! The magazines of each CPU: for whoever runs there.
//!
//! ```text
//!   table ─▶ null, null │ CPU 0 │ CPU 1 │ …        numbers −1 and −2 are those of a thread that the kernel does not know
//!                           │
//!                           ▼
//!            places   loaded, by class │ previous, by class
//!
//!   pop, push, exchange    sequences on that CPU alone, each up to one store (`cpu.rs`)
//!   trade                  both places of a class ─exchange─▶ a pair of the caller's ─exchange─▶ the places
//!   hand in                table[n] ─swap─▶ other places, empty ones, for each n;  fence;  what was there is the caller's
//! ```
//!
//! `n` is the number of the CPU, or, where the kernel tells one, a smaller one that no other thread of the process has while this one
//! runs: what holds of a CPU here, holds of that. A thread that trades may be moved to another CPU in between, or another thread may come by: what is found where the pair
//! is put back goes to the depot, so nothing is ever waited for.
//!
//! # Invariants
//! - What lies at a place that is in the table belongs to the CPU; who has exchanged it out, owns it.
//! - Places are taken out of the table by a swap, and are their taker's after a fence: sequences that have read the table before
//!   it begin anew.

use super::Pair;
use super::cpu::{self, PLACES, Places, Seat};
use super::pouch::Pouch;
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::{CPUS, HARDENED};
use crate::home::Home;
use crate::magazine::{Round, Top};
use crate::process::Visitor;
use crate::size_class::SizeClass;
use crate::stats::Counter;
use crate::supply::{METADATA, Supply};
use crate::sync::{Atomic, AtomicPtr, Ordering, const_fn, fence, make_nulls, step};
use crate::tell;
use core::alloc::Layout;
use core::array;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// Before the first CPU.
const GUARDS: usize = 2;

type Table = [AtomicPtr<Places>; GUARDS + CPUS];

/// The CPUs' magazines of a heap.
pub(crate) struct Cpus {
    table: AtomicPtr<Table>,
    /// Empty ones that were in the table.
    spares: AtomicPtr<Places>,
    /// Those that were taken out of the table, when the kernel did not let us fence any more: the next fence makes them ours.
    limbo: AtomicPtr<Places>,
    /// How many were made to be spares.
    made: Counter,
    /// Who has drained last: what the threads of a parent had in their hands at the fork is not there any more.
    drainer: Visitor,
    /// Whether the kernel lets us fence.
    fences: Atomic<bool>,
}

/// Spares for each CPU that has places: so many may drain at once, and who comes on top of that reaches less.
const SPARES: usize = 3;

/// Where a thread works now: its seat, and the table.
#[derive(Clone, Copy)]
pub(crate) struct Post {
    seat: Seat,
    table: cpu::Table,
}

fn loaded(class: SizeClass) -> usize {
    usize::from(class.number())
}

fn previous(class: SizeClass) -> usize {
    SizeClass::COUNT + usize::from(class.number())
}

/// A name for what the sequences at a place order, for a tool that sees none of them.
fn order(table: cpu::Table, place: usize) -> *const u8 {
    table.cast::<u8>().wrapping_add(place)
}

impl Post {
    pub(crate) fn home(self) -> Home {
        self.seat.number().map_or(Home::COMMON, Home::nth)
    }

    /// Takes a chunk from this CPU's loaded magazine.
    #[inline(always)]
    pub(crate) fn pop(self, class: SizeClass) -> Option<Round> {
        // SAFETY: the table is one of `Cpus`, guards and all, whose places hold `Top`s; the place is one of a class's.
        let round = NonNull::new(unsafe { self.seat.pop(self.table, loaded(class)) });
        tell::after(order(self.table, loaded(class)));
        round
    }

    /// Puts a chunk into this CPU's loaded magazine.
    #[inline(always)]
    pub(crate) fn push(self, class: SizeClass, round: Round) -> bool {
        tell::before(order(self.table, loaded(class)));
        // SAFETY: as in `pop`; the chunk is the caller's.
        unsafe { self.seat.push(self.table, loaded(class), round.as_ptr()) }
    }

    /// Puts a magazine of the caller's at a place; what was there, or `None` when the CPU has no places.
    fn exchange(self, place: usize, new: Top) -> Option<Top> {
        step();
        // Models are of protocols, and of this there is none: it would hide what others need.
        if !cfg!(all(test, loom)) {
            // Release: a magazine made just now, to who counts what is in it.
            fence(Ordering::Release);
        }
        tell::before(order(self.table, place));
        // SAFETY: as in `pop`; the magazine is the caller's.
        let old = Top::from_raw(unsafe { self.seat.exchange(self.table, place, new.to_raw()) });
        tell::after(order(self.table, place));
        old
    }
}

impl Cpus {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                table: AtomicPtr::new(ptr::null_mut()),
                spares: AtomicPtr::new(ptr::null_mut()),
                limbo: AtomicPtr::new(ptr::null_mut()),
                made: Counter::new(),
                drainer: Visitor::new(),
                fences: Atomic::new(false),
            }
        }
    }

    /// Where the calling thread works; `None` when nobody has asked for that yet.
    #[inline(always)]
    pub(crate) fn post_at_once(&self) -> Option<Post> {
        let table = self.made()?;
        // A table is there only where there are sequences.
        let seat = Seat::here_surely()?;
        Some(Post { seat, table: Self::first(table) })
    }

    /// The entry of number 0.
    fn first(table: NonNull<Table>) -> cpu::Table {
        table.as_ptr().cast::<AtomicPtr<Places>>().cast_const().wrapping_add(GUARDS)
    }

    /// Where the calling thread works; `None` where there are no restartable sequences, or no memory for the table.
    pub(crate) fn post<B: Backend>(&self, arsenal: &Arsenal, backend: &B) -> Option<Post> {
        let seat = Seat::here()?;
        let table = self.made().or_else(|| self.make_table(arsenal, backend))?;
        Some(Post { seat, table: Self::first(table) })
    }

    /// Why a thread has no post; `None` if it has one.
    pub(crate) fn why_not() -> Option<&'static str> {
        if Seat::here().is_some() { None } else { Some(cpu::why_not()) }
    }

    #[cold]
    #[inline(never)]
    fn make_table<B: Backend>(&self, arsenal: &Arsenal, backend: &B) -> Option<NonNull<Table>> {
        let (supply, layout) = (arsenal.supply(backend), Layout::new::<Table>());
        let made = supply.acquire_zeroed(METADATA, layout)?;
        // SAFETY: zeroed, ours.
        unsafe { make_nulls::<Places>(made.as_ptr().cast(), GUARDS + CPUS) };
        // Relaxed: whoever needs it later asks the kernel again.
        self.fences.store(cpu::may_fence(), Ordering::Relaxed);
        // Release: the table. Acquire on failure: the other thread's.
        let installed =
            self.table.compare_exchange(ptr::null_mut(), made.as_ptr().cast(), Ordering::Release, Ordering::Acquire);
        installed.err().map_or(Some(made.cast()), |other| {
            // SAFETY: acquired above with this layout, known to nobody.
            unsafe { supply.release(METADATA, made, layout) };
            NonNull::new(other)
        })
    }

    /// The table, if there is one.
    #[inline(always)]
    fn made(&self) -> Option<NonNull<Table>> {
        // Acquire: the table, zeroed before the Release in `make_table`.
        NonNull::new(self.table.load(Ordering::Acquire))
    }

    fn table(&self) -> Option<&Table> {
        // SAFETY: a table lives as long as this value.
        self.made().map(|table| unsafe { table.as_ref() })
    }

    /// Fresh places: no magazines anywhere.
    fn make<B: Backend>(supply: Supply<'_, B>) -> Option<NonNull<Places>> {
        let made = supply.acquire(METADATA, Layout::new::<Places>())?.cast::<Places>();
        let fresh = Places {
            tops: array::from_fn(|_| AtomicPtr::new(Top::NONE.to_raw())),
            stirs: Atomic::new(false),
            home: Cell::new(Home::COMMON),
            link: AtomicPtr::new(ptr::null_mut()),
        };
        // SAFETY: just acquired with the layout of it.
        unsafe { made.write(fresh) };
        Some(made)
    }

    /// How many spares there may be.
    fn most_spares(entries: &[AtomicPtr<Places>]) -> usize {
        // Models are of protocols, and of this there is none.
        if cfg!(all(test, loom)) {
            return usize::MAX;
        }
        SPARES * entries.iter().filter(|entry| Places::at(entry).is_some()).count()
    }

    /// Fresh places to be spares, unless there are `most` already: who drains takes all spares for a moment, and who comes in that
    /// moment finds none.
    fn make_spare<B: Backend>(&self, most: usize, supply: Supply<'_, B>) -> Option<NonNull<Places>> {
        (most == usize::MAX || self.made.get() < most).then_some(())?;
        let made = Self::make(supply)?;
        self.made.add(1);
        Some(made)
    }

    /// The entry of the calling thread's number, if it has one.
    fn entry(&self, post: Post) -> Option<(Home, &AtomicPtr<Places>)> {
        let number = post.seat.number()?;
        Some((Home::nth(number), self.table()?.get(GUARDS + number)?))
    }

    /// Sees to it that the calling thread's CPU has places; whether it has.
    #[cold]
    #[inline(never)]
    fn furnish<B: Backend>(&self, post: Post, supply: Supply<'_, B>) -> bool {
        let Some((home, entry)) = self.entry(post) else { return false };
        let Some(made) = Self::make(supply) else { return false };
        // SAFETY: made just now, known to nobody.
        unsafe { made.as_ref() }.home.set(home);
        // Release: the places. Relaxed on failure: they are looked at by sequences, which read the table anew.
        if entry.compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: made above, known to nobody.
            unsafe { supply.release(METADATA, made.cast(), Layout::new::<Places>()) };
        }
        true
    }

    /// Takes a chunk; `None` when there is no memory left, for chunks or for places.
    #[inline(always)]
    pub(crate) fn alloc<B: Backend>(
        &self,
        post: Post,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
    ) -> Option<Round> {
        post.pop(class).or_else(|| self.alloc_slow(post, arsenal, backend, class))
    }

    #[cold]
    #[inline(never)]
    fn alloc_slow<B: Backend>(&self, post: Post, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Round> {
        self.trade(post, arsenal, backend, class, |pair, pouch| {
            pair.pop().or_else(|| pair.alloc(arsenal, backend, class, pouch))
        })?
    }

    /// Gives a chunk; whether it could, which without places it cannot.
    #[inline(always)]
    pub(crate) fn dealloc<B: Backend>(
        &self,
        post: Post,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        round: Round,
    ) -> bool {
        (!HARDENED && post.push(class, round)) || self.dealloc_slow(post, arsenal, backend, class, round)
    }

    #[cold]
    #[inline(never)]
    fn dealloc_slow<B: Backend>(
        &self,
        post: Post,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        round: Round,
    ) -> bool {
        let given = self.trade(post, arsenal, backend, class, |pair, pouch| {
            pair.give(arsenal, backend, class, round, pouch);
        });
        given.is_some()
    }

    /// Works on this CPU's pair of `class`, out of its places; `None` when it has none.
    fn trade<B: Backend, R>(
        &self,
        post: Post,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        work: impl FnOnce(&mut Pair, &Pouch<0>) -> R,
    ) -> Option<R> {
        let take = || post.exchange(loaded(class), Top::NONE);
        let first = take().or_else(|| self.furnish(post, arsenal.supply(backend)).then(take).flatten())?;
        self.stir(post);
        let second = post.exchange(previous(class), Top::NONE).unwrap_or(Top::NONE);
        let mut pair = Pair { loaded: first, previous: second };
        let pouch = Pouch::new(post.home());
        let result = work(&mut pair, &pouch);
        pouch.settle(arsenal);
        for (place, top) in [(loaded(class), pair.loaded), (previous(class), pair.previous)] {
            if top != Top::NONE {
                // What has come there meanwhile, or all when the thread is on a CPU without places now.
                let other = post.exchange(place, top).unwrap_or(top);
                arsenal.depot.give(class, other, pouch.home());
            }
        }
        Some(result)
    }

    /// Sees to it that the places where the thread trades are not [quiet](Places::is_quiet).
    fn stir(&self, post: Post) {
        // Models are of protocols, and of this there is none.
        if cfg!(all(test, loom)) {
            return;
        }
        if let Some(places) = self.entry(post).and_then(|(_, entry)| Places::at(entry)) {
            // Relaxed: policy.
            places.stirs.store(true, Ordering::Relaxed);
        }
    }

    /// Hands in what the CPUs have; of how many it could not: where the kernel does not let us reach into them, or there is no
    /// memory.
    pub(crate) fn hand_in<B: Backend>(&self, arsenal: &Arsenal, backend: &B) -> usize {
        self.hand_in_some(arsenal, backend, |_| true)
    }

    /// Hands in what those CPUs have where nobody has traded since the last call, if the kernel lets us.
    pub(crate) fn hand_in_quiet<B: Backend>(&self, arsenal: &Arsenal, backend: &B) {
        let _ = self.hand_in_some(arsenal, backend, Places::is_quiet);
    }

    fn hand_in_some<B: Backend>(&self, arsenal: &Arsenal, backend: &B, which: impl Fn(&Places) -> bool) -> usize {
        let entries = self.table().map_or(&[][..], |table| &table[GUARDS..]);
        let chosen = entries.iter().enumerate().filter(|(_, entry)| Places::at(entry).is_some_and(&which));
        let mut chosen = chosen.peekable();
        // Asked first: without a fence, nobody can use what is out of the table.
        // Relaxed: a fact that the kernel told who made the table, and `fence` tells again.
        if chosen.peek().is_none() || !self.fences.load(Ordering::Relaxed) || !cpu::fence() {
            return chosen.count();
        }
        // What lies in limbo may have come there since that fence: it waits for the next one with the rest.
        let (mut missed, mut taken, mut spares) = (0, take_all(&self.limbo), take_all(&self.spares));
        if self.drainer.is_new() {
            self.made.reset();
            self.made.add([spares, taken].into_iter().flatten().flat_map(chain).count());
        }
        let most = Self::most_spares(entries);
        for (number, entry) in chosen {
            let Some(spare) = spares.or_else(|| self.make_spare(most, arsenal.supply(backend))) else {
                missed += 1;
                continue;
            };
            // SAFETY: the caller's own; places live as long as the heap.
            let fresh = unsafe { spare.as_ref() };
            spares = fresh.next();
            fresh.set_next(None);
            fresh.home.set(Home::nth(number));
            // Acquire and Release: the places, from their maker or who emptied them, and to who works there.
            if let Some(places) = NonNull::new(entry.swap(spare.as_ptr(), Ordering::AcqRel)) {
                // SAFETY: as above.
                unsafe { places.as_ref() }.set_next(taken);
                taken = Some(places);
            }
        }
        if let Some(first) = spares {
            keep_all(&self.spares, first, chain(first).last().unwrap_or(first));
        }
        let Some(first) = taken else { return missed };
        if !cpu::fence() {
            // Somebody may be at work there still.
            keep_all(&self.limbo, first, chain(first).last().unwrap_or(first));
            return missed + 1;
        }
        self.empty_all(arsenal, first);
        missed
    }

    /// Hands in what is in a chain of the caller's, and keeps it.
    fn empty_all(&self, arsenal: &Arsenal, first: NonNull<Places>) {
        // By the fence.
        let orders =
            self.made().into_iter().flat_map(|table| (0..PLACES).map(move |place| order(Self::first(table), place)));
        orders.for_each(tell::after);
        let mut last = first;
        for places in chain(first) {
            // SAFETY: places live as long as the heap.
            unsafe { places.as_ref() }.empty(arsenal);
            last = places;
        }
        keep_all(&self.spares, first, last);
    }

    /// Gives the table and all places back.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        let Some(table) = self.table() else { return };
        for entry in table.iter().chain([&self.spares, &self.limbo]) {
            // Relaxed: nobody else is left. Those in the table have no next.
            for places in NonNull::new(entry.load(Ordering::Relaxed)).into_iter().flat_map(chain) {
                // SAFETY: acquired in `make`, and in one place only.
                unsafe { supply.release(METADATA, places.cast(), Layout::new::<Places>()) };
            }
        }
        // SAFETY: acquired in `make_table`.
        unsafe { supply.release(METADATA, NonNull::from(table).cast(), Layout::new::<Table>()) };
    }

    /// Tells `add` of the rounds of each class at all places; exact while nobody works. The table is long, and walked once.
    pub(crate) fn each_rounds(&self, mut add: impl FnMut(SizeClass, usize)) {
        for places in self.table().into_iter().flatten().filter_map(Places::at) {
            SizeClass::all().for_each(|class| add(class, places.rounds(class, || self.see(class))));
        }
    }

    /// Comes after whoever put the magazines of a class into places that have been looked at.
    fn see(&self, class: SizeClass) {
        // Acquire: the magazines, by the fence in `exchange`.
        fence(Ordering::Acquire);
        let table = self.made().map(Self::first);
        let orders = table.map(|table| [loaded(class), previous(class)].map(|place| order(table, place)));
        orders.into_iter().flatten().for_each(tell::after);
    }
}

/// All places that are kept there, for the caller to own: so there is no question of what has come back meanwhile.
fn take_all(kept: &AtomicPtr<Places>) -> Option<NonNull<Places>> {
    // Relaxed: a guess, so that what is empty is not written to.
    if kept.load(Ordering::Relaxed).is_null() {
        return None;
    }
    // Acquire: the places, by the Release in `keep_all`.
    NonNull::new(kept.swap(ptr::null_mut(), Ordering::Acquire))
}

/// Keeps a chain of the caller's there.
fn keep_all(kept: &AtomicPtr<Places>, first: NonNull<Places>, last: NonNull<Places>) {
    // Relaxed: the exchange checks it.
    let mut head = kept.load(Ordering::Relaxed);
    loop {
        // SAFETY: places live as long as the heap.
        unsafe { last.as_ref() }.set_next(NonNull::new(head));
        // Release: the places. Each exchange goes on with the release of the one before.
        match kept.compare_exchange_weak(head, first.as_ptr(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => head = now,
        }
    }
}

/// The places from there on that hang together, of which the caller has the first; each is let go before the next is looked at.
fn chain(first: NonNull<Places>) -> impl Iterator<Item = NonNull<Places>> {
    let mut next = Some(first);
    core::iter::from_fn(move || {
        let places = next?;
        // SAFETY: places live as long as the heap.
        next = unsafe { places.as_ref() }.next();
        Some(places)
    })
}

impl Places {
    /// Those at an entry of the table, if there are some: anybody's.
    fn at(entry: &AtomicPtr<Self>) -> Option<&Self> {
        // Acquire: the places, by the Release in `furnish` or `hand_in_some`.
        // SAFETY: null, or places, which live as long as the heap.
        unsafe { entry.load(Ordering::Acquire).as_ref() }
    }

    fn next(&self) -> Option<NonNull<Self>> {
        // Relaxed: the caller's.
        NonNull::new(self.link.load(Ordering::Relaxed))
    }

    fn set_next(&self, next: Option<NonNull<Self>>) {
        // Relaxed: the caller's.
        self.link.store(next.map_or(ptr::null_mut(), NonNull::as_ptr), Ordering::Relaxed);
    }

    fn top(&self, place: usize) -> Top {
        // Relaxed: a figure, or the caller's.
        Top::from_raw(self.tops[place].load(Ordering::Relaxed)).unwrap_or(Top::NONE)
    }

    /// Rounds of `class`, of magazines that `see` comes after the making of.
    fn rounds(&self, class: SizeClass, see: impl FnOnce()) -> usize {
        let tops = [loaded(class), previous(class)].map(|place| self.top(place));
        see();
        tops.map(|top| usize::from(top.rounds().0)).iter().sum()
    }

    /// Whether there are magazines, and nobody has traded here since the last time that this was asked.
    fn is_quiet(&self) -> bool {
        // Relaxed both: policy.
        let stirs = self.stirs.load(Ordering::Relaxed);
        if stirs {
            self.stirs.store(false, Ordering::Relaxed);
        }
        !stirs && (0..PLACES).any(|place| self.top(place) != Top::NONE)
    }

    /// Hands everything in.
    fn empty(&self, arsenal: &Arsenal) {
        for (class, place) in SizeClass::all().flat_map(|class| [(class, loaded(class)), (class, previous(class))]) {
            let top = self.top(place);
            // Relaxed: the caller owns all of it.
            self.tops[place].store(Top::NONE.to_raw(), Ordering::Relaxed);
            arsenal.depot.give(class, top, self.home.get());
        }
    }
}

#[cfg(all(test, not(loom)))]
#[path = "../../unit-tests/cpus.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "../../loom-tests/cpus.rs"]
mod loom_tests;
