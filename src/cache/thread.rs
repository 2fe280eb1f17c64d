//! A thread's own caches: what it knows, in thread-local storage, of the holsters (`holster.rs`) that it wears.
//!
//! There are two: one for the heap of the process, and one for the first other heap whose chunks the thread takes or gives. Only
//! that of the second kind has to be asked whose it is, before it is used.
//!
//! ```text
//!   new ──enter──▶ registering ──exit hook set──▶ live ──thread exits──▶ gone
//!                       │ (what the hook's registration allocates goes to the shared slots)
//!                       └──no hook to be had──▶ gone
//! ```
//!
//! The cache itself has no destructor, so the fast path is a plain access to thread-local storage, valid at any time:
//! before `main`, in other destructors, after the exit hook. Only in `live` is the holster one of a heap, and only then
//! are the magazines anything but `Top::NONE`; so the fast path asks for no state, and for other heaps than that of the
//! process one comparison of the owner is all that it asks.
//!
//! The exit hook hands the magazines in at the depot. On Linux it is the destructor of a pthread key, which runs after those
//! of thread-locals, while their memory is still there, may be set at any time, and needs nothing from the standard library.
//! Elsewhere a key's destructor may come after the end of the cache itself, so there it is a thread-local with a destructor.
//! (Before Rust 1.93 the standard library keeps such destructors, outside of Linux with glibc, in a list that it allocates
//! from the global allocator, and ends the process if a thread's first use of memory is to register one of the program's
//! own.) What runs later still finds the state `gone`, and the shared slots.
//!
//! # Invariants
//! - A cache has magazines of one heap only, that of its holster, which stays in place while the thread is counted there
//!   (`Arsenal::enlist`): a heap is not torn down before.

use super::holster::{Holster, Unworn};
use super::holsters::Holsters;
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::{HARDENED, WORN_BYTES};
use crate::home::Home;
use crate::magazine::Round;
use crate::size_class::{PerClass, SizeClass};
use crate::supply::Supply;
use crate::sync::const_fn;
use core::cell::Cell;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Registering,
    Live,
    Gone,
}

/// What one thread has of one heap.
pub(crate) struct ThreadCache {
    /// One that nobody wears, unless the state is `Live`.
    holster: Cell<*const Holster>,
    /// How often the thread came by for a class without magazines of its own for it, or [`OWN`].
    heat: PerClass<Cell<u16>>,
    /// Classes of which it has come by with magazines of its own, since it last looked which it needs no longer; as bits.
    used: Cell<u64>,
    /// How often it has come by since then.
    visits: Cell<u16>,
    /// How often in a row it got no turn, being searched.
    refused: Cell<u16>,
    state: Cell<State>,
    unworn: Unworn,
}

/// Times that a thread has to come by to get magazines of its own at all; then it gets them for each class for which it has come by
/// [`STEP`] times. (Threads that live for a moment, as Larson's benchmark has them, use many classes, and took 1.2 and 1.7 times as
/// long when they had to come by 128 and 512 times for each.)
const EARNED: u16 = 512;
const STEP: u16 = 64;

/// The heat of a class of which the thread has its own magazines.
const OWN: u16 = u16::MAX;

/// Times that a thread finds itself searched until it takes another holster.
const PATIENCE: u16 = 4096;

/// Times that it comes by with its own magazines until it looks which of them it needs no longer; of a hardened heap each free is one.
const TERM: u16 = if HARDENED { 64_000 } else { 8192 };

const _: () = assert!(SizeClass::COUNT <= u64::BITS as usize);

/// A slow path of the thread, in which it may touch its magazines.
pub(crate) struct Turn<'a>(&'a Holster);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Turn<'_> {
    /// Takes a chunk after `pop` had none.
    pub(crate) fn alloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Round> {
        // SAFETY: the thread wears it, and its turn has begun.
        unsafe { self.0.alloc(arsenal, backend, class) }
    }

    /// Gives a chunk after `push` had no room; the home that what was freed is noted for.
    pub(crate) fn dealloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass, round: Round) -> Home {
        // SAFETY: the thread wears it, and its turn has begun; the chunk was handed to it.
        unsafe { self.0.dealloc(arsenal, backend, class, round) };
        self.0.home()
    }

    /// Where the thread looks first.
    pub(crate) fn home(&self) -> Home {
        self.0.home()
    }
}

impl ThreadCache {
    const_fn! {
        /// A thread that has not been here before.
        pub(crate) fn new() -> Self {
            let unworn = Unworn::new();
            Self {
                holster: Cell::new(unworn.get()),
                heat: PerClass([const { Cell::new(0) }; SizeClass::COUNT]),
                used: Cell::new(0),
                visits: Cell::new(0),
                refused: Cell::new(0),
                state: Cell::new(State::New),
                unworn,
            }
        }
    }

