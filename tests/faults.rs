//! The back-end says no at exactly the n-th call, for every n: allocation returns null, and nothing is lost.

#![cfg(feature = "std")]

mod common;

use bandolier::{Arena, Backend, Bandolier, FromGlobal, Os};
use common::hands::{Path, refuse_each};
use common::{Block, HARDENED, Pages, Refuse, layout, rounded, scaled, shared, threaded};
use core::alloc::GlobalAlloc;
use std::alloc::System;

fn scenarios<B: Backend>() -> [Path<B>; 9] {
    [
        ("first chunk", |hands| hands.alloc(10, 1)),
        ("first zeroed chunk", |hands| hands.zeroed(100, 64)),
        ("first run", |hands| hands.alloc(100_000, 1)),
        ("first zeroed run", |hands| hands.zeroed(100_000, 4096)),
        ("first large block", |hands| hands.alloc(5 << 20, 1)),
        ("large blocks, moved", |hands| {
            hands.zeroed(5 << 20, 1);
            hands.resize_last(9 << 20);
            hands.alloc(100, 256 << 10);
            hands.resize_last(12 << 20);
            hands.resize_last(50_000);
            hands.resize_last(50);
        }),
        ("many chunks of one class", |hands| {
            for _ in 0..scaled(6_000, 3_000, 200) {
                hands.alloc(64, 8);
            }
            hands.free_every(2);
            for _ in 0..scaled(6_000, 3_000, 200) {
                hands.zeroed(64, 8);
            }
            hands.free_every(3);
        }),
        ("every class, reallocated", |hands| {
            for log in 4..=15 {
                for size in [1 << log, (1 << log) + (1 << (log - 2)), (1 << log) + (1 << (log - 1))] {
                    hands.alloc(size, 1);
                    hands.alloc(size, 16);
                    hands.resize_last(size * 2);
                    hands.resize_last(size / 2);
                }
            }
            hands.free_every(2);
            for _ in 0..30 {
                hands.alloc(32 << 10, 4096);
            }
        }),
        ("runs, grown and cut", |hands| {
            for units in 1..12 {
                hands.alloc(units * 65_536, 4096);
                hands.resize_last((units + 3) * 65_536);
                hands.resize_last(units * 65_536 + 1);
                hands.zeroed(units * 40_000, 1);
            }
            hands.free_every(2);
            hands.resize_last(30 * 65_536);
            hands.resize_last(5 << 20);
            hands.resize_last(100_000);
            hands.resize_last(100);
        }),
    ]
}

#[test]
fn each_call_to_another_allocator_refused() {
    refuse_each("shared", &scenarios(), 1, || shared(FromGlobal::new(&System)));
}

#[test]
fn each_call_refused_with_thread_caches() {
    refuse_each("per thread", &scenarios(), 1, || threaded(FromGlobal::new(&System)));
}

#[test]
fn each_call_to_the_system_refused() {
    refuse_each("per thread", &scenarios(), 1, || threaded(Os));
}

