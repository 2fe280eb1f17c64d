//! Caches: the magazines that a thread works from, and where it finds them.
//!
//! A cache holds two magazines per class. `alloc` pops from `loaded`, `dealloc` pushes to it; what happens when that
//! fails is here, the same for every locator:
//!
//! | locator  | the pair is                        | fast path                  | for                                      |
//! |----------|------------------------------------|----------------------------|------------------------------------------|
//! | `thread` | the thread's own, in its holster   | loads and stores           | the heap of the process, and the first other one of a thread |
//! | `cpus`   | the CPU's, in a table              | a restartable sequence     | threads that have none of their own for a class |
//! | `shared` | anybody's, claimed by one exchange | one exchange and one store | `no_std`, other heaps, before and after TLS |
//!
//! In a hardened heap chunks are taken from `loaded` only, and freed into `previous` only, which goes to the depot's quarantine.
//!
//! # Invariants
//! - After a trade `previous` is wholly full, wholly empty, or no magazine (but for magazines that other threads left
//!   behind half full), so at least one magazine's worth of operations lies between two trades.

mod cpu;
pub(crate) mod cpus;
#[cfg(feature = "std")]
mod fence;
#[cfg(feature = "std")]
#[cfg_attr(all(test, loom), allow(dead_code, reason = "models use what is a protocol of it"))]
mod holster;
#[cfg(feature = "std")]
#[cfg_attr(all(test, loom), allow(dead_code, reason = "models use what is a protocol of it"))]
pub(crate) mod holsters;
#[cfg(feature = "std")]
#[cfg_attr(all(test, loom), allow(dead_code, reason = "models use what is a protocol of it"))]
pub(crate) mod thread;

pub(crate) mod pouch;
pub(crate) mod shared;

use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::HARDENED;
use crate::home::Home;
use crate::magazine::{Round, Rounds, Top};
use crate::size_class::SizeClass;
use pouch::Pouch;

/// The two magazines of one class. Whoever has the value owns both.
#[derive(Debug)]
pub(crate) struct Pair {
    pub(crate) loaded: Top,
    pub(crate) previous: Top,
}

