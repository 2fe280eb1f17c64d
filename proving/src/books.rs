//! The books of a back-end, as far as others need them.

use crate::common::{Account, Refuse};
use crate::op::Refusal;
use std::sync::Arc;

/// What a back-end has handed out, and when it is to refuse.
#[derive(Clone)]
pub struct Books(pub(crate) Arc<Account>);

impl Books {
    /// Bytes handed out and not taken back.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.0.outstanding()
    }

    /// The most there ever were of them.
    #[must_use]
    pub fn peak(&self) -> usize {
        self.0.peak()
    }

    /// Refuses from now on, or never.
    pub fn refuse(&self, refusal: Option<Refusal>) {
        self.0.set(refusal.map_or(Refuse::Never, Refusal::rule));
    }
}
