//! System calls that are refused, by a filter or because there is no more of something, under a load: the heap goes on or says
//! null, gives back what it can, and tells why where it works otherwise than it was told to.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Bandolier, Locator, Os};
use common::forbid::forbid;
use common::{Block, Dice, isolated, layout, scaled};
use core::alloc::GlobalAlloc;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::Barrier;
use std::thread;

type Heap = Bandolier<Os>;
type Chosen = fn(Heap) -> Heap;

/// What libc calls for `mmap`.
#[cfg(target_pointer_width = "64")]
const MMAP: libc::c_long = libc::SYS_mmap;
#[cfg(not(target_pointer_width = "64"))]
const MMAP: libc::c_long = libc::SYS_mmap2;

const MIB: usize = 1 << 20;
const THREADS: u64 = 3;

const ALL: [Chosen; 4] =
    [Bandolier::hybrid, Bandolier::per_thread, Bandolier::per_cpu, Bandolier::without_thread_caches];

/// A heap with each kind of caches.
fn heaps() -> impl Iterator<Item = Heap> {
    ALL.into_iter().map(|chosen| chosen(Bandolier::with_backend(Os)))
}

/// Takes, moves and frees blocks of all kinds, and trims and drains at times; how often there was no memory.
fn load(heap: &Heap, seed: u64) -> usize {
    load_in(heap, seed, Vec::with_capacity(MOST))
}

/// Blocks that a load has at once.
const MOST: usize = 300;

/// With room for the blocks that was there before: a libc may have none, once calls are refused.
fn load_in(heap: &Heap, seed: u64, mut held: Vec<Block>) -> usize {
    let (mut dice, mut nulls) = (Dice::new(seed), 0);
    for turn in 0..scaled(6_000, 2_000, 0) as u64 {
        match dice.below(20) {
            0 => _ = heap.trim(),
            1 if turn % 16 == 0 => _ = heap.drain(),
            2 if turn % 16 == 0 => _ = heap.reclaim(),
            3..=5 if !held.is_empty() => {
                let at = dice.below(held.len());
                let resized = held.swap_remove(at).resize(heap, dice.size(MIB));
                nulls += usize::from(resized.is_err());
                let (Ok(block) | Err(block)) = resized;
                held.push(block);
            }
            6..=12 if !held.is_empty() => held.swap_remove(dice.below(held.len())).free(heap),
            _ if held.len() < MOST => {
                let block = Block::new(heap, dice.layout(6 * MIB), seed << 40 | turn);
                nulls += usize::from(block.is_none());
                held.extend(block);
            }
            _ => {}
        }
    }
    held.into_iter().for_each(|block| block.free(heap));
    nulls
}

/// The load on several threads that `begin` with something; how often there was no memory.
fn loads(heap: &Heap, begin: fn()) -> usize {
    let nulls = AtomicUsize::new(0);
    thread::scope(|scope| {
        let work = |seed| {
            let nulls = &nulls;
            move || {
                begin();
                nulls.fetch_add(load(heap, seed), Relaxed);
            }
        };
        let threads: Vec<_> = (1..=THREADS).map(|seed| scope.spawn(work(seed))).collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!((heap.stats().in_use, heap.stats().threads), (0, 0));
    nulls.into_inner()
}

/// Nothing is in use, and so nothing but records is held, by a process that may do everything.
fn nothing_lost(heap: &Heap) {
    let _ = heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.in_use, stats.cached), (0, 0));
    assert_eq!(stats.from_backend, stats.metadata);
}

/// Of `/proc/self/statm`: pages of addresses, and pages that are resident; in bytes.
fn memory() -> [usize; 2] {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = text.split(' ').map(|pages| pages.parse::<usize>().unwrap());
    // SAFETY: no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    [(); 2].map(|()| pages.next().unwrap() * page)
}

#[test]
fn mmap_refused() {
    isolated("mmap_refused", || {
        for heap in heaps() {
            // Something to begin with, that the heap does not give back.
            let first = Block::new(&heap, layout(64, 8), 1).unwrap();
            let nulls = {
                let heap = &heap;
                let threads = (1..=THREADS).map(|seed| {
                    move || {
                        let room = Vec::with_capacity(MOST);
                        forbid(MMAP, libc::ENOMEM);
                        load_in(heap, seed, room)
                    }
                });
                thread::scope(|scope| {
                    let threads: Vec<_> = threads.map(|work| scope.spawn(work)).collect();
                    threads.into_iter().map(|thread| thread.join().unwrap()).sum::<usize>()
                })
            };
            assert!(nulls > 0, "the filter has refused nothing");
            // This thread is allowed to: what others did not get is to be had.
            assert_eq!(load(&heap, 9), 0);
            first.free(&heap);
            nothing_lost(&heap);
        }
    });
}

