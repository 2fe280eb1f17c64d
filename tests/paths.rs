//! Every public path through a heap, with each call to the back-end refused in turn, purges too: on one thread and on several,
//! whoever has the magazines.
//!
//! `BANDOLIER_LONG=1 cargo test --release --features allocator-api2/alloc --test paths -- --nocapture` tries every kind of caches on
//! every back-end and three threads, and says how many calls each path has.

#![cfg(all(feature = "std", not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Bounds, Limits, Os, Reclaimer};
use common::hands::{Hands, Path, refuse_each};
use common::{Block, HARDENED, Metered, is_long, layout};
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;
use std::thread;

// ---- a back-end with little units ----------------------------------------------------------------------------------

/// The system's memory in units of a page and segments of 32 of them: a heap on it comes back for more often.
struct Little;

// SAFETY: every call is one of `Os`; the two sizes are as the trait wants them.
unsafe impl Backend for Little {
    const UNIT: usize = 4096;
    const SEGMENT: usize = 32 * 4096;
    const ZEROED: bool = true;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }

    fn granule(&self) -> usize {
        4096
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { Os.purge(start, bytes) }
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { Os.remap(block, layout, bytes) }
    }
}

// ---- paths ---------------------------------------------------------------------------------------------------------

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// What a verb finds something in: chunks of some classes and runs, of which two in three are freed again.
fn litter<B: Backend>(hands: &mut Hands<'_, B>) {
    [64, 3000, 9 * KIB].into_iter().for_each(|size| hands.alloc_many(40, size));
    [70 * KIB, 300 * KIB].into_iter().for_each(|size| hands.alloc(size, 8));
    let held = hands.held.len();
    hands.free_every(3);
    hands.free_every(2);
    assert!(hands.held.len() <= held);
}

/// So little, or so short, that a verb has to be called again.
const TIGHT: [Bounds; 2] = [Bounds::NONE.bytes(16 * KIB), Bounds::NONE.time(Duration::from_millis(3))];

fn blocks<B: Backend>() -> Vec<Path<B>> {
    vec![
        ("alloc, alloc_zeroed, dealloc", |hands| {
            hands.alloc(10, 1);
            hands.zeroed(100, 64);
            hands.alloc(5000, 8);
            hands.free_every(2);
            hands.zeroed(100, 64);
        }),
        ("realloc, small to small", |hands| {
            hands.alloc(10, 8);
            [40, 400, 4000, 20_000, 100].into_iter().for_each(|size| hands.resize_last(size));
        }),
        ("realloc, small to run and back", |hands| {
            hands.alloc(100, 8);
            [100 * KIB, 200].into_iter().for_each(|size| hands.resize_last(size));
        }),
        ("realloc, run in place and elsewhere", |hands| {
            hands.alloc(80 * KIB, 8);
            [120 * KIB, 70 * KIB, 90 * KIB].into_iter().for_each(|size| hands.resize_last(size));
            hands.alloc(70 * KIB, 8);
            hands.held.reverse();
            hands.resize_last(125 * KIB);
        }),
        ("realloc, run to the back-end and back", |hands| {
            hands.zeroed(120 * KIB, 4096);
            [5 * MIB, 100 * KIB].into_iter().for_each(|size| hands.resize_last(size));
        }),
        ("large", |hands| {
            hands.alloc(5 * MIB, 8);
            [9 * MIB, 6 * MIB, 30].into_iter().for_each(|size| hands.resize_last(size));
            hands.zeroed(7 * MIB, 8);
        }),
        ("aligned", |hands| {
            hands.alloc(100, 4096);
            hands.alloc(100, 256 * KIB);
            hands.resize_last(300 * KIB);
            hands.zeroed(5 * MIB, 2 * MIB);
            hands.resize_last(11 * MIB);
            hands.alloc(64 * KIB, 64 * KIB);
        }),
        ("many of one class, by a thread that earns them", |hands| {
            hands.alloc_many(700, 64);
            hands.free_every(1);
            hands.alloc_many(700, 64);
            hands.alloc_many(200, 48);
            hands.free_every(2);
            hands.alloc_many(500, 64);
        }),
        #[cfg(feature = "allocator-api2")]
        ("Allocator", through_the_trait),
    ]
}

/// By the trait that collections use, whose methods have two layouts.
#[cfg(feature = "allocator-api2")]
fn through_the_trait<B: Backend>(hands: &mut Hands<'_, B>) {
    use allocator_api2::alloc::Allocator;

    let heap = hands.heap;
    for (size, wider) in [(100, (300, 8)), (100, (100, 64)), (3000, (100 * KIB, 4096)), (100 * KIB, (5 * MIB, 8))] {
        let (old, new) = (layout(size, 8), layout(wider.0, wider.1));
        let stamp = hands.stamp();
        let block = heap.allocate(old).ok().and_then(|block| Block::adopt(block.cast().as_ptr(), old, stamp));
        hands.asked(block.is_some());
        let Some(block) = block else { continue };
        block.check();
        // SAFETY: live, of this layout; the new one is not smaller.
        let grown = unsafe { heap.grow_zeroed(block.start(), old, new) };
        hands.asked(grown.is_ok());
        let Ok(grown) = grown else {
            block.free(heap);
            continue;
        };
        // SAFETY: live, of this layout; the old one is not larger.
        let shrunk = unsafe { heap.shrink(grown.cast(), new, old) };
        hands.asked(shrunk.is_ok());
        let (block, of) = shrunk.map_or((grown.cast::<u8>(), new), |shrunk| (shrunk.cast(), old));
        // SAFETY: live, of this layout.
        unsafe { heap.deallocate(block, of) };
        let zeroed = heap.allocate_zeroed(new);
        hands.asked(zeroed.is_ok());
        // SAFETY: live, of this layout.
        zeroed.into_iter().for_each(|block| unsafe { heap.deallocate(block.cast(), new) });
    }
    hands.alloc(10, 1);
}