/// The very first call is refused: the heap itself cannot be made.
#[test]
fn a_heap_that_cannot_be_made_says_null_until_it_can() {
    let (heap, account) = threaded(Os);
    account.set(Refuse::Always);
    for (size, align) in [(1, 1), (100_000, 1), (5 << 20, 1), (1, 1 << 20)] {
        assert!(Block::new(&heap, layout(size, align), 0).is_none());
        assert!(Block::zeroed(&heap, layout(size, align), 0).is_none());
    }
    assert_eq!(heap.reclaim(), Default::default());
    heap.flush_thread();
    assert_eq!(heap.stats(), Default::default());
    account.set(Refuse::Never);
    Block::new(&heap, layout(1, 1), 0).unwrap().free(&heap);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

/// Frees need memory for nothing, not even with every magazine full and no record to be had for another.
#[test]
fn frees_go_on_without_any_memory() {
    for (heap, account) in [threaded(Os), shared(Os)] {
        let mut held = Vec::new();
        for number in 0..scaled(40_000, 10_000, 100) {
            let size = [16, 24, 200, 1024, 9000, 30_000, 70_000][number % if number < 2000 { 7 } else { 3 }];
            held.push(Block::new(&heap, layout(size, 8), number as u64).unwrap());
        }
        account.set(Refuse::Always);
        held.into_iter().for_each(|block| block.free(&heap));
        assert_eq!(heap.stats().in_use, 0);
        let _ = heap.reclaim();
        assert_eq!(heap.stats().from_backend, heap.stats().metadata);
        drop(heap);
        assert_eq!(account.outstanding(), 0);
    }
}

/// A failed reallocation leaves the block as it was, whatever kinds it would have moved between.
#[test]
fn a_failed_reallocation_keeps_the_block() {
    let (heap, account) = shared(FromGlobal::new(&System));
    for (old, new) in
        [(10, 10_000), (10, 100_000), (10, 5 << 20), (100_000, 400_000), (100_000, 5 << 20), (5 << 20, 9 << 20)]
    {
        let block = Block::new(&heap, layout(old, 8), 1).unwrap();
        let _ = heap.reclaim();
        account.set(Refuse::Always);
        // What the heap has left, in free units and magazines, may serve; nothing else can.
        let mut fill = Vec::new();
        while let Some(more) = Block::new(&heap, layout(new, 8), 2) {
            fill.push(more);
        }
        let block = block.resize(&heap, new).unwrap_err();
        account.set(Refuse::Never);
        fill.into_iter().for_each(|more| more.free(&heap));
        block.resize(&heap, new).unwrap().free(&heap);
    }
}

// ---- arenas that run full ------------------------------------------------------------------------------------------

/// Fills the heap with blocks of `size`; how many fitted.
fn fill<B: Backend>(heap: &Bandolier<B>, size: usize) -> Vec<Block> {
    let mut held = Vec::new();
    while let Some(block) = Block::new(heap, layout(size, 8), held.len() as u64) {
        held.push(block);
    }
    // SAFETY: the size is not zero.
    assert!(unsafe { heap.alloc(layout(size, 8)) }.is_null(), "full, and yet not");
    held
}

/// Fills a heap with one size after the other, `least` bytes of each at least, freeing all in between.
fn exhaust<B: Backend>(heap: &Bandolier<B>, least: usize) {
    // What is freed has magazines of its own in a hardened heap.
    let least = if HARDENED { least - least / 8 } else { least };
    for _ in 0..2 {
        for size in [64, 16, 1000, 5_000, 20_000, 100_000, 64, 2_000].into_iter().filter(|&size| size * 4 <= least) {
            let held = fill(heap, size);
            let got: usize = held.iter().map(|block| rounded::<B>(block.layout())).sum();
            assert!(got >= least, "{got} bytes in blocks of {size}, not {least}: {heap:?}");
            assert_eq!(heap.stats().in_use, got);
            let (keep, free): (Vec<_>, Vec<_>) =
                held.into_iter().partition(|block| block.start().addr().get() >> 6 & 1 == 0);
            let freed = free.len();
            free.into_iter().for_each(|block| block.free(heap));
            let again = fill(heap, size);
            assert!(again.len() >= freed, "{} blocks of {size} after {freed} were freed", again.len());
            again.into_iter().chain(keep).for_each(|block| block.free(heap));
            assert_eq!(heap.stats().in_use, 0);
        }
    }
}

macro_rules! arenas {
    ($($name:ident: $bytes:expr, at least $least:expr;)*) => {$(
        #[test]
        fn $name() {
            static SHARED: Arena<{ $bytes }> = Arena::new();
            static THREADED: Arena<{ $bytes }> = Arena::new();
            exhaust(&Bandolier::with_backend(&SHARED).without_thread_caches(), $least);
            exhaust(&Bandolier::with_backend(&THREADED), $least);
            // The heaps are dropped, so both arenas are empty again.
            for arena in [&SHARED, &THREADED] {
                let all = arena.acquire(layout($bytes - 2 * 4096, 4096));
                assert!(all.is_some(), "the arena is not empty");
            }
        }
    )*};
}

arenas! {
    an_arena_of_64_kib_runs_full_and_works_again: 64 << 10, at least 4 << 10;
    an_arena_of_256_kib_runs_full_and_works_again: 256 << 10, at least 160 << 10;
    an_arena_of_1_mib_runs_full_and_works_again: 1 << 20, at least 704 << 10;
    an_arena_of_8_mib_runs_full_and_works_again: 8 << 20, at least 6656 << 10;
}

/// Budgets from next to nothing upwards, a page at a time: whatever the heap could hold once it can hold again, and it
/// can hold something of every size as soon as there is room for a segment of it and the records.
#[test]
fn every_budget_is_used_and_used_again() {
    for pages in (8..scaled(400, 160, 20) as u32).step_by(scaled(1, 7, 4)) {
        let (heap, account) = shared(Pages(FromGlobal::new(&System)));
        account.set(Refuse::Above(pages));
        for size in [64, 16, 1000, 5_000, 20_000, 64, 70_000, 16] {
            let held = fill(&heap, size);
            let got: usize = held.iter().map(|block| rounded::<Pages>(block.layout())).sum();
            let budget = pages as usize * 4096;
            // A heap's own records take a few pages, and what is left of a segment may be too short for a run.
            let least = (budget / 4 * 3).saturating_sub(16 * 4096) & !4095;
            assert!(size > least / 4 || got >= least, "{got} bytes in blocks of {size} of {budget}: {heap:?}");
            held.into_iter().for_each(|block| block.free(&heap));
        }
        account.set(Refuse::Never);
        let _ = heap.reclaim();
        assert_eq!(heap.stats().from_backend, heap.stats().metadata);
        drop(heap);
        assert_eq!(account.outstanding(), 0);
    }
}

// ---- reclaim beside a full heap ------------------------------------------------------------------------------------

/// A pass of reclaim hides one slab and one magazine at a time: beside it, a heap whose back-end has nothing left still
/// finds the thousands of chunks that are free.
#[test]
fn reclaim_beside_a_full_heap_makes_nothing_fail() {
    static ARENA: Arena<{ 8 << 20 }> = Arena::new();
    let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
    let (free, held): (Vec<_>, Vec<_>) =
        fill(&heap, 1024).into_iter().enumerate().partition(|(number, _)| number % 16 != 0);
    free.into_iter().for_each(|(_, block)| block.free(&heap));
    let _ = heap.reclaim();
    let done = core::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(core::sync::atomic::Ordering::Relaxed) {
                let _ = heap.reclaim();
            }
        });
        for round in 0..scaled(500, 100, 5) as u64 {
            let blocks: Vec<_> = (0..200).map(|n| Block::new(&heap, layout(1024, 1), round * 200 + n)).collect();
            let nulls = blocks.iter().filter(|block| block.is_none()).count();
            blocks.into_iter().flatten().for_each(|block| block.free(&heap));
            if nulls > 0 {
                done.store(true, core::sync::atomic::Ordering::Relaxed);
            }
            assert_eq!(nulls, 0, "allocations failed in round {round}");
        }
        done.store(true, core::sync::atomic::Ordering::Relaxed);
    });
    held.into_iter().for_each(|(_, block)| block.free(&heap));
}

