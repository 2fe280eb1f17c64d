//! A service on the system's allocator, which has neither hooks nor figures.

use std::alloc::System;

use crate::allocator::Allocator;
use crate::memory::Reclaimed;

impl Allocator for System {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    fn reclaim(&self) -> Reclaimed {
        // SAFETY: `malloc_trim` may be called at any time, from any thread.
        unsafe { libc::malloc_trim(0) };
        Reclaimed { call: "malloc_trim(0)".into(), bytes: None }
    }

    #[cfg(not(all(target_os = "linux", target_env = "gnu")))]
    fn reclaim(&self) -> Reclaimed {
        Reclaimed { call: "nothing, having no such call,".into(), bytes: None }
    }
}
