//! The loops, one per file.

mod batch;
mod buffers;
mod caches;
mod churn;
mod empty;
mod frag;
mod json;
mod large;
mod larson;
mod live;
mod maps;
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
mod tasks;
mod threads;
mod vec_grown;
mod vec_small;
mod zeroed;

use crate::crew::{self, Cost};
use crate::trace::Trace;
use batch::Batch;
use core::num::NonZeroUsize;
use core::time::Duration;
use order::{Fifo, Lifo, Shuffled};
use pipe::{Opened, Sealed};
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

    /// A run is warmed up with this part of its pairs.
    const WARM_UP: u64 = 8;

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
    /// On more threads it needs too much memory, or means nothing.
    pub most_threads: usize,
    /// Too large or too long for a test of a debug build.
    pub heavy: bool,
    /// Runs it on so many threads for about so long.
    pub measure: fn(NonZeroUsize, Duration) -> Outcome,
}

impl Entry {
    const fn plain(name: &'static str, about: &'static str, measure: fn(NonZeroUsize, Duration) -> Outcome) -> Self {
        Self { name, about, judge: Judge::Cpu, least_threads: 1, most_threads: usize::MAX, heavy: false, measure }
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

    const fn at_most(self, most_threads: usize) -> Self {
        Self { most_threads, ..self }
    }

    const fn heavy(self) -> Self {
        Self { heavy: true, ..self }
    }

    /// Whether it means something on so many threads.
    pub fn runs_on(&self, threads: usize) -> bool {
        (self.least_threads..=self.most_threads).contains(&threads)
    }

    /// The number at the end of its name, by which workloads differ that ask the same at growing sizes.
    pub fn size(&self) -> Option<f64> {
        let number = self.name.rsplit('-').next()?;
        let (digits, factor) = match number.char_indices().next_back()? {
            (end, 'k') => (&number[..end], 1e3),
            (end, 'm') => (&number[..end], 1e6),
            _ => (number, 1.0),
        };
        Some(digits.parse::<u32>().ok()? as f64 * factor)
    }

    /// The workload of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        ALL.iter().chain(&SCALING).chain([&EMPTY]).find(|entry| entry.name == name)
    }
}

/// Every workload of the usual set.
pub static ALL: [Entry; 30] = [
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
    Entry::of::<ProdCons<1, 1, Sealed>>("prodcons", "64 B allocated by one thread and freed by another, behind a ring")
        .by_wall()
        .on_at_least(2),
    Entry::of::<ProdCons<1, 1, Opened>>("handover", "The same, written by the one and read by the other")
        .by_wall()
        .on_at_least(2),
    Entry::of::<ProdCons<1, 3, Sealed>>(
        "fanout",
        "64 B allocated by one thread and freed by three others, behind a ring each",
    )
    .by_wall()
    .on_at_least(4),
    Entry::of::<ProdCons<3, 1, Sealed>>(
        "fanin",
        "64 B allocated by three threads and freed by one other, behind a ring each",
    )
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
    Entry::of::<vec_small::VecSmall>("vec-small", "A `Vec<u64>` grown by push from empty to 64 elements, and dropped"),
    Entry::of::<vec_grown::VecGrown<1>>("vec-1m", "A `Vec<u8>` grown to 1 MiB in pieces of 64 B; per 64 KiB"),
    Entry::of::<vec_grown::VecGrown<256>>("vec-256m", "A `Vec<u8>` grown to 256 MiB in pieces of 64 B; per 64 KiB")
        .at_most(2)
        .heavy(),
    Entry::of::<large::Large<8>>(
        "large",
        "8 live buffers of 64 KiB to 4 MiB, one at random replaced, all pages written",
    ),
    Entry::of::<large::Large<1>>("large-1", "A buffer of 64 KiB to 4 MiB, all pages written, one at a time"),
    Entry::of::<buffers::Buffers>(
        "buffers",
        "16 live buffers of 32 to 512 KiB, one at random replaced, two pages of each written",
    ),
    Entry::of::<zeroed::Zeroed<{ 1 << 20 }>>("zeroed", "1 MiB of zeros, one page in 16 read and one written"),
    Entry::of::<zeroed::Zeroed<{ 1 << 10 }>>("zeroed-small", "1 KiB of zeros, one byte read and one written"),
    Entry::of::<tasks::Tasks>("tokio", "Messages of 16 to 1,023 B between 64 tasks on a runtime of so many workers")
        .by_wall(),
    Entry::of::<json::Json>("json", "A document of 50 KiB parsed, walked and serialised; per each of its 100 records"),
    Entry::of::<maps::Maps>("maps", "A tree and a hash table of 5,000 entries each, one at random replaced"),
];

