//! Passes under way: parties that have memory in their hands which others look for.
//!
//! A reclaim takes a magazine, a slab, a run, or what a few threads have, does something about it, and puts the rest back. Who
//! finds no memory meanwhile draws anew; but at a limit, or when the back-end is empty, what the pass has may be all that there is.
//! So an allocation that failed while somebody else's pass was under way tries again, a few times, before it says that there is
//! no memory. An allocation that fails brings home what it can reach, too; but it is over soon, and is no pass: of two that fail
//! at once neither waits for the other.

use crate::process::Tally;
use crate::sync::{Atomic, Ordering, const_fn};

/// Models are of protocols, and of this there is none: it only says when to try again.
const UNTOLD: bool = cfg!(all(test, loom));

/// Those of this process: those of a process that it is a fork of never end here.
pub(crate) struct Passes {
    begun: Atomic<usize>,
    here: Tally,
    /// So many that go on were waited for in vain: a signal or a debugger has stopped them. They count as ended, until one ends
    /// after all.
    written_off: Atomic<usize>,
}

/// How often an allocation asks again. It lets others go on each time; the longest that a pass of theirs hides something is a system
/// call about one run.
pub(crate) const TRIES: usize = 4096;

/// One, until it is dropped.
#[must_use]
pub(crate) struct Pass<'a>(&'a Passes);

/// What there was once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Before {
    begun: usize,
    under_way: usize,
}

impl Passes {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { begun: Atomic::new(0), here: Tally::new(), written_off: Atomic::new(0) }
        }
    }

    // Relaxed, all of them: who has seen nobody, fails as he would have done without.

    pub(crate) fn begin(&self) -> Pass<'_> {
        self.here.enter();
        if !UNTOLD {
            self.begun.fetch_add(1, Ordering::Relaxed);
        }
        Pass(self)
    }

    pub(crate) fn before(&self) -> Before {
        Before { begun: self.begun.load(Ordering::Relaxed), under_way: self.here.count() }
    }

    /// Whether there were more then than are written off.
    fn counts(&self, then: Before) -> bool {
        let written_off = self.written_off.load(Ordering::Relaxed);
        if then.under_way < written_off {
            self.written_off.store(then.under_way, Ordering::Relaxed);
        }
        then.under_way > written_off
    }

    /// Whether there is one now.
    #[cfg(test)]
    pub(crate) fn is_under_way(&self) -> bool {
        self.counts(self.before())
    }

    /// Whether there was one since then, or is still.
    pub(crate) fn were_since(&self, before: Before) -> bool {
        self.counts(before) || self.begun.load(Ordering::Relaxed) != before.begun
    }

    /// Waits no longer for those that have gone on since then, if none has begun or ended.
    pub(crate) fn write_off(&self, then: Before) {
        if self.before() == then {
            self.written_off.store(then.under_way, Ordering::Relaxed);
        }
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        self.0.here.leave();
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::Passes;

    #[test]
    fn others_are_seen() {
        let passes = Passes::new();
        let before = passes.before();
        assert!(!passes.were_since(before) && !passes.is_under_way());
        let pass = passes.begin();
        let meanwhile = passes.before();
        assert!(passes.were_since(before) && passes.is_under_way());
        drop(pass);
        assert!(passes.were_since(before) && passes.were_since(meanwhile) && !passes.is_under_way());
        assert!(!passes.were_since(passes.before()));
    }

    #[test]
    fn one_that_was_waited_for_in_vain_is_not_waited_for_again() {
        let passes = Passes::new();
        let lost = passes.begin();
        let then = passes.before();
        drop(passes.begin());
        passes.write_off(then);
        assert!(passes.is_under_way(), "another one has ended meanwhile");
        passes.write_off(passes.before());
        assert!(!passes.is_under_way() && !passes.were_since(passes.before()));
        let other = passes.begin();
        assert!(passes.is_under_way());
        drop(other);
        assert!(!passes.is_under_way());
        // It was slow, and not lost.
        drop(lost);
        assert!(!passes.is_under_way());
        let _again = passes.begin();
        assert!(passes.is_under_way());
    }
}
