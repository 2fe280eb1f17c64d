//! `mmap` and `madvise`.

use crate::sync::{Atomic, Ordering};
use core::ffi::CStr;
use core::ptr::{self, NonNull};
use core::time::Duration;

/// Segments are aligned to the huge pages of most systems, so that a kernel may use them.
pub(super) const HUGE_PAGE: usize = 2 << 20;
pub(super) const SEGMENT: usize = 4 << 20;
pub(super) const ZEROED: bool = true;
pub(super) const PURGES: bool = true;
pub(super) const GUARDS: bool = true;

pub(super) fn page_size() -> usize {
    static SIZE: Atomic<usize> = Atomic::new(0);
    // Relaxed both: the value is the same whoever asks first, and nothing else hangs on it.
    let known = SIZE.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: `sysconf` has no conditions.
    let asked = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    let size = usize::try_from(asked).ok().filter(|size| size.is_power_of_two()).unwrap_or(4096);
    SIZE.store(size, Ordering::Relaxed);
    size
}

pub(super) fn uptime() -> Option<Duration> {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    (failed == 0).then(|| Duration::new(now.tv_sec as u64, now.tv_nsec as u32))
}

pub(super) fn step_aside() {
    // SAFETY: no conditions.
    unsafe { libc::sched_yield() };
}

pub(super) fn process() -> u32 {
    // SAFETY: no conditions.
    unsafe { libc::getpid() as u32 }
}

pub(super) fn variable<R>(name: &CStr, look: impl FnOnce(&[u8]) -> R) -> R {
    // SAFETY: a name that ends with a zero. That nobody changes the environment meanwhile is asked of every program that has threads.
    let value = unsafe { libc::getenv(name.as_ptr()) };
    // SAFETY: null, or a string of the environment.
    look(if value.is_null() { &[] } else { unsafe { CStr::from_ptr(value) }.to_bytes() })
}

/// Where the calling thread's last error is noted; null on systems of which that is not known here.
fn error_place() -> *mut i32 {
    #[cfg(any(target_os = "linux", target_os = "emscripten", target_os = "fuchsia", target_os = "hurd"))]
    // SAFETY: no conditions.
    return unsafe { libc::__errno_location() };
    #[cfg(any(target_os = "android", target_os = "netbsd", target_os = "openbsd"))]
    // SAFETY: no conditions.
    return unsafe { libc::__errno() };
    #[cfg(any(target_vendor = "apple", target_os = "freebsd", target_os = "dragonfly"))]
    // SAFETY: no conditions.
    return unsafe { libc::__error() };
    #[allow(unreachable_code, reason = "one of those above is there, mostly")]
    ptr::null_mut()
}

fn last_error() -> i32 {
    // SAFETY: null, or the calling thread's own.
    unsafe { error_place().as_ref() }.copied().unwrap_or(0)
}

/// Leaves the last error as it is, whatever becomes of the call: a program may free a block before it looks at that.
pub(super) fn quietly<R>(call: impl FnOnce() -> R) -> R {
    let before = last_error();
    let result = call();
    // SAFETY: null, or the calling thread's own.
    if let Some(place) = unsafe { error_place().as_mut() } {
        *place = before;
    }
    result
}

pub(super) fn complain(line: &[u8]) {
    // SAFETY: the bytes are there. If they cannot be written there is nobody left to tell.
    unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
}

/// Fresh pages at an address that the kernel chooses.
fn map_anywhere(bytes: usize, protection: i32) -> Option<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new private mapping, not fixed: it touches no existing one.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if start == libc::MAP_FAILED { None } else { NonNull::new(start.cast()) }
}

pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let start = map_anywhere(bytes, libc::PROT_READ | libc::PROT_WRITE)?;
    if start.addr().get() & (align - 1) == 0 {
        return Some(start);
    }
    // SAFETY: mapped just now, used by nobody.
    unsafe { unmap(start, bytes, align) };
    map_aligned(bytes, align, libc::PROT_READ | libc::PROT_WRITE)
}

/// Maps more than is needed, and cuts off what sticks out on both sides.
fn map_aligned(bytes: usize, align: usize, protection: i32) -> Option<NonNull<u8>> {
    let wide = bytes.checked_add(align)?.checked_sub(page_size())?;
    let start = map_anywhere(wide, protection)?;
    let front = start.addr().get().wrapping_neg() & (align - 1);
    let block = NonNull::new(start.as_ptr().wrapping_add(front))?;
    let behind = NonNull::new(block.as_ptr().wrapping_add(bytes))?;
    // SAFETY: `front <= align - page`, so `front + bytes <= wide`: this part lies in the new mapping, at whole pages,
    // and nobody uses it yet.
    unsafe { unmap(start, front, align) };
    // SAFETY: the same holds of the part behind the block.
    unsafe { unmap(behind, wide - front - bytes, align) };
    Some(block)
}