/// One question asked at growing sizes, for plots.
pub static SCALING: [Entry; 9] = [
    Entry::of::<live::Live<1_000>>("live-1k", "1,000 live blocks of 16 to 127 B, one at random replaced"),
    Entry::of::<live::Live<10_000>>("live-10k", "10,000 live blocks of 16 to 127 B, one at random replaced"),
    Entry::of::<live::Live<100_000>>("live-100k", "100,000 live blocks of 16 to 127 B, one at random replaced"),
    Entry::of::<live::Live<1_000_000>>("live-1m", "1,000,000 live blocks of 16 to 127 B, one at random replaced")
        .heavy(),
    Entry::of::<live::Live<10_000_000>>("live-10m", "10,000,000 live blocks of 16 to 127 B, one at random replaced")
        .heavy(),
    Entry::story::<caches::Caches<10>>("caches-10", "10 threads that used 20 blocks each, and sleep").at_most(1),
    Entry::story::<caches::Caches<100>>("caches-100", "100 threads that used 20 blocks each, and sleep").at_most(1),
    Entry::story::<caches::Caches<1_000>>("caches-1k", "1,000 threads that used 20 blocks each, and sleep")
        .at_most(1)
        .heavy(),
    Entry::story::<caches::Caches<10_000>>("caches-10k", "10,000 threads that used 20 blocks each, and sleep")
        .at_most(1)
        .heavy(),
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
    use super::{ALL, EMPTY, Entry, SCALING};
    use core::num::NonZeroUsize;
    use core::time::Duration;
    fn run_and_count(heavy: bool) {
        for entry in ALL.iter().chain(&SCALING).chain([&EMPTY]).filter(|entry| entry.heavy == heavy) {
            let threads = NonZeroUsize::new(entry.least_threads.max(2).min(entry.most_threads)).unwrap();
            let cost = (entry.measure)(threads, Duration::from_millis(1)).cost;
            assert!(cost.each > 0 && cost.pairs >= cost.each, "{}", entry.name);
            assert!(!cost.cpu.is_zero() && !cost.wall.is_zero(), "{}", entry.name);
        }
    }

    #[test]
    fn every_workload_runs_and_counts_its_pairs() {
        run_and_count(false);
    }

    #[test]
    #[ignore = "takes GiB of memory, thousands of threads and many seconds"]
    fn every_heavy_workload_does_too() {
        run_and_count(true);
    }

    #[test]
    fn every_name_finds_its_own_entry() {
        for entry in ALL.iter().chain(&SCALING) {
            assert!(Entry::named(entry.name).is_some_and(|found| core::ptr::eq(found, entry)), "{}", entry.name);
        }
    }

    #[test]
    fn what_grows_tells_its_size() {
        let sizes = ["live-1k", "live-100k", "live-10m", "caches-10", "churn", "vec-small"]
            .map(|name| Entry::named(name).unwrap().size());
        assert_eq!(sizes, [Some(1e3), Some(1e5), Some(1e7), Some(10.0), None, None]);
    }

    #[test]
    fn a_crew_too_small_does_nothing_and_ends() {
        for entry in ALL.iter().filter(|entry| entry.least_threads > 2) {
            let cost = (entry.measure)(NonZeroUsize::MIN, Duration::from_millis(1)).cost;
            assert_eq!(cost.pairs, 0, "{}", entry.name);
        }
    }
}
