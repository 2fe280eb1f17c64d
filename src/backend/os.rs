//! Pages of the operating system: the only door to `libc` and `windows-sys`.
//!
//! Every call here is a system call or two; none takes a lock of ours, none allocates. The kernel's own locks make
//! them the one part of the allocator that is not lock-free.

use super::Backend;
use core::alloc::Layout;
use core::ptr::NonNull;
use core::time::Duration;

/// The operating system's memory: `mmap` and `madvise` on Unix, `VirtualAlloc` on Windows.
///
/// Pages come zeroed, are taken only when needed, and go back by `munmap` and `MADV_DONTNEED`. Page sizes from 4 to
/// 64 KiB are served; the size is asked at run time.
#[derive(Clone, Copy, Debug, Default)]
pub struct Os;

/// Segments are aligned to the huge pages of most systems, so that a kernel may use them.
const HUGE_PAGE: usize = 2 << 20;

/// Writes to standard error, without a lock and without a heap where that can be.
pub(crate) fn complain(line: &[u8]) {
    imp::complain(line);
}

#[cfg(target_os = "linux")]
pub(crate) use exit::at_thread_exit;

/// `bytes` rounded up to whole pages, unless that is more than an object can have.
fn whole_pages(bytes: usize) -> Option<usize> {
    let page = imp::page_size();
    let rounded = bytes.checked_add(page - 1)? & !(page - 1);
    (rounded <= isize::MAX as usize).then_some(rounded)
}

