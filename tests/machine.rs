//! What the kernel, or the emulator that stands for it, has of what a heap can use; and that the heap finds just that.
//!
//! qemu's user mode (7.2) has no restartable sequences, so threads have magazines of their own. It hands `membarrier` on to the
//! kernel, so that those of threads that sleep are within reach; and pages move there.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Locator, Os};
use common::{Block, layout};
use core::ptr::NonNull;
use std::sync::Barrier;
use std::thread;

/// Whether the kernel knows the call at all: one that it refuses, for what it is asked, is known.
fn knows(call: libc::c_long, arguments: [usize; 4]) -> bool {
    let [a, b, c, d] = arguments;
    // SAFETY: of calls that refuse these arguments, or change nothing.
    let answer = unsafe { libc::syscall(call, a, b, c, d) };
    answer >= 0 || std::io::Error::last_os_error().raw_os_error() != Some(libc::ENOSYS)
}

/// Restartable sequences, of no record.
fn has_sequences() -> bool {
    knows(libc::SYS_rseq, [0; 4])
}

/// The barrier that reaches into other threads; the query changes nothing.
fn has_barrier() -> bool {
    const PRIVATE: libc::c_long = 1 << 3;
    // SAFETY: changes nothing.
    let known = unsafe { libc::syscall(libc::SYS_membarrier, 0, 0, 0) };
    known >= 0 && known & PRIVATE != 0
}

/// Whether this library has sequences for the processor.
const WRITTEN: bool = cfg!(all(target_pointer_width = "64", any(target_arch = "x86_64", target_arch = "aarch64")));

#[test]
fn a_heap_says_where_threads_work_from_and_why() {
    println!("sequences: {}, barrier: {}, page: {}", has_sequences(), has_barrier(), Os.granule());
    for (heap, asked) in [
        (Bandolier::with_backend(Os).per_cpu(), Locator::PerCpu),
        (Bandolier::with_backend(Os).hybrid(), Locator::Hybrid),
    ] {
        Block::new(&heap, layout(64, 8), 1).unwrap().free(&heap);
        let (stats, has_it) = (heap.stats(), WRITTEN && has_sequences());
        assert_eq!(stats.locator, if has_it { asked } else { Locator::PerThread }, "{:?}", stats.why);
        assert_eq!(stats.why.is_none(), has_it, "{:?}", stats.why);
        if !WRITTEN {
            assert!(stats.why.unwrap().contains("on this target"), "{:?}", stats.why);
        }
    }
}

/// A drain reaches the magazines of threads that sleep where there is such a barrier, and says so where there is none.
#[test]
fn a_drain_says_whether_it_reached_others() {
    let heap = Bandolier::with_backend(Os).per_thread();
    let (used, over) = (Barrier::new(5), Barrier::new(5));
    let back = thread::scope(|scope| {
        for seed in 0..4 {
            let (heap, used, over) = (&heap, &used, &over);
            scope.spawn(move || {
                let blocks: Vec<_> =
                    (0..200).map(|n| Block::new(heap, layout(64, 8), seed << 40 | n).unwrap()).collect();
                blocks.into_iter().for_each(|block| block.free(heap));
                used.wait();
                over.wait();
            });
        }
        used.wait();
        let back = heap.drain_caches();
        over.wait();
        back
    });
    assert_eq!(back.missed_threads, if has_barrier() { 0 } else { 4 }, "{back:?}");
}

/// What is larger than a segment grows without a copy.
#[test]
fn pages_move() {
    let old = layout(8 << 20, 8);
    let block = Os.acquire(old).unwrap();
    let last = |block: NonNull<u8>, bytes: usize| block.as_ptr().wrapping_add(bytes - 1);
    // SAFETY: the last of a fresh block of that many bytes.
    unsafe { last(block, 8 << 20).write(7) };
    // SAFETY: acquired above with this layout.
    let moved = unsafe { Os.remap(block, old, 40 << 20) }.expect("there is mremap");
    // SAFETY: the block has as many bytes and more.
    assert_eq!(unsafe { last(moved, 8 << 20).read() }, 7);
    // SAFETY: the block has that many bytes now.
    unsafe { last(moved, 40 << 20).write(7) };
    // SAFETY: as above; nothing uses it any more.
    unsafe { Os.release(moved, layout(40 << 20, 8)) };
}

/// The pieces in which pages go back are the kernel's pages, whatever their size, and read as zero afterwards; the rest stays.
#[test]
fn a_page_goes_back_alone() {
    let (unit, page) = (Os::UNIT, Os.granule());
    // SAFETY: no conditions.
    assert_eq!(page, usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap().min(unit));
    let of = layout(2 * unit, unit);
    let block = Os.acquire(of).unwrap();
    // SAFETY: a fresh block of that many bytes.
    unsafe { block.write_bytes(9, 2 * unit) };
    // SAFETY: a page of the block, whose contents are not wanted.
    assert!(unsafe { Os.purge(block, page) });
    // SAFETY: inside the block.
    let read = |at: usize| unsafe { block.as_ptr().wrapping_add(at).read() };
    assert_eq!((read(0), read(page - 1), read(page), read(2 * unit - 1)), (0, 0, 9, 9));
    // SAFETY: acquired above with this layout.
    unsafe { Os.release(block, of) };
}
