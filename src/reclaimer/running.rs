//! The driver on a thread of its own.

use super::Reclaimer;
use crate::backend::Backend;
use crate::stats::Reclaimed;
use crate::sync::{Atomic, Ordering};
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

impl<B: Backend + 'static> Reclaimer<B> {
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
