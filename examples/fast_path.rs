//! The four fast paths as functions of their own, for `cargo xtask asm` to disassemble and
//! `cargo xtask paths` to count.

use bandolier::Bandolier;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

const SMALL: Layout = Layout::new::<[u64; 8]>();

/// Allocates 64 bytes, as `Box::new` of a value of that size does.
#[unsafe(no_mangle)]
#[inline(never)]
pub fn bandolier_alloc_64() -> *mut u8 {
    // SAFETY: the size is not zero.
    unsafe { HEAP.alloc(SMALL) }
}

/// Frees 64 bytes.
///
/// # Safety
/// `block` came from [`bandolier_alloc_64`], and is not used any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe fn bandolier_dealloc_64(block: *mut u8) {
    // SAFETY: the caller's promise.
    unsafe { HEAP.dealloc(block, SMALL) }
}

/// Allocates for a layout that is known at run time only.
///
/// # Safety
/// The size is not zero.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe fn bandolier_alloc(layout: Layout) -> *mut u8 {
    // SAFETY: the caller's promise.
    unsafe { HEAP.alloc(layout) }
}

/// Frees a block with a layout that is known at run time only.
///
/// # Safety
/// `block` came from [`bandolier_alloc`] with this layout, and is not used any more.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe fn bandolier_dealloc(block: *mut u8, layout: Layout) {
    // SAFETY: the caller's promise.
    unsafe { HEAP.dealloc(block, layout) }
}

/// Takes `batch` blocks with a constant layout and gives them back, the last one first, until `pairs` were taken.
fn constant(batch: usize, pairs: usize) {
    let mut blocks = Vec::with_capacity(batch);
    for _ in 0..pairs / batch {
        blocks.extend((0..batch).map(|_| bandolier_alloc_64()));
        while let Some(block) = blocks.pop() {
            // SAFETY: allocated above, and popped once.
            unsafe { bandolier_dealloc_64(block) };
        }
    }
}

/// The same with a layout that the compiler does not know.
fn varied(batch: usize, pairs: usize) {
    let layout = black_box(SMALL);
    let mut blocks = Vec::with_capacity(batch);
    for _ in 0..pairs / batch {
        // SAFETY: the size is not zero.
        blocks.extend((0..batch).map(|_| unsafe { bandolier_alloc(layout) }));
        while let Some(block) = blocks.pop() {
            // SAFETY: allocated above with this layout, and popped once.
            unsafe { bandolier_dealloc(block, layout) };
        }
    }
}

/// `fast_path [batch pairs]`
fn main() {
    let mut numbers = std::env::args().skip(1).map(|word| word.parse().expect("a number"));
    let (batch, pairs) = (numbers.next().unwrap_or(1), numbers.next().unwrap_or(1000));
    constant(batch, pairs);
    varied(batch, pairs);
    println!("{:?}", HEAP.stats());
}