// SAFETY: the kernel hands out pages that are valid, zero and disjoint until they are unmapped; nothing here
// allocates, panics, or calls a heap.
unsafe impl Backend for Os {
    const ZEROED: bool = true;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let bytes = whole_pages(layout.size())?;
        let huge = (bytes >= HUGE_PAGE).then(|| imp::map(bytes, layout.align().max(HUGE_PAGE))).flatten();
        huge.or_else(|| imp::map(bytes, layout.align()))
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(bytes) = whole_pages(layout.size()) {
            // SAFETY: `acquire` mapped these pages for this layout, and nothing uses them any more.
            unsafe { imp::unmap(block, bytes) };
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

    unsafe fn expect_dense(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(bytes) = whole_pages(layout.size()).filter(|&bytes| bytes >= HUGE_PAGE) {
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

#[cfg(unix)]
mod imp {
    use crate::sync::{Atomic, Ordering};
    use core::ptr::{self, NonNull};
    use core::time::Duration;

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
        unsafe { unmap(start, bytes) };
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
        unsafe { unmap(start, front) };
        // SAFETY: the same holds of the part behind the block.
        unsafe { unmap(behind, wide - front - bytes) };
        Some(block)
    }

    /// # Safety
    /// The pages are mapped, ours, and in use by nobody.
    pub(super) unsafe fn unmap(start: NonNull<u8>, bytes: usize) {
        if bytes != 0 {
            // SAFETY: the caller's promise. It fails only when the kernel cannot split a mapping; the pages then stay,
            // and no one refers to them.
            unsafe { libc::munmap(start.as_ptr().cast(), bytes) };
        }
    }

    /// # Safety
    /// The pages are ours, and their contents are not wanted.
    pub(super) unsafe fn purge(start: NonNull<u8>, bytes: usize) -> bool {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            // SAFETY: the caller's promise. `MADV_DONTNEED` on private anonymous memory makes it read as zero.
            unsafe { libc::madvise(start.as_ptr().cast(), bytes, libc::MADV_DONTNEED) == 0 }
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        {
            // Elsewhere the advice may keep the old contents; a fresh mapping over the range does not.
            let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
            let protection = libc::PROT_READ | libc::PROT_WRITE;
            // SAFETY: the range is ours by the caller's promise, so replacing it takes from nobody.
            let mapped = unsafe { libc::mmap(start.as_ptr().cast(), bytes, protection, flags, -1, 0) };
            mapped != libc::MAP_FAILED
        }
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
        if flags != 0 {
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
}

/// What restartable sequences need of the system: the place of the thread's record, and a fence that reaches into them.
#[cfg(all(
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]
pub(crate) mod restart {
    use crate::sync::{Atomic, Ordering};
    use core::num::NonZeroIsize;

    /// Not looked for yet.
    const UNKNOWN: isize = isize::MIN;

    static OFFSET: Atomic<isize> = Atomic::new(UNKNOWN);

    /// Where libc keeps the record that the kernel has of each thread, in bytes from the thread pointer; `None` when there is
    /// none.
    #[inline(always)]
    pub(crate) fn offset() -> Option<NonZeroIsize> {
        // Relaxed: the value is the same whoever asks first, and nothing else hangs on it.
        let known = OFFSET.load(Ordering::Relaxed);
        NonZeroIsize::new(if known == UNKNOWN { look() } else { known })
    }

    /// The same, once it has been looked for and found.
    #[inline(always)]
    pub(crate) fn known_offset() -> isize {
        // Relaxed: as above; whoever has seen a sign that it was found has acquired that.
        OFFSET.load(Ordering::Relaxed)
    }

    #[cold]
    #[inline(never)]
    fn look() -> isize {
        // SAFETY: glibc's, since 2.35: the record's size is an `unsigned int`, zero when there is no record.
        let size = unsafe { value::<u32>(c"__rseq_size") };
        // SAFETY: as above, of type `ptrdiff_t`.
        let offset = unsafe { value::<isize>(c"__rseq_offset") };
        let found = match (size, offset) {
            (Some(size), Some(offset)) if size > 0 && kernel_is_sound() => offset,
            _ => 0,
        };
        // Relaxed: as in `offset`.
        OFFSET.store(found, Ordering::Relaxed);
        found
    }

    /// The value of a variable of libc's, if it has one of that name.
    ///
    /// # Safety
    /// A variable of that name has the type `T`.
    unsafe fn value<T: Copy>(name: &core::ffi::CStr) -> Option<T> {
        // SAFETY: a name that ends with a zero; the default handle looks in what is loaded.
        let place = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast::<T>();
        // SAFETY: null, or where a variable of that type is, by the caller's promise.
        (!place.is_null()).then(|| unsafe { place.read() })
    }

    /// On arm64, Linux 6.19 to 7.0.13 does not restart a sequence when the thread goes on on the same CPU
    /// (<https://lkml.iu.edu/2604.2/08673.html>, mended in 7.0.14).
    fn kernel_is_sound() -> bool {
        if cfg!(not(target_arch = "aarch64")) {
            return true;
        }
        let mut name = core::mem::MaybeUninit::<libc::utsname>::zeroed();
        // SAFETY: a place for the names.
        unsafe { libc::uname(name.as_mut_ptr()) };
        // SAFETY: all zeros are names of no length already.
        let names = unsafe { name.assume_init() };
        let mut numbers = names.release.split(|&byte| !(byte as u8).is_ascii_digit()).map(|digits| {
            digits
                .iter()
                .fold(0_u32, |number, &digit| number.saturating_mul(10).saturating_add(u32::from(digit as u8 - b'0')))
        });
        let mut next = || numbers.next().unwrap_or(0);
        let release = (next(), next(), next());
        !((6, 19, 0)..(7, 0, 14)).contains(&release)
    }

    /// Why there is no offset.
    pub(crate) fn why_not() -> &'static str {
        // SAFETY: as in `look`.
        match unsafe { value::<u32>(c"__rseq_size") } {
            None => "the libc knows no restartable sequences: glibc does since 2.35",
            Some(0) => "the libc has registered no restartable sequences: the kernel or a tunable forbids it",
            Some(_) => "this kernel does not restart sequences reliably",
        }
    }

    const FENCE: libc::c_int = 1 << 7;
    const REGISTER: libc::c_int = 1 << 8;
    const ON_CPU: libc::c_uint = 1;

    /// Asks the kernel for the right to [`fence`]; whether it is given.
    pub(crate) fn may_fence() -> bool {
        // SAFETY: touches no memory.
        unsafe { libc::syscall(libc::SYS_membarrier, REGISTER, 0, 0) == 0 }
    }

    /// Restarts what sequence the process runs on that CPU, if any; whether that was done. What was written before is seen
    /// by the sequences that begin there afterwards, and what those before have written is seen by the caller.
    pub(crate) fn fence(cpu: usize) -> bool {
        // SAFETY: touches no memory.
        unsafe { libc::syscall(libc::SYS_membarrier, FENCE, ON_CPU, cpu as libc::c_int) == 0 }
    }
}

/// A full barrier for all threads of the process.
pub(crate) mod barrier {
    #[cfg(all(any(target_os = "linux", target_os = "android"), not(miri)))]
    mod imp {
        const FENCE: libc::c_int = 1 << 3;
        const REGISTER: libc::c_int = 1 << 4;

        fn call(command: libc::c_int) -> bool {
            // SAFETY: touches no memory.
            unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0) == 0 }
        }

        pub(crate) fn is_allowed() -> bool {
            // To ask again costs nothing; the first time, with other threads there, the kernel waits for all CPUs, 10 ms or so.
            call(REGISTER)
        }

        pub(crate) fn heavy() -> bool {
            call(FENCE)
        }
    }

    #[cfg(windows)]
    mod imp {
        pub(crate) fn is_allowed() -> bool {
            true
        }

        pub(crate) fn heavy() -> bool {
            // SAFETY: touches no memory.
            unsafe { windows_sys::Win32::System::Threading::FlushProcessWriteBuffers() };
            true
        }
    }

    #[cfg(not(any(all(any(target_os = "linux", target_os = "android"), not(miri)), windows)))]
    mod imp {
        pub(crate) fn is_allowed() -> bool {
            false
        }

        pub(crate) fn heavy() -> bool {
            false
        }
    }

    /// Whether the system grants it to this process; to be asked first.
    pub(crate) fn is_allowed() -> bool {
        imp::is_allowed()
    }

    /// Makes every thread of the process pass a full barrier between two of its instructions; whether that was done.
    pub(crate) fn heavy() -> bool {
        imp::heavy()
    }
}

/// The end of a thread.
#[cfg(target_os = "linux")]
mod exit {
    use crate::sync::{Atomic, Ordering};

