//! The collections of the crate `allocator-api2` in a heap of one's own.

#![cfg(feature = "std")]

mod common;

use allocator_api2::boxed::Box;
use allocator_api2::vec::Vec;
use bandolier::Os;
use common::{Dice, scaled, shared};
use std::string::String;

#[repr(align(256))]
#[derive(Clone, Copy)]
struct Wide(u8);

#[test]
fn vectors_grow_shrink_and_travel() {
    let (heap, account) = shared(Os);
    let mut vectors: std::vec::Vec<Vec<u64, _>> = (0..50).map(|_| Vec::new_in(&heap)).collect();
    let mut dice = Dice::new(3);
    for turn in 0..scaled(100_000, 20_000, 100) as u64 {
        let vector = &mut vectors[dice.below(50)];
        match dice.below(400) {
            0 => vector.truncate(vector.len() / 2),
            1 => vector.shrink_to_fit(),
            2 => vector.reserve(1 + dice.below(100_000)),
            _ => vector.push(turn),
        }
    }
    assert!(vectors.iter().all(|vector| vector.is_sorted()));
    assert!(heap.stats().in_use > 0);
    std::thread::scope(|scope| scope.spawn(|| drop(vectors)).join().unwrap());
    assert_eq!(heap.stats().in_use, 0);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

#[test]
fn boxes_are_aligned_and_dropped() {
    let (heap, _) = shared(Os);
    let boxes: std::vec::Vec<_> = (0..100).map(|n| Box::new_in(Wide(n), &heap)).collect();
    for (n, wide) in boxes.iter().enumerate() {
        assert_eq!(usize::from(wide.0), n);
        assert_eq!((&raw const **wide).addr() % 256, 0);
    }
    assert_eq!(heap.stats().in_use, 100 * 256);
    drop(boxes);
    assert_eq!(heap.stats().in_use, 0);
    let words = Box::new_in(core::array::from_fn::<String, 8, _>(|n| n.to_string()), &heap);
    assert_eq!(words.concat(), "01234567");
}

#[test]
fn what_has_no_bytes_needs_none() {
    let (heap, account) = shared(Os);
    let mut nothing = Vec::new_in(&heap);
    nothing.extend([(); 1000]);
    let unit = Box::new_in((), &heap);
    assert_eq!((nothing.len(), *unit), (1000, ()));
    assert_eq!(account.calls(), 0);
}
