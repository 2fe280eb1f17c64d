//! A service on mimalloc.

use crate::allocator::Allocator;
use crate::memory::Reclaimed;
use mimalloc::MiMalloc;

impl Allocator for MiMalloc {
    fn reclaim(&self) -> Reclaimed {
        // SAFETY: it may be called at any time, from any thread.
        unsafe { libmimalloc_sys::mi_collect(true) };
        Reclaimed { call: "mi_collect(true)".into(), bytes: None }
    }
}
