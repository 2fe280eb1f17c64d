//! What the process has cost at one time, while its workers stand still.

use bandolier_peers::clock::{minor_faults, process_cpu, thread_cpu};
use core::time::Duration;
use std::time::Instant;

#[derive(Clone, Copy)]
pub(crate) struct Ledger {
    pub(crate) now: Instant,
    /// Of all threads.
    pub(crate) cpu: Duration,
    /// Of the thread that asks.
    pub(crate) own: Duration,
    pub(crate) faults: u64,
}

impl Ledger {
    pub(crate) fn now() -> Self {
        let own = thread_cpu();
        Self { now: Instant::now(), cpu: process_cpu(), own, faults: minor_faults().unwrap_or(0) }
    }
}
