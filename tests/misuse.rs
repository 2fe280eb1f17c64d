//! Broken contracts end the process with one line that names the chunk, and nothing is formatted on the heap for it.

#![cfg(all(feature = "std", unix))]

mod common;

use bandolier::{Backend, Bandolier, FromGlobal, Os};
use common::court::{Expected, Telling, accused, confession, convicted, give, take};
use common::{HARDENED, layout, role};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::alloc::System;

#[global_allocator]
static HEAP: Telling = Telling::new();

#[cfg(any(debug_assertions, feature = "hardened"))]
mod chunks {
    use super::*;
    use std::thread;

    const SMALL: Layout = Layout::new::<[u64; 5]>();

    #[test]
    fn a_double_free_at_once() {
        let expected = Expected { what: "double free", size: 40, class: Some(48) };
        convicted("chunks::a_double_free_at_once", expected, |heap, ready| {
            let block = take(heap, SMALL);
            give(heap, block, SMALL);
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn a_double_free_after_other_frees() {
        let expected = Expected { what: "double free", size: 40, class: Some(48) };
        convicted("chunks::a_double_free_after_other_frees", expected, |heap, ready| {
            let blocks: Vec<_> = (0..10_000).map(|_| take(heap, SMALL)).collect();
            // The last stays, so that the victim's slab is not retired.
            for block in &blocks[..9_999] {
                give(heap, *block, SMALL);
            }
            heap.flush_thread();
            ready(blocks[9_998]);
            give(heap, blocks[9_998], SMALL);
        });
    }

    #[test]
    fn a_double_free_from_another_thread() {
        let expected = Expected { what: "double free", size: 40, class: Some(48) };
        convicted("chunks::a_double_free_from_another_thread", expected, |heap, ready| {
            let address = take(heap, SMALL).expose_provenance();
            give(heap, core::ptr::with_exposed_provenance_mut(address), SMALL);
            thread::spawn(move || {
                let block = core::ptr::with_exposed_provenance_mut(address);
                ready(block);
                give(heap, block, SMALL);
            })
            .join()
            .unwrap();
        });
    }

    #[test]
    fn a_double_free_after_the_slab_went_back() {
        let expected = Expected { what: "free of an address", size: 40, class: None };
        convicted("chunks::a_double_free_after_the_slab_went_back", expected, |heap, ready| {
            let block = take(heap, SMALL);
            give(heap, block, SMALL);
            let _ = heap.reclaim();
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn a_free_with_the_layout_of_another_class() {
        let expected = Expected { what: "free with a layout", size: 100, class: Some(48) };
        convicted("chunks::a_free_with_the_layout_of_another_class", expected, |heap, ready| {
            let block = take(heap, SMALL);
            ready(block);
            give(heap, block, layout(100, 8));
        });
    }

    #[test]
    fn a_run_freed_as_a_chunk() {
        let expected = Expected { what: "free of an address that is no chunk", size: 40, class: None };
        convicted("chunks::a_run_freed_as_a_chunk", expected, |heap, ready| {
            let block = take(heap, layout(100_000, 8));
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn a_chunk_of_another_heap() {
        let expected = Expected { what: "free of an address that is no chunk", size: 40, class: None };
        convicted("chunks::a_chunk_of_another_heap", expected, |heap, ready| {
            take(heap, SMALL);
            let block = Box::into_raw(Box::new([0_u64; 5])).cast();
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn an_address_on_the_stack() {
        let expected = Expected { what: "free of an address that is no chunk", size: 40, class: None };
        convicted("chunks::an_address_on_the_stack", expected, |heap, ready| {
            take(heap, SMALL);
            let mut here = [0_u64; 5];
            let block = (&raw mut here).cast();
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn an_address_inside_a_chunk() {
        let expected = Expected { what: "free of an address inside a chunk", size: 40, class: Some(48) };
        convicted("chunks::an_address_inside_a_chunk", expected, |heap, ready| {
            let block = take(heap, SMALL).wrapping_add(8);
            ready(block);
            give(heap, block, SMALL);
        });
    }

    #[test]
    fn a_double_free_that_realloc_makes() {
        let expected = Expected { what: "double free", size: 40, class: Some(48) };
        convicted("chunks::a_double_free_that_realloc_makes", expected, |heap, ready| {
            let block = take(heap, SMALL);
            give(heap, block, SMALL);
            ready(block);
            // SAFETY: it is not: the block was freed. Its memory is still there, in the thread's magazine.
            unsafe { heap.realloc(block, SMALL, 1000) };
        });
    }
}

/// These need no second bitmap, so every build finds them.
mod runs {
    use super::*;

    const RUN: Layout = Layout::new::<[u64; 12_000]>();

    #[test]
    fn a_double_free_of_a_run() {
        let expected = Expected { what: "free of an address that is no block", size: 96_000, class: None };
        convicted("runs::a_double_free_of_a_run", expected, |heap, ready| {
            let block = take(heap, RUN);
            give(heap, block, RUN);
            ready(block);
            give(heap, block, RUN);
        });
    }

    #[test]
    fn a_chunk_freed_as_a_run() {
        let expected = Expected { what: "free with a layout", size: 96_000, class: Some(48) };
        convicted("runs::a_chunk_freed_as_a_run", expected, |heap, ready| {
            let block = take(heap, layout(40, 8));
            ready(block);
            give(heap, block, RUN);
        });
    }

    #[test]
    fn an_address_inside_a_run() {
        let expected = Expected { what: "free of an address that is no block", size: 96_000, class: None };
        convicted("runs::an_address_inside_a_run", expected, |heap, ready| {
            let block = take(heap, RUN).wrapping_add(65_536);
            ready(block);
            give(heap, block, RUN);
        });
    }

    #[test]
    fn an_address_inside_the_first_unit_of_a_run() {
        let expected = Expected { what: "free of an address that is no block", size: 96_000, class: None };
        convicted("runs::an_address_inside_the_first_unit_of_a_run", expected, |heap, ready| {
            let block = take(heap, RUN).wrapping_add(64);
            ready(block);
            give(heap, block, RUN);
        });
    }

    #[test]
    fn a_reallocation_of_an_address_that_is_no_block() {
        let expected = Expected { what: "free of an address that is no block", size: 96_000, class: None };
        convicted("runs::a_reallocation_of_an_address_that_is_no_block", expected, |heap, ready| {
            take(heap, RUN);
            let mut here = [0_u64; 5];
            let block = (&raw mut here).cast();
            ready(block);
            // SAFETY: it is not. The process ends here.
            unsafe { heap.realloc(block, RUN, 200_000) };
        });
    }
}

/// Every other block is eight bytes off.
struct Crooked(FromGlobal<System>);

// SAFETY: it is not: alignment is not kept, which is what is tested.
unsafe impl Backend for Crooked {
    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let wider = Layout::from_size_align(layout.size() + 8, layout.align()).ok()?;
        let block = self.0.acquire(wider)?;
        let off = layout.align() > 8 && CROOKED.load(Relaxed);
        if off {
            accused(block.as_ptr().wrapping_add(8));
        }
        // SAFETY: the block has eight bytes more than asked.
        Some(unsafe { block.add(usize::from(off) * 8) })
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: a layout with that alignment was acquired.
        let wider = unsafe { Layout::from_size_align_unchecked(layout.size() + 8, layout.align()) };
        // SAFETY: acquired so, for only straight blocks are released in these tests.
        unsafe { self.0.release(block, wider) }
    }
}

static CROOKED: AtomicBool = AtomicBool::new(false);

fn crooked_from(test: &str, prepare: Option<usize>, size: usize, align: usize, expected_size: Option<usize>) {
    if role().is_some() {
        let heap = Bandolier::with_backend(Crooked(FromGlobal::new(&System))).without_thread_caches();
        if let Some(size) = prepare {
            // SAFETY: the size is not zero.
            assert!(!unsafe { heap.alloc(layout(size, 8)) }.is_null());
        }
        CROOKED.store(true, Relaxed);
        // SAFETY: the size is not zero.
        unsafe { heap.alloc(layout(size, align)) };
        std::process::exit(0);
    }
    let line = confession(test);
    assert!(line.starts_with("bandolier: the back-end gave a misaligned block"), "{line}");
    // A hardened heap asks for a larger one.
    if let Some(size) = expected_size.filter(|_| !HARDENED) {
        assert!(line.contains(&format!("size {size}, align {align}")), "{line}");
    }
}

#[test]
fn a_misaligned_heap_is_found() {
    crooked_from("a_misaligned_heap_is_found", None, 10, 8, None);
}

#[test]
fn a_misaligned_segment_is_found() {
    crooked_from("a_misaligned_segment_is_found", Some(5 << 20), 100_000, 8, None);
}

#[test]
fn a_misaligned_large_block_is_found() {
    crooked_from("a_misaligned_large_block_is_found", Some(10), 5 << 20, 4096, Some(5 << 20));
}

/// The twin of all the above: what is no crime ends well.
#[test]
fn honest_use_is_not_convicted() {
    let heap = Bandolier::with_backend(Os).without_thread_caches();
    for of in [layout(40, 8), layout(100_000, 8), layout(5 << 20, 8)] {
        for _ in 0..1000 {
            give(&heap, take(&heap, of), of);
        }
    }
    assert_eq!(heap.stats().in_use, 0);
}
