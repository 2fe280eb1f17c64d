//! Pages of the operating system: the only door to `libc` and `windows-sys`.
//!
//! Every call here is a system call or two; none takes a lock of ours, none allocates. The kernel's own locks make
//! them the one part of the allocator that is not lock-free.

pub(crate) mod barrier;
#[cfg(target_os = "linux")]
mod exit;
#[cfg(not(any(unix, windows)))]
#[path = "elsewhere.rs"]
mod imp;
#[cfg(unix)]
#[path = "unix.rs"]
mod imp;
#[cfg(windows)]
#[path = "windows.rs"]
mod imp;
#[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
mod process;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
mod record;
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
pub(crate) mod restart;

/// Fences that are refused to the calling thread, as a filter of system calls may do at any time.
#[cfg(test)]
pub(crate) mod refusals {
    use core::cell::Cell;

    std::thread_local! {
        static NEXT: Cell<u32> = const { Cell::new(0) };
    }

    /// Refuses those of the next fences whose bits are set.
    pub(crate) fn refuse(fences: u32) {
        NEXT.set(fences);
    }

    /// Whether this one is.
    pub(crate) fn is_next() -> bool {
        NEXT.replace(NEXT.get() >> 1) & 1 == 1
    }
}

use super::Backend;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;

/// The operating system's memory: `mmap` and `madvise` on Unix, `VirtualAlloc` on Windows, and elsewhere the system's allocator of
/// the standard library.
///
/// Pages come zeroed, are taken only when needed, and go back by `munmap` and `MADV_DONTNEED`. Page sizes from 4 to
/// 64 KiB are served; the size is asked at run time. Elsewhere, as on wasm, nothing of that holds: what a heap has no use for goes
/// back to the allocator that it came from, segment by segment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

/// Writes to standard error, without a lock and without a heap where that can be.
pub(crate) fn complain(line: &[u8]) {
    imp::complain(line);
}

/// Lets other threads run that wait for this CPU.
pub(crate) fn step_aside() {
    imp::step_aside();
}

/// The number of this process, which is not zero; of systems where none is ever forked, any.
pub(crate) fn process() -> u32 {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    return process::number();
    #[cfg(not(all(any(target_os = "linux", target_os = "android"), not(miri))))]
    imp::process()
}

/// What `look` says to the value of a variable of the environment, or to nothing when there is no such variable.
#[cfg(unix)]
pub(crate) fn variable<R>(name: &core::ffi::CStr, look: impl FnOnce(&[u8]) -> R) -> R {
    imp::variable(name, look)
}

/// Something that nobody can guess, as far as the system has it.
pub(crate) fn entropy() -> u64 {
    imp::entropy()
}

#[cfg(target_os = "linux")]
pub(crate) use exit::at_thread_exit;

/// Whether threads cannot be told of their end just now.
pub(crate) fn no_thread_exit() -> bool {
    #[cfg(target_os = "linux")]
    return exit::is_refused();
    #[cfg(not(target_os = "linux"))]
    false
}

/// `bytes` rounded up to whole pages, unless that is more than an object can have.
fn whole_pages(bytes: usize) -> Option<usize> {
    let page = imp::page_size();
    let rounded = bytes.checked_add(page - 1)? & !(page - 1);
    (rounded <= isize::MAX as usize).then_some(rounded)
}

// SAFETY: the kernel hands out pages that are valid, zero and disjoint until they are unmapped; nothing here
// allocates, panics, or calls a heap.
unsafe impl Backend for Os {
    const SEGMENT: usize = imp::SEGMENT;
    const ZEROED: bool = imp::ZEROED;
    const PURGES: bool = imp::PURGES;
    const GUARDS: bool = imp::GUARDS;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let bytes = whole_pages(layout.size())?;
        let huge = (bytes >= imp::HUGE_PAGE).then(|| imp::map(bytes, layout.align().max(imp::HUGE_PAGE))).flatten();
        huge.or_else(|| imp::map(bytes, layout.align()))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(bytes) = whole_pages(layout.size()) {
            // SAFETY: `acquire` mapped these pages for this layout, and nothing uses them any more.
            unsafe { imp::unmap(block, bytes, layout.align()) };
        }
    }

    fn granule(&self) -> usize {
        imp::page_size().min(Self::UNIT)
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range is ours and its contents are not wanted, by this method's contract; it is whole pages
        // wherever pages have at most 64 KiB.
        bytes % imp::page_size() == 0 && unsafe { imp::purge(start, bytes) }
    }

    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range is ours and its contents are not wanted, by this method's contract; whole pages, as in `purge`.
        bytes % imp::page_size() == 0 && unsafe { imp::guard(start, bytes) }
    }

    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the range is ours, by this method's contract; whole pages, as in `purge`.
        bytes % imp::page_size() != 0 || unsafe { imp::unguard(start, bytes) }
    }

    unsafe fn expect_dense(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(bytes) = whole_pages(layout.size()).filter(|&bytes| bytes >= imp::HUGE_PAGE) {
            // SAFETY: `acquire` or `remap` mapped these pages for this layout, by this method's contract.
            unsafe { imp::prefer_huge_pages(block, bytes) };
        }
    }

    fn uptime(&self) -> Option<Duration> {
        imp::uptime()
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        let (old, new) = (whole_pages(layout.size())?, whole_pages(bytes)?);
        if old == new {
            return Some(block);
        }
        // SAFETY: `acquire` mapped the old pages for this layout.
        unsafe { imp::remap(block, old, new, layout.align()) }
    }
}

#[cfg(all(test, target_os = "linux", target_pointer_width = "64", not(miri)))]
mod tests {
    use super::*;

    /// Pages of addresses that the process has.
    fn mapped() -> usize {
        let figures = std::fs::read_to_string("/proc/self/statm").unwrap();
        figures.split(' ').next().unwrap().parse().unwrap()
    }

    /// What is mapped on both sides of an aligned block goes back at once, and the block when it is released.
    #[test]
    fn an_aligned_block_takes_no_more_addresses_than_it_has_bytes() {
        const MANY: usize = 64 << 20;
        let layout = Layout::from_size_align(64 << 10, MANY).unwrap();
        let before = mapped();
        let blocks: std::vec::Vec<_> = (0..16).map(|_| Os.acquire(layout).unwrap()).collect();
        let more = mapped().saturating_sub(before) * imp::page_size();
        // Other tests map something meanwhile.
        assert!(more < 8 * MANY, "{more} bytes of addresses");
        // SAFETY: acquired above, with this layout; nobody has used them.
        blocks.into_iter().for_each(|block| unsafe { Os.release(block, layout) });
    }
}
