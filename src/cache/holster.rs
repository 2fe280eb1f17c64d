//! What a thread wears: its magazines of one heap, at a place where other threads can find them.
//!
//! ```text
//!   thread ─▶ holster ─front─▶ own     the tops of the loaded magazines: all that the fast paths touch
//!                        └───▶ bare    no magazines, for ever: what they find once the thread has been stopped
//!
//!             wear            search                    end of the search
//!   Idle ───────────▶ Worn ─────────────▶ Searched ────────────────────────▶ Worn
//!    ▲  ▲              │ shed, resume         │ shed: the thread is gone
//!    │  └──────────────┘                      ▼
//!    └───────────────────────────────────── Left      (the searcher does what is left to do)
//! ```
//!
//! A fast path reads `front`, a top there, a word of the magazine, and writes the top: at most one round moves between two
//! reads of `front`. A slow path says so in `busy` before it looks whether `front` is still the thread's own, and touches the
//! rest only then. So another thread, who may belong to a reclaim while this one sleeps:
//!
//! ```text
//!   search     state: Worn ─▶ Searched;   front = bare;   heavy fence
//!   busy?      the thread is in a slow path: not asleep; it hands in what it has by itself when it is next asked
//!   idle       it may still be about to end ONE fast path that had read `front` before: to take the last round of some
//!              class, or to put one on top of it. All below the last round of each class is the searcher's,
//!              and so is everything that only slow paths touch.
//! ```
//!
//! The thread finds no magazines when it comes by again, and resumes: it hands in what the search has left and starts anew.
//! While it is still being searched it does not wait, but works without magazines of its own.
//!
//! # Invariants
//! - Fast paths touch nothing but what `front` points to; the thread writes `front` only in `Idle`, a searcher in `Searched`.
//! - Slow paths touch the rest only while `busy`, after they have seen `front` point to `own`, or in `Idle`.
//! - An idle holster has no magazines.

use super::Pair;
use super::fence;
use super::holsters::Holsters;
use super::pouch::Pouch;
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::SPARES;
use crate::home::Home;
use crate::magazine::{Round, Top};
use crate::pool::Record;
use crate::size_class::{PerClass, SizeClass};
use crate::sync::{self, Atomic, AtomicPtr, Ordering, array, const_fn};
use crate::tell;
use crate::treiber::Index;
use core::cell::Cell;
use core::ptr::{self, NonNull};

/// The tops of the loaded magazines, by class.
#[repr(C, align(64))]
pub(crate) struct Front(PerClass<AtomicPtr<*mut u8>>);

impl Front {
    const_fn! {
        fn bare() -> Self {
            Self(PerClass(array![AtomicPtr::new(Top::NONE.to_raw()); SizeClass::COUNT]))
        }
    }

    /// # Safety
    /// The caller is the thread that works with this front.
    #[inline(always)]
    unsafe fn pop(&self, class: SizeClass) -> Option<Round> {
        let top = fence::step(|| get(&self.0[class]));
        // SAFETY: the thread owns its magazines, and goes on with what is left; a searcher leaves it the last round.
        let (round, top) = unsafe { top.pop() }?;
        fence::step(|| set(&self.0[class], top));
        Some(round)
    }

    /// # Safety
    /// As for [`pop`](Self::pop); and the chunk is the caller's.
    #[inline(always)]
    unsafe fn push(&self, class: SizeClass, round: Round) -> bool {
        let top = fence::step(|| get(&self.0[class]));
        // SAFETY: as in `pop`.
        let Some(top) = (unsafe { top.push(round) }) else { return false };
        fence::step(|| set(&self.0[class], top));
        true
    }
}

#[inline(always)]
fn get(place: &AtomicPtr<*mut u8>) -> Top {
    // Relaxed: written by the one thread, or by who is in its stead, whom `state` and the fences bring into an order.
    // SAFETY: only `set` writes there, and no `Top` is null.
    unsafe { Top::from_raw(place.load(Ordering::Relaxed)).unwrap_unchecked() }
}

