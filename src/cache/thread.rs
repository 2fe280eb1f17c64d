//! A thread's own caches: magazines in thread-local storage, touched by nobody else.
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
//! before `main`, in other destructors, after the exit hook. Only in `live` does the `owner` match a heap, and only then
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
//! - A cache has magazines of one heap only, that of `owner`, which stays in place while the thread is counted there
//!   (`Arsenal::enlist`): a heap is not torn down before.

use super::Pair;
use super::pouch::Pouch;
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::SPARES;
use crate::home::Home;
use crate::magazine::{Round, Top};
use crate::size_class::{PerClass, SizeClass};
use core::cell::Cell;
use core::ptr;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    New,
    Registering,
    Live,
    Gone,
}

/// The magazines that one thread has of one heap.
pub(crate) struct ThreadCache {
    owner: Cell<*const Arsenal>,
    loaded: PerClass<Cell<Top>>,
    previous: PerClass<Cell<Top>>,
    /// How often the thread came by for a class without magazines of its own for it.
    heat: PerClass<Cell<u8>>,
    generation: Cell<u32>,
    state: Cell<State>,
    pouch: Pouch<SPARES>,
}

/// Times that a thread has to come by to get magazines of its own.
const EARNED: u8 = 64;

/// Equal to no heap's address, not even to that of a heap which is not there yet.
const NOBODY: *const Arsenal = ptr::without_provenance(1);

impl ThreadCache {
    /// A thread that has not been here before.
    pub(crate) const fn new() -> Self {
        Self {
            owner: Cell::new(NOBODY),
            loaded: PerClass([const { Cell::new(Top::NONE) }; SizeClass::COUNT]),
            previous: PerClass([const { Cell::new(Top::NONE) }; SizeClass::COUNT]),
            heat: PerClass([const { Cell::new(0) }; SizeClass::COUNT]),
            generation: Cell::new(0),
            state: Cell::new(State::New),
            pouch: Pouch::new(Home::COMMON),
        }
    }

    /// Whether the thread works for the heap of that address, by what it knows.
    #[inline(always)]
    pub(crate) fn works_for(&self, owner: *const Arsenal) -> bool {
        self.owner.get() == owner
    }

    /// Takes a chunk, if there is one loaded: of the heap that the thread works for.
    #[inline(always)]
    pub(crate) fn pop(&self, class: SizeClass) -> Option<Round> {
        // SAFETY: the thread owns its magazines, and goes on with what is left.
        let (round, top) = unsafe { self.loaded[class].get().pop() }?;
        self.loaded[class].set(top);
        Some(round)
    }

    /// Puts a chunk in, if the loaded magazine has room. It is one of the heap that the thread works for, or the thread
    /// works for none.
    #[inline(always)]
    pub(crate) fn push(&self, class: SizeClass, round: Round) -> bool {
        // SAFETY: the thread owns its magazines, and goes on with what becomes of this one.
        let Some(top) = (unsafe { self.loaded[class].get().push(round) }) else {
            return false;
        };
        self.loaded[class].set(top);
        true
    }

    /// Whether the thread works for `arsenal`; a thread that works for nobody yet starts to, if `register` can set the
    /// exit hook. Also obeys recalls.
    pub(crate) fn enter(&self, arsenal: &Arsenal, register: impl FnOnce() -> bool) -> bool {
        if !self.works_for(arsenal) {
            return self.state.get() == State::New && self.start(arsenal, register);
        }
        if self.generation.get() != arsenal.generation() {
            self.flush(arsenal);
        }
        true
    }

    /// Begins to work for `arsenal`, if the exit hook is set; whether it does.
    #[cold]
    fn start(&self, arsenal: &Arsenal, register: impl FnOnce() -> bool) -> bool {
        self.state.set(State::Registering);
        if !register() {
            self.state.set(State::Gone);
            return false;
        }
        self.generation.set(arsenal.generation());
        self.pouch.set_home(arsenal.enlist());
        self.owner.set(arsenal);
        self.state.set(State::Live);
        true
    }

    /// Whether the thread has come by for `class` often enough to get magazines of its own; counts this time.
    pub(crate) fn earns(&self, class: SizeClass) -> bool {
        let heat = self.heat[class].get();
        let earned = heat >= EARNED;
        self.heat[class].set(heat + u8::from(!earned));
        earned && self.state.get() != State::Gone
    }

