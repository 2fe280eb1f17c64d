//! The four fast paths as functions of their own, for `cargo xtask asm` to disassemble.

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

fn main() {
    for _ in 0..1000 {
        let small = black_box(bandolier_alloc_64());
        // SAFETY: allocated just now.
        unsafe { bandolier_dealloc_64(small) };
        let layout = black_box(Layout::new::<[u8; 100]>());
        // SAFETY: the size is not zero.
        let any = black_box(unsafe { bandolier_alloc(layout) });
        // SAFETY: allocated just now with this layout.
        unsafe { bandolier_dealloc(any, layout) };
    }
    println!("{:?}", HEAP.stats());
}
