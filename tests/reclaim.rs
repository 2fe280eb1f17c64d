//! The three verbs of reclaim: what comes back from sleeping threads and from CPUs, what stays, and what goes on meanwhile.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Arena, Backend, Bandolier, Bounds, Locator, Os, Reclaimed, Reclaimer};
use common::forbid::forbid;
use common::{Account, Block, Dice, Metered, child, isolated, layout, role, scaled};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

const MIB: usize = 1 << 20;

type Heap = Bandolier<Metered<Os>>;

/// A heap whose back-end keeps no time, so that it gives nothing back unasked.
fn heap() -> (Heap, Arc<Account>) {
    let (backend, account) = Metered::timeless(Os);
    (Bandolier::with_backend(backend), account)
}

/// Takes `count` blocks of many classes, and frees them.
fn busy<B: Backend>(heap: &Bandolier<B>, seed: u64, count: u64) {
    let mut dice = Dice::new(seed);
    let blocks: Vec<_> =
        (0..count).map(|n| Block::new(heap, layout(dice.size(8192), 8), seed << 32 | n).unwrap()).collect();
    blocks.into_iter().for_each(|block| block.free(heap));
}

/// Threads that do `first`, sleep until all have, and `then` go on.
fn sleepers(
    count: u64,
    heap: &Arc<Heap>,
    first: fn(&Heap, u64),
    meanwhile: impl FnOnce(),
    then: impl Fn(&Heap, u64) + Copy + Send + 'static,
) {
    let (asleep, over) = (Arc::new(Barrier::new(count as usize + 1)), Arc::new(Barrier::new(count as usize + 1)));
    let threads: Vec<_> = (0..count)
        .map(|seed| {
            let (heap, asleep, over) = (heap.clone(), asleep.clone(), over.clone());
            thread::spawn(move || {
                first(&heap, seed);
                asleep.wait();
                over.wait();
                then(&heap, seed);
            })
        })
        .collect();
    asleep.wait();
    meanwhile();
    over.wait();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// What sleeping threads hold in their magazines comes back from another thread's call, but for a round of a class here and
/// there; and they go on as if nothing had been.
#[test]
fn sleeping_threads_are_drained() {
    let (heap, account) = heap();
    let heap = Arc::new(heap);
    sleepers(
        16,
        &heap,
        |heap, seed| busy(heap, seed, 5000),
        || {
            let before = heap.stats();
            assert_eq!((before.threads, before.in_use), (16, 0));
            assert!(before.cached > 2 * MIB, "{}", before.cached);
            let back = heap.drain_caches();
            assert!(back.is_complete(), "{back:?}");
            let after = heap.stats();
            let most: usize = after.classes.iter().map(|class| class.bytes).sum();
            assert!(after.cached <= 16 * most, "{} bytes are left", after.cached);
            assert!(after.classes.iter().all(|class| class.cached <= 16), "{:?}", after.classes);
            let resident = account.outstanding() - account.purged();
            assert!(resident < before.from_backend / 4, "{resident} of {}", before.from_backend);
        },
        |heap, seed| busy(heap, seed + 100, 5000),
    );
    while heap.stats().threads > 0 {
        thread::yield_now();
    }
    assert_eq!((heap.stats().in_use, heap.drain_caches().is_complete(), heap.stats().cached), (0, true, 0));
    assert_eq!(account.outstanding(), heap.stats().metadata);
}

/// Threads are drained again and again while they work, free what others have taken, come and go.
fn storm(heap: Bandolier<Os>) {
    const THREADS: u64 = 6;
    let (over, drains) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let work = |seed: u64| {
            let mut dice = Dice::new(seed);
            let mut held: Vec<Block> = Vec::new();
            for turn in 0..scaled(400_000, 60_000, 0) as u64 {
                if dice.below(2) == 0 && held.len() < 400 {
                    held.push(Block::new(&heap, layout(16 << dice.below(5), 8), seed << 32 | turn).unwrap());
                } else if !held.is_empty() {
                    held.swap_remove(dice.below(held.len())).free(&heap);
                }
            }
            held.into_iter().for_each(|block| block.free(&heap));
        };
        let workers: Vec<_> = (0..THREADS).map(|seed| scope.spawn(move || work(seed))).collect();
        let drainers: Vec<_> = (0..2)
            .map(|n| {
                let (heap, over, drains) = (&heap, &over, &drains);
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        let _ = if n == 0 { heap.drain_caches() } else { heap.trim() };
                        drains.fetch_add(1, Relaxed);
                        thread::sleep(Duration::from_micros(200));
                    }
                })
            })
            .collect();
        // Threads that live for a moment, and may leave while they are searched.
        for seed in 0..scaled(2000, 300, 0) as u64 {
            scope.spawn({
                let heap = &heap;
                move || busy(heap, seed << 8, 200)
            });
            if seed % 8 == 0 {
                thread::yield_now();
            }
        }
        workers.into_iter().for_each(|worker| worker.join().unwrap());
        over.store(true, Relaxed);
        drainers.into_iter().for_each(|drainer| drainer.join().unwrap());
    });
    assert!(drains.load(Relaxed) > 20);
    while heap.stats().threads > 0 {
        thread::yield_now();
    }
    assert_eq!(heap.stats().in_use, 0);
    let _ = heap.drain_caches();
    assert_eq!((heap.stats().cached, heap.stats().from_backend), (0, heap.stats().metadata));
}

