//! What frusa's own tests look at, in a stronger form: a back-end that fails at random, every size at every alignment,
//! memory that goes back, and figures that agree with each other.

#![cfg(feature = "std")]

mod common;

use bandolier::{Arena, Backend, Bandolier, FromGlobal, Os, Stats};
use common::{Account, Block, Dice, HARDENED, Metered, Refuse, layout, rounded, scaled, shared, threaded};
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::alloc::System;
use std::thread;

fn from_system() -> FromGlobal<System> {
    FromGlobal::new(&System)
}

/// At least 95 % of the most that was ever drawn is back.
fn assert_mostly_returned(account: &Account) {
    let (left, peak) = (account.outstanding(), account.peak());
    assert!(left * 20 <= peak, "{left} of {peak} bytes are still out");
}

// ---- a back-end that fails at random -------------------------------------------------------------------------------

const FLAKY_THREADS: u64 = 8;

/// Fills and empties a store of blocks again and again; how often there was no memory.
fn fill_and_empty<B: Backend>(heap: &Bandolier<B>, number: u64) -> usize {
    let mut dice = Dice::new(number);
    let mut failures = 0;
    for round in 0..scaled(4, 2, 1) as u64 {
        let mut held = Vec::new();
        for turn in 0..scaled(3_000, 1_000, 100) as u64 {
            match Block::new(heap, dice.layout(3 << 20), number << 48 | round << 32 | turn) {
                Some(block) => held.push(block),
                None => failures += 1,
            }
            if dice.below(4) == 0 && !held.is_empty() {
                let block: Block = held.swap_remove(dice.below(held.len()));
                let size = dice.size(3 << 20);
                let (Ok(block) | Err(block)) = block.resize(heap, size);
                held.push(block);
            }
        }
        held.into_iter().for_each(|block| block.free(heap));
    }
    failures
}

fn flaky<B: Backend + Send>(heap: Bandolier<Metered<B>>, account: &Account) {
    account.set(Refuse::OneIn(3));
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let heap = &heap;
        let reclaimer = scope.spawn(|| {
            let mut passes = 0_u32;
            while !done.load(Relaxed) {
                let _ = heap.reclaim();
                passes += 1;
                thread::yield_now();
            }
            passes
        });
        let crowd: Vec<_> = (1..=FLAKY_THREADS).map(|n| scope.spawn(move || fill_and_empty(heap, n))).collect();
        let failures: usize = crowd.into_iter().map(|worker| worker.join().unwrap()).sum();
        done.store(true, Relaxed);
        assert!(reclaimer.join().unwrap() > 0);
        assert!(account.refused() > 0);
        // A refused segment is asked for again in smaller pieces, so most refusals are not seen by the program.
        println!("{} refusals of {} calls, {failures} failures", account.refused(), account.calls());
    });
    let _ = heap.reclaim();
    assert_eq!(heap.stats().in_use, 0);
    assert_eq!(heap.stats().from_backend, account.outstanding());
    assert_mostly_returned(account);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn nothing_is_lost_when_another_allocator_fails_at_random() {
    let (heap, account) = shared(from_system());
    flaky(heap, &account);
}

#[test]
fn nothing_is_lost_with_thread_caches_either() {
    let (heap, account) = threaded(from_system());
    flaky(heap, &account);
}

#[test]
fn nothing_is_lost_when_the_system_fails_at_random() {
    let (heap, account) = threaded(Os);
    flaky(heap, &account);
}

#[test]
fn nothing_is_lost_when_an_arena_fails_at_random() {
    static ARENA: Arena<{ 256 << 20 }> = Arena::new();
    let (heap, account) = shared(&ARENA);
    flaky(heap, &account);
}

// ---- every size at every alignment ---------------------------------------------------------------------------------

