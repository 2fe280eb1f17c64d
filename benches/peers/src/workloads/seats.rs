//! Hands that are made together and belong together, until the thread of each comes for it.

use std::sync::{Mutex, PoisonError};

/// One hand for each of the first threads; those beyond have none.
pub(super) struct Seats<H>(Vec<Mutex<Option<H>>>);

impl<H> Seats<H> {
    /// The hands in the order of the threads.
    pub(super) fn of(hands: impl IntoIterator<Item = H>) -> Self {
        Self(hands.into_iter().map(|hand| Mutex::new(Some(hand))).collect())
    }

    /// The hand of thread number `thread`, once.
    pub(super) fn take(&self, thread: usize) -> Option<H> {
        self.0.get(thread)?.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}
