//! What a cache carries beside its pairs: its home, empty magazines for the next trade, and an account of what it freed.
//!
//! A trade with the depot needs or leaves an empty magazine. Who keeps a few has one exchange to make instead of two, and
//! none for the account; what is kept goes back with the cache's magazines.

use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::NOTE;
use crate::home::Home;
use crate::magazine::Top;
use crate::size_class::SizeClass;
use core::cell::Cell;

/// Room for `SPARES` empty magazines of any class.
///
/// # Invariants
/// - The first `count` of `spares` are magazines without rounds, the cache's own.
pub(crate) struct Pouch<const SPARES: usize> {
    home: Cell<Home>,
    count: Cell<usize>,
    /// Bytes freed and not noted yet.
    freed: Cell<usize>,
    spares: [Cell<Top>; SPARES],
}

impl<const SPARES: usize> Pouch<SPARES> {
    pub(crate) const fn new(home: Home) -> Self {
        Self {
            home: Cell::new(home),
            count: Cell::new(0),
            freed: Cell::new(0),
            spares: [const { Cell::new(Top::NONE) }; SPARES],
        }
    }

    /// Where the cache's owner looks first.
    pub(crate) fn home(&self) -> Home {
        self.home.get()
    }

    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn set_home(&self, home: Home) {
        self.home.set(home);
    }

    /// An empty magazine for `class`; `None` when there is no memory for one.
    pub(crate) fn arm<B: Backend>(&self, arsenal: &Arsenal, backend: &B, class: SizeClass) -> Option<Top> {
        match self.take() {
            // SAFETY: the cache's own, and empty, by the invariant.
            Some(spare) => Some(unsafe { arsenal.depot.rearm(class, spare) }),
            None => arsenal.arm(backend, class, self.home()),
        }
    }

    fn take(&self) -> Option<Top> {
        let left = self.count.get().checked_sub(1)?;
        let spare = self.spares.get(left)?.get();
        self.count.set(left);
        Some(spare)
    }

    /// Keeps an empty magazine, or hands it in.
    pub(crate) fn discard(&self, arsenal: &Arsenal, empty: Top) {
        match self.spares.get(self.count.get()) {
            Some(place) if empty != Top::NONE => {
                place.set(empty);
                self.count.set(self.count.get() + 1);
            }
            _ => arsenal.depot.discard(empty, self.home()),
        }
    }

    /// Notes that `bytes` were freed, now or when there are more.
    pub(crate) fn note(&self, arsenal: &Arsenal, bytes: usize) {
        let freed = self.freed.get() + bytes;
        self.freed.set(freed);
        if freed >= self.home().part(NOTE) {
            self.settle(arsenal);
        }
    }

    /// Notes what was freed and not noted yet.
    pub(crate) fn settle(&self, arsenal: &Arsenal) {
        let freed = self.freed.replace(0);
        if freed > 0 {
            arsenal.surplus.note(freed, self.home());
        }
    }

    /// Hands everything in.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn hand_in(&self, arsenal: &Arsenal) {
        self.settle(arsenal);
        while let Some(spare) = self.take() {
            arsenal.depot.discard(spare, self.home());
        }
    }
}
