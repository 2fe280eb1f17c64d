//! The heap as the program's own: collections on many threads, every layout, and every way to reallocate.

#![cfg(feature = "std")]

mod common;

use bandolier::{Backend, Bandolier, FromGlobal, Os};
use common::{Block, Dice, layout, rounded, stride, turns};
use core::alloc::{GlobalAlloc, Layout};
use std::alloc::System;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;

#[global_allocator]
static HEAP: Bandolier = common::as_chosen(Bandolier::new());

// ---- collections ---------------------------------------------------------------------------------------------------

/// What one thread builds: the same for the same seed, whatever the allocator does.
fn collections(seed: u64) -> u64 {
    let mut dice = Dice::new(seed);
    let mut names: HashMap<String, Vec<u64>> = HashMap::new();
    let mut sorted: BTreeMap<u64, Box<[u8]>> = BTreeMap::new();
    let mut queue: VecDeque<Arc<str>> = VecDeque::new();
    let mut sum = 0_u64;
    for turn in 0..turns(20_000, 4_000, 50) as u64 {
        let key = dice.below(500) as u64;
        names.entry(format!("name {key}")).or_default().push(turn);
        sorted.insert(key, vec![key as u8; dice.below(2_000)].into_boxed_slice());
        queue.push_back(Arc::from(format!("{turn:>width$}", width = dice.below(200))));
        if dice.below(3) == 0 {
            let front = queue.pop_front().unwrap();
            sum = sum.wrapping_mul(31).wrapping_add(front.trim().parse::<u64>().unwrap());
            sorted.pop_last();
            names.remove(&format!("name {}", dice.below(500)));
        }
    }
    for (key, bytes) in &sorted {
        assert!(bytes.iter().all(|&byte| byte == *key as u8));
    }
    let mut totals: Vec<_> = names.values().map(|turns| turns.iter().sum::<u64>()).collect();
    totals.sort_unstable();
    totals.into_iter().fold(sum, |sum, total| sum.wrapping_mul(31).wrapping_add(total))
}

#[test]
fn collections_are_the_same_on_every_thread() {
    let expected: Vec<_> = (0..4).map(collections).collect();
    let found: Vec<_> = (0..4).map(|seed| thread::spawn(move || collections(seed))).collect();
    let found: Vec<_> = found.into_iter().map(|worker| worker.join().unwrap()).collect();
    assert_eq!(found, expected);
}

#[test]
fn collections_travel_between_threads() {
    let (send, receive) = channel::<Vec<Vec<String>>>();
    let makers: Vec<_> = (0..3_usize)
        .map(|maker| {
            let send = send.clone();
            thread::spawn(move || {
                for n in 0..turns(200, 50, 5) {
                    let word = |i| format!("{maker}/{n}/{i}");
                    send.send((0..50).map(|i| (0..i % 7).map(word).collect()).collect()).unwrap();
                }
            })
        })
        .collect();
    drop(send);
    let kept = Mutex::new(Vec::new());
    for mut bundle in receive {
        bundle.retain(|words| words.len() % 2 == 1);
        kept.lock().unwrap().push(bundle.concat());
    }
    makers.into_iter().for_each(|maker| maker.join().unwrap());
    let kept = kept.into_inner().unwrap();
    assert_eq!(kept.len(), 3 * turns(200, 50, 5));
    assert!(kept.iter().flatten().all(|word| word.split('/').count() == 3));
}

// ---- every layout --------------------------------------------------------------------------------------------------

/// Allocates all of `layouts`, in batches that are live at once, and checks that each is aligned and disjoint.
fn disjoint(layouts: impl Iterator<Item = Layout>) {
    let mut held = Vec::new();
    let mut bytes = 0;
    for (stamp, layout) in layouts.enumerate() {
        let make = if stamp % 3 == 0 { Block::zeroed } else { Block::new };
        held.push(make(&HEAP, layout, stamp as u64).unwrap());
        bytes += layout.size().max(layout.align());
        if bytes > 256 << 20 || held.len() == 3_000 {
            disjoint_by_address(&mut held);
            bytes = 0;
        }
    }
    disjoint_by_address(&mut held);
}

fn disjoint_by_address(held: &mut Vec<Block>) {
    held.sort_unstable_by_key(Block::start);
    let end = |block: &Block| block.start().addr().get() + block.layout().size();
    assert!(held.windows(2).all(|pair| end(&pair[0]) <= pair[1].start().addr().get()));
    held.drain(..).for_each(|block| block.free(&HEAP));
}

#[test]
fn every_size_is_served_at_small_alignments() {
    let step = stride(1, 13, 5_000);
    let sizes = (1..=70_000).step_by(step);
    disjoint(sizes.map(|size| layout(size, 1 << (size % 5))));
}

#[test]
fn every_alignment_is_served_at_many_sizes() {
    for log in 0..=21 {
        let near = (0..=26).flat_map(|log| [(1_usize << log) - 1, 1 << log, (1 << log) + 1]);
        let sizes = (1..=70_000).step_by(stride(97, 997, 20_000)).chain(near).filter(|&size| size > 0);
        let most = if log > 16 { 1 << 20 } else { 64 << 20 };
        disjoint(sizes.filter(|&size| size <= most).map(|size| layout(size, 1 << log)));
    }
}