    #[inline(always)]
    fn holster(&self) -> &Holster {
        // SAFETY: one that nobody wears, or one that the thread wears: its heap stays while the thread is counted there.
        unsafe { &*self.holster.get() }
    }

    /// Whether the thread works for the heap of that address, by what it knows.
    #[inline(always)]
    pub(crate) fn works_for(&self, owner: *const Arsenal) -> bool {
        self.holster().is_of(owner)
    }

    /// Takes a chunk, if there is one loaded: of the heap that the thread works for.
    #[inline(always)]
    pub(crate) fn pop(&self, class: SizeClass) -> Option<Round> {
        // SAFETY: the thread wears it, or nobody does.
        unsafe { self.holster().pop(class) }
    }

    /// Puts a chunk in, if the loaded magazine has room. It is one of the heap that the thread works for, or the thread
    /// works for none.
    #[inline(always)]
    pub(crate) fn push(&self, class: SizeClass, round: Round) -> bool {
        // SAFETY: as above; the chunk is the caller's, of that heap.
        unsafe { self.holster().push(class, round) }
    }

    /// A turn for `arsenal`, if the thread works for it; a thread that works for nobody yet starts to, if `register` can set
    /// the exit hook and there is memory. None while another thread searches this one's holster.
    pub(crate) fn enter<B: Backend>(
        &self,
        arsenal: &Arsenal,
        holsters: &Holsters,
        supply: Supply<'_, B>,
        register: impl FnOnce() -> bool,
    ) -> Option<Turn<'_>> {
        let begins = || self.state.get() == State::New && self.start(arsenal, holsters, supply, register);
        (self.works_for(arsenal) || begins()).then_some(())?;
        self.turn(arsenal)
    }

    /// A turn for `arsenal`, if the thread works for it already, and is not searched just now.
    pub(crate) fn turn(&self, arsenal: &Arsenal) -> Option<Turn<'_>> {
        let holster = self.holster();
        holster.is_of(arsenal).then_some(())?;
        if holster.begin(arsenal) {
            self.refused.set(0);
            return Some(Turn(holster));
        }
        self.refused.set(self.refused.get() + 1);
        if self.refused.get() >= PATIENCE {
            self.abandon(holster);
        }
        None
    }

    /// Leaves a holster behind that is searched for very long: who searches it may be a thread of the process that this one is a
    /// fork of, and never come back. The next turn gets another one.
    #[cold]
    #[inline(never)]
    fn abandon(&self, holster: &Holster) {
        self.refused.set(0);
        if holster.abandon() {
            self.holster.set(self.unworn.get());
            self.state.set(State::New);
        }
    }

    /// Begins to work for `arsenal`, if the exit hook is set; whether it does.
    #[cold]
    fn start<B: Backend>(
        &self,
        arsenal: &Arsenal,
        holsters: &Holsters,
        supply: Supply<'_, B>,
        register: impl FnOnce() -> bool,
    ) -> bool {
        self.state.set(State::Registering);
        if !register() {
            self.state.set(State::Gone);
            return false;
        }
        let Some(holster) = holsters.wear(arsenal, supply) else {
            // There may be memory at the next call.
            self.state.set(State::New);
            return false;
        };
        self.holster.set(holster);
        self.state.set(State::Live);
        true
    }

    /// Whether a thread that comes by for `class` has nothing else to do about it than to go to its CPU; counts this time.
    #[inline(always)]
    pub(crate) fn comes_by(&self, class: SizeClass) -> bool {
        let heat = self.heat[class].get();
        if heat == OWN {
            return false;
        }
        self.heat[class].set(heat + 1);
        (heat + 1) % STEP != 0
    }

    /// Whether the thread has magazines of its own for `class`, or gets them now.
    #[inline(always)]
    pub(crate) fn earns(&self, class: SizeClass) -> bool {
        let heat = self.heat[class].get();
        if heat != OWN && (heat % STEP != 0 || !self.promote(class)) {
            return false;
        }
        self.used.set(self.used.get() | 1 << class.number());
        self.visits.set(self.visits.get().saturating_add(1));
        true
    }

    /// Gives the thread magazines of its own for `class`, if it has come by often enough; whether it has.
    #[cold]
    #[inline(never)]
    fn promote(&self, class: SizeClass) -> bool {
        let heat = &self.heat[class];
        if self.state.get() == State::Gone {
            // And never again.
            heat.set(1);
            return false;
        }
        // What is the thread's own has earned that much.
        let times = self.heat.0.iter().map(|heat| usize::from(heat.get().min(EARNED))).sum::<usize>();
        if heat.get() == 0 || times < EARNED.into() {
            return false;
        }
        heat.set(OWN);
        // It is time to look for those that it does not need, if it has enough.
        let holster = self.holster();
        if SizeClass::all().map(|class| holster.capacity(class)).sum::<usize>() >= WORN_BYTES {
            self.visits.set(TERM);
        }
        true
    }

    /// Gives those of its magazines up that it needs no longer, if it is time to look, and those that are too many: for a
    /// thread that earns its magazines.
    #[inline(always)]
    pub(crate) fn settle(&self, arsenal: &Arsenal, turn: &Turn<'_>) {
        if self.visits.get() >= TERM {
            self.cool(arsenal, turn.0);
        }
    }

    /// Hands in the magazines of classes that were not used in this term; and if the rest is more than [`WORN_BYTES`], of
    /// those with the largest chunks.
    #[cold]
    #[inline(never)]
    fn cool(&self, arsenal: &Arsenal, holster: &Holster) {
        let (used, mut worn) = (self.used.replace(0), 0);
        self.visits.set(0);
        for class in SizeClass::all() {
            worn += holster.capacity(class);
            if used >> class.number() & 1 == 0 || worn > WORN_BYTES {
                worn -= holster.capacity(class);
                holster.hand_in_class(arsenal, class);
                self.heat[class].set(0);
            }
        }
    }

    /// Hands all magazines of `arsenal` in, if the thread works for it; its holster, if so.
    pub(crate) fn flush(&self, arsenal: &Arsenal) -> Option<&Holster> {
        let turn = self.turn(arsenal)?;
        turn.0.hand_in(arsenal);
        self.heat.0.iter().for_each(|heat| heat.set(0));
        Some(turn.0)
    }

    /// Ends the thread's work for whomever it works for: the exit hook, and all that it does.
    pub(crate) fn leave(&self) {
        let was = self.state.replace(State::Gone);
        if was != State::Live {
            return;
        }
        let holster = self.holster();
        // SAFETY: the heap stays in place while this thread is counted there.
        let arsenal = unsafe { &*holster.owner() };
        self.holster.set(self.unworn.get());
        if !holster.shed(arsenal) {
            // Who searches it hands in what is left, and counts this thread off.
            return;
        }
        let home = holster.home();
        holster.put_back();
        if let Some(tidy) = arsenal.tidy {
            tidy(arsenal, home);
        }
        arsenal.discharge();
    }

    /// Ends the thread's work for `arsenal`, which is about to be torn down; it may then work for another.
    pub(crate) fn part(&self, arsenal: &Arsenal) {
        let holster = self.holster();
        if holster.is_of(arsenal) {
            self.holster.set(self.unworn.get());
            self.state.set(State::New);
            if holster.shed(arsenal) {
                holster.put_back();
                arsenal.discharge();
            }
        }
    }
}

