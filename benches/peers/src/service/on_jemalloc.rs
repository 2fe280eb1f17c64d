//! A service on jemalloc, as its crate comes: no thread of its own that gives back.

use crate::allocator::Allocator;
use crate::memory::Reclaimed;
use core::ffi::CStr;
use core::ptr::null_mut;
use tikv_jemallocator::Jemalloc;

/// Of all arenas, for which 4096 stands.
const PURGE: &CStr = c"arena.4096.purge";

impl Allocator for Jemalloc {
    fn reclaim(&self) -> Reclaimed {
        // SAFETY: the name is a C string, and this control takes and gives no value.
        let failed = unsafe { tikv_jemalloc_sys::mallctl(PURGE.as_ptr(), null_mut(), null_mut(), null_mut(), 0) } != 0;
        let call = if failed { "a purge that failed" } else { "mallctl(\"arena.4096.purge\")" };
        Reclaimed { call: call.into(), bytes: None }
    }
}
