//! What restartable sequences need of the system: a record of each thread that the kernel keeps, and a fence that reaches into
//! sequences.
//!
//! ```text
//!   the libc has registered one for each thread   glibc since 2.35       that one, at __rseq_offset from the thread pointer
//!   the libc knows of none                        musl, older glibc      our own (`record.rs`), in the program itself
//!   the libc was told not to, or the kernel       a tunable, seccomp     none
//! ```
//!
//! A record tells two numbers: the CPU that the thread runs on, and, since Linux 6.3, one that is its alone among the threads of
//! the process that run, and as small as can be. Either one is changed only while the thread runs no sequence, so either one says
//! whose places are the thread's; the second one needs no more places than threads run at once.

use super::imp::quietly;
use super::record;
use crate::sync::{Atomic, Ordering};
use core::ffi::{CStr, c_int, c_void};
use core::num::NonZeroIsize;

/// What the kernel finds before the place that it restarts a sequence at.
pub(crate) const SIGNATURE: u32 = if cfg!(target_arch = "aarch64") { 0xd428_bc00 } else { 0x5305_3053 };

/// Where a record has `cpu_id`, in bytes: less than 0 in one that the kernel does not keep.
pub(crate) const CPU_ID: usize = 4;
/// Where it has `mm_cid`.
const MM_CID: usize = 24;

/// Not looked for yet.
const UNKNOWN: isize = isize::MIN;

static OFFSET: Atomic<isize> = Atomic::new(UNKNOWN);
static NUMBER: Atomic<usize> = Atomic::new(CPU_ID);
static OURS: Atomic<bool> = Atomic::new(false);

/// Where the calling thread's record is, in bytes from the thread pointer that it tells; `None` when the kernel keeps none of it.
#[inline(always)]
pub(crate) fn offset(thread_pointer: fn() -> *mut u8) -> Option<NonZeroIsize> {
    // Acquire: what else was found, by the Release in `look`.
    let known = OFFSET.load(Ordering::Acquire);
    let offset = NonZeroIsize::new(if known == UNKNOWN { look(thread_pointer) } else { known })?;
    // Relaxed: stored before the offset.
    let kept = !OURS.load(Ordering::Relaxed) || record::register();
    kept.then_some(offset)
}

/// Where a record would be, once they have been found.
#[inline(always)]
pub(crate) fn known_offset() -> isize {
    // Relaxed: whoever has seen a sign that they were found has acquired that.
    OFFSET.load(Ordering::Relaxed)
}

/// Where a record has the number of the places that are the thread's, in bytes, once records have been found.
#[inline(always)]
pub(crate) fn number() -> usize {
    // Relaxed: as above.
    NUMBER.load(Ordering::Relaxed)
}

#[cold]
#[inline(never)]
fn look(thread_pointer: fn() -> *mut u8) -> isize {
    let (offset, bytes) = match of_libc() {
        _ if !kernel_is_sound() => (0, 0),
        Some(Libc { bytes: 0, .. }) => (0, 0),
        Some(Libc { offset, bytes }) => (offset, bytes),
        None if is_program() && record::register() => {
            // Relaxed: before the Release below.
            OURS.store(true, Ordering::Relaxed);
            // At the same place in all threads, for it belongs to the program.
            (record::address().wrapping_sub(thread_pointer().addr()) as isize, record::kept())
        }
        None => (0, 0),
    };
    if bytes >= MM_CID + size_of::<u32>() {
        // Relaxed: before the Release below.
        NUMBER.store(MM_CID, Ordering::Relaxed);
    }
    // Release: the rest of what was found. Acquire on failure: what another thread found. It may be something else, where one of
    // the two can register its record and the other cannot; what was there first holds for all.
    match OFFSET.compare_exchange(UNKNOWN, offset, Ordering::Release, Ordering::Acquire) {
        Ok(_) => offset,
        Err(other) => other,
    }
}

