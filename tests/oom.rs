//! A process that has no more address space: null at the limit, and work again after frees.

#![cfg(all(feature = "std", target_os = "linux"))]

mod common;

use bandolier::{Bandolier, Os};
use common::{HARDENED, isolated, layout, rounded, scaled};
use core::alloc::GlobalAlloc;
use core::ptr;

#[global_allocator]
static HEAP: Bandolier = common::as_chosen(Bandolier::new());

/// Lets the process have `more` bytes of address space beyond what it has.
fn limit(more: usize) {
    let status = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = status.split(' ').next().unwrap().parse().unwrap();
    // SAFETY: no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let most = (pages * page + more) as libc::rlim_t;
    let limit = libc::rlimit { rlim_cur: most, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

fn no_limit() {
    let limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: a valid structure.
    assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_AS, &raw const limit) }, 0);
}

/// Blocks of one size, each with the address of the one before in it: a list that needs no memory beside the blocks.
struct Chain {
    last: *mut u8,
    count: usize,
    size: usize,
}

impl Chain {
    /// As many blocks as there is memory for.
    fn fill(size: usize, align: usize) -> Self {
        let mut chain = Self { last: ptr::null_mut(), count: 0, size };
        loop {
            // SAFETY: the size is not zero.
            let block = unsafe { HEAP.alloc(layout(size, align)) };
            if block.is_null() {
                return chain;
            }
            // SAFETY: ours, and large enough for an address.
            unsafe { block.cast::<*mut u8>().write(chain.last) };
            // SAFETY: ours; the last byte is inside, and outside of the address.
            unsafe { block.wrapping_add(size - 1).write(size as u8) };
            (chain.last, chain.count) = (block, chain.count + 1);
        }
    }

    /// Frees all blocks; how many they were.
    fn free(mut self, align: usize) -> usize {
        let mut freed = 0;
        while !self.last.is_null() {
            let block = self.last;
            // SAFETY: live, written by `fill`.
            let intact = unsafe { block.wrapping_add(self.size - 1).read() } == self.size as u8;
            assert!(intact);
            // SAFETY: live, written by `fill`.
            self.last = unsafe { block.cast::<*mut u8>().read() };
            // SAFETY: live, of this layout.
            unsafe { HEAP.dealloc(block, layout(self.size, align)) };
            freed += 1;
        }
        assert_eq!(freed, self.count);
        freed
    }
}

const BUDGET: usize = scaled(128, 48, 0) << 20;

/// For each size twice: full, empty, full again with as much, and the other sizes in between.
#[test]
fn at_the_limit_there_is_null_and_after_frees_there_is_memory() {
    isolated("at_the_limit_there_is_null_and_after_frees_there_is_memory", || {
        limit(BUDGET);
        let mut found = [(0, 0); 8];
        for _ in 0..2 {
            let sizes =
                [(24, 8), (1000, 8), (30_000, 16), (100_000, 8), (1 << 20, 8), (3 << 20, 8), (9 << 20, 4096), (64, 64)];
            for (place, (size, align)) in found.iter_mut().zip(sizes) {
                let first = Chain::fill(size, align).free(align);
                let again = Chain::fill(size, align).free(align);
                *place = (size, first.min(again));
            }
        }
        no_limit();
        for (size, count) in found {
            // Guards are addresses, too.
            let got = count * if HARDENED { rounded::<Os>(layout(size, 8)) } else { size };
            assert!(got >= BUDGET / 2, "{got} bytes in blocks of {size} of {BUDGET}");
        }
        let _ = HEAP.reclaim();
        let stats = HEAP.stats();
        assert!(stats.from_backend - stats.metadata <= 8 << 20, "{stats:?}");
    });
}

/// Reallocation at the limit: null, and the old block as it was; in place where the units behind are free.
#[test]
fn reallocation_at_the_limit_keeps_the_block() {
    isolated("reallocation_at_the_limit_keeps_the_block", || {
        limit(BUDGET);
        for (size, larger) in [(100, 1000), (1000, 100_000), (100_000, 10 << 20), (10 << 20, 500 << 20)] {
            let mut bytes = 0;
            // SAFETY: the size is not zero.
            let block = unsafe { HEAP.alloc(layout(size, 8)) };
            assert!(!block.is_null());
            // SAFETY: ours, of that size.
            unsafe { block.write_bytes(7, size) };
            let chain = Chain::fill(larger, 8);
            // SAFETY: live, of this layout.
            let moved = unsafe { HEAP.realloc(block, layout(size, 8), larger) };
            let (block, now) = if moved.is_null() { (block, size) } else { (moved, larger) };
            for at in 0..size {
                // SAFETY: live, of at least that size, and written above.
                bytes += usize::from(unsafe { block.wrapping_add(at).read() } == 7);
            }
            chain.free(8);
            // SAFETY: live, of this layout.
            unsafe { HEAP.dealloc(block, layout(now, 8)) };
            assert_eq!(bytes, size);
        }
        no_limit();
    });
}

/// The standard library's own way to say it, with threads that all run into the limit at once.
#[test]
fn threads_at_the_limit_get_errors_and_go_on() {
    isolated("threads_at_the_limit_get_errors_and_go_on", || {
        let start = std::sync::Barrier::new(5);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4_u8)
                .map(|n| {
                    let start = &start;
                    scope.spawn(move || {
                        // Room for the buffers of all rounds, taken before the limit stands.
                        let mut held = Vec::with_capacity(100_000);
                        let mut refused = 0;
                        start.wait();
                        start.wait();
                        for _ in 0..scaled(5, 1, 0) {
                            for size in (1000..2_000_000).step_by(19_999).cycle().take(2_000) {
                                let mut buffer = Vec::new();
                                if buffer.try_reserve_exact(size).is_err() {
                                    refused += 1;
                                    break;
                                }
                                buffer.resize(size, n);
                                held.push(buffer);
                            }
                            let whole =
                                held.iter().all(|buffer: &Vec<u8>| buffer.iter().step_by(101).all(|&byte| byte == n));
                            held.clear();
                            if !whole {
                                return None;
                            }
                        }
                        Some(refused)
                    })
                })
                .collect();
            start.wait();
            limit(BUDGET);
            start.wait();
            let refused: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            // What they could not have is to be had now that it has been freed, by one, below the same limit.
            let most = refused.iter().flatten().sum::<i32>();
            let mut all: Vec<Vec<u8>> = (0..BUDGET / 2 / 2_000_000).map(|_| Vec::new()).collect();
            let had = all.iter_mut().all(|buffer| buffer.try_reserve_exact(2_000_000).is_ok());
            drop(all);
            assert!(had, "not much came back after {most} refusals");
            let _ = HEAP.reclaim();
            let stats = HEAP.stats();
            no_limit();
            assert!(stats.from_backend - stats.metadata <= 8 << 20, "{stats:?}");
            assert!(refused.iter().all(Option::is_some), "contents were damaged");
            assert!(refused.iter().flatten().sum::<i32>() > 0, "the limit was never met");
        });
    });
}
