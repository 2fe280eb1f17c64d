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

/// Whose blocks it is that a tool is told of: the address of the heap, asked for only if there is one to tell.
pub(crate) trait Whose: FnOnce() -> usize {}
impl<F: FnOnce() -> usize> Whose for F {}

/// There is a heap at this address from now on.
#[inline(always)]
pub(crate) fn begun(heap: usize) {
    request(Request::POOL_BEGINS, || [heap, 0, 0, 0]);
}

/// There is no heap at this address any more, and no block of it.
#[inline(always)]
pub(crate) fn ended(heap: usize) {
    request(Request::POOL_ENDS, || [heap, 0, 0, 0]);
}

/// The program has a block from now on, unless it is null. Unless it is `zeroed`, it may not read what it has not written.
#[inline(always)]
pub(crate) fn allocated(heap: impl Whose, block: *mut u8, bytes: usize, zeroed: bool) {
    if !block.is_null() {
        request(Request::BLOCK_BEGINS, || [heap(), block.addr(), bytes, 0]);
        if zeroed {
            request(Request::DEFINED, || [block.addr(), bytes, 0, 0]);
        }
        unpoison(block, bytes);
    }
}

/// The program's block has another size from now on, in its place; the block.
#[inline(always)]
pub(crate) fn resized(heap: impl Whose, block: *mut u8, old: usize, new: usize) -> *mut u8 {
    request(Request::BLOCK_CHANGES, || [heap(), block.addr(), block.addr(), new]);
    let (less, more) = (old.saturating_sub(new), new.saturating_sub(old));
    request(Request::NO_ACCESS, || [block.addr() + new, less, 0, 0]);
    request(Request::UNDEFINED, || [block.addr() + old, more, 0, 0]);
    poison(block, old);
    unpoison(block, new);
    block
}

/// The program has no right to the block any more.
#[inline(always)]
pub(crate) fn freed(heap: impl Whose, block: *mut u8, bytes: usize) {
    request(Request::BLOCK_ENDS, || [heap(), block.addr(), 0, 0]);
    poison(block, bytes);
}

/// The heap has memory of a back-end's, of which nobody has a block yet.
#[inline(always)]
pub(crate) fn taken(start: *mut u8, bytes: usize) {
    request(Request::NO_ACCESS, || [start.addr(), bytes, 0, 0]);
    poison(start, bytes);
}

/// The memory is about to be the back-end's, with its contents.
#[inline(always)]
pub(crate) fn returned(start: *mut u8, bytes: usize) {
    request(Request::DEFINED, || [start.addr(), bytes, 0, 0]);
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