impl Pair {
    /// Takes a chunk, when `loaded` has none; `None` when there is no memory left.
    pub(crate) fn alloc<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        pouch: &Pouch<SPARES>,
    ) -> Option<Round> {
        if !HARDENED && self.previous.rounds() > Rounds(0) {
            core::mem::swap(&mut self.loaded, &mut self.previous);
        } else if let Some(full) =
            arsenal.depot.take(class, pouch.home()).or_else(|| Self::take_abroad(arsenal, class, pouch.home()))
        {
            let empty = core::mem::replace(&mut self.loaded, full);
            let spare = if HARDENED { empty } else { core::mem::replace(&mut self.previous, empty) };
            pouch.discard(arsenal, spare);
        } else {
            self.refill(arsenal, backend, class, pouch);
        }
        self.pop().or_else(|| arsenal.take_one(backend, class))
    }

    /// A full magazine that others have left in another corner, whose chunks lie in their processors' caches: they are
    /// asked for at once, so that all but the first come while others are used.
    #[cold]
    #[inline(never)]
    fn take_abroad(arsenal: &Arsenal, class: SizeClass, home: Home) -> Option<Top> {
        let full = arsenal.depot.take_abroad(class, home)?;
        // SAFETY: taken from the depot, so ours; it stays as it is.
        unsafe { full.inside() }.iter().rev().for_each(|&chunk| cpu::fetch(chunk));
        Some(full)
    }

    /// Takes a chunk from `loaded`.
    pub(crate) fn pop(&mut self) -> Option<Round> {
        // SAFETY: the pair owns the magazine, and goes on with what is left of it.
        let (round, top) = unsafe { self.loaded.pop() }?;
        self.loaded = top;
        Some(round)
    }

    /// Fills `loaded` from the slabs, both magazines being empty.
    #[cold]
    fn refill<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        pouch: &Pouch<SPARES>,
    ) {
        if !HARDENED && self.loaded == Top::NONE {
            core::mem::swap(&mut self.loaded, &mut self.previous);
        }
        if self.loaded == Top::NONE {
            self.loaded = pouch.arm(arsenal, backend, class).unwrap_or(Top::NONE);
        }
        if self.loaded != Top::NONE {
            self.loaded = arsenal.refill(backend, class, self.loaded);
        }
    }

    /// Gives a chunk.
    #[inline(always)]
    pub(crate) fn give<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        round: Round,
        pouch: &Pouch<SPARES>,
    ) {
        if HARDENED {
            self.quarantine(arsenal, backend, class, round, pouch);
        } else if !self.push(round) {
            self.dealloc(arsenal, backend, class, round, pouch);
        }
    }

    /// Gives a chunk where it is not taken from: `previous` collects what is freed, and goes to the depot when it is full.
    fn quarantine<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        round: Round,
        pouch: &Pouch<SPARES>,
    ) {
        if self.previous.room() == Rounds(0) {
            pouch.note(arsenal, usize::from(self.previous.rounds().0) * class.bytes());
            match pouch.arm(arsenal, backend, class) {
                Some(empty) => {
                    arsenal.depot.give(class, core::mem::replace(&mut self.previous, empty), pouch.home());
                    self.thin_out(arsenal, backend, class, pouch);
                }
                // SAFETY: the pair owned the magazine, and goes on with it emptied.
                None => self.previous = unsafe { arsenal.spill(backend, self.previous) },
            }
        }
        // SAFETY: the pair owns the magazine, and goes on with what becomes of it; the caller owns the chunk.
        match unsafe { self.previous.push(round) } {
            Some(previous) => self.previous = previous,
            // There is no memory for a magazine: past all of them.
            None => arsenal.give(backend, &mut [round]),
        }
    }

    /// Spills what has been longest in the depot, if that has enough.
    fn thin_out<B: Backend, const SPARES: usize>(
        &self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        pouch: &Pouch<SPARES>,
    ) {
        let enough = arsenal.depot.has_enough(class, pouch.home());
        if let Some(oldest) = enough.then(|| arsenal.depot.take(class, pouch.home())).flatten() {
            // SAFETY: taken from the depot, so ours, and discarded empty.
            pouch.discard(arsenal, unsafe { arsenal.spill(backend, oldest) });
        }
    }

    /// Gives a chunk, when `loaded` is full.
    fn dealloc<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        round: Round,
        pouch: &Pouch<SPARES>,
    ) {
        if self.previous.room() > Rounds(0) {
            core::mem::swap(&mut self.loaded, &mut self.previous);
        } else {
            self.make_room(arsenal, backend, class, pouch);
        }
        if !self.push(round) {
            // There is no memory for a magazine: past all of them.
            arsenal.give(backend, &mut [round]);
        }
    }

    /// Puts a chunk into `loaded`, unless that is full.
    pub(crate) fn push(&mut self, round: Round) -> bool {
        // SAFETY: the pair owns the magazine, and goes on with what becomes of it; the caller owns the chunk.
        let pushed = unsafe { self.loaded.push(round) };
        self.loaded = pushed.unwrap_or(self.loaded);
        pushed.is_some()
    }

    /// Loads an empty magazine, both being full.
    fn make_room<B: Backend, const SPARES: usize>(
        &mut self,
        arsenal: &Arsenal,
        backend: &B,
        class: SizeClass,
        pouch: &Pouch<SPARES>,
    ) {
        let enough = arsenal.depot.has_enough(class, pouch.home());
        let empty = if enough && self.previous != Top::NONE { None } else { pouch.arm(arsenal, backend, class) };
        let old = core::mem::replace(&mut self.previous, self.loaded);
        pouch.note(arsenal, usize::from(old.rounds().0) * class.bytes());
        self.loaded = match empty {
            Some(empty) => {
                arsenal.depot.give(class, old, pouch.home());
                empty
            }
            // SAFETY: the pair owned the magazine, and goes on with it emptied.
            None => unsafe { arsenal.spill(backend, old) },
        };
    }

    /// Hands both magazines in at the depot.
    pub(crate) fn hand_in(self, arsenal: &Arsenal, class: SizeClass, home: Home) {
        arsenal.surplus.note(self.rounds() * class.bytes(), home);
        arsenal.depot.give(class, self.loaded, home);
        arsenal.depot.give(class, self.previous, home);
    }

    /// Rounds in both.
    pub(crate) fn rounds(&self) -> usize {
        usize::from(self.loaded.rounds().0) + usize::from(self.previous.rounds().0)
    }
}

#[cfg(all(test, not(loom)))]
#[path = "../../unit-tests/cache.rs"]
mod tests;
