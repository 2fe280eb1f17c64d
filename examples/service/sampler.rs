//! A process's resident memory over its life, looked at from outside.

use core::time::Duration;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use crate::memory;

const PERIOD: Duration = Duration::from_millis(50);

/// When, and how many bytes.
pub(crate) type Sample = (Instant, u64);

pub(crate) struct Sampler {
    /// Never sent on: its end is the thread's.
    running: Sender<()>,
    thread: JoinHandle<Vec<Sample>>,
}

impl Sampler {
    /// Looks at the process `pid` from now on; a thread, since the clients keep theirs busy.
    pub(crate) fn start(pid: u32) -> Self {
        let (running, stopped) = mpsc::channel();
        Self { running, thread: thread::spawn(move || look(pid, &stopped)) }
    }

    /// What was seen; nothing where the system does not tell.
    pub(crate) fn finish(self) -> Vec<Sample> {
        drop(self.running);
        self.thread.join().unwrap_or_default()
    }
}

fn look(pid: u32, stopped: &Receiver<()>) -> Vec<Sample> {
    let mut samples = Vec::new();
    loop {
        let now = Instant::now();
        samples.extend(memory::resident(pid).map(|bytes| (now, bytes)));
        match stopped.recv_timeout(PERIOD.saturating_sub(now.elapsed())) {
            Err(RecvTimeoutError::Timeout) => {}
            _ => return samples,
        }
    }
}
