//! Tells the tools that watch a program whose memory is whose: valgrind, AddressSanitizer and ThreadSanitizer.
//!
//! ```text
//!   back-end ──taken──▶ nobody's ──allocated──▶ the program's (resized) ──freed──▶ nobody's ──returned──▶ back-end
//! ```
//!
//! What is nobody's may not be touched, and a tool that is told so reports who does: after a free, and past the end of a block,
//! where its chunk or run goes on or the next one is free. The allocator itself never touches it, so nothing is excused.
//!
//! ThreadSanitizer sees no order in restartable sequences, which are assembly, nor in `membarrier`, which is a system call: of
//! these two it is told what they order. Order in that sense is all that there is to tell, so a sequence counts as ordered
//! after those of all CPUs for the same class, which is more than it is.
//!
//! Without the feature `annotate`, and elsewhere than on Linux on x86-64 and aarch64, there is nothing here at all. With it a
//! program needs none of the tools: a request of valgrind's is a few instructions that do nothing, and a sanitizer is asked for
//! by weak symbols, which are null in a program without one.

#[cfg(all(
    feature = "annotate",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri),
    not(all(test, loom))
))]
#[path = "tools.rs"]
mod imp;
#[cfg(not(all(
    feature = "annotate",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri),
    not(all(test, loom))
)))]
#[path = "nobody.rs"]
mod imp;

use imp::{Request, acquire, poison, release, request, unpoison};

/// The program has a block from now on, unless it is null. What it may not read before it has written, is `undefined`.
#[inline(always)]
pub(crate) fn allocated(block: *mut u8, bytes: usize, undefined: bool) {
    if !block.is_null() {
        request(Request::BLOCK_BEGINS, [block.addr(), bytes, 0, usize::from(!undefined)]);
        unpoison(block, bytes);
    }
}

/// The program's block has another size from now on, in its place; the block.
#[inline(always)]
pub(crate) fn resized(block: *mut u8, old: usize, new: usize) -> *mut u8 {
    request(Request::BLOCK_RESIZED, [block.addr(), old, new, 0]);
    poison(block, old);
    unpoison(block, new);
    block
}

/// The program has no right to the block any more.
#[inline(always)]
pub(crate) fn freed(block: *mut u8, bytes: usize) {
    request(Request::BLOCK_ENDS, [block.addr(), 0, 0, 0]);
    poison(block, bytes);
}

/// The heap has memory of a back-end's, of which nobody has a block yet.
#[inline(always)]
pub(crate) fn taken(start: *mut u8, bytes: usize) {
    request(Request::NO_ACCESS, [start.addr(), bytes, 0, 0]);
    poison(start, bytes);
}

/// The memory is about to be the back-end's, with its contents.
#[inline(always)]
pub(crate) fn returned(start: *mut u8, bytes: usize) {
    request(Request::DEFINED, [start.addr(), bytes, 0, 0]);
    unpoison(start, bytes);
}

/// All that this thread has done so far comes before whatever follows an [`after`] of the same address, called later.
#[inline(always)]
pub(crate) fn before<T>(at: *const T) {
    release(at.cast());
}

/// The other half of [`before`].
#[inline(always)]
pub(crate) fn after<T>(at: *const T) {
    acquire(at.cast());
}