fn verbs<B: Backend>() -> Vec<Path<B>> {
    vec![
        ("trim", |hands| {
            litter(hands);
            (0..3).for_each(|_| _ = hands.heap.trim());
            hands.alloc(64, 8);
            TIGHT.into_iter().for_each(|bounds| _ = hands.heap.trim_within(bounds));
        }),
        ("drain", |hands| {
            litter(hands);
            TIGHT.into_iter().for_each(|bounds| _ = hands.heap.drain_within(bounds));
            let _ = hands.heap.drain();
            litter(hands);
        }),
        ("drain_caches", |hands| {
            litter(hands);
            TIGHT.into_iter().for_each(|bounds| _ = hands.heap.drain_caches_within(bounds));
            let _ = hands.heap.drain_caches();
            litter(hands);
            let _ = hands.heap.reclaim();
        }),
        ("stats, committed, flush_thread", |hands| {
            let (stats, _) = (hands.heap.stats(), hands.heap.committed());
            assert!(stats.in_use <= stats.from_backend);
            litter(hands);
            hands.heap.flush_thread();
            assert!(hands.heap.stats().from_backend > 0 || !hands.must);
            hands.alloc(64, 8);
        }),
        ("limits", |hands| {
            let set = |hands: &mut Hands<'_, B>, limits| {
                let set = hands.heap.set_limits(limits);
                hands.asked(set);
            };
            set(hands, Limits::NONE.soft(2 * MIB).hard(256 * MIB).notify(|_| ()));
            litter(hands);
            hands.alloc(4 * MIB, 8);
            hands.resize_last(6 * MIB);
            set(hands, Limits::NONE);
            hands.alloc(64, 8);
        }),
        ("a driver", |hands| {
            // SAFETY: the driver is gone at the end of this function, and its thread with it.
            let heap = unsafe { NonNull::from(hands.heap).as_ref() };
            let driver = Reclaimer::new(heap).bounds(Bounds::NONE.bytes(64 * KIB));
            litter(hands);
            (0..3).for_each(|_| _ = driver.step());
            // After so many steps in vain it has patience.
            hands.alloc(64, 8);
            let running = driver.interval(Duration::from_secs(9)).spawn().unwrap();
            litter(hands);
            let _ = running.stop();
        }),
        ("a thread comes and goes", |hands| {
            let (heap, stamp) = (hands.heap, hands.stamp());
            let life = || {
                let block = |n| Block::new(heap, layout(64, 8), stamp << 40 | n);
                let mut blocks: Vec<_> = (0..700).map_while(block).collect();
                blocks.drain(..blocks.len() / 2).for_each(|block| block.free(heap));
                blocks
            };
            let blocks = thread::scope(|scope| scope.spawn(life).join().unwrap());
            hands.asked(blocks.len() == 350);
            hands.held.extend(blocks);
        }),
    ]
}

type Chosen<B> = fn(Bandolier<Metered<B>>) -> Bandolier<Metered<B>>;

/// The same with each kind of caches; on several threads, or of a hardened heap, with the kind that has both CPUs and threads, unless
/// it may take long.
fn with_all_caches<B: Backend>(paths: &[Path<B>], threads: u64, inner: impl Fn() -> B) {
    let every: [(&str, Chosen<B>); 4] = [
        ("hybrid", Bandolier::hybrid),
        ("per thread", Bandolier::per_thread),
        ("shared", Bandolier::without_thread_caches),
        ("per CPU", Bandolier::per_cpu),
    ];
    let count = if (threads == 1 && !HARDENED) || is_long() { 4 } else { 1 };
    for (caches, chosen) in &every[..count] {
        refuse_each(caches, paths, threads, || {
            let (backend, account) = Metered::strict(inner());
            (chosen(Bandolier::with_backend(backend)), account)
        });
    }
}

#[test]
fn every_path_of_blocks_with_each_call_refused() {
    with_all_caches(&blocks(), 1, || Os);
}

#[test]
fn every_verb_with_each_call_refused() {
    with_all_caches(&verbs(), 1, || Os);
}

#[test]
fn every_path_in_little_units_with_each_call_refused() {
    if is_long() {
        with_all_caches(&blocks(), 1, || Little);
        with_all_caches(&verbs(), 1, || Little);
    }
    refuse_each("shared", &[blocks(), verbs()].concat(), 1, || {
        let (backend, account) = Metered::strict(Little);
        (Bandolier::with_backend(backend).without_thread_caches(), account)
    });
}

#[test]
fn every_path_on_several_threads_with_each_call_refused() {
    let threads = if is_long() { 3 } else { 2 };
    with_all_caches(&blocks(), threads, || Os);
    with_all_caches(&verbs(), threads, || Os);
}