#[inline(always)]
fn set(place: &AtomicPtr<*mut u8>, top: Top) {
    // Relaxed: as in `get`.
    place.store(top.to_raw(), Ordering::Relaxed);
}

/// Nobody's, in the pool.
const IDLE: u8 = 0;
/// A thread has it.
const WORN: u8 = 1;
/// A thread has it, and another one searches it.
const SEARCHED: u8 = 2;
/// The thread that had it is gone, and another one searches it.
const LEFT: u8 = 3;

/// Equal to no heap's address, not even to that of a heap which is not there yet.
const NOBODY: *const Arsenal = ptr::without_provenance(1);

/// The magazines that one thread has of one heap.
#[repr(C, align(64))]
pub(crate) struct Holster {
    /// What the fast paths work with.
    front: AtomicPtr<Front>,
    /// The heap that it is of, and its holsters.
    owner: Cell<*const Arsenal>,
    holsters: Cell<*const Holsters>,
    next: Atomic<u32>,
    /// The link of those that were ever worn.
    pub(super) chain: Atomic<u32>,
    /// The link of those that one party searches together.
    pub(super) found: Cell<Option<Index>>,
    pub(super) index: Cell<Index>,
    pub(super) chained: Cell<bool>,
    state: Atomic<u8>,
    /// The thread is in a slow path.
    busy: Atomic<bool>,
    /// The thread was in a slow path since [`is_quiet`](Self::is_quiet) was last asked.
    stirs: Atomic<bool>,
    generation: Cell<u32>,
    pouch: Pouch<SPARES>,
    own: Front,
    previous: PerClass<AtomicPtr<*mut u8>>,
}

// SAFETY: what is not atomic is touched by the wearer in slow paths, and by a searcher that has found it in none; `state`,
// `busy` and the fences bring them into an order.
unsafe impl Sync for Holster {}

impl Record for Holster {
    /// The first one lies in the heap.
    const FIRST: u32 = 1;

    fn new(index: Index) -> Self {
        Self::unworn(index, ptr::null_mut())
    }

    unsafe fn renew(holster: NonNull<Self>, index: Index) {
        // SAFETY: the caller's; and nobody reads it meanwhile, for holsters are never trimmed, so it never comes to this.
        unsafe { holster.write(Self::new(index)) };
    }

    fn next(&self) -> &Atomic<u32> {
        &self.next
    }
}

/// For threads that wear none: nothing can be taken there, or put.
#[cfg(not(all(test, loom)))]
mod unworn {
    use super::{Front, Holster, Index};

    static BARE: Front = Front::bare();
    static HOLSTER: Holster = Holster::unworn(Index::MIN, (&raw const BARE).cast_mut());

    pub(crate) struct Unworn;

    impl Unworn {
        pub(crate) const fn new() -> Self {
            Self
        }

        pub(crate) const fn get(&self) -> *const Holster {
            &raw const HOLSTER
        }

        pub(crate) const fn bare(&self) -> *mut Front {
            (&raw const BARE).cast_mut()
        }
    }
}

/// In a model each thread has its own: there are no atomics of loom's in a static.
#[cfg(all(test, loom))]
mod unworn {
    use super::{Front, Holster, Index};
    use std::boxed::Box;

    pub(crate) struct Unworn(Box<Holster>, Box<Front>);

    impl Unworn {
        pub(crate) fn new() -> Self {
            let bare = Box::new(Front::bare());
            Self(Box::new(Holster::unworn(Index::MIN, (&raw const *bare).cast_mut())), bare)
        }

        pub(crate) fn get(&self) -> *const Holster {
            &raw const *self.0
        }

        pub(crate) fn bare(&self) -> *mut Front {
            (&raw const *self.1).cast_mut()
        }
    }
}

