//! Patience: when a driver makes a step, and when it leaves things as they are.
//!
//! A step gives back what was not used since the last one. Under a load that breathes as slowly as the driver steps, that is what
//! the next breath needs: the same pages would be given back and faulted in again for ever. So a step is *regretted* when, until
//! the next is due, half as many pages are drawn as it gave back; and each regret doubles the time from one step to the next.
//! After some steps that nobody regretted it is halved again.
//!
//! ```text
//!   free bytes │                               ╭── a burst is over: much more than the breaths had free
//!              │   ╭╮    ╭╮    ╭╮    ╭╮        │   a step, at once
//!              │  ╱  ╲  ╱  ╲  ╱  ╲  ╱  ╲       │
//!              │ ╱    ╲╱    ╲╱    ╲╱    ╲──────╯
//!   steps      └─┴──┴─────┴───────────┴────────┴──▶ calls
//! ```
//!
//! What was free after a step that was regretted, and what was drawn then, is known to be needed; as soon as much more is free, the
//! next step is due.
//!
//! All of it is policy: nothing hangs on how these numbers race.

use crate::geometry::KEEP;
use crate::sync::{Atomic, Ordering, const_fn};

/// Most doublings of the time between two steps: 32 seconds, if it is half a second at first.
const MOST: usize = 6;

/// Steps that nobody regretted, until the time between two of them is halved.
const CALM: usize = 8;

/// What a step has given back at least that can be regretted, in bytes: less costs less than patience would keep.
const LEAST: usize = 512 << 10;

fn get(number: &Atomic<usize>) -> usize {
    // Relaxed: policy.
    number.load(Ordering::Relaxed)
}

fn set(number: &Atomic<usize>, to: usize) {
    // Relaxed: policy.
    number.store(to, Ordering::Relaxed);
}

/// How a driver's steps have gone.
pub(crate) struct Patience {
    /// Bytes that the last step gave back, until that is regretted.
    returned: Atomic<usize>,
    /// Bytes that the parts of a step have given back which is not complete yet.
    parts: Atomic<usize>,
    /// Bytes of pages that had been drawn after the last step.
    drawn: Atomic<usize>,
    /// Bytes that were free after it.
    free: Atomic<usize>,
    /// The most that was free after a step that was regretted, with what was drawn then.
    needed: Atomic<usize>,
    /// Calls to come that make no step.
    skip: Atomic<usize>,
    /// Doublings.
    regrets: Atomic<usize>,
    /// Steps since the last regret.
    calm: Atomic<usize>,
}

impl Patience {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                returned: Atomic::new(0),
                parts: Atomic::new(0),
                drawn: Atomic::new(0),
                free: Atomic::new(0),
                needed: Atomic::new(0),
                skip: Atomic::new(0),
                regrets: Atomic::new(0),
                calm: Atomic::new(0),
            }
        }
    }

    /// Whether a step is due of a heap with so many free bytes, which has drawn so many bytes of pages since it began.
    pub(crate) fn is_due(&self, free: usize, drawn: usize) -> bool {
        self.judge(drawn);
        let skip = get(&self.skip);
        let needed = get(&self.needed);
        if skip == 0 || free > needed + needed / 2 + KEEP / 2 {
            return true;
        }
        set(&self.skip, skip - 1);
        false
    }

    /// Judges the last step, as often as it is asked until it is regretted.
    fn judge(&self, drawn: usize) {
        let returned = get(&self.returned);
        let again = drawn.wrapping_sub(get(&self.drawn));
        if returned < LEAST || again < returned / 2 {
            return;
        }
        let regrets = (get(&self.regrets) + 1).min(MOST);
        let needed = get(&self.needed).max(get(&self.free).saturating_add(again));
        set(&self.needed, needed);
        set(&self.regrets, regrets);
        set(&self.skip, (1 << regrets) - 1);
        set(&self.calm, 0);
        set(&self.returned, 0);
    }

    /// Notes a step, or a part of one: what is free after it, what it gave back, what had been drawn after it, and whether the
    /// step is `complete`. What is not is followed by the next part, and judged when all is done: growth meanwhile is no regret.
    pub(crate) fn note(&self, free: usize, gone: usize, drawn: usize, complete: bool) {
        let gone = get(&self.parts) + gone;
        set(&self.parts, if complete { 0 } else { gone });
        set(&self.returned, if complete { gone } else { 0 });
        set(&self.free, free);
        set(&self.drawn, drawn);
        let regrets = get(&self.regrets);
        set(&self.skip, if complete { (1 << regrets) - 1 } else { 0 });
        if regrets > 0 && complete {
            let calm = get(&self.calm) + 1;
            set(&self.calm, calm % CALM);
            if calm == CALM {
                self.forget(regrets - 1);
            }
        }
    }

    fn forget(&self, regrets: usize) {
        set(&self.regrets, regrets);
        if regrets == 0 {
            set(&self.needed, 0);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    /// A heap under a driver: what it has drawn, and how many steps were made.
    struct Driven {
        patience: Patience,
        drawn: usize,
        steps: usize,
    }

    impl Driven {
        fn new() -> Self {
            Self { patience: Patience::new(), drawn: 0, steps: 0 }
        }

        /// One call with so much free, of which a step gives so much back; half of the calls draw that again.
        fn call(&mut self, free: usize, gone: usize, again: bool) -> bool {
            let due = self.patience.is_due(free * MIB, self.drawn);
            if due {
                self.steps += 1;
                self.patience.note(free * MIB, gone * MIB, self.drawn, true);
                self.drawn += if again { gone * MIB } else { 0 };
            }
            due
        }
    }

    #[test]
    fn what_is_not_needed_again_goes_at_every_call() {
        let mut heap = Driven::new();
        assert!((0..100).all(|_| heap.call(10, 5, false)));
    }

    #[test]
    fn what_is_needed_again_goes_ever_more_seldom() {
        let mut heap = Driven::new();
        (0..64 * 8).for_each(|_| _ = heap.call(10, 5, true));
        // 1, 2, 4, … 64 calls lie between two.
        assert_eq!(heap.steps, 6 + 7);
    }

    #[test]
    fn little_is_not_regretted() {
        let mut heap = Driven::new();
        assert!((0..100).all(|_| {
            heap.drawn += MIB;
            heap.call(10, 0, true)
        }));
    }

    #[test]
    fn a_burst_goes_at_once() {
        let mut heap = Driven::new();
        (0..1000).for_each(|_| _ = heap.call(10, 5, true));
        assert!((0..10).filter(|_| heap.call(10, 5, true)).count() <= 1);
        assert!(heap.call(1000, 990, false));
        // Survivors keep it from being less.
        assert!((0..10).all(|_| heap.call(500, 0, false)));
        // A part of a step is followed by the next.
        heap.patience.note(10, MIB, heap.drawn, false);
        assert!(heap.call(10, 5, false));
    }

    #[test]
    fn growth_beside_the_parts_of_a_step_is_no_regret() {
        let mut heap = Driven::new();
        for part in 0..20 {
            assert!(heap.patience.is_due((800 - 10 * part) * MIB, heap.drawn));
            heap.patience.note((790 - 10 * part) * MIB, 10 * MIB, heap.drawn, false);
            heap.drawn += 9 * MIB;
        }
    }

    #[test]
    fn regrets_are_forgotten() {
        let mut heap = Driven::new();
        (0..1000).for_each(|_| _ = heap.call(10, 5, true));
        (0..(3 * CALM) << MOST).for_each(|_| _ = heap.call(10, 5, false));
        assert!((0..100).all(|_| heap.call(10, 5, false)));
    }
}
