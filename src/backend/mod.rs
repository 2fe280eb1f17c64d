//! Where memory comes from, and where it goes back to.
//!
//! | back-end            | memory                       | purge             | remap    | for                          |
//! |---------------------|------------------------------|-------------------|----------|------------------------------|
//! | [`Native`]          | pages of the operating system | `madvise`, decommit | `mremap` | the heap of a hosted program |
//! | [`Os`]              | the same                     | the same          | the same | other heaps there            |
//! | [`FromGlobal`]      | another `GlobalAlloc`        | no                | `realloc` | kernels with an allocator    |
//! | [`Arena`]           | a static block of `N` bytes  | no                | no       | kernels and embedded targets |
//! | your own            | whatever you implement       | if you can        | if you can | the rest                   |

use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;

mod arena;
mod global_alloc;
#[cfg(all(feature = "std", not(all(test, loom))))]
mod native;
#[cfg(all(feature = "std", not(all(test, loom))))]
pub(crate) mod os;

pub use arena::Arena;
pub use global_alloc::FromGlobal;
#[cfg(all(feature = "std", not(all(test, loom))))]
pub use os::Os;

#[cfg(not(all(feature = "std", not(all(test, loom)))))]
mod none;
#[cfg(all(feature = "std", not(all(test, loom))))]
pub use native::Native;
#[cfg(not(all(feature = "std", not(all(test, loom)))))]
pub use none::Nothing as Native;

/// Says that there is one heap with a back-end of this type. Not to be had elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Sole;