/// # Safety
/// The pages are mapped, ours, and in use by nobody.
pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize, _align: usize) {
    // SAFETY: the caller's promise.
    let unmapped = || unsafe { libc::munmap(start.as_ptr().cast(), bytes) } == 0;
    if bytes != 0 && !quietly(unmapped) {
        // The kernel cannot split the mapping. No one refers to it any more: its addresses are lost, but not what is under them.
        // SAFETY: the caller's promise.
        unsafe { purge(start, bytes) };
    }
}

/// # Safety
/// The pages are ours, and their contents are not wanted.
pub(super) unsafe fn purge(start: NonNull<u8>, bytes: usize) -> bool {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        // SAFETY: the caller's promise. `MADV_DONTNEED` on private anonymous memory makes it read as zero.
        quietly(|| unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0 })
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        // Elsewhere the advice may keep the old contents; a fresh mapping over the range does not.
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: the range is ours by the caller's promise, so replacing it takes from nobody.
        let map = || unsafe { libc::mmap(start.as_ptr().cast(), bytes, protection, flags, -1, 0) };
        quietly(map) != libc::MAP_FAILED
    }
}

/// Whether the kernel follows an advice on pages of ours, whose contents are not wanted.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) fn is_advised(start: NonNull<u8>, bytes: usize, advice: i32) -> bool {
    /// What no kernel knows. Emulators of system calls take any advice, and do nothing.
    const NO_ADVICE: i32 = i32::MAX;
    // SAFETY: of our pages.
    let advise = |advice| unsafe { libc::madvise(start.as_ptr().cast(), bytes, advice) } == 0;
    quietly(|| !advise(NO_ADVICE) && advise(advice))
}

/// Linux since 6.13 has guards that are marks in the page table, and cost no mapping. Which of the two kinds the kernel has is
/// found out with the first one, since what one kind has put up the other does not take down.
#[cfg(any(target_os = "linux", target_os = "android"))]
mod marks {
    use crate::sync::{Atomic, Ordering};
    use core::ptr::NonNull;

    const MADV_GUARD_INSTALL: i32 = 102;
    const MADV_GUARD_REMOVE: i32 = 103;

    const UNKNOWN: u8 = 0;
    const THERE: u8 = 1;
    const MISSING: u8 = 2;

    static MARKS: Atomic<u8> = Atomic::new(UNKNOWN);

    /// Puts marks up; `None` where there are none.
    pub(super) fn put(start: NonNull<u8>, bytes: usize) -> Option<bool> {
        // Relaxed, all: a fact of the kernel's, and nothing else hangs on it. Who comes first decides.
        let known = MARKS.load(Ordering::Relaxed);
        (known != MISSING).then_some(())?;
        // SAFETY: the advice is about contents that nobody wants, by the promise of the only caller.
        let put = || unsafe { libc::madvise(start.as_ptr().cast(), bytes, MADV_GUARD_INSTALL) } == 0;
        let put = match known {
            UNKNOWN => super::is_advised(start, bytes, MADV_GUARD_INSTALL),
            _ => super::quietly(put),
        };
        if known == UNKNOWN {
            let found = if put { THERE } else { MISSING };
            let first = MARKS.compare_exchange(UNKNOWN, found, Ordering::Relaxed, Ordering::Relaxed);
            if first.map_or_else(|other| other, |_| found) == MISSING {
                if put {
                    take(start, bytes);
                }
                return None;
            }
        }
        Some(put)
    }

    fn take(start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: takes marks off, and nothing else.
        super::quietly(|| unsafe { libc::madvise(start.as_ptr().cast(), bytes, MADV_GUARD_REMOVE) } == 0)
    }

