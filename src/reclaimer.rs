//! The driver of reclaim: calls `trim` every so often, on a thread of its own or from a timer of the program's.
//!
//! Nothing starts by itself: a heap that no driver is made for is trimmed by nobody.

use crate::backend::{Backend, Native};
use crate::heap::Bandolier;
use crate::stats::{Bounds, Reclaimed};
use crate::sync::{Atomic, Ordering};
use core::fmt;
use core::time::Duration;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// Gives back what a heap has not needed for a while, step by step.
///
/// A step is a [`trim`](Bandolier::trim): what was not used from one to the next goes back to the system. After a burst that is
/// all that it has left, within two or three intervals; a steady load keeps its working set. A load that breathes, so that it needs
/// again and again what the steps have given back, has ever fewer of them, down to one in 64 intervals, until there is much more to
/// give back than it was seen to need.
///
/// # Examples
///
/// On a thread of its own, until the guard is dropped:
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

    /// Makes steps on a thread of its own, called `bandolier`, until the answer is dropped or [stopped](Running::stop).
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub fn spawn(self) -> io::Result<Running> {
        let over = Arc::new(Atomic::new(false));
        let seen = over.clone();
        let thread = thread::Builder::new().name("bandolier".into()).spawn(move || {
            let mut total = Reclaimed::default();
            let mut pause = self.interval;
            loop {
                thread::park_timeout(pause);
                // Acquire: what was done before the stop comes before the last step. A wake-up for nothing does no harm.
                let last = seen.load(Ordering::Acquire);
                let gone = self.step();
                total += gone;
                if last {
                    return total;
                }
                pause = self.pause(gone);
            }
        })?;
        Ok(Running { over, thread: Some(thread) })
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

/// A thread that makes the steps of a [`Reclaimer`]; it ends when this is dropped.
#[derive(Debug)]
#[must_use = "the thread ends when this is dropped"]
pub struct Running {
    over: Arc<Atomic<bool>>,
    thread: Option<JoinHandle<Reclaimed>>,
}

impl Running {
    /// Ends the thread after one more step; all that it gave back.
    pub fn stop(mut self) -> Reclaimed {
        self.end().unwrap_or_default()
    }

    fn end(&mut self) -> Option<Reclaimed> {
        let thread = self.thread.take()?;
        // Release: what was done before the stop.
        self.over.store(true, Ordering::Release);
        thread.thread().unpark();
        thread.join().ok()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.end();
    }
}