/// Sizes around every size class, every unit up to a few, and every power of two up to `most`.
fn sizes(most: usize) -> impl Iterator<Item = usize> {
    let steps = (1..=70_000).step_by(scaled(61, 601, 10_000));
    let powers = (0..usize::BITS).map(|log| 1_usize << log).take_while(move |&size| size <= most);
    let near = powers.flat_map(|size| [size - 1, size, size + 1]);
    steps.chain(near).filter(move |&size| size > 0 && size <= most)
}

fn every_layout<B: Backend>(heap: &Bandolier<B>, most: usize, most_aligned: usize) {
    let mut stamp = 0;
    for log in 0..=most_aligned.ilog2() {
        let mut held: Vec<Block> = Vec::new();
        let mut bytes = 0;
        for size in sizes(most) {
            stamp += 1;
            let block = Block::new(heap, layout(size, 1 << log), stamp).unwrap_or_else(|| panic!("{size} at {log}"));
            bytes += rounded::<B>(block.layout()).max(1 << log);
            held.push(block);
            if bytes > most || held.len() > 500 {
                bytes = 0;
                held.drain(..).for_each(|block| block.free(heap));
            }
        }
        held.into_iter().for_each(|block| block.free(heap));
    }
    let _ = heap.reclaim();
    assert_eq!(heap.stats().from_backend, heap.stats().metadata);
}

#[test]
fn every_layout_from_another_allocator() {
    let (heap, account) = threaded(from_system());
    every_layout(&heap, 8 << 20, 2 << 20);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn every_layout_from_an_arena() {
    static ARENA: Arena<{ 64 << 20 }> = Arena::new();
    let (heap, account) = threaded(&ARENA);
    every_layout(&heap, 8 << 20, 2 << 20);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn every_layout_from_the_system() {
    let (heap, account) = shared(Os);
    every_layout(&heap, 8 << 20, 2 << 20);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

// ---- a million blocks ----------------------------------------------------------------------------------------------

const MILLION: usize = scaled(1_000_000, 1_000_000, 2_000);

/// A million blocks without a pattern, of sizes that `size` gives, freed in another order; then reclaim.
fn a_million<B: Backend>((heap, account): (Bandolier<Metered<B>>, impl AsRef<Account>), size: impl Fn(usize) -> usize) {
    let account = account.as_ref();
    let of = |number| layout(size(number), 8);
    // SAFETY: no size is zero.
    let mut blocks: Vec<_> = (0..MILLION).map(|number| (number, unsafe { heap.alloc(of(number)) })).collect();
    assert!(blocks.iter().all(|block| !block.1.is_null()));
    let live: usize = (0..MILLION).map(|number| rounded::<B>(of(number))).sum();
    assert_eq!(heap.stats().in_use, live);
    blocks.sort_unstable_by_key(|block| common::mixed(block.0 as u64));
    for (number, block) in blocks {
        // SAFETY: allocated above with this layout.
        unsafe { heap.dealloc(block, of(number)) };
    }
    assert_eq!(heap.stats().in_use, 0);
    let before = account.outstanding();
    let back = heap.reclaim();
    assert_eq!(back.released, before - account.outstanding());
    assert_mostly_returned(account);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn a_million_small_blocks_go_back() {
    a_million(threaded(from_system()), |number| 16 + number % 500);
}

#[test]
fn a_million_of_the_smallest_blocks_go_back() {
    a_million(shared(from_system()), |_| 16);
}

#[test]
fn a_million_blocks_of_the_system_go_back() {
    a_million(threaded(Os), |number| if number % 1000 == 0 { 100_000 } else { 64 });
}

/// What lies between the survivors of a burst goes back, page by page; they keep every byte.
#[test]
fn survivors_keep_their_contents_and_their_pages_only() {
    for (size, every) in [(64, 500), (1000, 100), (5_000, 20), (20_000, 15)] {
        let (heap, account) = threaded(Os);
        let count = (32 << 20) / size;
        let make = |n| Block::new(&heap, layout(size, 8), n as u64).unwrap();
        let blocks: Vec<_> = (0..count).map(make).collect();
        let (keep, free): (Vec<_>, Vec<_>) = (0..count).zip(blocks).partition(|(n, _)| n % every == 0);
        let (freed, full) = (free.len() * size, account.outstanding());
        free.into_iter().for_each(|(_, block)| block.free(&heap));
        let _ = heap.reclaim();
        // Some of it went before it was asked for.
        let back = (full + account.purged()).saturating_sub(account.outstanding());
        assert!(back * 10 >= freed * 6, "{back} of {freed} bytes in blocks of {size}");
        keep.iter().for_each(|(_, block)| block.check());
        // What was given back is there again, and disjoint from the survivors.
        let again: Vec<_> = (0..count).map(|n| Block::zeroed(&heap, layout(size, 8), !n as u64).unwrap()).collect();
        keep.into_iter().for_each(|(_, block)| block.free(&heap));
        again.into_iter().for_each(|block| block.free(&heap));
        let _ = heap.reclaim();
        assert_eq!(heap.stats().from_backend, heap.stats().metadata);
    }
}

#[test]
fn reclaim_says_that_nothing_went_back_when_nothing_did() {
    let (heap, _) = threaded(Os);
    let blocks: Vec<_> = (0..100_000).map(|n| Block::new(&heap, layout(64, 8), n).unwrap()).collect();
    let (keep, free): (Vec<_>, Vec<_>) = (0..).zip(blocks).partition(|(n, _)| n % 500 == 0);
    free.into_iter().for_each(|(_, block)| block.free(&heap));
    let first = heap.reclaim().total();
    assert!(first > 3 << 20);
    let second = heap.reclaim().total();
    assert!(second < first / 10, "{first} bytes went back, and then {second} more");
    keep.into_iter().for_each(|(_, block)| block.free(&heap));
}

// ---- reclaim beside everything -------------------------------------------------------------------------------------

/// Several threads reclaim while others allocate: contents stay, and everything goes back at the end.
fn reclaim_beside<B: Backend + Send>((heap, account): (Bandolier<Metered<B>>, impl AsRef<Account>)) {
    let account = account.as_ref();
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        let heap = &heap;
        let reclaimers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        let _ = heap.reclaim();
                    }
                })
            })
            .collect();
        let crowd: Vec<_> = (1..=2).map(|n| scope.spawn(move || fill_and_empty(heap, n))).collect();
        let failures: usize = crowd.into_iter().map(|worker| worker.join().unwrap()).sum();
        assert_eq!(failures, 0, "reclaim made an allocation fail");
        done.store(true, Relaxed);
        reclaimers.into_iter().for_each(|reclaimer| reclaimer.join().unwrap());
    });
    let _ = heap.reclaim();
    assert_eq!(heap.stats().from_backend, account.outstanding());
    assert_eq!(heap.stats().from_backend, heap.stats().metadata);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn reclaim_runs_beside_allocation_and_itself() {
    reclaim_beside(threaded(from_system()));
}

