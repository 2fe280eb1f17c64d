//! Which process this is. A fork leaves its child what other threads had begun, and not the threads: it is never ended there.
//!
//! # Invariants
//! - What is noted here is of one process at a time; to any other, its children among them, it is nothing.

use crate::sync::{Atomic, AtomicU64, Ordering, const_fn};

/// Models are of protocols, and of this there is none: it would only make them longer.
const UNTOLD: bool = cfg!(all(test, loom));

/// The number of this process, which is not zero.
fn number() -> u32 {
    #[cfg(all(feature = "std", not(all(test, loom))))]
    return crate::backend::os::process();
    // Nobody forks, as far as can be known here.
    #[cfg(not(all(feature = "std", not(all(test, loom)))))]
    1
}

/// How many parties of this process are at something: the process above, and the number below.
pub(crate) struct Tally(AtomicU64);

impl Tally {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(AtomicU64::new(0))
        }
    }

    // Relaxed, all: numbers that decide what is tried; no other memory hangs on them.

    pub(crate) fn count(&self) -> usize {
        let word = if UNTOLD { 0 } else { self.0.load(Ordering::Relaxed) };
        // Mostly there are none, and it does not matter which process that is.
        if word as u32 == 0 || (word >> 32) as u32 != number() { 0 } else { word as u32 as usize }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn enter(&self) {
        self.update(|count| count + 1);
    }

    pub(crate) fn leave(&self) {
        self.update(|count| count.saturating_sub(1));
    }

    fn update(&self, change: impl Fn(u32) -> u32) {
        if UNTOLD {
            return;
        }
        let process = number();
        let mut old = self.0.load(Ordering::Relaxed);
        loop {
            let count = if (old >> 32) as u32 == process { old as u32 } else { 0 };
            let new = u64::from(process) << 32 | u64::from(change(count));
            match self.0.compare_exchange_weak(old, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => old = now,
            }
        }
    }
}

/// Which process looked last.
pub(crate) struct Visitor(Atomic<u32>);

impl Visitor {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(Atomic::new(0))
        }
    }

    /// Whether this process looks for the first time.
    pub(crate) fn is_new(&self) -> bool {
        if UNTOLD {
            return false;
        }
        let process = number();
        // Relaxed both: as above. Of two that come at once, both may be the first.
        let is_new = self.0.load(Ordering::Relaxed) != process;
        if is_new {
            self.0.store(process, Ordering::Relaxed);
        }
        is_new
    }
}

/// What one party at most is at, of each process.
pub(crate) struct Turn(Atomic<u32>);

impl Turn {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self(Atomic::new(0))
        }
    }

    /// Does `work`, unless somebody else of this process is at it.
    pub(crate) fn take(&self, work: impl FnOnce()) {
        let process = number();
        // Relaxed, all: as above.
        let before = self.0.load(Ordering::Relaxed);
        if before != process && self.0.compare_exchange(before, process, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            work();
            // In a child, if `work` has forked, it is nobody's either.
            self.0.store(0, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use core::cell::Cell;

    #[test]
    fn who_came_and_has_not_left_is_counted() {
        let tally = Tally::new();
        assert!(tally.is_empty());
        tally.enter();
        tally.enter();
        tally.leave();
        assert!(!tally.is_empty());
        tally.leave();
        assert!(tally.is_empty());
    }

    /// As they are found after a fork.
    #[test]
    fn what_another_process_has_noted_is_nothing() {
        let other = number() + 1;
        let tally = Tally(AtomicU64::new(u64::from(other) << 32 | 7));
        assert!(tally.is_empty());
        // One who was counted there leaves here.
        tally.leave();
        tally.enter();
        assert!(!tally.is_empty());
        tally.leave();
        assert!(tally.is_empty());

        let turns = Cell::new(0);
        let turn = Turn(Atomic::new(other));
        (0..2).for_each(|_| turn.take(|| turns.set(turns.get() + 1)));
        assert_eq!(turns.get(), 2);
    }

    #[test]
    fn a_turn_is_one_partys() {
        let (turn, turns) = (Turn::new(), Cell::new(0));
        turn.take(|| {
            turn.take(|| turns.set(turns.get() + 10));
            turns.set(turns.get() + 1);
        });
        assert_eq!(turns.get(), 1);
    }

    #[test]
    fn a_process_is_new_once() {
        let visitor = Visitor::new();
        assert_eq!([(); 3].map(|()| visitor.is_new()), [true, false, false]);
        let visitor = Visitor(Atomic::new(number() + 1));
        assert!(visitor.is_new());
    }
}