#[test]
fn madvise_refused() {
    for error in [libc::EPERM, libc::EINVAL, libc::ENOSYS] {
        isolated("madvise_refused", || {
            forbid(libc::SYS_madvise, error);
            for heap in heaps() {
                assert_eq!(loads(&heap, || ()), 0);
                // What is all free goes back by `munmap`.
                nothing_lost(&heap);
                let held: Vec<_> = (0..2000).map(|n| Block::new(&heap, layout(5000, 8), n).unwrap()).collect();
                let (keep, free): (Vec<_>, Vec<_>) =
                    held.into_iter().enumerate().partition(|(number, _)| number % 40 == 0);
                free.into_iter().for_each(|(_, block)| block.free(&heap));
                let gone = heap.reclaim();
                assert_eq!((gone.purged_units, gone.purged_chunks, gone.purged_records), (0, 0, 0));
                keep.into_iter().for_each(|(_, block)| block.free(&heap));
                nothing_lost(&heap);
            }
        });
    }
}

/// Where the kernel does not let go of addresses, as when the mapping would be cut in two and there are as many as there may be,
/// their pages go back all the same.
#[test]
fn munmap_refused() {
    isolated("munmap_refused", || {
        forbid(libc::SYS_munmap, libc::ENOMEM);
        let heap = Bandolier::with_backend(Os);
        let [_, before] = memory();
        for size in [3000, 100_000, 9 * MIB] {
            let blocks: Vec<_> =
                (0..64 * MIB / size).map(|n| Block::new(&heap, layout(size, 8), n as u64).unwrap()).collect();
            // SAFETY: live, of this layout.
            blocks.iter().for_each(|block| unsafe { block.start().as_ptr().write_bytes(1, size) });
            for block in blocks {
                // SAFETY: live, of this layout.
                unsafe { heap.dealloc(block.start().as_ptr(), block.layout()) };
            }
            let _ = heap.reclaim();
            let [_, after] = memory();
            assert!(after < before + 16 * MIB, "{before} to {after} with blocks of {size}");
        }
        nothing_lost(&heap);
    });
}

/// A block that cannot be moved is copied, and what was tried meanwhile costs no addresses.
#[test]
fn mremap_refused() {
    isolated("mremap_refused", || {
        forbid(libc::SYS_mremap, libc::EPERM);
        let heap = Bandolier::with_backend(Os);
        let [before, _] = memory();
        for align in [8, 256 << 10] {
            for turn in 0..100 {
                let block = Block::new(&heap, layout(5 * MIB, align), turn).unwrap();
                block.resize(&heap, 20 * MIB).unwrap().resize(&heap, 6 * MIB).unwrap().free(&heap);
            }
        }
        let [after, _] = memory();
        assert!(after < before + 200 * MIB, "{before} to {after}");
        nothing_lost(&heap);
        for heap in heaps() {
            assert_eq!(loads(&heap, || ()), 0);
            nothing_lost(&heap);
        }
    });
}

#[test]
fn membarrier_refused() {
    for error in [libc::EPERM, libc::ENOSYS] {
        isolated("membarrier_refused", || {
            forbid(libc::SYS_membarrier, error);
            for heap in heaps() {
                assert_eq!(loads(&heap, || ()), 0);
                let (used, over) = (Barrier::new(2), Barrier::new(2));
                thread::scope(|scope| {
                    scope.spawn(|| {
                        let blocks: Vec<_> = (0..3000).map(|n| Block::new(&heap, layout(64, 8), n).unwrap()).collect();
                        blocks.into_iter().for_each(|block| block.free(&heap));
                        used.wait();
                        over.wait();
                    });
                    used.wait();
                    // Nobody can be searched, and the answer says so.
                    let (stats, gone) = (heap.stats(), heap.reclaim());
                    assert_eq!(gone.missed_threads, stats.threads);
                    assert_eq!(gone.missed_cpus > 0, matches!(stats.locator, Locator::Hybrid | Locator::PerCpu));
                    assert_eq!(gone.is_complete(), stats.locator == Locator::Shared);
                    over.wait();
                });
                while heap.stats().threads > 0 {
                    thread::yield_now();
                }
                assert_eq!(heap.stats().in_use, 0);
                if matches!(heap.stats().locator, Locator::PerThread | Locator::Shared) {
                    nothing_lost(&heap);
                }
            }
        });
    }
}

/// Threads that the kernel keeps no record of, beside one of which it does. (In such a place glibc ends the process by itself.)
#[cfg(not(target_env = "gnu"))]
#[test]
fn rseq_refused_to_some_threads() {
    isolated("rseq_refused_to_some_threads", || {
        for chosen in ALL {
            let heap = chosen(Bandolier::with_backend(Os));
            assert_eq!(load(&heap, 1), 0);
            // On a thread of its own, whose children have the filter too.
            let heap = &heap;
            // Joined, all of them: a scope does not wait for threads' ends, where they hand in what they have.
            thread::scope(|scope| {
                let parent = scope.spawn(|| {
                    forbid(libc::SYS_rseq, libc::EPERM);
                    thread::scope(|scope| {
                        let child = |seed| scope.spawn(move || assert_eq!(load(heap, seed), 0));
                        let children: Vec<_> = (2..5).map(child).collect();
                        children.into_iter().for_each(|child| child.join().unwrap());
                    });
                });
                assert_eq!(load(heap, 5), 0);
                parent.join().unwrap();
            });
            heap.flush_thread();
            nothing_lost(heap);
        }
    });
}

