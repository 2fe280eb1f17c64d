//! A library with a heap of its own, for tests that load and unload it.

use bandolier::Bandolier;
use core::alloc::{GlobalAlloc, Layout};

#[global_allocator]
static HEAP: Bandolier = Bandolier::new().per_thread();

/// Takes blocks of many sizes, and frees them: 0 if all was well.
#[unsafe(no_mangle)]
extern "C" fn plugin_work(seed: usize) -> usize {
    let mut held: Vec<Vec<u8>> = Vec::new();
    for n in 0..400 {
        let size = 1 + (seed.wrapping_mul(31).wrapping_add(n * 97)) % 9000;
        held.push(vec![n as u8; size]);
        if n % 3 == 0 {
            held.swap_remove(seed % held.len());
        }
    }
    let large = vec![1_u8; 300_000];
    held.iter().filter(|bytes| bytes.iter().any(|&byte| byte != bytes[0])).count() + usize::from(large[299_999] != 1)
}

/// A block that whoever loads the library keeps.
#[unsafe(no_mangle)]
extern "C" fn plugin_take(size: usize) -> *mut u8 {
    Layout::from_size_align(size, 8).map_or(core::ptr::null_mut(), |layout| {
        // SAFETY: no one asks for a size of zero.
        unsafe { HEAP.alloc_zeroed(layout) }
    })
}

/// Threads that have magazines of the library's heap.
#[unsafe(no_mangle)]
extern "C" fn plugin_threads() -> usize {
    HEAP.stats().threads
}

/// Gives back what can be had, before the library goes; what stays, in bytes.
#[unsafe(no_mangle)]
extern "C" fn plugin_leave() -> usize {
    let _ = HEAP.reclaim();
    HEAP.committed()
}