    /// What a thread calls when it exits.
    type Hook = unsafe extern "C" fn(*mut core::ffi::c_void);

    /// The key of the hook, plus one; 0 = not made yet.
    static KEY: Atomic<u64> = Atomic::new(0);
    /// There will be none any more.
    const GONE: u64 = u64::MAX;

    fn key(hook: Hook) -> Option<libc::pthread_key_t> {
        // Relaxed: the number alone is needed.
        let known = KEY.load(Ordering::Relaxed);
        if known != 0 {
            return (known != GONE).then_some((known - 1) as libc::pthread_key_t);
        }
        let mut key = 0;
        // SAFETY: a place for the key, and a destructor that takes any value.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(hook)) } != 0 {
            return None;
        }
        // Relaxed both: as above.
        match KEY.compare_exchange(0, key as u64 + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(key),
            Err(other) => {
                // SAFETY: made just now, known to nobody.
                unsafe { libc::pthread_key_delete(key) };
                (other != GONE).then_some((other - 1) as libc::pthread_key_t)
            }
        }
    }

    /// Sees to it that `hook`, always the same function, is called when the calling thread exits: after the destructors of
    /// thread-locals, and also if this is called from one of those, or from another key's destructor.
    pub(crate) fn at_thread_exit(hook: Hook) -> bool {
        // SAFETY: the key is there until the library is unloaded; a value that is not null asks for the destructor.
        key(hook).is_some_and(|key| unsafe { libc::pthread_setspecific(key, core::ptr::without_provenance(1)) == 0 })
    }

    /// Takes the hook back when the library that it lies in is unloaded, or the program ends.
    extern "C" fn forget_hook() {
        // Relaxed both: as in `key`. A thread that has read the number already may set a value of a key that is no more, which
        // fails.
        let known = KEY.load(Ordering::Relaxed);
        KEY.store(GONE, Ordering::Relaxed);
        if known != 0 && known != GONE {
            // SAFETY: a key made in `key`; threads that exit from now on find no destructor.
            unsafe { libc::pthread_key_delete((known - 1) as libc::pthread_key_t) };
        }
    }

    #[used]
    // SAFETY: the section holds pointers to functions of this type, called once when the object is unloaded.
    #[unsafe(link_section = ".fini_array")]
    static FORGET_HOOK: extern "C" fn() = forget_hook;
}

#[cfg(windows)]
mod imp {
    use crate::sync::{Atomic, Ordering};
    use core::ptr::{self, NonNull};
    use core::time::Duration;
    use std::io::Write as _;
    use windows_sys::Win32::System::Memory::{
        MEM_COMMIT, MEM_DECOMMIT, MEM_RELEASE, MEM_RESERVE, PAGE_READWRITE, VirtualAlloc, VirtualFree,
    };
    use windows_sys::Win32::System::SystemInformation::{GetSystemInfo, GetTickCount64, SYSTEM_INFO};

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
        unsafe { unmap(start, bytes) };
        // A reservation cannot be cut, so find an aligned place, free it, and ask for that place again; another
        // thread may be quicker, hence a few tries.
        (0..8).find_map(|_| {
            let wide = reserve(ptr::null(), bytes.checked_add(align)?, 0)?;
            let front = wide.addr().get().wrapping_neg() & (align - 1);
            let place = wide.as_ptr().wrapping_add(front);
            // SAFETY: reserved just now, used by nobody.
            unsafe { unmap(wide, bytes + align) };
            reserve(place, bytes, MEM_COMMIT)
        })
    }

    /// # Safety
    /// `start` is the start of a reservation of ours, in use by nobody.
    pub(super) unsafe fn unmap(start: NonNull<u8>, _bytes: usize) {
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
    /// None: Windows has large pages for privileged programs only.
    pub(super) unsafe fn prefer_huge_pages(_: NonNull<u8>, _: usize) {}

    /// # Safety
    /// None: Windows does not move pages.
    pub(super) unsafe fn remap(_: NonNull<u8>, _: usize, _: usize, _: usize) -> Option<NonNull<u8>> {
        None
    }
}
