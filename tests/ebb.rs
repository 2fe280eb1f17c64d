//! A heap that shrinks gives memory back without being asked; one that keeps its size, or has no clock, does not.

mod common;

use bandolier::{Backend, Bandolier, Os};
use common::{Account, Block, Metered, layout};
use std::sync::{Arc, Barrier};

const MIB: usize = 1 << 20;
const BURST: usize = 64 * MIB;

type Heap = Bandolier<Metered<Os>>;

fn heap((backend, account): (Metered<Os>, Arc<Account>)) -> (Heap, Arc<Account>) {
    (Bandolier::with_backend(backend).without_thread_caches(), account)
}

/// Blocks of a burst: chunks of many classes, and runs.
fn filled<B: Backend>(heap: &Bandolier<B>) -> Vec<Block> {
    let sizes = (0..).map(|n: usize| 24 + (n * 7919) % 1000 + if n % 50 == 0 { 39_000 } else { 0 });
    let mut left = BURST;
    let fitting = sizes.map_while(|size| {
        left = left.checked_sub(size)?;
        Some(size)
    });
    fitting.enumerate().map(|(n, size)| Block::new(heap, layout(size, 8), n as u64).unwrap()).collect()
}

fn free<B: Backend>(heap: &Bandolier<B>, blocks: impl IntoIterator<Item = Block>) {
    blocks.into_iter().for_each(|block| block.free(heap));
}

#[test]
fn a_burst_goes_back_by_itself() {
    let (heap, account) = heap(Metered::with_ledger(Os));
    let blocks = filled(&heap);
    let full = account.outstanding();
    assert!(full >= BURST);
    free(&heap, blocks);
    let left = account.outstanding();
    assert!(left < full / 2, "{} of {} MiB are left", left / MIB, full / MIB);
}

#[test]
fn a_burst_goes_back_by_itself_from_a_thread_with_a_cache() {
    let heap = Bandolier::new().per_thread();
    let blocks = filled(&heap);
    let full = heap.stats().from_backend;
    free(&heap, blocks);
    let left = heap.stats().from_backend;
    assert!(left < full / 2, "{} of {} MiB are left", left / MIB, full / MIB);
}

/// What is freed through shared slots counts wherever the thread's stack lies.
#[test]
fn a_burst_of_chunks_goes_back_by_itself_from_any_thread() {
    const THREADS: usize = 6;
    let together = Barrier::new(THREADS);
    let breathe = || {
        together.wait();
        let (heap, account) = heap(Metered::new(Os));
        let blocks: Vec<_> = (0..BURST / 2000).map(|n| Block::new(&heap, layout(1000, 8), n as u64).unwrap()).collect();
        let full = account.outstanding();
        free(&heap, blocks);
        together.wait();
        account.outstanding() < full / 2
    };
    let given = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS).map(|_| scope.spawn(breathe)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(given, [true; THREADS]);
}

/// Each frees little and sleeps; together it is much.
#[test]
fn what_many_threads_free_goes_back_while_they_sleep() {
    const THREADS: usize = 300;
    const EACH: usize = 64;
    let (backend, account) = Metered::new(Os);
    let heap = Bandolier::with_backend(backend);
    let (filled, freed, over) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let (full, left) = std::thread::scope(|scope| {
        for n in 0..THREADS {
            let (heap, filled, freed, over) = (&heap, &filled, &freed, &over);
            let body = move || {
                let blocks: Vec<_> =
                    (0..EACH).map(|m| Block::new(heap, layout(4096, 8), (n * EACH + m) as u64)).collect();
                filled.wait();
                // The amount is read.
                filled.wait();
                free(heap, blocks.into_iter().flatten());
                freed.wait();
                over.wait();
            };
            std::thread::Builder::new().stack_size(128 << 10).spawn_scoped(scope, body).unwrap();
        }
        filled.wait();
        let full = account.outstanding() - account.purged();
        filled.wait();
        freed.wait();
        let left = account.outstanding() - account.purged();
        over.wait();
        (full, left)
    });
    assert!(full > THREADS * EACH * 4096);
    assert!(left < full * 2 / 3, "{} of {} MiB are left", left / MIB, full / MIB);
}

#[test]
fn what_blocks_shrink_by_goes_back_by_itself() {
    let (heap, account) = heap(Metered::new(Os));
    let (large, small) = (layout(MIB, 8), layout(70_000, 8));
    let grow = |n: usize| Block::new(&heap, large, n as u64).unwrap();
    let blocks: Vec<_> = (0..BURST / MIB).map(grow).collect();
    let blocks: Vec<_> = blocks.into_iter().map(|block| block.resize(&heap, small.size()).unwrap()).collect();
    let purged = account.purged();
    assert!(purged > BURST / 2, "{} of {} MiB were purged", purged / MIB, BURST / MIB);
    free(&heap, blocks);
}

/// One block in sixteen stays, in nearly every slab: what lies between goes back page by page, each a few times at most.
#[test]
fn what_lies_between_survivors_goes_back_by_itself() {
    let (heap, account) = heap(Metered::new(Os));
    let blocks = filled(&heap);
    let (kept, freed): (Vec<_>, Vec<_>) = blocks.into_iter().enumerate().partition(|(n, _)| n % 16 == 0);
    free(&heap, freed.into_iter().map(|(_, block)| block));
    let purged = account.purged();
    assert!((BURST / 4..BURST * 3).contains(&purged), "{} of {} MiB were purged", purged / MIB, BURST / MIB);
    // Their contents are checked.
    free(&heap, kept.into_iter().map(|(_, block)| block));
}

#[test]
fn a_heap_that_keeps_its_size_keeps_its_memory() {
    let (heap, account) = heap(Metered::new(Os));
    let mut blocks = filled(&heap);
    let full = account.outstanding();
    for _ in 0..4 {
        let third = blocks.split_off(blocks.len() * 2 / 3);
        let layouts: Vec<_> = third.iter().map(Block::layout).collect();
        free(&heap, third);
        blocks.extend(layouts.into_iter().map(|layout| Block::new(&heap, layout, 7).unwrap()));
    }
    assert_eq!((account.outstanding() >= full, account.purged()), (true, 0), "what was freed for a moment went back");
    free(&heap, blocks);
}

#[test]
fn without_a_clock_only_who_asks_is_given() {
    let (heap, account) = heap(Metered::timeless(Os));
    let blocks = filled(&heap);
    let full = account.outstanding();
    free(&heap, blocks);
    assert_eq!((account.outstanding() >= full, account.purged()), (true, 0));
    assert!(heap.reclaim().released > BURST / 2);
}