pub(crate) use unworn::Unworn;

impl Holster {
    const_fn! {
        fn unworn(index: Index, front: *mut Front) -> Self {
            Self {
                front: AtomicPtr::new(front),
                owner: Cell::new(NOBODY),
                holsters: Cell::new(ptr::null()),
                next: Atomic::new(0),
                chain: Atomic::new(0),
                found: Cell::new(None),
                index: Cell::new(index),
                chained: Cell::new(false),
                state: Atomic::new(IDLE),
                busy: Atomic::new(false),
                stirs: Atomic::new(false),
                generation: Cell::new(0),
                pouch: Pouch::new(Home::COMMON),
                own: Front::bare(),
                previous: PerClass(array![AtomicPtr::new(Top::NONE.to_raw()); SizeClass::COUNT]),
            }
        }
    }

    /// Whether it is of the heap of that address.
    #[inline(always)]
    pub(crate) fn is_of(&self, owner: *const Arsenal) -> bool {
        self.owner.get() == owner
    }

    /// The heap that it is of.
    pub(crate) fn owner(&self) -> *const Arsenal {
        self.owner.get()
    }

    /// Begins to be the calling thread's: one of the pool's, which nobody else has.
    pub(super) fn put_on(&self, holsters: &Holsters, arsenal: &Arsenal) {
        self.holsters.set(holsters);
        self.generation.set(arsenal.generation());
        self.pouch.set_home(arsenal.enlist());
        // Relaxed: nobody else touches an idle one.
        self.front.store(self.own(), Ordering::Relaxed);
        self.owner.set(arsenal);
        // Release: all of it, to a searcher.
        self.state.store(WORN, Ordering::Release);
    }

    // ---- the wearer, on its fast paths -------------------------------------------------------------------------------

    #[inline(always)]
    fn front(&self) -> &Front {
        fence::light();
        // Relaxed: whom a searcher has stopped, sees it by the searcher's heavy fence.
        let front = fence::step(|| self.front.load(Ordering::Relaxed));
        // SAFETY: `own`, or a bare front, which is there for ever.
        unsafe { &*front }
    }

    /// Takes a chunk, if there is one loaded.
    ///
    /// # Safety
    /// The caller wears the holster, or nobody ever will.
    #[inline(always)]
    pub(crate) unsafe fn pop(&self, class: SizeClass) -> Option<Round> {
        // SAFETY: the caller's promise.
        unsafe { self.front().pop(class) }
    }