#[test]
fn threads_are_drained_while_they_work() {
    storm(Bandolier::with_backend(Os).per_thread());
}

#[test]
fn hybrids_are_drained_while_they_work() {
    storm(Bandolier::with_backend(Os).hybrid());
}

#[test]
fn cpus_are_drained_while_they_work() {
    storm(Bandolier::with_backend(Os).per_cpu());
}

/// Bytes of this process that are in memory.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

/// The first thread's holster lies in the heap's own record, and is counted there.
#[test]
fn records_in_use_are_no_more_than_there_are() {
    static ARENA: Arena<{ 300 << 10 }> = Arena::new();
    let heap = Bandolier::with_backend(&ARENA);
    // Full before there is a slab, of which there are more records than are in use.
    let mut blocks: Vec<_> = (0..).map_while(|n| Block::new(&heap, layout(20_000, 8), n)).collect();
    blocks.extend((0..).map_while(|n| Block::new(&heap, layout(4096, 8), n)));
    assert!(Block::new(&heap, layout(64, 8), 0).is_none());
    let stats = heap.stats();
    assert_eq!(stats.threads, 1);
    assert!(stats.metadata_in_use <= stats.metadata, "{} of {}", stats.metadata_in_use, stats.metadata);
    blocks.into_iter().for_each(|block| block.free(&heap));
}

/// The first `trim` begins to look; what is not used until the next one goes back by then, or by the one after.
#[test]
fn a_burst_is_trimmed() {
    isolated("a_burst_is_trimmed", || {
        let heap = Arc::new(heap().0);
        let burst = |heap: &Heap, seed: u64| {
            let blocks: Vec<_> =
                (0..20_000).map(|n| Block::new(heap, layout(1000, 8), seed << 32 | n).unwrap()).collect();
            blocks.into_iter().for_each(|block| block.free(heap));
        };
        let before = resident();
        sleepers(
            4,
            &heap,
            burst,
            || {
                let full = resident() - before;
                assert!(full > 20 * MIB, "{full}");
                let _ = heap.trim();
                let marked = resident().saturating_sub(before);
                assert!(marked > full / 10 * 9, "{marked} of {full} bytes after the first call");
                let trims: Vec<_> = (0..2).map(|_| heap.trim()).collect();
                let left = resident().saturating_sub(before);
                assert!(left < full / 10, "{left} of {full} bytes are left after {trims:?}");
            },
            |_, _| (),
        );
    });
}

/// What swells and shrinks between two trims is needed, and stays.
#[test]
fn a_working_set_is_not_trimmed() {
    let (heap, account) = heap();
    let heap = heap.without_thread_caches();
    let breathe = |turn: u64| {
        let blocks: Vec<_> = (0..20_000).map(|n| Block::new(&heap, layout(500, 8), turn << 32 | n).unwrap()).collect();
        blocks.into_iter().for_each(|block| block.free(&heap));
    };
    (0..3).for_each(|turn| {
        breathe(turn);
        let _ = heap.trim();
    });
    let (full, purged) = (account.outstanding(), account.purged());
    let gone: usize = (3..13)
        .map(|turn| {
            breathe(turn);
            heap.trim().total()
        })
        .sum();
    assert!(gone < full / 20, "{gone} of {full} bytes, ten times");
    assert!(account.outstanding() <= full + MIB && account.purged() - purged <= gone);
}