// ---- purges that are refused ---------------------------------------------------------------------------------------

/// A heap in which there is something to purge: free units beside a run, and pages in slabs with survivors.
#[cfg(not(feature = "hardened"))]
fn with_gaps() -> (Bandolier<common::Metered<Os>>, std::sync::Arc<common::Account>, Vec<Block>) {
    let (backend, account) = common::Metered::strict(Os);
    let heap = Bandolier::with_backend(backend).without_thread_caches();
    // Three segments at least, each with runs and slabs in it.
    let sizes = (0..3).flat_map(|_| [100_000; 30].into_iter().chain([5000; 200]));
    let held: Vec<_> = (0..).zip(sizes).map(|(n, size)| Block::new(&heap, layout(size, 8), n).unwrap()).collect();
    let (keep, free): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(number, _)| number % 7 == 0);
    free.into_iter().for_each(|(_, block)| block.free(&heap));
    (heap, account, keep.into_iter().map(|(_, block)| block).collect())
}

/// What the kernel keeps today, because it is locked for instance, it may let go of tomorrow; and one piece that stays is no
/// reason for the others to stay.
#[cfg(not(feature = "hardened"))]
#[test]
fn a_purge_that_was_refused_is_asked_again() {
    let (heap, account, _keep) = with_gaps();
    account.set(Refuse::Never);
    let (all, calls) = (heap.drain(), account.calls() as u32);
    assert!(all.purged_units > 0 && all.purged_chunks > 0 && calls > 10, "{all:?}, {calls} calls");
    let purged = |gone: bandolier::Reclaimed| gone.purged_units + gone.purged_chunks;
    for n in 1..=calls {
        for rule in [Refuse::Nth(n), Refuse::From(n)] {
            let (heap, account, keep) = with_gaps();
            let before = account.purged();
            account.set(rule);
            let first = heap.drain();
            assert_eq!(first.total() - first.released, account.purged() - before, "{rule:?}");
            account.set(Refuse::Never);
            let second = heap.drain();
            // Of a slab in which one piece was refused, the others are purged twice.
            assert!(purged(first) + purged(second) >= purged(all), "{rule:?}: {first:?}, {second:?} of {all:?}");
            // The longest piece is what lies free in a segment.
            let most = if rule == Refuse::Nth(n) { Os::SEGMENT } else { usize::MAX };
            let missed = purged(all).saturating_sub(purged(first));
            assert!(missed <= most, "{rule:?}: {first:?} of {all:?}");
            keep.into_iter().for_each(|block| block.free(&heap));
        }
    }
}

/// A block that is to stay as it is needs no memory.
#[test]
fn a_block_keeps_its_size_in_a_full_arena() {
    static ARENA: Arena<{ 1 << 20 }> = Arena::new();
    let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
    for size in [100, 20_000, 300_000] {
        let mut held = fill(&heap, size);
        let block = held.pop().unwrap();
        let start = block.start();
        let block = block.resize(&heap, size).unwrap_or_else(|_| panic!("{size} bytes"));
        assert_eq!(block.start(), start);
        held.into_iter().chain([block]).for_each(|block| block.free(&heap));
    }
}