    /// Puts a chunk of the heap in, if the loaded magazine has room.
    ///
    /// # Safety
    /// As for [`pop`](Self::pop); and the chunk is the caller's.
    #[inline(always)]
    pub(crate) unsafe fn push(&self, class: SizeClass, round: Round) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.front().push(class, round) }
    }

    // ---- the wearer, on its slow paths -------------------------------------------------------------------------------

    fn own(&self) -> *mut Front {
        (&raw const self.own).cast_mut()
    }

    /// Begins a slow path of the wearer; whether it may go on, which it may not while it is being searched. Also obeys recalls.
    pub(crate) fn begin(&self, arsenal: &Arsenal) -> bool {
        // Relaxed both: between them lies the light half of the fence whose heavy half lies between a searcher's change of the
        // one and its look at the other.
        fence::step(|| self.busy.store(true, Ordering::Relaxed));
        fence::light();
        let stopped = fence::step(|| self.front.load(Ordering::Relaxed)) != self.own();
        if stopped && !self.resume(arsenal) {
            return false;
        }
        // Models are of protocols, and of this there is none.
        if !cfg!(all(test, loom)) {
            // Relaxed: policy.
            self.stirs.store(true, Ordering::Relaxed);
        }
        if self.generation.replace(arsenal.generation()) != arsenal.generation() {
            self.hand_in(arsenal);
        }
        true
    }

    /// Ends a slow path.
    pub(crate) fn end(&self) {
        // Release: what was done in it, to a searcher that sees it over.
        fence::step(|| self.busy.store(false, Ordering::Release));
    }

    /// Goes on after a search: hands in what it has left, unless it still goes on; whether it does not.
    #[cold]
    #[inline(never)]
    fn resume(&self, arsenal: &Arsenal) -> bool {
        // With its Release: a searcher that saw this and not the end of the slow path before would miss what was done there.
        self.end();
        // Acquire: what the searcher has done, by the Release with which it ended.
        if self.state.compare_exchange(WORN, IDLE, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        self.hand_in(arsenal);
        self.busy.store(true, Ordering::Relaxed);
        self.front.store(self.own(), Ordering::Relaxed);
        // Release: all of it, to the next searcher.
        self.state.store(WORN, Ordering::Release);
        true
    }

    /// Works on the magazines of a class.
    ///
    /// # Safety
    /// The caller has begun a slow path, or has the holster for itself.
    unsafe fn with<R>(&self, class: SizeClass, work: impl FnOnce(&mut Pair) -> R) -> R {
        let mut pair = self.pair(class);
        let result = work(&mut pair);
        // Models are of protocols, and of this there is none: it would hide what others need.
        if !cfg!(all(test, loom)) {
            // Release: magazines made just now, to who counts what is in them, by this or a later store of the thread.
            sync::fence(Ordering::Release);
            tell::before(&raw const self.own);
        }
        set(&self.own.0[class], pair.loaded);
        set(&self.previous[class], pair.previous);
        result
    }

    /// Rounds in the magazines of a class, by anybody; exact while nobody works.
    pub(super) fn rounds(&self, class: SizeClass) -> usize {
        let pair = self.pair(class);
        // Acquire: the magazines, by the fence in `with`.
        sync::fence(Ordering::Acquire);
        tell::after(&raw const self.own);
        pair.rounds()
    }

    /// The magazines of a class. Who changes them writes them back.
    pub(super) fn pair(&self, class: SizeClass) -> Pair {
        Pair { loaded: get(&self.own.0[class]), previous: get(&self.previous[class]) }
    }

    /// Takes a chunk.
    ///
    /// # Safety
    /// The caller wears the holster and has begun a slow path.
    pub(crate) unsafe fn alloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Round> {
        let work = |pair: &mut Pair| pair.pop().or_else(|| pair.alloc(arsenal, backend, class, &self.pouch));
        // SAFETY: the caller's promise.
        unsafe { self.with(class, work) }
    }

    /// Gives a chunk.
    ///
    /// # Safety
    /// As for [`alloc`](Self::alloc); and the chunk is the caller's.
    pub(crate) unsafe fn dealloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass, round: Round) {
        let work = |pair: &mut Pair| {
            pair.give(arsenal, backend, class, round, &self.pouch);
        };
        // SAFETY: the caller's promise.
        unsafe { self.with(class, work) }
    }

    /// Hands all magazines in at the depot, by who may touch them all.
    pub(crate) fn hand_in(&self, arsenal: &Arsenal) {
        SizeClass::all().for_each(|class| self.hand_in_class(arsenal, class));
        self.pouch.hand_in(arsenal);
    }

    /// Hands the magazines of a class in, by who may touch them.
    pub(crate) fn hand_in_class(&self, arsenal: &Arsenal, class: SizeClass) {
        let Pair { loaded, previous } = self.pair(class);
        set(&self.own.0[class], Top::NONE);
        set(&self.previous[class], Top::NONE);
        // SAFETY: the caller's, and handed in at once.
        let loaded = unsafe { arsenal.depot.restack(class, loaded) };
        Pair { loaded, previous }.hand_in(arsenal, class, self.home());
    }

    /// Bytes that fit into the magazines of a class.
    pub(crate) fn capacity(&self, class: SizeClass) -> usize {
        let Pair { loaded, previous } = self.pair(class);
        usize::from(loaded.capacity().0 + previous.capacity().0) * class.bytes()
    }

    /// Where the thread looks first.
    pub(crate) fn home(&self) -> Home {
        self.pouch.home()
    }

    /// Takes the holster off for good. What is in it goes to the depot, by this thread or by who searches it just now; whether
    /// it was this thread.
    pub(crate) fn shed(&self, arsenal: &Arsenal) -> bool {
        loop {
            // Acquire: as in `resume`.
            if self.state.compare_exchange(WORN, IDLE, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                self.hand_in(arsenal);
                return true;
            }
            // If the search is over in between, the turn above is next.
            if self.abandon() {
                return false;
            }
        }
    }

    /// Leaves the holster to who searches it just now; whether somebody did.
    pub(crate) fn abandon(&self) -> bool {
        // Release: all that this thread did, to who searches.
        self.state.compare_exchange(SEARCHED, LEFT, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Lets another thread wear it, after [`shed`](Self::shed).
    pub(crate) fn put_back(&self) {
        self.owner.set(NOBODY);
        // SAFETY: set before it was worn; the holsters live as long as any of them.
        if let Some(holsters) = unsafe { self.holsters.get().as_ref() } {
            holsters.put_back(self.index.get());
        }
    }

    // ---- a searcher --------------------------------------------------------------------------------------------------

    /// Whether the thread has something, and was in no slow path since the last time this was asked.
    pub(super) fn is_quiet(&self) -> bool {
        // Relaxed all: policy.
        let stirs = self.stirs.load(Ordering::Relaxed);
        if stirs {
            self.stirs.store(false, Ordering::Relaxed);
        }
        !stirs && self.is_worn() && self.front.load(Ordering::Relaxed) == self.own()
    }

    /// Stops the thread that wears it, if there is one, and nobody else does the same.
    pub(super) fn stop(&self, bare: *mut Front) -> bool {
        // Acquire: what the last searcher or the thread did, by the Release of `wear`, `resume` or `let_go`.
        let ours = self.state.compare_exchange(WORN, SEARCHED, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if ours {
            // Relaxed: made known by the heavy fence, without which nothing is done.
            self.front.store(bare, Ordering::Relaxed);
        }
        ours
    }

    /// Takes what a stopped thread has, after a heavy fence; whether it could, which it could not from a thread at work.
    pub(super) fn search<B: Backend>(&self, arsenal: &Arsenal, backend: &B) -> bool {
        // Acquire: what the thread did in its last slow path, by the Release of `end`.
        if self.busy.load(Ordering::Acquire) {
            return false;
        }
        for (class, place) in self.own.0.iter() {
            let give = |rounds: &mut [Round]| {
                arsenal.surplus.note(rounds.len() * class.bytes(), self.home());
                arsenal.give(backend, rounds);
            };
            // SAFETY: the thread is stopped but for one fast path, which touches the last round or what is above.
            unsafe { get(place).strip(give) };
            let previous = get(&self.previous[class]);
            set(&self.previous[class], Top::NONE);
            arsenal.depot.give(class, previous, self.home());
        }
        self.pouch.hand_in(arsenal);
        true
    }

    pub(super) fn is_worn(&self) -> bool {
        // Relaxed: a figure.
        self.state.load(Ordering::Relaxed) != IDLE
    }

    /// Ends a search; does what is left to do if the thread has gone meanwhile.
    pub(super) fn let_go(&self, arsenal: &Arsenal) {
        // Release: what was done, to the thread. Acquire on failure: what it did last, by the Release of `shed`.
        if self.state.compare_exchange(SEARCHED, WORN, Ordering::Release, Ordering::Acquire).is_err() {
            self.hand_in(arsenal);
            self.state.store(IDLE, Ordering::Relaxed);
            self.put_back();
            arsenal.discharge();
        }
    }
}
