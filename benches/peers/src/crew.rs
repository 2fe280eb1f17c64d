//! A crew of threads that run one workload, and what it cost.
//!
//! ```text
//!   spawn ─▶ warm up ─▶ barrier ─▶ [ clock .. pairs .. clock ] ─▶ join        Start::Together
//!   [ spawn ─▶ clock .. pairs .. clock ─▶ join ]                              Start::Cold
//! ```
//!
//! Loops run in spawned threads even when there is one: glibc leaves out its locks on a process' only thread.

use crate::clock::{process_cpu, thread_cpu};
use crate::workloads::{Payer, Start, Workload};
use core::num::NonZeroUsize;
use core::ops::Range;
use core::time::Duration;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// A trial as long as this says how fast the loop is.
const TRIAL: Duration = Duration::from_millis(6);

/// What one thread did between the barrier and its end.
struct Shift {
    began: Instant,
    ended: Instant,
    /// The payer's clock at both ends.
    cpu: Range<Duration>,
}

impl Shift {
    fn of(payer: Payer, work: impl FnOnce()) -> Self {
        let clock = match payer {
            Payer::Crew => thread_cpu,
            Payer::Process => process_cpu,
        };
        let (began, start) = (Instant::now(), clock());
        work();
        let end = clock();
        Self { began, ended: Instant::now(), cpu: start..end }
    }
}

/// What the crew's own threads ran, or what the process ran from the first begin to the last end.
fn cpu(payer: Payer, shifts: &[Shift]) -> Duration {
    let starts = shifts.iter().map(|shift| shift.cpu.start);
    let ends = shifts.iter().map(|shift| shift.cpu.end);
    match payer {
        Payer::Crew => ends.zip(starts).map(|(end, start)| end - start).sum(),
        Payer::Process => ends.max().unwrap_or_default() - starts.min().unwrap_or_default(),
    }
}

/// What a crew cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// Summed over the threads, or that of the whole process: see [`Payer`].
    pub cpu: Duration,
    /// From the first thread's begin to the last thread's end.
    pub wall: Duration,
    /// Done by each thread that allocates.
    pub each: u64,
    /// Done by all of them.
    pub pairs: u64,
}

/// Runs `workload` for about `target`, after trials that find out how many pairs this takes. On fewer threads than a
/// workload needs there is nothing to find out, and the cost is that of a trial.
///
/// A run that was over in half of the time is a trial too: the one before it paid for fresh memory.
pub fn measure<W: Workload>(threads: NonZeroUsize, target: Duration) -> Cost {
    let mut each = W::UNIT;
    loop {
        let trial = run::<W>(threads, each);
        if trial.pairs == 0 {
            return trial;
        }
        if trial.wall >= TRIAL {
            return measured::<W>(threads, stretched(each, W::UNIT, trial.wall, target), target);
        }
        each = stretched(each, W::UNIT, trial.wall, 2 * TRIAL).clamp(2 * each, 100 * each);
    }
}

fn measured<W: Workload>(threads: NonZeroUsize, each: u64, target: Duration) -> Cost {
    let cost = run::<W>(threads, each);
    let longer = stretched(each, W::UNIT, cost.wall, target);
    if cost.wall < target / 2 && longer > each { run::<W>(threads, longer) } else { cost }
}

/// As many pairs, in whole units (one at least), as take `target` when `each` took `wall`.
fn stretched(each: u64, unit: u64, wall: Duration, target: Duration) -> u64 {
    let pairs = each as f64 * target.as_secs_f64() / wall.as_secs_f64();
    (pairs as u64 / unit).max(1) * unit
}

/// Runs `each` pairs on each of `threads` threads.
pub fn run<W: Workload>(threads: NonZeroUsize, each: u64) -> Cost {
    let workload = W::new(threads.get());
    let (shifts, spawned, joined) = shifts(&workload, threads.get(), each);
    let began = shifts.iter().map(|shift| shift.began).min();
    let ended = shifts.iter().map(|shift| shift.ended).max();
    let (began, ended) = match W::START {
        Start::Together => (began.unwrap_or(spawned), ended.unwrap_or(joined)),
        Start::Cold => (spawned, joined),
    };
    Cost { cpu: cpu(W::PAYER, &shifts), wall: ended - began, each, pairs: workload.pairs(threads.get(), each) }
}

fn shifts<W: Workload>(workload: &W, threads: usize, each: u64) -> (Vec<Shift>, Instant, Instant) {
    let barrier = Barrier::new(threads);
    let spawned = Instant::now();
    let shifts = thread::scope(|scope| {
        let crew: Vec<_> = (0..threads)
            .map(|number| {
                scope.spawn({
                    let barrier = &barrier;
                    move || shift(workload, barrier, number, each)
                })
            })
            .collect();
        crew.into_iter().map(|one| one.join().expect("a loop does not panic")).collect()
    });
    (shifts, spawned, Instant::now())
}

fn shift<W: Workload>(workload: &W, barrier: &Barrier, thread: usize, each: u64) -> Shift {
    let mut hand = workload.hand(thread);
    if W::START == Start::Together {
        workload.run(&mut hand, (each / W::WARM_UP).next_multiple_of(W::UNIT));
        barrier.wait();
    }
    Shift::of(W::PAYER, || workload.run(&mut hand, each))
}

#[cfg(test)]
mod tests {
    use super::{Payer, Shift, cpu, stretched};
    use core::time::Duration;
    use std::time::Instant;

    #[test]
    fn a_stretched_run_takes_as_long_as_asked() {
        let (short, long) = (Duration::from_millis(10), Duration::from_millis(100));
        assert_eq!(stretched(8 * 32, 32, short, long), 80 * 32);
        assert_eq!(stretched(32, 32, long, short), 32);
    }

    #[test]
    fn a_crew_pays_the_sum_and_a_process_the_span() {
        let now = Instant::now();
        let shift = |start, end| Shift {
            began: now,
            ended: now,
            cpu: Duration::from_millis(start)..Duration::from_millis(end),
        };
        let shifts = [shift(3, 10), shift(5, 12)];
        assert_eq!(cpu(Payer::Crew, &shifts), Duration::from_millis(14));
        assert_eq!(cpu(Payer::Process, &shifts), Duration::from_millis(9));
    }
}
