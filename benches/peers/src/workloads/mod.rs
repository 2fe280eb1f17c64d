//! The loops, one per file.

mod batch;
mod churn;
mod empty;
mod frag;
mod larson;
mod order;
mod pair;
mod pair_var;
mod pipe;
mod prodcons;
mod random;
mod random_any;
mod ring;
mod seats;
mod seed;
mod threads;

use crate::crew::{self, Cost};
use crate::trace::Trace;
use batch::Batch;
use core::num::NonZeroUsize;
use core::time::Duration;
use order::{Fifo, Lifo, Shuffled};
use prodcons::ProdCons;

/// How the threads of a workload begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// Warmed up, and from a barrier.
    Together,
    /// As they are spawned, without a warm-up; wall time counts from the first spawn to the last join.
    Cold,
}

/// Whose CPU time a workload costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// The threads of the crew, each its own.
    Crew,
    /// The whole process: the work is done by threads that the crew does not know.
    Process,
}

/// A loop of allocations and frees.
pub trait Workload: Sync {
    /// A thread's part of a run is a multiple of so many pairs. Whole batches of 32 and of 1,000 fit into this one;
    /// where a pair takes long, a unit is a few of them.
    const UNIT: u64 = 4_000;

    /// Who pays for it.
    const PAYER: Payer = Payer::Crew;

    /// How its threads begin.
    const START: Start = Start::Together;

    /// What one thread keeps from its warm-up to its end.
    type Hand;

    /// The workload for so many threads.
    fn new(threads: usize) -> Self;

    /// What thread number `thread` starts with; made on that thread.
    fn hand(&self, thread: usize) -> Self::Hand;

    /// One thread's part of `pairs` allocations with their frees.
    fn run(&self, hand: &mut Self::Hand, pairs: u64);

    /// Pairs that `threads` threads do when each runs `each`.
    fn pairs(&self, threads: usize, each: u64) -> u64 {
        threads as u64 * each
    }
}

/// A story about memory, told in phases by one thread or several.
pub trait Scenario {
    /// Tells it, marking its phases.
    fn run(threads: usize, trace: &mut Trace) -> Cost;
}

/// What a workload took.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// In time.
    pub cost: Cost,
    /// In memory; empty for loops.
    pub trace: Trace,
}

fn measured<W: Workload>(threads: NonZeroUsize, target: Duration) -> Outcome {
    Outcome { cost: crew::measure::<W>(threads, target), trace: Trace::default() }
}

fn told<S: Scenario>(threads: NonZeroUsize, _target: Duration) -> Outcome {
    let (cost, trace) = Trace::beside(|trace| S::run(threads.get(), trace));
    Outcome { cost, trace }
}

/// Which of its two times says more about a workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judge {
    /// CPU time: steady on a shared machine.
    Cpu,
    /// Wall time: where threads wait for each other by design.
    Wall,
}

/// A workload by its name.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// On the command line and in the tables.
    pub name: &'static str,
    /// What it does, in one line.
    pub about: &'static str,
    /// The time to compare.
    pub judge: Judge,
    /// On fewer threads it means nothing.
    pub least_threads: usize,
    /// Runs it on so many threads for about so long.
    pub measure: fn(NonZeroUsize, Duration) -> Outcome,
}

impl Entry {
    const fn plain(name: &'static str, about: &'static str, measure: fn(NonZeroUsize, Duration) -> Outcome) -> Self {
        Self { name, about, judge: Judge::Cpu, least_threads: 1, measure }
    }

    const fn of<W: Workload>(name: &'static str, about: &'static str) -> Self {
        Self::plain(name, about, measured::<W>)
    }

    const fn story<S: Scenario>(name: &'static str, about: &'static str) -> Self {
        Self::plain(name, about, told::<S>).by_wall()
    }

    const fn by_wall(self) -> Self {
        Self { judge: Judge::Wall, ..self }
    }

    const fn on_at_least(self, least_threads: usize) -> Self {
        Self { least_threads, ..self }
    }

    /// The workload of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().chain([&EMPTY]).find(|entry| entry.name == name)
    }
}