    fn with<R>(&self, class: SizeClass, work: impl FnOnce(&mut Pair) -> R) -> R {
        let mut pair = self.pair(class);
        let result = work(&mut pair);
        self.loaded[class].set(pair.loaded);
        self.previous[class].set(pair.previous);
        result
    }

    /// The magazines of a class. Whoever changes them writes them back.
    fn pair(&self, class: SizeClass) -> Pair {
        Pair { loaded: self.loaded[class].get(), previous: self.previous[class].get() }
    }

    /// Takes a chunk after `pop` had none and `enter` said yes.
    pub(crate) fn alloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Round> {
        self.with(class, |pair| pair.pop().or_else(|| pair.alloc(arsenal, backend, class, &self.pouch)))
    }

    /// Gives a chunk after `push` had no room and `enter` said yes; the home that what was freed is noted for.
    pub(crate) fn dealloc<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass, round: Round) -> Home {
        self.with(class, |pair| {
            if !pair.push(round) {
                pair.dealloc(arsenal, backend, class, round, &self.pouch);
            }
        });
        self.home()
    }

    /// Hands all magazines in at the depot.
    fn hand_in(&self, arsenal: &Arsenal) {
        for class in SizeClass::all() {
            let pair = self.pair(class);
            self.loaded[class].set(Top::NONE);
            self.previous[class].set(Top::NONE);
            pair.hand_in(arsenal, class, self.home());
        }
        self.pouch.hand_in(arsenal);
    }

    /// Hands all magazines of `arsenal` in, if the thread works for it.
    pub(crate) fn flush(&self, arsenal: &Arsenal) {
        if self.works_for(arsenal) {
            self.generation.set(arsenal.generation());
            self.hand_in(arsenal);
        }
    }

    /// Where the thread looks first.
    pub(crate) fn home(&self) -> Home {
        self.pouch.home()
    }

    /// Rounds of `class`, if the thread works for `arsenal`.
    pub(crate) fn rounds(&self, arsenal: &Arsenal, class: SizeClass) -> usize {
        if self.works_for(arsenal) { self.pair(class).rounds() } else { 0 }
    }

    /// Ends the thread's work for whomever it works for: the exit hook, and all that it does.
    pub(crate) fn leave(&self) {
        self.state.set(State::Gone);
        let owner = self.owner.replace(NOBODY);
        if owner == NOBODY {
            return;
        }
        // SAFETY: the heap stays in place while this thread is counted there, by the invariant.
        let arsenal = unsafe { &*owner };
        self.hand_in(arsenal);
        if let Some(tidy) = arsenal.tidy {
            tidy(arsenal, self.home());
        }
        arsenal.discharge();
    }

    /// Ends the thread's work for `arsenal`, which is about to be torn down; it may then work for another.
    pub(crate) fn part(&self, arsenal: &Arsenal) {
        if self.works_for(arsenal) {
            self.owner.set(NOBODY);
            self.state.set(State::New);
            self.hand_in(arsenal);
            arsenal.discharge();
        }
    }
}

/// The calling thread's caches.
#[cfg(not(all(test, loom)))]
mod local {
    use super::ThreadCache;
    use crate::cache::cpu;

    std::thread_local! {
        static SOLE: ThreadCache = const { ThreadCache::new() };
        static OTHER: ThreadCache = const { ThreadCache::new() };
    }

    /// Works on the calling thread's cache for the heap of the process, if it is the `sole` one, or for all others.
    #[inline(always)]
    pub(crate) fn with<R>(sole: bool, work: impl FnOnce(&ThreadCache) -> R) -> R {
        let key = if sole { &SOLE } else { &OTHER };
        // SAFETY: it is the same reference.
        key.with(|cache| work(unsafe { &*cpu::in_register(cache) }))
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
        HOOK.try_with(|_| ()).is_ok()
    }
}

#[cfg(not(all(test, loom)))]
pub(crate) use local::{register, with};

#[cfg(all(test, loom))]
#[path = "../../loom-tests/thread.rs"]
mod loom_tests;
