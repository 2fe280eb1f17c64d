//! The holsters of a heap: those that threads wear, those that wait for one, and the way to what is in them.

use super::fence;
use super::holster::{Holster, Unworn};
use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::pool::Pool;
use crate::size_class::SizeClass;
use crate::supply::Supply;
use crate::sync::{Atomic, Ordering, const_fn};
use crate::treiber::Index;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::ptr::{self, NonNull};

/// The holsters of a heap.
pub(crate) struct Holsters {
    pool: Pool<Holster>,
    /// All that were ever worn.
    all: Atomic<u32>,
    unworn: Unworn,
    /// For the first thread, so that one alone needs no memory for it.
    first: UnsafeCell<MaybeUninit<Holster>>,
}

// SAFETY: the first holster is touched as one of the pool's.
unsafe impl Sync for Holsters {}

/// Holsters that are searched after one fence.
const TOGETHER: usize = 32;

/// Threads whose magazines were to be taken, and could not be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Missed(pub(crate) usize);

impl Holsters {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                pool: Pool::new(),
                all: Atomic::new(0),
                unworn: Unworn::new(),
                first: UnsafeCell::new(MaybeUninit::uninit()),
            }
        }
    }

    /// Makes the first holster ready, once the holsters are at the place where they stay.
    pub(crate) fn settle(&self) {
        self.pool.lend(NonNull::from(&self.first).cast());
    }

    /// A holster for the calling thread; `None` when there is no memory for one.
    pub(crate) fn wear<B: Backend>(&self, arsenal: &Arsenal, supply: Supply<'_, B>) -> Option<&Holster> {
        let index = self.pool.take(supply)?;
        let holster = self.pool.get(index);
        holster.put_on(self, arsenal);
        if !holster.chained.replace(true) {
            self.list(index, holster);
        }
        Some(holster)
    }

    /// Lets another thread wear it.
    pub(super) fn put_back(&self, holster: Index) {
        self.pool.give(holster);
    }

    /// Puts a holster on the list of all.
    fn list(&self, index: Index, holster: &Holster) {
        // Relaxed: the exchange checks it, and whoever follows the chain has acquired the head.
        let mut head = self.all.load(Ordering::Relaxed);
        loop {
            holster.chain.store(head, Ordering::Relaxed);
            // Release: the record. An exchange reads the one before and so goes on with its release.
            match self.all.compare_exchange_weak(head, index.get(), Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    /// All that were ever worn.
    fn each(&self) -> impl Iterator<Item = &Holster> {
        // Acquire: the records, by the Release in `list`.
        let mut next = Index::new(self.all.load(Ordering::Acquire));
        core::iter::from_fn(move || {
            let holster = self.pool.get(next?);
            // Relaxed: written once, before the record was put on the list.
            next = Index::new(holster.chain.load(Ordering::Relaxed));
            Some(holster)
        })
    }

    /// Hands in what threads have, asleep or not, but for those in a slow path, and the one that wears `but`.
    pub(crate) fn search<B: Backend>(&self, arsenal: &Arsenal, backend: &B, but: Option<&Holster>) -> Missed {
        let others = |holster: &Holster| but.is_none_or(|but| !ptr::eq(holster, but));
        if !fence::is_allowed() {
            return Missed(self.each().filter(|holster| holster.is_worn() && others(holster)).count());
        }
        self.search_some(arsenal, backend, others)
    }

    /// Hands in what those threads have that were in no slow path since the last call, if the system allows it.
    pub(crate) fn search_quiet<B: Backend>(&self, arsenal: &Arsenal, backend: &B) -> Missed {
        if !fence::is_allowed() {
            return Missed(0);
        }
        self.search_some(arsenal, backend, Holster::is_quiet)
    }

    fn search_some<B: Backend>(&self, arsenal: &Arsenal, backend: &B, which: impl Fn(&Holster) -> bool) -> Missed {
        let mut missed = 0;
        let mut worn = self.each().filter(|holster| which(holster)).peekable();
        // A few at a time, for what one of them has is hidden meanwhile, from the thread itself, too.
        while worn.peek().is_some() {
            let mut stopped = None;
            for holster in worn.by_ref().take(TOGETHER).filter(|holster| holster.stop(self.unworn.bare())) {
                holster.found.set(stopped);
                stopped = Some(holster.index.get());
            }
            let fenced = stopped.is_some() && fence::heavy();
            while let Some(index) = stopped {
                let holster = self.pool.get(index);
                stopped = holster.found.get();
                missed += usize::from(!(fenced && holster.search(arsenal, backend)));
                holster.let_go(arsenal);
            }
        }
        Missed(missed)
    }

    /// Rounds of `class` that threads have; exact while nobody works.
    pub(crate) fn rounds(&self, class: SizeClass) -> usize {
        self.each().map(|holster| holster.rounds(class)).sum()
    }

    /// Bytes of the first record, which lies in here.
    pub(crate) const OWN: usize = size_of::<Holster>();

    /// Bytes of records in use, the first among them if it is.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.pool.bytes_in_use()
    }

    /// Gives all records back.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        // SAFETY: the caller's promise.
        unsafe { self.pool.release(supply, !cfg!(all(test, loom))) };
    }
}

#[cfg(all(test, loom))]
#[path = "../../loom-tests/holsters.rs"]
mod loom_tests;
