//! Restartable sequences as a model sees them: with the abort made explicit.
//!
//! A sequence reads and does what comes before its last store while it has the CPU; then it may lose it to others, and if
//! one of them has run a sequence there, or a fence has come, it begins anew: what it did is thrown away, all but the
//! stores to what nobody looks at. Whoever has the CPU next sees all that was done there before, as after a switch of
//! threads, and so does who has fenced.

use super::{PLACES, Places, Table, Word};
use crate::geometry::{BLOCK, CPUS};
use crate::loom_support::Machine;
use crate::sync::Ordering;

pub(crate) fn may_fence() -> bool {
    true
}

pub(crate) fn why_not() -> &'static str {
    "the calling thread has no seat"
}

pub(crate) fn fence() -> bool {
    let Some((machine, _)) = Machine::seated() else { return false };
    (0..CPUS).for_each(|cpu| *machine.hold(cpu) += 1);
    true
}

/// Of the calling thread.
#[derive(Clone, Copy)]
pub(crate) struct Seat(());

impl Seat {
    pub(crate) fn here() -> Option<Self> {
        Machine::seated().map(|_| Self(()))
    }

    pub(crate) fn here_surely() -> Option<Self> {
        Self::here()
    }

    pub(crate) fn number(self) -> Option<usize> {
        Machine::seated().map(|(_, cpu)| cpu)
    }

    /// Runs a sequence: `before` finds what the last store is to write, and what to return, unless it leaves early.
    fn run<R>(self, table: Table, place: usize, before: impl Fn(*mut Word) -> Result<(*mut Word, R), R>) -> Option<R> {
        assert!(place < PLACES);
        let (machine, cpu) = Machine::seated()?;
        loop {
            let begun = machine.hold(cpu);
            let turn = *begun;
            // Acquire: in the sequence, all that follows is at the address that is loaded here, and what depends on a load comes
            // after it on every processor that there are sequences for.
            // SAFETY: the promise of every caller: the table is one.
            let places: *mut Places = unsafe { &*table.add(cpu) }.load(Ordering::Acquire);
            // SAFETY: as above.
            let places = unsafe { places.as_ref() }?;
            let found = before(places.tops[place].load(Ordering::Relaxed));
            drop(begun);
            let mut end = machine.hold(cpu);
            if *end != turn {
                continue;
            }
            return Some(match found {
                Ok((new, result)) => {
                    places.tops[place].store(new, Ordering::Relaxed);
                    *end += 1;
                    result
                }
                Err(result) => result,
            });
        }
    }

    pub(crate) unsafe fn pop(self, table: Table, place: usize) -> Word {
        let none = core::ptr::null_mut();
        let before = |top: *mut Word| {
            // SAFETY: a `Top`, whose word may be read.
            let round = unsafe { top.read() };
            if round.is_null() { Err(none) } else { Ok((top.wrapping_sub(1), round)) }
        };
        self.run(table, place, before).unwrap_or(none)
    }

    pub(crate) unsafe fn push(self, table: Table, place: usize, round: Word) -> bool {
        let before = |top: *mut Word| {
            let top = top.wrapping_add(1);
            if top.addr() & (BLOCK - 1) == 0 {
                return Err(false);
            }
            // SAFETY: a word of the magazine above its rounds.
            unsafe { top.write(round) };
            Ok((top, true))
        };
        self.run(table, place, before).unwrap_or(false)
    }

    pub(crate) unsafe fn exchange(self, table: Table, place: usize, new: *mut Word) -> *mut Word {
        self.run(table, place, |old| Ok((new, old))).unwrap_or(core::ptr::null_mut())
    }
}