/// Every workload that calls the allocator.
pub static ALL: [Entry; 18] = [
    Entry::of::<pair::Pair>("pair", "64 B, allocated and freed; the layout is a constant"),
    Entry::of::<pair_var::PairVar>("pair-var", "64 B, allocated and freed; the size is known only at run time"),
    Entry::of::<random::Random>("random", "A random power of two from 16 to 2,048 B, allocated and freed"),
    Entry::of::<random_any::RandomAny>("random-any", "Any size from 16 B to 32 KiB (log-uniform), allocated and freed"),
    Entry::of::<Batch<32, Lifo>>("batch32", "32 blocks of 64 B allocated, then freed, the last one first"),
    Entry::of::<Batch<1000, Lifo>>("batch1000", "1,000 blocks of 64 B allocated, then freed, the last one first"),
    Entry::of::<Batch<32, Fifo>>("fifo32", "32 blocks of 64 B allocated, then freed, the first one first"),
    Entry::of::<Batch<1000, Fifo>>("fifo1000", "1,000 blocks of 64 B allocated, then freed, the first one first"),
    Entry::of::<Batch<1000, Shuffled>>("shuffle1000", "1,000 blocks of 64 B allocated, then freed in a random order"),
    Entry::of::<seed::Seed>(
        "seed",
        "The benchmark of frusa itself: `random`, from the spawn of cold threads to their join",
    ),
    Entry::of::<ProdCons<1, 1>>("prodcons", "64 B allocated by one thread and freed by another, behind a ring")
        .by_wall()
        .on_at_least(2),
    Entry::of::<ProdCons<1, 3>>("fanout", "64 B allocated by one thread and freed by three others, behind a ring each")
        .by_wall()
        .on_at_least(4),
    Entry::of::<ProdCons<3, 1>>("fanin", "64 B allocated by three threads and freed by one other, behind a ring each")
        .by_wall()
        .on_at_least(4),
    Entry::of::<ring::Ring>("ring", "64 B freed that the left neighbour allocated, and allocated for the right one")
        .by_wall()
        .on_at_least(2),
    Entry::of::<churn::Churn>(
        "churn",
        "100,000 live blocks of 16 B to 32 KiB, most of them small, one at random replaced",
    ),
    Entry::of::<larson::Larson>(
        "larson",
        "1,000 live blocks of 8 to 1,000 B per thread, one at random replaced; after 10,000 a fresh thread goes on",
    ),
    Entry::of::<threads::Threads>(
        "threads",
        "A thread takes 100 blocks of 16 to 2,047 B, frees 50 and ends; who spawned it frees the others",
    )
    .by_wall(),
    Entry::story::<frag::Frag>(
        "frag",
        "1 GiB of 16 B to 4 KiB, a random 90 % freed, refilled with 16 B to 32 KiB, all freed, and 1 s idle",
    ),
];

/// `random` without the allocator: what the loop itself costs.
pub static EMPTY: Entry = Entry::of::<empty::Empty>("empty", "the loop of `random` without an allocator");

/// Runs `each` pairs on each of `threads` threads, and tells with what hands they end.
#[cfg(test)]
fn together<W: Workload<Hand: Send>>(threads: usize, each: u64) -> Vec<W::Hand> {
    let workload = W::new(threads);
    let one = |thread| {
        let mut hand = workload.hand(thread);
        workload.run(&mut hand, each);
        hand
    };
    std::thread::scope(|scope| {
        let crew: Vec<_> = (0..threads).map(|thread| scope.spawn(move || one(thread))).collect();
        crew.into_iter().map(|one| one.join().unwrap()).collect()
    })
}

#[cfg(test)]
mod tests {
    use super::{ALL, EMPTY};
    use core::num::NonZeroUsize;
    use core::time::Duration;

    #[test]
    fn every_workload_runs_and_counts_its_pairs() {
        for entry in ALL.iter().chain([&EMPTY]) {
            let threads = NonZeroUsize::new(entry.least_threads.max(2)).unwrap();
            let cost = (entry.measure)(threads, Duration::from_millis(1)).cost;
            assert!(cost.pairs >= cost.each, "{}", entry.name);
            assert!(!cost.cpu.is_zero() && !cost.wall.is_zero(), "{}", entry.name);
        }
    }

    #[test]
    fn a_crew_too_small_does_nothing_and_ends() {
        for entry in ALL.iter().filter(|entry| entry.least_threads > 2) {
            let cost = (entry.measure)(NonZeroUsize::MIN, Duration::from_millis(1)).cost;
            assert_eq!(cost.pairs, 0, "{}", entry.name);
        }
    }
}
