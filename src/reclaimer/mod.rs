//! The driver of reclaim: calls `trim` every so often, on a thread of its own or from a timer of the program's.
//!
//! Nothing starts by itself: a heap that no driver is made for is trimmed by nobody.

use crate::backend::{Backend, Native};
use crate::heap::Bandolier;
use crate::stats::{Bounds, Reclaimed};
use core::fmt;
use core::time::Duration;

#[cfg(all(feature = "std", not(all(test, loom))))]
mod running;

#[cfg(all(feature = "std", not(all(test, loom))))]
pub use running::Running;

/// Gives back what a heap has not needed for a while, step by step.
///
/// A step is a [`trim`](Bandolier::trim): what was not used from one to the next goes back to the system. After a burst that is
/// all that it has left, within two or three intervals; a steady load keeps its working set. A load that breathes, so that it needs
/// again and again what the steps have given back, has ever fewer of them, down to one in 64 intervals, until there is much more to
/// give back than it was seen to need.
///
/// # Examples
///
/// On a thread of its own (feature `std`), until the guard is dropped:
///
/// ```
/// use bandolier::{Bandolier, Reclaimer};
///
/// #[global_allocator]
/// static HEAP: Bandolier = Bandolier::new();
///
/// let running = Reclaimer::new(&HEAP).spawn()?;
/// // … the program …
/// let total = running.stop();
/// println!("{} bytes went back", total.total());
/// # Ok::<(), std::io::Error>(())
/// ```
///
/// From a timer that the program has anyway:
///
/// ```
/// # use bandolier::{Bandolier, Reclaimer};
/// # static HEAP: Bandolier = Bandolier::new();
/// static RECLAIMER: Reclaimer = Reclaimer::new(&HEAP);
///
/// fn every_half_second() {
///     let _ = RECLAIMER.step();
/// }
/// # every_half_second();
/// ```
pub struct Reclaimer<B: Backend + 'static = Native> {
    heap: &'static Bandolier<B>,
    interval: Duration,
    bounds: Bounds,
}

/// Between two steps that are bounded in bytes and were not through.
const BREATHER: Duration = Duration::from_millis(10);

impl<B: Backend + 'static> Reclaimer<B> {
    /// A step every half second, which gives back 64 MiB at most; while there is more, the next one follows soon.
    #[must_use]
    pub const fn new(heap: &'static Bandolier<B>) -> Self {
        Self { heap, interval: Duration::from_millis(500), bounds: Bounds::NONE.bytes(64 << 20) }
    }

    /// The same with so long an interval between two steps.
    #[must_use]
    pub const fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The same with these bounds for each step.
    #[must_use]
    pub const fn bounds(self, bounds: Bounds) -> Self {
        Self { bounds, ..self }
    }

    /// Makes one step, unless the last ones were [in vain](Self): for whoever has a timer. To be called once an interval.
    pub fn step(&self) -> Reclaimed {
        self.heap.step_within(self.bounds)
    }

    /// How long to wait after a step that gave back so much: less than an interval, while there is more to give back.
    #[must_use]
    pub fn pause(&self, gone: Reclaimed) -> Duration {
        if gone.total() >= self.bounds.bytes { BREATHER.min(self.interval) } else { self.interval }
    }
}

impl<B: Backend> Clone for Reclaimer<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Reclaimer<B> {}

impl<B: Backend> fmt::Debug for Reclaimer<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reclaimer")
            .field("interval", &self.interval)
            .field("bounds", &self.bounds)
            .finish_non_exhaustive()
    }
}

#[cfg(all(test, feature = "std", not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_step_that_was_not_through_is_followed_soon() {
        static HEAP: Bandolier = Bandolier::new();
        const HOUR: Duration = Duration::from_secs(3600);
        let gone = |released, purged_units| Reclaimed { released, purged_units, ..Reclaimed::default() };
        let reclaimer = Reclaimer::new(&HEAP).bounds(Bounds::NONE.bytes(1000));
        let long = reclaimer.interval(HOUR);
        assert_eq!([gone(0, 0), gone(999, 0)].map(|gone| long.pause(gone)), [HOUR; 2]);
        assert_eq!([gone(1000, 0), gone(500, 500)].map(|gone| long.pause(gone)), [BREATHER; 2]);
        assert_eq!(reclaimer.interval(BREATHER / 2).pause(gone(1000, 0)), BREATHER / 2);
    }
}
