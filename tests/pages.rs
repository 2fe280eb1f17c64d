//! Pages of 4, 16 and 64 KiB: what a heap asks of its back-end is whole pages, whatever their size, and all of them come back.

#![cfg(all(feature = "std", unix, not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Os};
use common::{Account, Block, Dice, Metered, layout, rounded, scaled};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;
use std::sync::Arc;
use std::thread;

/// The system's memory as a machine with pages of `PAGE` bytes has it, in units of `UNIT` bytes: at multiples of a page, never less
/// than a page, and never a part of one purged.
struct Paged<const PAGE: usize, const UNIT: usize>;

impl<const PAGE: usize, const UNIT: usize> Paged<PAGE, UNIT> {
    fn whole(layout: Layout) -> Option<Layout> {
        let bytes = layout.size().checked_next_multiple_of(PAGE)?;
        Layout::from_size_align(bytes, layout.align().max(PAGE)).ok()
    }
}

// SAFETY: every call is one of `Os`, with more bytes and more alignment than was asked for.
unsafe impl<const PAGE: usize, const UNIT: usize> Backend for Paged<PAGE, UNIT> {
    const UNIT: usize = UNIT;
    const ZEROED: bool = true;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(Self::whole(layout)?)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(whole) = Self::whole(layout) {
            // SAFETY: acquired so, by the caller's promise.
            unsafe { Os.release(block, whole) }
        }
    }

    fn granule(&self) -> usize {
        PAGE
    }

    // `Metered` sees to it that these are granules.
    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.purge(start, bytes) }
    }

    fn uptime(&self) -> Option<Duration> {
        Os.uptime()
    }

    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, bytes: usize) -> Option<NonNull<u8>> {
        let new = Self::whole(Layout::from_size_align(bytes, old.align()).ok()?)?;
        // SAFETY: acquired so, by the caller's promise.
        unsafe { Os.remap(block, Self::whole(old)?, new.size()) }
    }
}

fn work<B: Backend>(heap: &Bandolier<Metered<B>>, seed: u64) {
    let (mut dice, mut held) = (Dice::new(seed), Vec::<Block>::new());
    for turn in 0..scaled(8_000, 2_000, 0) as u64 {
        let stamp = seed << 32 | turn;
        match dice.below(8) {
            0..3 => held.push(Block::new(heap, dice.layout(9 << 20), stamp).unwrap()),
            3 => held.push(Block::zeroed(heap, dice.layout(1 << 20), stamp).unwrap()),
            4 if !held.is_empty() => {
                let block = held.swap_remove(dice.below(held.len()));
                held.push(block.resize(heap, dice.size(9 << 20)).unwrap());
            }
            _ if !held.is_empty() => held.swap_remove(dice.below(held.len())).free(heap),
            _ => {}
        }
        match turn % 500 {
            100 => _ = heap.trim(),
            200 => _ = heap.drain(),
            300 => _ = heap.reclaim(),
            _ => {}
        }
    }
    held.into_iter().for_each(|block| block.free(heap));
}

/// What lies between survivors is purged, and all comes back.
fn gaps<B: Backend>(heap: &Bandolier<Metered<B>>, account: &Arc<Account>) {
    let sizes = [700, 3000, B::UNIT / 3, B::UNIT * 2];
    let held: Vec<_> = (0..)
        .zip(sizes.into_iter().cycle())
        .take(800)
        .map(|(n, size)| Block::new(heap, layout(size, 8), n).unwrap())
        .collect();
    let in_use: usize = held.iter().map(|block| rounded::<B>(block.layout())).sum();
    assert_eq!(heap.stats().in_use, in_use);
    let (keep, free): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(number, _)| number % 50 == 0);
    free.into_iter().for_each(|(_, block)| block.free(heap));
    let before = account.purged();
    let gone = heap.reclaim();
    assert_eq!(gone.purged_units + gone.purged_chunks + gone.purged_records, account.purged() - before);
    assert!(gone.purged_units > 0, "{gone:?}");
    keep.into_iter().for_each(|(_, block)| block.free(heap));
}

fn try_pages<const PAGE: usize, const UNIT: usize>() {
    for chosen in [Bandolier::per_thread, Bandolier::per_cpu, Bandolier::without_thread_caches] {
        let (backend, account) = Metered::with_ledger(Paged::<PAGE, UNIT>);
        let heap: Bandolier<Metered<Paged<PAGE, UNIT>>> = chosen(Bandolier::with_backend(backend));
        gaps(&heap, &account);
        thread::scope(|scope| {
            let threads: Vec<_> = (1..=2)
                .map(|seed| {
                    scope.spawn({
                        let heap = &heap;
                        move || work(heap, seed)
                    })
                })
                .collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        work(&heap, 3);
        assert_eq!(heap.stats().in_use, 0);
        let _ = heap.reclaim();
        let stats = heap.stats();
        assert_eq!((stats.from_backend, stats.cached), (stats.metadata, 0));
        assert_eq!(account.outstanding(), stats.metadata);
        drop(heap);
        assert_eq!(account.outstanding(), 0);
    }
}

#[test]
fn pages_of_4_kib_in_units_of_4_and_64() {
    try_pages::<4096, 4096>();
    try_pages::<4096, 65536>();
}

#[test]
fn pages_of_16_kib_in_units_of_16_and_64() {
    try_pages::<16384, 16384>();
    try_pages::<16384, 65536>();
}

#[test]
fn pages_of_64_kib_in_units_of_64() {
    try_pages::<65536, 65536>();
}
