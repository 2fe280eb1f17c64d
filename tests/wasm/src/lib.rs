//! Tests of the heap of the process on wasm, each a function that `run.mjs` calls; one that fails traps.

use bandolier::{Arena, Bandolier, Locator};
use core::alloc::{GlobalAlloc, Layout};
use std::collections::BTreeMap;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

const PAGE: usize = 64 << 10;

/// Bytes that the module has.
fn memory() -> usize {
    core::arch::wasm32::memory_size(0) * PAGE
}

/// Maps, strings and vectors of the standard library, looked at again; how many.
#[unsafe(no_mangle)]
pub extern "C" fn collections_keep_what_they_are_given() -> usize {
    let mut map: BTreeMap<u32, String> = (0..20_000).map(|n| (n, format!("number {n}"))).collect();
    map.retain(|n, _| n % 3 == 0);
    assert!(map.iter().all(|(n, text)| *text == format!("number {n}")));
    let mut long: Vec<usize> = Vec::new();
    (0..1 << 20).for_each(|n| long.push(n));
    assert!(long.iter().enumerate().all(|(at, &n)| at == n));
    assert!(HEAP.stats().in_use >= long.capacity() * size_of::<usize>());
    map.len()
}

/// What is released is taken again, for memory of wasm never goes back; bytes that the module grew by.
#[unsafe(no_mangle)]
pub extern "C" fn what_goes_back_is_used_again() -> usize {
    let round = || {
        let blocks: Vec<Box<[u8]>> = (0..2000).map(|n| vec![n as u8; 1 << (n % 14)].into()).collect();
        assert!(blocks.iter().enumerate().all(|(n, block)| block.iter().all(|&byte| byte == n as u8)));
    };
    (0..3).for_each(|_| round());
    let _ = HEAP.reclaim();
    let before = memory();
    for _ in 0..50 {
        round();
        assert!(HEAP.reclaim().total() > 0);
    }
    memory() - before
}

/// Says where it works from: with the one thread.
#[unsafe(no_mangle)]
pub extern "C" fn the_one_thread_has_its_own_magazines() -> usize {
    drop(Box::new(1_u64));
    let stats = HEAP.stats();
    assert_eq!((stats.locator, stats.threads), (Locator::PerThread, 1));
    assert!(stats.why.is_some_and(|why| why.contains("no restartable sequences")));
    1
}

/// More than there is gives null, and the heap goes on.
#[unsafe(no_mangle)]
pub extern "C" fn what_is_not_there_is_null() -> usize {
    assert!(Vec::<u8>::new().try_reserve(isize::MAX as usize).is_err());
    collections_keep_what_they_are_given()
}

static MEMORY: Arena<{ 1 << 20 }> = Arena::new();
static ON_ARENA: Bandolier<&Arena<{ 1 << 20 }>> = Bandolier::with_backend(&MEMORY);

/// A heap on an arena takes all of it, and has it again; how many blocks.
#[unsafe(no_mangle)]
pub extern "C" fn an_arena_is_filled_and_filled_again() -> usize {
    let layout = Layout::new::<[u64; 32]>();
    let fill = || {
        // SAFETY: the size is not zero.
        let take = || Some(unsafe { ON_ARENA.alloc(layout) }).filter(|block| !block.is_null());
        let blocks: Vec<*mut u8> = core::iter::from_fn(take).collect();
        for &block in &blocks {
            // SAFETY: taken above with this layout.
            unsafe { ON_ARENA.dealloc(block, layout) };
        }
        let _ = ON_ARENA.reclaim();
        blocks.len()
    };
    let first = fill();
    assert!(first * layout.size() > 700 << 10);
    assert_eq!(first, fill());
    first
}
