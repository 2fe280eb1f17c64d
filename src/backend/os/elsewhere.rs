//! The system's allocator of the standard library, where there are neither `mmap` nor `VirtualAlloc`: on wasm `memory.grow`, of
//! which nothing ever goes back, so that what a heap releases is kept there for whoever asks next.

use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::time::Duration;
use std::alloc::System;
use std::io::Write as _;

/// There are none.
pub(super) const HUGE_PAGE: usize = usize::MAX;
/// Small enough to be asked of an allocator with little behind it.
pub(super) const SEGMENT: usize = 1 << 20;
pub(super) const ZEROED: bool = false;
pub(super) const PURGES: bool = false;
pub(super) const GUARDS: bool = false;

pub(super) fn page_size() -> usize {
    4096
}

/// Not every such target has a clock, and to ask one that has none ends the program.
pub(super) fn uptime() -> Option<Duration> {
    None
}

pub(super) fn step_aside() {
    std::thread::yield_now();
}

pub(super) fn process() -> u32 {
    1
}

pub(super) fn complain(line: &[u8]) {
    // If it cannot be written there is nobody left to tell.
    let _ = std::io::stderr().write_all(line);
}

pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(bytes, align).ok().filter(|layout| layout.size() != 0)?;
    // SAFETY: the size is not zero.
    NonNull::new(unsafe { System.alloc(layout) })
}

/// # Safety
/// The block came from [`map`] or [`remap`] with these figures, and is in use by nobody.
pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize, align: usize) {
    if let Ok(layout) = Layout::from_size_align(bytes, align) {
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(start.as_ptr(), layout) };
    }
}

/// # Safety
/// None: there is no such call.
pub(super) unsafe fn purge(_: NonNull<u8>, _: usize) -> bool {
    false
}

/// # Safety
/// None: there are none.
pub(super) unsafe fn guard(_: NonNull<u8>, _: usize) -> bool {
    false
}

/// # Safety
/// As above.
pub(super) unsafe fn unguard(_: NonNull<u8>, _: usize) -> bool {
    true
}

pub(super) fn entropy() -> u64 {
    0
}

/// # Safety
/// None: there are none.
pub(super) unsafe fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

/// # Safety
/// The block came from [`map`] or [`remap`] with these figures; when the answer is a block, only that one is valid.
pub(super) unsafe fn remap(block: NonNull<u8>, old: usize, new: usize, align: usize) -> Option<NonNull<u8>> {
    let layout = Layout::from_size_align(old, align).ok()?;
    Layout::from_size_align(new, align).ok()?;
    // SAFETY: the caller's promise; the new size is not zero, and fits the alignment.
    NonNull::new(unsafe { System.realloc(block.as_ptr(), layout, new) })
}
