//! `Allocator` of the crate `allocator-api2` for a reference to a heap.

#![cfg(feature = "std")]

mod common;

use allocator_api2::alloc::Allocator;
use bandolier::{Bandolier, Os};
use common::{Metered, layout, shared};
use core::alloc::Layout;
use core::ptr::NonNull;

type Heap = Bandolier<Metered<Os>>;

fn fill(block: NonNull<[u8]>, byte: u8) {
    // SAFETY: the block is ours, and as long as it says.
    unsafe { block.cast::<u8>().write_bytes(byte, block.len()) };
}

fn bytes<'a>(block: NonNull<[u8]>) -> &'a [u8] {
    // SAFETY: the block is live in the tests that ask, and was filled.
    unsafe { block.as_ref() }
}

fn aligned(block: NonNull<[u8]>, of: Layout) -> bool {
    block.cast::<u8>().addr().get() % of.align() == 0 && block.len() >= of.size()
}

const LAYOUTS: [(usize, usize); 12] = [
    (0, 1),
    (0, 4096),
    (0, 1 << 20),
    (1, 1),
    (24, 8),
    (100, 64),
    (5_000, 4096),
    (20_000, 1),
    (100_000, 16),
    (100_000, 64 << 10),
    (3 << 20, 8),
    (3 << 20, 128 << 10),
];

#[test]
fn every_layout_grows_and_shrinks_into_every_other() {
    let (heap, account) = shared(Os);
    for (old, old_align) in LAYOUTS {
        for (new, new_align) in LAYOUTS {
            let (from, to) = (layout(old, old_align), layout(new, new_align));
            let block = (&heap).allocate(from).unwrap();
            assert!(aligned(block, from));
            fill(block, 7);
            let moved = if new >= old {
                // SAFETY: live, of this layout, and the new one is no smaller.
                unsafe { (&heap).grow(block.cast(), from, to) }
            } else {
                // SAFETY: live, of this layout, and the new one is smaller.
                unsafe { (&heap).shrink(block.cast(), from, to) }
            };
            let moved = moved.unwrap();
            assert!(aligned(moved, to), "{from:?} to {to:?}");
            assert!(bytes(moved)[..old.min(new)].iter().all(|&byte| byte == 7));
            // SAFETY: live, of this layout.
            unsafe { (&heap).deallocate(moved.cast(), to) };
        }
    }
    assert_eq!(heap.stats().in_use, 0);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn what_is_grown_zeroed_is_zero_behind_the_old_contents() {
    let (heap, _) = shared(Os);
    for (old, _) in LAYOUTS {
        for (new, align) in LAYOUTS.into_iter().filter(|&(new, _)| new >= old) {
            let (from, to) = (layout(old, 8), layout(new, align));
            let dirty = (&heap).allocate(to).unwrap();
            fill(dirty, 0xff);
            // SAFETY: live, of this layout.
            unsafe { (&heap).deallocate(dirty.cast(), to) };
            let block = (&heap).allocate_zeroed(from).unwrap();
            assert!(bytes(block).iter().all(|&byte| byte == 0));
            fill(block, 9);
            // SAFETY: live, of this layout, and the new one is no smaller.
            let grown = unsafe { (&heap).grow_zeroed(block.cast(), from, to) }.unwrap();
            assert!(aligned(grown, to));
            assert!(bytes(grown)[..old].iter().all(|&byte| byte == 9));
            assert!(bytes(grown)[old..new].iter().all(|&byte| byte == 0));
            // SAFETY: live, of this layout.
            unsafe { (&heap).deallocate(grown.cast(), to) };
        }
    }
    assert_eq!(heap.stats().in_use, 0);
}

#[test]
fn nothing_is_drawn_for_no_bytes() {
    let (heap, account) = shared(Os);
    for align in (0..40).map(|log| 1_usize << log) {
        let of = layout(0, align);
        let block = (&heap).allocate_zeroed(of).unwrap();
        assert_eq!(block.len(), 0);
        assert!(aligned(block, of));
        // SAFETY: from above, with this layout.
        unsafe { (&heap).deallocate(block.cast(), of) };
    }
    assert_eq!(account.calls(), 0);
}

#[test]
fn a_request_that_cannot_be_served_is_an_error_and_the_block_stays() {
    let (heap, account) = shared(Os);
    let of = layout(100, 8);
    let block = (&heap).allocate(of).unwrap();
    fill(block, 3);
    for to in [layout(isize::MAX as usize - 4096, 8), layout(1 << 60, 4096)] {
        assert!((&heap).allocate(to).is_err());
        assert!((&heap).allocate_zeroed(to).is_err());
        // SAFETY: live, of this layout, and the new one is larger.
        assert!(unsafe { (&heap).grow(block.cast(), of, to) }.is_err());
    }
    assert!(bytes(block)[..100].iter().all(|&byte| byte == 3));
    // SAFETY: live, of this layout.
    unsafe { (&heap).deallocate(block.cast(), of) };
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

/// A reference is an allocator, so copies of it free each other's blocks, on any thread.
#[test]
fn copies_of_the_reference_are_one_allocator() {
    static HEAP: Bandolier = Bandolier::new();
    let of = layout(64, 8);
    let address = std::thread::spawn(move || (&HEAP).allocate(of).unwrap().cast::<u8>().expose_provenance().get());
    let start = core::ptr::with_exposed_provenance_mut(address.join().unwrap());
    // SAFETY: live, of this layout.
    unsafe { (&HEAP).deallocate(NonNull::new(start).unwrap(), of) };
    HEAP.flush_thread();
    assert_eq!(HEAP.stats().in_use, 0);
}

/// The type of a heap's reference is nameable where a collection wants one.
#[test]
fn a_reference_satisfies_the_bound() {
    fn takes<A: Allocator + Copy>(_: A) {}
    let (heap, _) = shared(Os);
    let reference: &Heap = &heap;
    takes(reference);
}