#[test]
fn reclaim_runs_beside_shared_slots_and_itself() {
    reclaim_beside(shared(Os));
}

// ---- figures -------------------------------------------------------------------------------------------------------

/// A thread that goes to sleep after each block leaves a magazine behind each time, more than a magazine can count.
#[test]
fn reclaim_finds_more_magazines_than_a_shelf_can_count() {
    const BLOCKS: usize = scaled(70_000, 70_000, 100);
    let (heap, _) = threaded(from_system());
    let blocks: Vec<_> = (0..BLOCKS).map(|n| Block::new(&heap, layout(16, 8), n as u64).unwrap()).collect();
    for block in blocks {
        block.free(&heap);
        heap.flush_thread();
    }
    let _ = heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.in_use, stats.cached), (0, 0));
    assert_eq!(stats.classes.iter().map(|class| class.slabs).sum::<usize>(), 0);
}

fn assert_consistent(stats: &Stats, account: &Account) {
    assert_eq!(stats.from_backend, account.outstanding());
    assert!(stats.metadata_in_use <= stats.metadata, "{stats:?}");
    assert!(stats.metadata <= stats.from_backend);
    assert!(stats.in_use + stats.cached + stats.metadata <= stats.from_backend);
    for class in &stats.classes {
        assert!(class.cached <= class.taken, "{class:?}");
    }
    assert_eq!(stats.cached, stats.classes.iter().map(|class| class.cached * class.bytes).sum());
}

