//! `VirtualAlloc`.

use crate::sync::{Atomic, Ordering};
use core::ptr::{self, NonNull};
use core::time::Duration;
use std::io::Write as _;
use windows_sys::Win32::System::Memory::{
    MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_NOACCESS, PAGE_PROTECTION_FLAGS, PAGE_READWRITE,
    VirtualAlloc, VirtualFree, VirtualProtect,
};
use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, GetTickCount64, SYSTEM_INFO};

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
    let mut info = core::mem::MaybeUninit::<SYSTEM_INFO>::zeroed();
    // SAFETY: the call fills the structure, for which all zeros is a value already.
    let size = unsafe {
        GetSystemInfo(info.as_mut_ptr());
        info.assume_init().dwPageSize as usize
    };
    SIZE.store(size, Ordering::Relaxed);
    size
}

pub(super) fn uptime() -> Option<Duration> {
    // SAFETY: the call has no conditions.
    Some(Duration::from_millis(unsafe { GetTickCount64() }))
}

pub(super) fn step_aside() {
    // SAFETY: no conditions.
    unsafe { windows_sys::Win32::System::Threading::SwitchToThread() };
}

pub(super) fn process() -> u32 {
    1
}

pub(super) fn complain(line: &[u8]) {
    // If it cannot be written there is nobody left to tell.
    let _ = std::io::stderr().write_all(line);
}

fn reserve(at: *const u8, bytes: usize, commit: u32) -> Option<NonNull<u8>> {
    // SAFETY: a new reservation takes from nobody; at a given address it fails where something is already.
    NonNull::new(unsafe { VirtualAlloc(at.cast(), bytes, MEM_RESERVE | commit, PAGE_READWRITE) }.cast())
}

pub(super) fn map(bytes: usize, align: usize) -> Option<NonNull<u8>> {
    let start = reserve(ptr::null(), bytes, MEM_COMMIT)?;
    if start.addr().get() & (align - 1) == 0 {
        return Some(start);
    }
    // SAFETY: reserved just now, used by nobody.
    unsafe { unmap(start, bytes, align) };
    // A reservation cannot be cut, so find an aligned place, free it, and ask for that place again; another
    // thread may be quicker, hence a few tries.
    (0..8).find_map(|_| {
        let wide = reserve(ptr::null(), bytes.checked_add(align)?, 0)?;
        let front = wide.addr().get().wrapping_neg() & (align - 1);
        let place = wide.as_ptr().wrapping_add(front);
        // SAFETY: reserved just now, used by nobody.
        unsafe { unmap(wide, bytes + align, align) };
        reserve(place, bytes, MEM_COMMIT)
    })
}

/// # Safety
/// `start` is the start of a reservation of ours, in use by nobody.
pub(super) unsafe fn unmap(start: NonNull<u8>, _bytes: usize, _align: usize) {
    // SAFETY: the caller's promise; a release names the start and no size.
    unsafe { VirtualFree(start.as_ptr().cast(), 0, MEM_RELEASE) };
}

/// # Safety
/// The pages are ours, and their contents are not wanted.
pub(super) unsafe fn purge(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    let gone = unsafe { VirtualFree(start.as_ptr().cast(), bytes, MEM_DECOMMIT) } != 0;
    // SAFETY: the range lies in a reservation of ours; committing pages that are committed changes nothing.
    let back = unsafe { VirtualAlloc(start.as_ptr().cast(), bytes, MEM_COMMIT, PAGE_READWRITE) };
    if back.is_null() {
        // The pages would fault at the next touch, far from here: nothing sound is left to do with the range.
        super::complain(b"bandolier: the system does not give purged pages back\n");
        std::process::abort();
    }
    gone
}

/// # Safety
/// The pages are ours, and their contents are not wanted.
pub(super) unsafe fn guard(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { protect(start, bytes, PAGE_NOACCESS) }
}

/// # Safety
/// The pages are ours.
pub(super) unsafe fn unguard(start: NonNull<u8>, bytes: usize) -> bool {
    // SAFETY: the caller's promise.
    unsafe { protect(start, bytes, PAGE_READWRITE) }
}

/// # Safety
/// The pages are ours, and nobody uses them against `protection`.
unsafe fn protect(start: NonNull<u8>, bytes: usize, protection: PAGE_PROTECTION_FLAGS) -> bool {
    let mut before = 0;
    // SAFETY: the caller's promise.
    unsafe { VirtualProtect(start.as_ptr().cast(), bytes, protection, &raw mut before) != 0 }
}

pub(super) fn entropy() -> u64 {
    // Where things lie is all that can be had without another library.
    let here = 0_u8;
    (&raw const here).addr() as u64 ^ uptime().map_or(0, |now| now.as_nanos() as u64)
}

/// # Safety
/// None: Windows has large pages for privileged programs only.
pub(super) unsafe fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

/// # Safety
/// None: Windows does not move pages.
pub(super) unsafe fn remap(_: NonNull<u8>, _: usize, _: usize, _: usize) -> Option<NonNull<u8>> {
    None
}
