//! One mode, for its share of the time.

use crate::epoch::{self, Epoch, Left};
use crate::options::{Mode, Options};
use crate::record::Record;
use crate::{COUNTED, PROCESS, memory};
use bandolier_proving::{Oracle, Subject as _, confession};
use core::ffi::c_int;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

/// Bytes that the oracle holds at most.
const BUDGET: usize = 64 << 20;
/// Epochs from one with all freed to the next.
const FULL: u64 = 4;
/// How much more may be resident at the end than early on, when all is freed.
const TREND: usize = 6 << 20;
/// Emptied checkpoints before there is talk of a trend.
const ENOUGH: usize = 8;

static SIGNALS: AtomicU64 = AtomicU64::new(0);

extern "C" fn on_signal(_: c_int) {
    SIGNALS.fetch_add(1, Relaxed);
}

/// Has a signal handled every so often, whatever is going on: it interrupts restartable sequences, and allocates nothing.
fn signal_every(microseconds: i64) {
    let every = libc::timeval { tv_sec: 0, tv_usec: microseconds };
    let timer = libc::itimerval { it_interval: every, it_value: every };
    // SAFETY: zeros are a valid set of flags and an empty mask.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = on_signal as *const () as libc::sighandler_t;
    action.sa_flags = libc::SA_RESTART;
    // SAFETY: a handler that counts.
    assert_eq!(unsafe { libc::sigaction(libc::SIGALRM, &raw const action, core::ptr::null_mut()) }, 0);
    // SAFETY: a valid structure.
    assert_eq!(unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, core::ptr::null_mut()) }, 0);
}

pub(crate) fn run(options: &Options, mode: &Mode) {
    abort_on_panic();
    memory::simplify_system();
    signal_every(2_000);
    let oracle = Arc::new(Oracle::new(BUDGET, false));
    let started = Instant::now();
    let (mut record, mut left) = (Record::default(), Vec::<Left>::new());
    let mut number = options.epoch;
    while started.elapsed() < options.time {
        let how = format!(
            "cargo xtask soak --minutes 1 --seed {} --mode {} --epoch {number} (epoch {number})",
            options.seed, mode.name
        );
        let _confession = confession::prepare(&how);
        let mut dice = fastrand::Rng::with_seed(options.seed.wrapping_add(number.wrapping_mul(0x9e37_79b9)));
        let rest = options.time.saturating_sub(started.elapsed());
        let time = Duration::from_millis(dice.u64(200..2500)).min(rest.max(Duration::from_millis(50)));
        let came = Epoch::new(&oracle, mode.beside, &how).run(time, &mut dice);
        number += 1;
        record.count(&came);
        if number.is_multiple_of(FULL) || started.elapsed() >= options.time {
            left.push(epoch::empty(&oracle));
            record.emptied += 1;
            record.checkpoints += 1;
        }
        if number.is_multiple_of(256) {
            eprintln!("soak: {}: {} epochs in {:?}", mode.name, record.epochs, started.elapsed());
        }
    }
    record.mode = mode.name.into();
    record.locator = format!("{:?}", PROCESS.stats().locator);
    record.seconds = started.elapsed().as_secs();
    record.close(&oracle, &left);
    println!("{}", record.line());
}

/// A panic in one thread would leave the others waiting for it.
fn abort_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        say(info);
        std::process::abort();
    }));
}

impl Record {
    fn count(&mut self, came: &epoch::Came) {
        self.epochs += 1;
        self.checkpoints += 1;
        self.ops += came.tally.ops;
        self.blocks += came.tally.blocks;
        self.bytes += came.tally.bytes;
        self.refused += came.tally.refused;
        self.threads += came.threads;
        self.forks += came.forks;
        self.steps += came.steps;
    }

    /// Fills in what is known at the end.
    ///
    /// # Panics
    /// When more and more was resident.
    fn close(&mut self, oracle: &Oracle, left: &[Left]) {
        let tally = oracle.tally();
        self.ops += tally.ops;
        self.blocks += tally.blocks;
        self.bytes += tally.bytes;
        self.refused += tally.refused;
        self.lifted = COUNTED.lifted() as u64;
        self.signals = SIGNALS.load(Relaxed);
        self.peak = memory::peak() as u64;
        self.residue = left.iter().map(|left| left.residue).max().unwrap_or(0) as u64;
        self.records = left.iter().map(|left| left.records).max().unwrap_or(0) as u64;
        let quarter = left.len() / 4;
        let quarters: Vec<_> = left.chunks(quarter.max(1)).collect();
        // The first is for what a process gets used to.
        let (early, late) = (median(quarters.get(1).unwrap_or(&left)), median(quarters.last().unwrap_or(&left)));
        (self.early, self.late) = (early as u64, late as u64);
        assert!(left.len() < ENOUGH || late <= early + TREND, "{early} bytes resident early on, {late} at the end");
    }
}

/// Of what was resident.
fn median(left: &[Left]) -> usize {
    let mut resident: Vec<_> = left.iter().map(|left| left.resident).collect();
    resident.sort_unstable();
    resident.get(resident.len() / 2).copied().unwrap_or(0)
}