    /// Takes them off; `None` where there are none.
    pub(super) fn remove(start: NonNull<u8>, bytes: usize) -> Option<bool> {
        // Relaxed: as above; found out before anything was put up.
        (MARKS.load(Ordering::Relaxed) == THERE).then(|| take(start, bytes))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod marks {
    use core::ptr::NonNull;

    pub(super) fn put(_: NonNull<u8>, _: usize) -> Option<bool> {
        None
    }

    pub(super) fn remove(_: NonNull<u8>, _: usize) -> Option<bool> {
        None
    }
}

/// Guards that are pages without rights. Each makes up to two mappings more, of which Linux grants a process so many; three quarters
/// of them are left to the rest of the process.
mod walls {
    use crate::sync::{Atomic, Ordering};
    use core::ptr::NonNull;

    /// How many are up.
    static UP: Atomic<usize> = Atomic::new(0);

    /// How many there may be.
    fn most() -> usize {
        static MOST: Atomic<usize> = Atomic::new(0);
        // Relaxed both: the value is the same whoever asks first, and nothing else hangs on it.
        let known = MOST.load(Ordering::Relaxed);
        if known != 0 {
            return known;
        }
        let most = (super::most_mappings() / 8).max(1);
        MOST.store(most, Ordering::Relaxed);
        most
    }

    /// # Safety
    /// The pages are ours, and their contents are not wanted.
    pub(super) unsafe fn put(start: NonNull<u8>, bytes: usize) -> bool {
        // Relaxed, all: a figure.
        if UP.load(Ordering::Relaxed) >= most() {
            return false;
        }
        // What lies there would stay resident.
        // SAFETY: the caller's promise.
        unsafe { super::purge(start, bytes) };
        // SAFETY: the caller's promise.
        let up = unsafe { protect(start, bytes, libc::PROT_NONE) };
        UP.fetch_add(usize::from(up), Ordering::Relaxed);
        up
    }

    /// # Safety
    /// The pages are ours, and were put up.
    pub(super) unsafe fn remove(start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        let down = unsafe { protect(start, bytes, libc::PROT_READ | libc::PROT_WRITE) };
        UP.fetch_sub(usize::from(down), Ordering::Relaxed);
        down
    }

    /// # Safety
    /// The pages are ours, and nobody uses them against `protection`.
    unsafe fn protect(start: NonNull<u8>, bytes: usize, protection: i32) -> bool {
        // SAFETY: the caller's promise.
        super::quietly(|| unsafe { libc::mprotect(start.as_ptr().cast(), bytes, protection) } == 0)
    }
}

/// How many mappings the process may have.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn most_mappings() -> usize {
    const USUAL: usize = 65_530;
    let mut text = [0_u8; 16];
    // SAFETY: a name that ends with a zero.
    let file =
        quietly(|| unsafe { libc::open(c"/proc/sys/vm/max_map_count".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) });
    if file < 0 {
        return USUAL;
    }
    // SAFETY: so many bytes of ours.
    let read = quietly(|| unsafe { libc::read(file, text.as_mut_ptr().cast(), text.len()) });
    // SAFETY: opened above.
    unsafe { libc::close(file) };
    let digits = text[..usize::try_from(read).unwrap_or(0)].iter().take_while(|byte| byte.is_ascii_digit());
    let most = digits.fold(0_usize, |most, digit| most.saturating_mul(10).saturating_add(usize::from(digit - b'0')));
    if most == 0 { USUAL } else { most }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn most_mappings() -> usize {
    usize::MAX
}

/// # Safety
/// The pages are ours, and their contents are not wanted.
pub(super) unsafe fn guard(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    marks::put(start, bytes).unwrap_or_else(|| unsafe { walls::put(start, bytes) })
}

/// # Safety
/// The pages are ours, and guarded.
pub(super) unsafe fn unguard(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    marks::remove(start, bytes).unwrap_or_else(|| unsafe { walls::remove(start, bytes) })
}

pub(super) fn entropy() -> u64 {
    let mut bytes = [0_u8; 8];
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: so many bytes of ours. Where the kernel has none to give, they stay as they are.
    unsafe {
        libc::getrandom(bytes.as_mut_ptr().cast(), bytes.len(), libc::GRND_NONBLOCK);
    }
    #[cfg(any(
        target_vendor = "apple",
        target_os = "freebsd",
        target_os = "netbsd",
        target_os = "openbsd",
        target_os = "solaris",
        target_os = "illumos"
    ))]
    // SAFETY: as above.
    unsafe {
        libc::getentropy(bytes.as_mut_ptr().cast(), bytes.len());
    }
    u64::from_ne_bytes(bytes)
}

/// # Safety
/// The pages are mapped, and ours.
pub(super) unsafe fn prefer_huge_pages(start: NonNull<u8>, bytes: usize) {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    // SAFETY: the caller's promise; contents do not change. Where the kernel has no huge pages, nothing happens.
    unsafe {
        libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_HUGEPAGE);
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = (start, bytes);
}

/// # Safety
/// `old` bytes of whole pages are mapped at `block` and ours; when the answer is a block, only that one is valid.
#[cfg(any(target_os = "linux", target_os = "android"))]
pub(super) unsafe fn remap(block: NonNull<u8>, old: usize, new: usize, align: usize) -> Option<NonNull<u8>> {
    let flags = if align <= page_size() { libc::MREMAP_MAYMOVE } else { 0 };
    // SAFETY: the caller's promise; without MAYMOVE the block keeps its place and so its alignment.
    let moved = unsafe { libc::mremap(block.as_ptr().cast(), old, new, flags) };
    if moved != libc::MAP_FAILED {
        return NonNull::new(moved.cast());
    }
    // Another error says that the call is not to be had, and not that there is no room.
    if flags != 0 || last_error() != libc::ENOMEM {
        return None;
    }
    // The place is too narrow and the alignment is more than a page's: move to an aligned place of our choice.
    let place = map_aligned(new, align, libc::PROT_NONE)?;
    let flags = libc::MREMAP_MAYMOVE | libc::MREMAP_FIXED;
    // SAFETY: `place` is a mapping of `new` bytes of ours which nobody uses: the move may replace it.
    let moved = unsafe { libc::mremap(block.as_ptr().cast(), old, new, flags, place.as_ptr()) };
    if moved == libc::MAP_FAILED {
        // Some kernels have unmapped the place by now, and it may be somebody else's: its addresses are given up.
        return None;
    }
    NonNull::new(moved.cast())
}

/// # Safety
/// None: nothing is done where the kernel has no `mremap`.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
pub(super) unsafe fn remap(_: NonNull<u8>, _: usize, _: usize, _: usize) -> Option<NonNull<u8>> {
    None
}