/// As many keys as there may be; they are given back when this is dropped.
struct Keys(Vec<libc::pthread_key_t>);

impl Keys {
    fn all() -> Self {
        let key = |_| {
            let mut key = 0;
            // SAFETY: a place for the key.
            (unsafe { libc::pthread_key_create(&raw mut key, None) } == 0).then_some(key)
        };
        Self((0..100_000).map_while(key).collect())
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        // SAFETY: keys made above, of which nobody knows.
        self.0.drain(..).for_each(|key| _ = unsafe { libc::pthread_key_delete(key) });
    }
}

/// A thread that cannot be told of its end has no magazines of its own, and the heap says why.
#[test]
fn no_key_left_for_the_end_of_threads() {
    isolated("no_key_left_for_the_end_of_threads", || {
        let heap = Bandolier::with_backend(Os).per_thread();
        let keys = Keys::all();
        assert!(keys.0.len() > 50);
        assert_eq!(loads(&heap, || ()), 0);
        let hybrid = Bandolier::with_backend(Os).hybrid();
        assert_eq!(loads(&hybrid, || ()), 0);
        let stats = heap.stats();
        assert_eq!(stats.locator, Locator::Shared);
        assert!(stats.why.is_some_and(|why| why.contains("exit")), "{:?}", stats.why);
        drop(keys);
        thread::scope(|scope| {
            let work = || {
                assert_eq!(load(&heap, 8), 0);
                let stats = heap.stats();
                assert_eq!((stats.threads, stats.locator, stats.why), (1, Locator::PerThread, None));
            };
            scope.spawn(work).join().unwrap();
        });
        [heap, hybrid].iter().for_each(nothing_lost);
    });
}

/// As many mappings as a process may have.
#[test]
fn no_mapping_left() {
    isolated("no_mapping_left", || {
        let heap = Bandolier::with_backend(Os);
        let first: Vec<_> = (0..500).map(|n| Block::new(&heap, layout(3000, 8), n).unwrap()).collect();
        let large = Block::new(&heap, layout(9 * MIB, 8), 0).unwrap();
        // SAFETY: no conditions.
        let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
        let (flags, bytes) = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE, 200_000 * page);
        // SAFETY: a new mapping, that touches no other.
        let field = unsafe { libc::mmap(ptr::null_mut(), bytes, libc::PROT_NONE, flags, -1, 0) };
        assert_ne!(field, libc::MAP_FAILED);
        // Each second page is made readable, and so becomes a mapping of its own.
        let split = |n: &usize| {
            let place = field.wrapping_byte_add(n * 2 * page);
            // SAFETY: a page of the mapping above, which nobody uses.
            unsafe { libc::mprotect(place, page, libc::PROT_READ) == 0 }
        };
        let pieces = (0..100_000).take_while(split).count();
        assert!(pieces < 100_000, "there is no limit");
        let nulls = load(&heap, 3);
        first.into_iter().for_each(|block| block.free(&heap));
        large.free(&heap);
        // SAFETY: the mapping above.
        assert_eq!(unsafe { libc::munmap(field, bytes) }, 0);
        // How many there are depends on what the kernel can join.
        println!("{nulls} nulls beside {pieces} mappings");
        assert_eq!(load(&heap, 4), 0);
        nothing_lost(&heap);
    });
}

/// Who frees a block between a call and the look at its error still finds that error.
#[test]
fn a_free_leaves_the_error_of_the_last_call() {
    isolated("a_free_leaves_the_error_of_the_last_call", || {
        for call in [libc::SYS_madvise, libc::SYS_munmap, libc::SYS_membarrier, libc::SYS_mremap] {
            forbid(call, libc::EDOM);
        }
        let heaps: Vec<_> = heaps().collect();
        let blocks = || {
            let sizes = [64, 3000, 100_000].into_iter().flat_map(|size| (0..8 * MIB / size).map(move |_| size));
            sizes.map(|size| Block::new(&heaps[0], layout(size, 8), size as u64).unwrap()).collect::<Vec<_>>()
        };
        // SAFETY: no conditions.
        let error = unsafe { libc::__errno_location() };
        let mut held = blocks();
        held.push(Block::new(&heaps[0], layout(9 * MIB, 8), 3).unwrap());
        // Every other one first, so that there is something to purge between those that stay.
        let (odd, even): (Vec<_>, Vec<_>) = held.into_iter().enumerate().partition(|(number, _)| number % 16 != 0);
        for (_, block) in odd.into_iter().chain(even) {
            block.check();
            // SAFETY: the calling thread's own.
            unsafe { error.write(4711) };
            // SAFETY: live, of this layout.
            unsafe { heaps[0].dealloc(block.start().as_ptr(), block.layout()) };
            // SAFETY: the calling thread's own.
            let now = unsafe { error.read() };
            assert_eq!(now, 4711, "after a free of {:?}", block.layout());
        }
    });
}