/// What a load needs again after each breath, a driver leaves it, once it has seen that; but not what a burst leaves on top.
#[test]
#[cfg_attr(feature = "hardened", ignore = "quarantine ends an interval later, and a step is judged by itself")]
fn a_breath_is_left_and_a_burst_is_not() {
    let heap: &'static Heap = Box::leak(Box::new(heap().0.without_thread_caches()));
    let driver = Reclaimer::new(heap);
    let take = |count: u64, turn: u64| -> Vec<Block> {
        (0..count).map(|n| Block::new(heap, layout(500, 8), turn << 32 | n).unwrap()).collect()
    };
    // A third stays, and the rest is free for two intervals of three.
    let kept = take(10_000, 0);
    let breathe = |turn: u64| {
        let blocks = take(20_000, turn);
        let first = driver.step().total();
        blocks.into_iter().for_each(|block| block.free(heap));
        (0..3).fold(first, |sum, _| sum + driver.step().total())
    };
    let first: usize = (1..5).map(breathe).sum();
    (5..30).for_each(|turn| _ = breathe(turn));
    let last: usize = (30..50).map(breathe).sum();
    assert!(first > 10 * MIB, "{first} bytes in four breaths");
    assert!(last < 2 * first, "{last} bytes in twenty breaths, and {first} in the first four");
    // Ten times a breath, and then nothing any more.
    take(200_000, 99).into_iter().for_each(|block| block.free(heap));
    let gone: usize = (0..4).map(|_| driver.step().total()).sum();
    assert!(gone > 200_000 * 500 / 10 * 9, "{gone} bytes of a burst, and {last} in twenty breaths");
    kept.into_iter().for_each(|block| block.free(heap));
}

/// A call does no more than it may, and the next ones do the rest.
#[test]
fn a_call_is_bounded() {
    let (heap, account) = heap();
    let heap = heap.without_thread_caches();
    let blocks: Vec<_> = (0..600).map(|n| Block::new(&heap, layout(100_000, 8), n).unwrap()).collect();
    blocks.into_iter().for_each(|block| block.free(&heap));
    let full = account.outstanding();
    let bounds = Bounds::NONE.bytes(8 * MIB);
    let calls: Vec<usize> =
        core::iter::from_fn(|| Some(heap.drain_within(bounds).total()).filter(|gone| *gone > 0)).collect();
    assert!(calls.iter().all(|gone| *gone <= 8 * MIB + <Os as Backend>::SEGMENT), "{calls:?}");
    assert!(calls.len() >= full / (8 * MIB + <Os as Backend>::SEGMENT), "{calls:?}");
    assert_eq!(account.outstanding(), heap.stats().metadata);
}

/// A call ends soon after its time is over.
#[test]
fn a_call_ends_in_time() {
    let heap = Bandolier::with_backend(Os).without_thread_caches();
    let blocks: Vec<_> = (0..400_000).map(|n| Block::new(&heap, layout(200, 8), n).unwrap()).collect();
    // Survivors in every slab keep the heap from giving it back by itself.
    let (kept, freed): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(n, _)| n % 400 == 0);
    freed.into_iter().for_each(|(_, block)| block.free(&heap));
    let nothing = heap.drain_within(Bounds::NONE.time(Duration::ZERO));
    assert_eq!(nothing.total(), 0);
    assert!(heap.drain().total() > 0);
    kept.into_iter().for_each(|(_, block)| block.free(&heap));
}

fn drained_without_membarrier(heap: Heap) -> (Reclaimed, usize) {
    let (heap, mut back) = (Arc::new(heap), (Reclaimed::default(), 0));
    sleepers(
        4,
        &heap,
        |heap, seed| busy(heap, seed, 5000),
        || {
            // Of this thread, and what lies in the depot.
            busy(&heap, 99, 5000);
            back = (heap.drain_caches(), heap.stats().threads);
        },
        // When a thread comes by it hands in what it has, though nobody could take it.
        |heap, seed| busy(heap, seed, 100),
    );
    back
}