/// The twin that says how much a block takes must not promise less than was asked.
#[test]
fn a_block_is_never_smaller_than_its_layout() {
    for log in 0..=21 {
        for size in (1..=70_000).step_by(stride(7, 77, 7_000)) {
            assert!(rounded::<Os>(layout(size, 1 << log)) >= size);
        }
    }
}

#[test]
fn zeroed_memory_is_zero_after_dirty_use() {
    for (size, align) in
        [(1, 1), (100, 8), (5_000, 4096), (30_000, 1), (40_000, 1), (200_000, 4096), (3 << 20, 1), (100, 1 << 20)]
    {
        for turn in 0..40 {
            let dirty: Vec<_> =
                (0..6).map(|n| Block::new(&HEAP, layout(size, align), turn << 8 | n).unwrap()).collect();
            dirty.into_iter().for_each(|block| block.free(&HEAP));
            let clean: Vec<_> = (0..6).map(|n| Block::zeroed(&HEAP, layout(size, align), n).unwrap()).collect();
            clean.into_iter().for_each(|block| block.free(&HEAP));
            if turn % 16 == 15 {
                let _ = HEAP.reclaim();
            }
        }
    }
}

/// Every byte, not only those that a [`Block`] looks at.
#[test]
fn zeroed_runs_are_zero_in_every_byte() {
    for turn in 0..turns(60, 20, 1) {
        for size in [70_000, 300_000, 1 << 20] {
            let of = layout(size, 8);
            // SAFETY: the size is not zero.
            let dirty = unsafe { HEAP.alloc(of) };
            // SAFETY: ours, of that size.
            unsafe { dirty.write_bytes(0xff, size) };
            if turn % 3 == 0 {
                // A run that grows takes the units behind it, and gives them back dirty.
                // SAFETY: live, of this layout.
                let longer = unsafe { HEAP.realloc(dirty, of, size + 200_000) };
                // SAFETY: ours, and the bytes from `size` on are new.
                unsafe { longer.wrapping_add(size).write_bytes(0xff, 200_000) };
                // SAFETY: live, of this layout.
                unsafe { HEAP.dealloc(longer, layout(size + 200_000, 8)) };
            } else {
                // SAFETY: live, of this layout.
                unsafe { HEAP.dealloc(dirty, of) };
            }
            // SAFETY: the size is not zero.
            let clean = unsafe { HEAP.alloc_zeroed(layout(size + 150_000, 8)) };
            assert!(!clean.is_null());
            // SAFETY: ours, initialised to zero, of that size.
            let bytes = unsafe { core::slice::from_raw_parts(clean, size + 150_000) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            // SAFETY: live, of this layout.
            unsafe { HEAP.dealloc(clean, layout(size + 150_000, 8)) };
            if turn % 7 == 0 {
                let _ = HEAP.reclaim();
            }
        }
    }
}

// ---- reallocation --------------------------------------------------------------------------------------------------

const CHUNKS: [usize; 8] = [1, 16, 17, 100, 128, 500, 5_000, 32 << 10];
const RUNS: [usize; 6] = [(32 << 10) + 1, 64 << 10, 65 << 10, 300_000, 1 << 20, 2 << 20];
const LARGE: [usize; 4] = [(2 << 20) + 1, 3 << 20, 5 << 20, 9 << 20];

#[test]
fn contents_are_kept_between_all_kinds_of_sizes() {
    let sizes: Vec<_> = CHUNKS.iter().chain(&RUNS).chain(&LARGE).copied().collect();
    for align in [1, 16, 64, 4096, 64 << 10, 128 << 10, 2 << 20] {
        for &old in &sizes {
            let mut block = Block::new(&HEAP, layout(old, align), 3).unwrap();
            for &new in &sizes {
                block = block.resize(&HEAP, new).unwrap();
                block = block.resize(&HEAP, old).unwrap();
            }
            block.free(&HEAP);
        }
    }
}

#[test]
fn random_reallocation_keeps_contents() {
    let mut dice = Dice::new(11);
    let mut held: Vec<_> = (0..50).map(|n| Block::new(&HEAP, dice.layout(6 << 20), n).unwrap()).collect();
    for turn in 0..turns(30_000, 5_000, 50) {
        let at = turn % held.len();
        let block = held.swap_remove(at).resize(&HEAP, dice.size(6 << 20)).unwrap();
        held.push(block);
    }
    held.into_iter().for_each(|block| block.free(&HEAP));
}

#[test]
fn a_chunk_stays_where_it_is_within_its_class() {
    let block = Block::new(&HEAP, layout(257, 8), 1).unwrap();
    let start = block.start();
    let block = block.resize(&HEAP, 320).unwrap();
    assert_eq!(block.start(), start);
    let block = block.resize(&HEAP, 260).unwrap();
    assert_eq!(block.start(), start);
    let block = block.resize(&HEAP, 321).unwrap();
    assert_ne!(block.start(), start);
    block.free(&HEAP);
}

/// In a heap of its own, where nobody else takes the units behind the run.
#[test]
fn a_run_grows_and_shrinks_in_place() {
    let guards = rounded::<Os>(layout(100_000, 8)) - (128 << 10);
    let heap = Bandolier::with_backend(Os).without_thread_caches();
    let block = Block::new(&heap, layout(100_000, 8), 1).unwrap();
    let start = block.start();
    let block = block.resize(&heap, 1 << 20).unwrap();
    assert_eq!(block.start(), start, "the units behind were free");
    let block = block.resize(&heap, 70_000).unwrap();
    assert_eq!(block.start(), start);
    assert_eq!(heap.stats().in_use, (128 << 10) + guards);
    let next = Block::new(&heap, layout(100_000, 8), 2).unwrap();
    assert_eq!(next.start().addr().get(), start.addr().get() + (128 << 10) + guards, "the tail was given back");
    let block = block.resize(&heap, 300_000).unwrap();
    assert_ne!(block.start(), start, "the units behind are taken");
    block.free(&heap);
    next.free(&heap);
    assert_eq!(heap.stats().in_use, 0);
}

#[test]
#[cfg(target_os = "linux")]
fn a_large_block_is_moved_without_a_copy() {
    for align in [8, 4096, 64 << 10, 128 << 10, 2 << 20] {
        let heap = Bandolier::with_backend(Os).without_thread_caches();
        let mut block = Block::new(&heap, layout(5 << 20, align), 1).unwrap();
        for size in [6 << 20, 64 << 20, 5 << 20, 256 << 20, (4 << 20) + 1] {
            block = block.resize(&heap, size).unwrap();
            assert_eq!(heap.stats().large, rounded::<Os>(layout(size, align)));
        }
        block.free(&heap);
        assert_eq!(heap.stats().large, 0);
    }
}

/// Large pages pay under what is filled from end to end, and bloat what is not: only a block that has grown is thought dense.
#[test]
fn blocks_that_have_grown_are_expected_to_be_dense() {
    grown_blocks_alone_are_dense(Os);
    // And where every block that gets another size is another block.
    grown_blocks_alone_are_dense(common::Pages(FromGlobal::new(&System)));
}

fn grown_blocks_alone_are_dense(inner: impl Backend) {
    let (backend, account) = common::Metered::new(inner);
    let heap = Bandolier::with_backend(backend).without_thread_caches();
    let large = layout(64 << 20, 8);
    Block::new(&heap, large, 1).unwrap().free(&heap);
    Block::zeroed(&heap, large, 2).unwrap().free(&heap);
    assert_eq!(account.dense(), 0);
    let block = Block::new(&heap, layout(3 << 20, 8), 3).unwrap().resize(&heap, 6 << 20).unwrap();
    assert_eq!(account.dense(), 1, "a run that became a block of its own");
    let block = block.resize(&heap, 12 << 20).unwrap();
    assert_eq!(account.dense(), 2, "a block that was moved, or made longer");
    let block = block.resize(&heap, 5 << 20).unwrap();
    assert_eq!(account.dense(), 2, "a block that shrank");
    block.free(&heap);
}

// ---- impossible requests -------------------------------------------------------------------------------------------

#[test]
fn sizes_that_no_machine_has_give_null_and_the_heap_goes_on() {
    let most = isize::MAX as usize;
    // Where an address has 32 bits, half of them may well be had: only what no object may have is never there.
    let wide = usize::BITS == 64;
    let aligns = [0, 1, 4, 12, 16, 20, 40, 62].into_iter().filter_map(|log| 1_usize.checked_shl(log));
    let sizes = [most, most - 1, most - 4095, most - 65_536, most / 2, most >> 3, most >> 16];
    for align in aligns {
        for size in sizes.into_iter().filter(|&size| wide || size > most - 4095) {
            let Ok(of) = Layout::from_size_align(size, align) else { continue };
            // SAFETY: the size is not zero.
            assert!(unsafe { HEAP.alloc(of) }.is_null());
            // SAFETY: the size is not zero.
            assert!(unsafe { HEAP.alloc_zeroed(of) }.is_null());
            if align > 1 << 20 {
                continue;
            }
            for small in [10, 100_000, 5 << 20] {
                let block = Block::new(&HEAP, layout(small, align), 5).unwrap();
                block.resize(&HEAP, size).unwrap_err().free(&HEAP);
            }
        }
    }
    assert!(Vec::<u8>::new().try_reserve(most).is_err());
    assert_eq!(collections(9), collections(9));
}

/// An alignment that is served from the back-end, with next to no bytes.
#[test]
fn a_byte_may_be_aligned_to_anything() {
    for log in 0..=30 {
        let Some(block) = Block::new(&HEAP, layout(1, 1 << log), 1) else {
            panic!("no byte aligned to {}", 1_u64 << log)
        };
        block.free(&HEAP);
    }
}

/// Used by none of the tests above: that the limits are what the tests take them to be.
#[test]
fn the_limits_are_as_assumed() {
    assert_eq!((Os::UNIT, Os::SEGMENT), (64 << 10, 4 << 20));
}