fn figures<B: Backend>((heap, account): (Bandolier<Metered<B>>, impl AsRef<Account>)) {
    let account = account.as_ref();
    assert_eq!(heap.stats(), Stats::default());
    assert_eq!(account.calls(), 0, "a heap that is not used draws nothing");
    let mut dice = Dice::new(7);
    let mut held: Vec<Block> = Vec::new();
    for turn in 0..scaled(4_000, 1_000, 50) as u64 {
        if dice.below(3) > 0 || held.is_empty() {
            held.push(Block::new(&heap, dice.layout(3 << 20), turn).unwrap());
        } else {
            held.swap_remove(dice.below(held.len())).free(&heap);
        }
        if turn % 50 == 0 {
            let stats = heap.stats();
            assert_consistent(&stats, account);
            assert_eq!(stats.in_use, held.iter().map(|block| rounded::<B>(block.layout())).sum::<usize>());
        }
    }
    held.into_iter().for_each(|block| block.free(&heap));
    heap.flush_thread();
    let stats = heap.stats();
    assert_consistent(&stats, account);
    assert_eq!((stats.in_use, stats.large), (0, 0));
    let free = stats.from_backend;
    let back = heap.reclaim();
    let stats = heap.stats();
    assert_consistent(&stats, account);
    assert_eq!(back.released, free - stats.from_backend);
    assert_eq!((stats.cached, stats.from_backend), (0, stats.metadata));
}

#[test]
fn figures_agree_in_a_quiet_heap() {
    figures(threaded(from_system()));
    figures(shared(from_system()));
    figures(threaded(Os));
}

#[test]
fn figures_agree_in_an_arena() {
    static ARENA: Arena<{ 512 << 20 }> = Arena::new();
    figures(shared(&ARENA));
}

#[test]
fn blocks_in_another_threads_hands_are_in_use() {
    let (heap, account) = threaded(from_system());
    let of = layout(48, 8);
    let block = thread::scope(|scope| scope.spawn(|| Block::new(&heap, of, 1).unwrap()).join().unwrap());
    assert_eq!(heap.stats().in_use, rounded::<FromGlobal<System>>(of));
    assert_eq!(heap.stats().threads, 0);
    block.free(&heap);
    assert_eq!(heap.stats().threads, 1);
    assert_eq!(heap.stats().in_use, 0);
    assert_consistent(&heap.stats(), &account);
}

/// Layouts are classed by the heap as [`rounded`] says; this pins the twin that other tests rely on.
#[test]
fn a_block_takes_what_its_class_says() {
    let (heap, _) = shared(Os);
    for (size, align, bytes) in [
        (1, 1, 16),
        (16, 16, 16),
        (17, 1, 32),
        (129, 1, 160),
        (40, 64, 64),
        (20, 4096, 4096),
        (32 << 10, 1, 32 << 10),
        ((32 << 10) + 1, 1, 64 << 10),
        (1, 64 << 10, 64 << 10),
        (65 << 10, 1, 128 << 10),
        (2 << 20, 1, 2 << 20),
        ((2 << 20) + 1, 1, (2 << 20) + (64 << 10)),
        (4 << 20, 1, 4 << 20),
        ((4 << 20) + 1, 1, (4 << 20) + 1),
        (1, 128 << 10, 1),
    ] {
        let of: Layout = layout(size, align);
        // With guards, what is no chunk takes more.
        let bytes = if HARDENED && size.max(align) > 32 << 10 { rounded::<Os>(of) } else { bytes };
        assert_eq!(rounded::<Os>(of), bytes, "{of:?}");
        let block = Block::new(&heap, of, 0).unwrap();
        assert_eq!(heap.stats().in_use, bytes, "{of:?}");
        block.free(&heap);
    }
}