/// Where a thread may not reach into others, a drain says so, and takes the rest.
#[test]
fn a_drain_without_membarrier_says_what_it_missed() {
    if role().is_some() {
        forbid(libc::SYS_membarrier, libc::EPERM);
        let (back, threads) = drained_without_membarrier(heap().0.per_thread());
        assert_eq!((back.missed_threads, back.missed_cpus, threads), (4, 0, 5), "{back:?}");
        assert!(back.total() > 0 && !back.is_complete(), "{back:?}");
        let cpus = heap().0.per_cpu();
        Block::new(&cpus, layout(64, 8), 1).unwrap().free(&cpus);
        if cpus.stats().locator != Locator::PerCpu {
            // As above, and `tests/machine.rs` asks why.
            return;
        }
        let (back, _) = drained_without_membarrier(cpus);
        assert!((1..=4096).contains(&back.missed_cpus) && back.total() > 0, "{back:?}");
        return;
    }
    let output = child("a_drain_without_membarrier_says_what_it_missed", "here");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// One call reaches all of very many threads.
#[test]
fn a_thousand_sleepers_are_drained() {
    let (heap, _) = heap();
    let heap = Arc::new(heap);
    sleepers(
        scaled(1000, 200, 0) as u64,
        &heap,
        |heap, seed| busy(heap, seed, 100),
        || {
            let cached = heap.stats().cached;
            let back = heap.drain_caches();
            assert!(back.is_complete() && heap.stats().cached < cached / 4, "{} of {cached}", heap.stats().cached);
        },
        |_, _| (),
    );
}

/// Without a call, too, wherever the thread has worked from: what it has left with CPUs holds segments, but not their memory.
#[test]
fn a_burst_of_a_hybrid_goes_back_by_itself() {
    isolated("a_burst_of_a_hybrid_goes_back_by_itself", || {
        let heap = Bandolier::new().hybrid();
        let before = resident();
        let mut dice = Dice::new(7);
        let blocks: Vec<_> =
            (0..40_000).map(|n| Block::new(&heap, layout(24 + dice.below(4000), 8), n).unwrap()).collect();
        let full = resident() - before;
        assert!(full > 64 * MIB, "{full}");
        blocks.into_iter().for_each(|block| block.free(&heap));
        let left = resident().saturating_sub(before);
        assert!(left < full / 2, "{left} of {full} bytes are left");
    });
}

// ---- the driver -----------------------------------------------------------------------------------------------------

/// Waits until it is so, for very much longer than it should take.
fn until(what: &str, so: impl Fn() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(60), "{what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// With a driver, a burst goes back though nobody calls anything, also what lies in the magazines of threads that sleep.
#[test]
fn a_burst_goes_back_by_a_driver() {
    isolated("a_burst_goes_back_by_a_driver", || {
        static HEAP: Bandolier<Os> = Bandolier::with_backend(Os).per_thread();
        let before = resident();
        let running = Reclaimer::new(&HEAP).interval(Duration::from_millis(20)).spawn().unwrap();
        let (freed, over) = (Barrier::new(5), Barrier::new(5));
        thread::scope(|scope| {
            for seed in 0..4 {
                let (freed, over) = (&freed, &over);
                scope.spawn(move || {
                    busy(&HEAP, seed, 10_000);
                    freed.wait();
                    over.wait();
                });
            }
            freed.wait();
            let most: usize = HEAP.stats().classes.iter().map(|class| class.bytes).sum();
            until("the magazines of threads that sleep", || HEAP.stats().cached <= 4 * most);
            until("the memory", || resident() < before + 6 * MIB);
            over.wait();
        });
        assert!(running.stop().total() > 8 * MIB);
    });
}

/// A driver ends when it is told to, and when it is dropped; there may be several.
#[test]
fn a_driver_ends() {
    static HEAP: Bandolier<Os> = Bandolier::with_backend(Os);
    let names = || {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap();
        let name =
            |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.ok()?.path().join("comm")).ok();
        tasks.filter_map(name).filter(|name| name.trim() == "bandolier").count()
    };
    isolated("a_driver_ends", || {
        assert_eq!(names(), 0);
        let reclaimer = Reclaimer::new(&HEAP).interval(Duration::from_secs(3600));
        let (first, second) = (reclaimer.spawn().unwrap(), reclaimer.spawn().unwrap());
        until("two threads", || names() == 2);
        busy(&HEAP, 1, 1000);
        assert_eq!(first.stop().total(), 0, "one step only begins to look");
        drop(second);
        until("no thread", || names() == 0);
        assert_eq!(reclaimer.pause(Reclaimed::default()), Duration::from_secs(3600));
    });
}

/// An `Os` that counts the blocks of less than two KiB: of all that a heap asks for, the places of CPUs alone are so small.
struct Places(AtomicUsize);

// SAFETY: every call is one of `Os`.
unsafe impl Backend for Places {
    const ZEROED: bool = true;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.fetch_add(usize::from(layout.size() < 2048), Relaxed);
        Os.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.0.fetch_sub(usize::from(layout.size() < 2048), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }

    fn granule(&self) -> usize {
        Os.granule()
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.purge(start, bytes) }
    }
}

/// Who drains while others do makes do with the spare places that those have left, and does not leave more behind each time.
#[test]
fn drains_beside_each_other_leave_no_places_behind() {
    let heap = Bandolier::with_backend(Places(AtomicUsize::new(0))).per_cpu();
    thread::scope(|scope| {
        for seed in 0..8 {
            let heap = &heap;
            scope.spawn(move || {
                (0..scaled(2000, 500, 0)).for_each(|_| {
                    busy(heap, seed, 20);
                    let _ = heap.drain_caches();
                });
            });
        }
    });
    let (cpus, places) = (thread::available_parallelism().map_or(1, usize::from), heap.backend().0.load(Relaxed));
    assert!(places <= 4 * cpus.max(8), "{places} for {cpus} CPUs");
    // The next drain finds them again.
    busy(&heap, 9, 20);
    assert_eq!((heap.drain_caches().missed_cpus, heap.backend().0.load(Relaxed)), (0, places));
}
