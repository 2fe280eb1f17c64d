//! Another `GlobalAlloc` as the back-end: frusa's fallback.

use super::Backend;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::ptr::NonNull;

/// Memory from another allocator: segments and large blocks are both drawn from it and given back to it.
///
/// `A` is not the heap that is built on it, nor an allocator that uses that heap.
///
/// # Examples
///
/// ```
/// use bandolier::{Bandolier, FromGlobal};
/// use std::alloc::System;
///
/// static HEAP: Bandolier<FromGlobal<System>> = Bandolier::with_backend(FromGlobal::new(&System));
/// assert_eq!(HEAP.stats().from_backend, 0);
/// ```
pub struct FromGlobal<A: ?Sized + 'static>(&'static A);

impl<A: GlobalAlloc + Sync + ?Sized> FromGlobal<A> {
    /// A back-end that draws on `global`, which may be a `dyn GlobalAlloc + Sync`.
    #[must_use]
    pub const fn new(global: &'static A) -> Self {
        Self(global)
    }
}

impl FromGlobal<dyn GlobalAlloc + Sync> {
    /// A back-end that draws on `global`, for callers that have dropped the `Sync` (frusa's signature).
    ///
    /// # Safety
    ///
    /// `global` may be called from several threads at a time, as everything that lives in a `static` may.
    #[must_use]
    pub const unsafe fn from_dyn(global: &'static dyn GlobalAlloc) -> Self {
        // SAFETY: the two types differ in an auto trait only, which has no part in the vtable; that it holds is the
        // caller's promise.
        Self(unsafe { core::mem::transmute::<&'static dyn GlobalAlloc, &'static (dyn GlobalAlloc + Sync)>(global) })
    }
}

impl<A: ?Sized> fmt::Debug for FromGlobal<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FromGlobal").finish_non_exhaustive()
    }
}

// SAFETY: `GlobalAlloc`'s contract gives blocks that are valid, disjoint, of the layout asked, and it forbids
// unwinding; that `A` is not built on this heap is the documented condition of the type.
unsafe impl<A: GlobalAlloc + Sync + ?Sized> Backend for FromGlobal<A> {
    /// Small enough to be asked of an allocator with little behind it.
    const SEGMENT: usize = 1 << 20;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        (layout.size() != 0).then_some(())?;
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { self.0.alloc(layout) })
    }

    fn acquire_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        (layout.size() != 0).then_some(())?;
        // SAFETY: the size is not zero.
        NonNull::new(unsafe { self.0.alloc_zeroed(layout) })
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the block came from `alloc` of the same allocator with the same layout, by this method's contract.
        unsafe { self.0.dealloc(block.as_ptr(), layout) }
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: as in `release`; `bytes` is not zero and fits the alignment, by this method's contract.
        NonNull::new(unsafe { self.0.realloc(block.as_ptr(), layout, bytes) })
    }
}
