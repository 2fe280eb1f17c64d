//! Stands where there is no operating system to ask: a back-end that cannot exist.

use super::Backend;
use core::alloc::Layout;
use core::ptr::NonNull;

/// No back-end: without `std`, name one.
#[derive(Clone, Copy, Debug)]
pub enum Nothing {}

// SAFETY: there is no value to call a method on.
unsafe impl Backend for Nothing {
    fn acquire(&self, _: Layout) -> Option<NonNull<u8>> {
        match *self {}
    }

    unsafe fn release(&self, _: NonNull<u8>, _: Layout) {
        match *self {}
    }
}