/// The calling thread's caches.
#[cfg(not(all(test, loom)))]
mod local {
    use super::ThreadCache;

    std::thread_local! {
        static SOLE: ThreadCache = const { ThreadCache::new() };
        static OTHER: ThreadCache = const { ThreadCache::new() };
    }

    /// Works on the calling thread's cache for the heap of the process, if it is the `sole` one, or for all others.
    #[inline(always)]
    pub(crate) fn with<R>(sole: bool, work: impl FnOnce(&ThreadCache) -> R) -> R {
        let key = if sole { &SOLE } else { &OTHER };
        key.with(work)
    }

    unsafe extern "C" fn leave(_: *mut core::ffi::c_void) {
        with(true, ThreadCache::leave);
        with(false, ThreadCache::leave);
    }

    /// Sets the exit hook of the calling thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn register() -> bool {
        crate::backend::os::at_thread_exit(leave)
    }

    /// Sets the exit hook of the calling thread, unless it has run already.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn register() -> bool {
        struct Hook;

        impl Drop for Hook {
            fn drop(&mut self) {
                // SAFETY: it asks nothing of its argument.
                unsafe { leave(core::ptr::null_mut()) };
            }
        }

        std::thread_local! {
            static HOOK: Hook = const { Hook };
        }
        // Where thread-locals are keys of the system (Windows with GNU's tools) all of them have an end, and what was made last ends
        // first: the hook, before the caches that it looks at.
        with(true, |_| ());
        with(false, |_| ());
        HOOK.try_with(|_| ()).is_ok()
    }
}

/// Why threads cannot have caches just now; `None` if they can.
#[cfg(not(all(test, loom)))]
pub(crate) fn why_not() -> Option<&'static str> {
    #[cfg(any(unix, windows))]
    return crate::backend::os::no_thread_exit().then_some("the system has no key left to tell of a thread's exit");
    #[cfg(not(any(unix, windows)))]
    None
}

#[cfg(not(all(test, loom)))]
pub(crate) use local::{register, with};

#[cfg(all(test, not(loom)))]
#[path = "../../unit-tests/thread.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "../../loom-tests/thread.rs"]
mod loom_tests;