/// The records that the libc has registered.
struct Libc {
    /// From the thread pointer.
    offset: isize,
    /// Of a record that are kept; none where there are no records.
    bytes: usize,
}

fn of_libc() -> Option<Libc> {
    // SAFETY: glibc's, since 2.35: how many bytes of a record are kept, an `unsigned int`.
    let bytes = unsafe { value::<u32>(c"__rseq_size") }? as usize;
    // SAFETY: as above, of type `ptrdiff_t`.
    let offset = unsafe { value::<isize>(c"__rseq_offset") }?;
    // Where it says 32, the size of the structure, the kernel may keep less.
    Some(Libc { offset, bytes: bytes.min(kept_by_kernel()) })
}

/// The value of a variable of libc's, if it has one of that name.
///
/// # Safety
/// A variable of that name has the type `T`.
unsafe fn value<T: Copy>(name: &CStr) -> Option<T> {
    // SAFETY: a name that ends with a zero; the default handle looks in what is loaded.
    let place = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.cast::<T>();
    // SAFETY: null, or where a variable of that type is, by the caller's promise.
    (!place.is_null()).then(|| unsafe { place.read() })
}

/// Bytes of a record that this kernel keeps, if it keeps one.
pub(super) fn kept_by_kernel() -> usize {
    /// `AT_RSEQ_FEATURE_SIZE`, since Linux 6.3.
    const FEATURES: libc::c_ulong = 27;
    /// Of the first records: to the end of `flags`.
    const FIRST: usize = 20;
    // SAFETY: no conditions.
    (unsafe { libc::getauxval(FEATURES) } as usize).max(FIRST)
}

/// Whether this code is the program's own, and not that of a library which may be unloaded while the kernel keeps records in its
/// thread-local storage, and in which these need not be at one place in all threads.
fn is_program() -> bool {
    unsafe extern "C" fn look(object: *mut libc::dl_phdr_info, _: usize, found: *mut c_void) -> c_int {
        // SAFETY: who calls this has an object to tell of.
        let object = unsafe { &*object };
        let here = (look as *const ()).addr();
        let has_it = (0..usize::from(object.dlpi_phnum)).any(|n| {
            let part = object.dlpi_phdr.wrapping_add(n);
            // SAFETY: so many headers.
            let part = unsafe { &*part };
            let start = (object.dlpi_addr as usize).wrapping_add(part.p_vaddr as usize);
            part.p_type == libc::PT_LOAD && here.wrapping_sub(start) < part.p_memsz as usize
        });
        // SAFETY: a place for the answer, by the call below.
        unsafe { found.cast::<bool>().write(has_it) };
        // The first object is the program.
        1
    }
    let mut found = false;
    // SAFETY: a function for each object, and a place for its answer.
    unsafe { libc::dl_iterate_phdr(Some(look), (&raw mut found).cast()) };
    found
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
    match of_libc() {
        _ if !kernel_is_sound() => "this kernel does not restart sequences reliably",
        Some(_) => "the libc has registered no restartable sequences: the kernel or a tunable forbids it",
        None if !is_program() => "the libc knows no restartable sequences, and a library cannot register its own",
        None => "the kernel registers no restartable sequences, or somebody else has",
    }
}

const FENCE: c_int = 1 << 7;
const REGISTER: c_int = 1 << 8;

/// Asks the kernel for the right to [`fence`]; whether it is given.
pub(crate) fn may_fence() -> bool {
    // SAFETY: touches no memory.
    quietly(|| unsafe { libc::syscall(libc::SYS_membarrier, REGISTER, 0, 0) == 0 })
}

/// Restarts all sequences that the process runs; whether that was done. What was written before is seen by the sequences that
/// begin afterwards, and what those before have written is seen by the caller.
pub(crate) fn fence() -> bool {
    #[cfg(test)]
    if super::refusals::is_next() {
        return false;
    }
    // SAFETY: touches no memory.
    quietly(|| unsafe { libc::syscall(libc::SYS_membarrier, FENCE, 0, 0) == 0 })
}