/// A source of memory for a heap.
///
/// The heap asks for three kinds of blocks: *segments* of up to [`SEGMENT`](Self::SEGMENT) bytes, aligned to
/// [`UNIT`](Self::UNIT), from which it cuts everything small; single *large* blocks with the caller's own layout; and
/// *metadata*, a few KiB at a time at first and then in doubling blocks.
///
/// A heap calls its back-end on slow paths only, from any thread, several at a time. One of no size it may also call when a
/// thread exits that still had magazines of a heap which was dropped.
///
/// # Safety
///
/// An implementation promises that
/// - blocks handed out are valid for reads and writes, aligned and sized as their layout says, disjoint from each other
///   and from everything else until they are released, and stay where they are when the back-end itself is moved or
///   used from another thread;
/// - all of them lie in the 2^[`ADDRESS_BITS`](Self::ADDRESS_BITS) bytes that begin at [`base`](Self::base), where the end
///   of the address space is followed by its beginning;
/// - they stay valid until they are released, even when the back-end itself is forgotten (a heap with thread caches is, if
///   it is dropped while a thread still has magazines of it);
/// - no method panics or unwinds, and none calls the heap that it serves, in whatever round-about way;
/// - [`UNIT`](Self::UNIT) is a power of two from 4 KiB to 64 KiB, and [`SEGMENT`](Self::SEGMENT) 8 to 64 times as large.
///
/// A block that breaks the alignment is caught, and ends the process with a message.
///
/// # Examples
///
/// A back-end that counts what passes through it:
///
/// ```
/// use bandolier::{Backend, Bandolier, Os};
/// use core::{alloc::Layout, ptr::NonNull, sync::atomic::{AtomicUsize, Ordering::Relaxed}};
///
/// #[derive(Default)]
/// struct Counted { bytes: AtomicUsize }
///
/// // SAFETY: every block is one of `Os`, which keeps the contract; the counter allocates nothing.
/// unsafe impl Backend for Counted {
///     fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
///         let block = Os.acquire(layout)?;
///         self.bytes.fetch_add(layout.size(), Relaxed);
///         Some(block)
///     }
///     unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
///         self.bytes.fetch_sub(layout.size(), Relaxed);
///         // SAFETY: handed on as promised by the caller.
///         unsafe { Os.release(block, layout) }
///     }
/// }
///
/// let heap = Bandolier::with_backend(Counted::default()).without_thread_caches();
/// assert_eq!(heap.backend().bytes.load(Relaxed), 0); // nothing is asked for before it is needed
/// ```
pub unsafe trait Backend: Sync + 'static {
    /// Whether all heaps with this back-end are the one of the process.
    #[doc(hidden)]
    const SOLE: Option<Sole> = None;

    /// Bytes of the smallest run of pages that a segment hands out, and the alignment of segments.
    const UNIT: usize = 64 << 10;

    /// Bytes of a segment. The heap asks for less when so much is not to be had.
    const SEGMENT: usize = 64 * Self::UNIT;

    /// Width of the addresses, relative to [`base`](Self::base), of all blocks.
    const ADDRESS_BITS: u32 = if usize::BITS == 64 { 49 } else { usize::BITS };

    /// Whether [`acquire`](Self::acquire) always gives memory that reads as zero.
    const ZEROED: bool = false;

    /// Whether [`purge`](Self::purge) can give memory back. If not, it is not called.
    const PURGES: bool = false;

    /// Whether [`guard`](Self::guard) can keep everybody off a range. If not, it is not called. Such a back-end does not move a
    /// block that is to be smaller: it stays where it is, or [`remap`](Self::remap) says `None`.
    const GUARDS: bool = false;

    /// The lowest address that a block can have; a multiple of [`UNIT`](Self::UNIT), and always the same. By default the
    /// addresses lie around zero, so that those of user space and of a kernel in the upper half are both among them.
    fn base(&self) -> usize {
        if Self::ADDRESS_BITS >= usize::BITS { 0 } else { (1_usize << (Self::ADDRESS_BITS - 1)).wrapping_neg() }
    }

    /// A block for `layout`, or `None` when there is none to be had.
    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>>;

    /// As [`acquire`](Self::acquire), with memory that reads as zero.
    fn acquire_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.acquire(layout)?;
        if !Self::ZEROED {
            // SAFETY: the block was just acquired for `layout`, so it is ours to write, that many bytes of it.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        Some(block)
    }

    /// Takes a block back.
    ///
    /// # Safety
    ///
    /// `block` came from [`acquire`](Self::acquire), [`acquire_zeroed`](Self::acquire_zeroed) or
    /// [`remap`](Self::remap) of this back-end with this `layout`, and nothing uses it any more.
    unsafe fn release(&self, block: NonNull<u8>, layout: Layout);

    /// Bytes of the pieces that [`purge`](Self::purge) works on: a power of two, at most [`UNIT`](Self::UNIT).
    fn granule(&self) -> usize {
        Self::UNIT
    }

    /// Gives the physical memory under a range back, keeping its addresses.
    ///
    /// Returns whether it did; the range then reads as zero. Otherwise its contents are unspecified. It must stay readable
    /// meanwhile: a heap may look at records there that are no longer in use, and makes nothing of what it reads.
    ///
    /// # Safety
    ///
    /// The range lies in one acquired block, nothing uses its contents any more, and its start and `bytes` are
    /// multiples of [`granule`](Self::granule).
    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let _ = (start, bytes);
        false
    }

    /// Makes every access to a range fault; whether it does now. With the feature `hardened` a heap puts such ranges around what
    /// it hands out, as many as it can get. They are taken down before a block is released, unless that is refused.
    ///
    /// # Safety
    ///
    /// As for [`purge`](Self::purge).
    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let _ = (start, bytes);
        false
    }

    /// Makes a range accessible again that was guarded; whether it is. It then reads as zero, or as it did before.
    ///
    /// # Safety
    ///
    /// The range lies in one acquired block, is the caller's, and is guarded.
    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let _ = (start, bytes);
        true
    }

    /// Hears that a block will be written from its start on without gaps, so that large pages under it would be filled. By
    /// default nothing follows.
    ///
    /// # Safety
    ///
    /// The block came from this back-end with this `layout`, and has not been released.
    unsafe fn expect_dense(&self, block: NonNull<u8>, layout: Layout) {
        let _ = (block, layout);
    }

    /// The time since some start, for a heap that gives memory back without being asked, which it does now and then and
    /// not too often. `None`: it does so never.
    fn uptime(&self) -> Option<Duration> {
        None
    }

    /// Gives a block the size `bytes`, in place or by moving it without a copy, contents kept and alignment too.
    ///
    /// `None` when that is not possible: the block is then untouched, and the heap copies.
    ///
    /// # Safety
    ///
    /// As for [`release`](Self::release); `bytes` is not zero, and fits `layout.align()` as [`Layout`] demands. When
    /// the answer is not `None`, only the new block, with the layout of the new size, is valid.
    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        let _ = (block, layout, bytes);
        None
    }
}
