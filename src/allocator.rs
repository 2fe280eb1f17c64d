//! The traits of collections that name their allocator, for a reference to a heap.

/// Both traits have the same methods; one body serves both.
#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
macro_rules! allocator {
    ($($api:ident)::+) => {
        // SAFETY: blocks stay valid until they are freed or the heap is gone, and the heap outlives the reference; all
        // copies of the reference are the same heap.
        unsafe impl<B: $crate::backend::Backend> $($api)::+::Allocator for &$crate::heap::Bandolier<B> {
            #[inline]
            fn allocate(&self, layout: Layout) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                if layout.size() == 0 {
                    return Ok(NonNull::slice_from_raw_parts(dangling(layout), 0));
                }
                // SAFETY: the size is not zero.
                let block = NonNull::new(unsafe { self.alloc(layout) }).ok_or($($api)::+::AllocError)?;
                Ok(NonNull::slice_from_raw_parts(block, layout.size()))
            }

            #[inline]
            fn allocate_zeroed(&self, layout: Layout) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                if layout.size() == 0 {
                    return self.allocate(layout);
                }
                // SAFETY: the size is not zero.
                let block = NonNull::new(unsafe { self.alloc_zeroed(layout) }).ok_or($($api)::+::AllocError)?;
                Ok(NonNull::slice_from_raw_parts(block, layout.size()))
            }

            #[inline]
            unsafe fn deallocate(&self, block: NonNull<u8>, layout: Layout) {
                if layout.size() != 0 {
                    // SAFETY: allocated above with this layout, and unused, by the caller's promise.
                    unsafe { self.dealloc(block.as_ptr(), layout) }
                }
            }

            #[inline]
            unsafe fn grow(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                // SAFETY: the caller's promise.
                unsafe { resize(*self, block, old, new) }.ok_or($($api)::+::AllocError)
            }

            #[inline]
            unsafe fn shrink(
                &self,
                block: NonNull<u8>,
                old: Layout,
                new: Layout,
            ) -> Result<NonNull<[u8]>, $($api)::+::AllocError> {
                // SAFETY: the caller's promise.
                unsafe { resize(*self, block, old, new) }.ok_or($($api)::+::AllocError)
            }
        }
    };
}

#[cfg(any(feature = "allocator-api2", feature = "nightly"))]
mod imp {
    use crate::backend::Backend;
    use crate::heap::Bandolier;
    use core::alloc::{GlobalAlloc, Layout};
    use core::ptr::NonNull;

    /// An address for a block without bytes.
    fn dangling(layout: Layout) -> NonNull<u8> {
        // An alignment is not zero, so the second is never taken.
        NonNull::new(core::ptr::without_provenance_mut(layout.align())).unwrap_or(NonNull::dangling())
    }

    /// Gives a block another layout, by moving it if need be.
    ///
    /// # Safety
    /// `block` is a block of `heap` with the layout `old`; when the answer is a block, only that one is valid.
    unsafe fn resize<B: Backend>(
        heap: &Bandolier<B>,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> Option<NonNull<[u8]>> {
        if old.size() != 0 && new.size() != 0 && old.align() == new.align() {
            // SAFETY: the caller's promise, and the new size is not zero.
            let moved = NonNull::new(unsafe { heap.realloc(block.as_ptr(), old, new.size()) })?;
            return Some(NonNull::slice_from_raw_parts(moved, new.size()));
        }
        if new.size() == 0 {
            if old.size() != 0 {
                // SAFETY: the caller's promise.
                unsafe { heap.dealloc(block.as_ptr(), old) };
            }
            return Some(NonNull::slice_from_raw_parts(dangling(new), 0));
        }
        // SAFETY: the size is not zero.
        let moved = NonNull::new(unsafe { heap.alloc(new) })?;
        if old.size() != 0 {
            // SAFETY: both blocks have that many bytes; the new one is disjoint from the old.
            unsafe { moved.copy_from_nonoverlapping(block, old.size().min(new.size())) };
            // SAFETY: the caller's promise; the contents are in the new block.
            unsafe { heap.dealloc(block.as_ptr(), old) };
        }
        Some(NonNull::slice_from_raw_parts(moved, new.size()))
    }

    #[cfg(feature = "allocator-api2")]
    allocator!(allocator_api2::alloc);
    #[cfg(feature = "nightly")]
    allocator!(core::alloc);
}
