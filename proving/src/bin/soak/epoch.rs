//! A second or so of load, and what must hold when all stand still.

use crate::{COUNTED, PROCESS, forked, load, memory};
use bandolier::{Backend as _, Os, Reclaimer};
use bandolier_proving::{Oracle, Subject as _, Tally, confession};
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use fastrand::Rng;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

/// What threads share while it lasts.
pub(crate) struct Epoch<'a> {
    pub(crate) oracle: Arc<Oracle>,
    pub(crate) over: AtomicBool,
    /// Whether the load is on other heaps.
    pub(crate) beside: bool,
    /// Threads that loads have started.
    pub(crate) threads: AtomicU64,
    ops: AtomicU64,
    blocks: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    how: &'a str,
}

/// What came of it.
pub(crate) struct Came {
    pub(crate) tally: Tally,
    pub(crate) threads: u64,
    pub(crate) forks: u64,
    pub(crate) steps: u64,
}

impl<'a> Epoch<'a> {
    pub(crate) fn new(oracle: &Arc<Oracle>, beside: bool, how: &'a str) -> Self {
        Self {
            oracle: oracle.clone(),
            over: AtomicBool::new(false),
            beside,
            threads: AtomicU64::new(0),
            ops: AtomicU64::new(0),
            blocks: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            how,
        }
    }

    /// Counts what was done on another heap.
    pub(crate) fn add(&self, tally: Tally) {
        self.ops.fetch_add(tally.ops, Relaxed);
        self.blocks.fetch_add(tally.blocks, Relaxed);
        self.bytes.fetch_add(tally.bytes, Relaxed);
        self.refused.fetch_add(tally.refused, Relaxed);
    }

    /// Runs for so long, and compares the figures.
    ///
    /// # Panics
    /// When they are not what they must be.
    pub(crate) fn run(&self, time: Duration, dice: &mut Rng) -> Came {
        let count = dice.usize(1..=if self.beside { 3 } else { 8 });
        let (still, go_on) = (Barrier::new(count + 1), Barrier::new(count + 1));
        let driver = dice.bool().then(|| {
            let interval = Duration::from_millis(dice.u64(1..200));
            Reclaimer::new(COUNTED.heap()).interval(interval).spawn().expect("the system gives threads")
        });
        let steps = u64::from(driver.is_some());
        let mut forks = 0;
        thread::scope(|scope| {
            let start = |seed| {
                let (still, go_on) = (&still, &go_on);
                scope.spawn(move || {
                    let _confession = confession::prepare(self.how);
                    load::run(self, seed);
                    still.wait();
                    go_on.wait();
                })
            };
            let workers: Vec<_> = (0..count).map(|_| start(dice.u64(..))).collect();
            let end = Instant::now() + time;
            while Instant::now() < end {
                thread::sleep(Duration::from_millis(dice.u64(10..150)));
                forked::fork(dice.u64(..));
                forks += 1;
            }
            self.over.store(true, Relaxed);
            still.wait();
            let _ = driver.map(bandolier::Running::stop);
            // Threads stand still, with their magazines as they are.
            self.oracle.check_figures(&PROCESS);
            self.oracle.check_contents();
            go_on.wait();
            // A scope does not wait for threads' ends, where they hand in what they have.
            workers.into_iter().for_each(|worker| assert!(worker.join().is_ok()));
        });
        let [ops, blocks, bytes, refused] =
            [&self.ops, &self.blocks, &self.bytes, &self.refused].map(|n| n.load(Relaxed));
        let tally = Tally { ops, blocks, bytes, refused };
        Came { tally, threads: count as u64 + self.threads.load(Relaxed), forks, steps }
    }
}

/// What is left when all is freed and drained.
pub(crate) struct Left {
    pub(crate) resident: usize,
    /// From the back-end, and no records.
    pub(crate) residue: usize,
    pub(crate) records: usize,
}

/// What records may take: they go by the most blocks and threads that there ever were.
const RECORDS: usize = 32 << 20;

/// Frees all that loads have left, has it given back, and looks at what stays.
///
/// # Panics
/// When that is more than it may be.
pub(crate) fn empty(oracle: &Oracle) -> Left {
    oracle.empty(&PROCESS);
    bandolier_proving::clear_arenas();
    memory::trim_system();
    let stats = PROCESS.stats();
    let left =
        Left { resident: memory::resident(), residue: stats.from_backend - stats.metadata, records: stats.metadata };
    assert!(stats.in_use < 1 << 20, "{} bytes are in use though all is freed", stats.in_use);
    assert!(left.records <= RECORDS, "records when all is freed: {stats:?}");
    // What stays are the segments in which the few blocks lie that the process itself has, and no others.
    let slabs: usize = stats.classes.iter().map(|class| class.slabs).sum();
    assert!(left.residue <= slabs * Os::SEGMENT, "{} bytes in segments when all is freed: {stats:?}", left.residue);
    left
}
