#![deny(missing_docs)]
#![doc = include_str!("../README.md")]

use bandolier::{Backend, Bandolier, Reclaimer};
use core::cell::Cell;
use core::time::Duration;
use std::time::Instant;
use tokio::runtime::Builder;

/// Between two flushes of a worker.
const THROTTLE: Duration = Duration::from_millis(100);

thread_local! {
    static FLUSHED: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// What a runtime's hooks do, for who has hooks of his own.
#[derive(Debug)]
pub struct Flush<B: Backend + 'static = bandolier::Native>(&'static Bandolier<B>);

impl<B: Backend> Clone for Flush<B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B: Backend> Copy for Flush<B> {}

impl<B: Backend> Flush<B> {
    /// Of that heap.
    #[must_use]
    pub const fn new(heap: &'static Bandolier<B>) -> Self {
        Self(heap)
    }

    /// Hands the calling worker's magazines in, unless it has done so within the last tenth of a second: for
    /// [`Builder::on_thread_park`]. Costs a look at the clock most times.
    pub fn on_park(self) {
        // A thread that is about to end has nothing to throttle.
        let _ = FLUSHED.try_with(|flushed| {
            let now = Instant::now();
            if flushed.get().is_none_or(|before| now.duration_since(before) >= THROTTLE) {
                flushed.set(Some(now));
                self.0.flush_thread();
            }
        });
    }

    /// Hands the calling worker's magazines in: for [`Builder::on_thread_stop`].
    pub fn on_stop(self) {
        self.0.flush_thread();
    }
}

/// Hooks for a runtime's workers.
pub trait BuilderExt {
    /// Sets the hooks by which workers, and threads for blocking work, hand in what they have of `heap` when they park or end.
    /// They take the place of other [park](Builder::on_thread_park) and [stop](Builder::on_thread_stop) hooks; who needs
    /// both calls those of [`Flush`] from his own.
    fn bandolier<B: Backend + Send>(&mut self, heap: &'static Bandolier<B>) -> &mut Self;
}

impl BuilderExt for Builder {
    fn bandolier<B: Backend + Send>(&mut self, heap: &'static Bandolier<B>) -> &mut Self {
        let flush = Flush::new(heap);
        self.on_thread_park(move || flush.on_park()).on_thread_stop(move || flush.on_stop())
    }
}

/// Makes the steps of a [`Reclaimer`] for ever: a task to spawn, in the place of a thread. It ends when it is aborted, or with the
/// runtime.
///
/// A step runs on the worker that polls the task. With the bounds that a [`Reclaimer`] has by itself it may keep that worker for
/// some ten milliseconds after a burst; where that is too long, give it [bounds](Reclaimer::bounds) of a few MiB: while there is
/// more to give back, the next step follows soon.
pub async fn drive<B: Backend>(reclaimer: Reclaimer<B>) {
    let mut pause = reclaimer.pause(Default::default());
    loop {
        tokio::time::sleep(pause).await;
        pause = reclaimer.pause(reclaimer.step());
    }
}
