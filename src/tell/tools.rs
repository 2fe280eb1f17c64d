//! How the tools are told: valgrind by a request, the sanitizers by a call, if the program has their run-time library.

use core::arch::asm;

/// What valgrind is told, by the numbers of `valgrind.h` and `memcheck.h`. (The crate of bindings to them needs a C compiler and
/// libclang to build, which an allocator should not.)
pub(super) struct Request(usize);

/// memcheck's own.
const MEMCHECK: usize = (b'M' as usize) << 24 | (b'C' as usize) << 16;

impl Request {
    /// `VALGRIND_CREATE_MEMPOOL`: pool, bytes of red zones, whether blocks are defined. (A block is not told as one like those of
    /// `malloc`: it may begin where a segment does, which is a block of `malloc` itself if the back-end has it from there; and
    /// with a heap all its blocks go.)
    pub(super) const POOL_BEGINS: Self = Self(0x1303);
    /// `VALGRIND_DESTROY_MEMPOOL`: pool.
    pub(super) const POOL_ENDS: Self = Self(0x1304);
    /// `VALGRIND_MEMPOOL_ALLOC`: pool, start, bytes.
    pub(super) const BLOCK_BEGINS: Self = Self(0x1305);
    /// `VALGRIND_MEMPOOL_FREE`: pool, start.
    pub(super) const BLOCK_ENDS: Self = Self(0x1306);
    /// `VALGRIND_MEMPOOL_CHANGE`: pool, old start, new start, new bytes. Of what may be touched nothing is changed.
    pub(super) const BLOCK_CHANGES: Self = Self(0x1309);
    /// `VALGRIND_MAKE_MEM_NOACCESS`: start, bytes.
    pub(super) const NO_ACCESS: Self = Self(MEMCHECK);
    /// `VALGRIND_MAKE_MEM_UNDEFINED`: start, bytes.
    pub(super) const UNDEFINED: Self = Self(MEMCHECK + 1);
    /// `VALGRIND_MAKE_MEM_DEFINED`: start, bytes.
    pub(super) const DEFINED: Self = Self(MEMCHECK + 2);
}

/// Makes a request of valgrind; nothing happens where there is none.
#[inline]
pub(super) fn request(request: Request, words: impl FnOnce() -> [usize; 4]) {
    let [a, b, c, d] = words();
    let words = [request.0, a, b, c, d, 0];
    let answer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: rotates a register by 128 bits in all, and exchanges one with itself. valgrind, which knows the sequence, reads
    // the words, and puts its answer where there was none.
    unsafe {
        asm!(
            "rol rdi, 3",
            "rol rdi, 13",
            "rol rdi, 61",
            "rol rdi, 51",
            "xchg rbx, rbx",
            in("rax") words.as_ptr(),
            inout("rdx") 0_usize => answer,
            // Not changed; but no other value may be expected to lie there.
            out("rdi") _,
            options(nostack)
        );
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: as above, of x12 and x10.
    unsafe {
        asm!(
            "ror x12, x12, #3",
            "ror x12, x12, #13",
            "ror x12, x12, #51",
            "ror x12, x12, #61",
            "orr x10, x10, x10",
            in("x4") words.as_ptr(),
            inout("x3") 0_usize => answer,
            out("x12") _,
            options(nostack)
        );
    }
    let _ = answer;
}

/// The address of a function that the program may have; null when it has none of that name.
macro_rules! weak {
    ($name:literal) => {{
        let address: *const ();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads an address that the linker has written.
        unsafe {
            asm!(
                concat!(".weak ", $name),
                concat!("mov {}, qword ptr [rip + ", $name, "@GOTPCREL]"),
                out(reg) address,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: as above.
        unsafe {
            asm!(
                concat!(".weak ", $name),
                concat!("adrp {0}, :got:", $name),
                concat!("ldr {0}, [{0}, :got_lo12:", $name, "]"),
                out(reg) address,
                options(pure, nomem, nostack, preserves_flags)
            );
        }
        address
    }};
}

/// Calls a function of `asan_interface.h` on a range, if the program has it.
macro_rules! on_range {
    ($name:literal, $start:expr, $bytes:expr) => {{
        let function = weak!($name);
        if !function.is_null() {
            // SAFETY: a function of that name is AddressSanitizer's, of this type.
            let function = unsafe { core::mem::transmute::<*const (), unsafe extern "C" fn(*mut u8, usize)>(function) };
            // SAFETY: the heap's own memory, of which the caller knows whose it is.
            unsafe { function($start, $bytes) };
        }
    }};
}

/// Calls a function of `tsan_interface.h` on an address, if the program has it.
macro_rules! on_address {
    ($name:literal, $at:expr) => {{
        let function = weak!($name);
        if !function.is_null() {
            // SAFETY: a function of that name is ThreadSanitizer's, of this type.
            let function = unsafe { core::mem::transmute::<*const (), unsafe extern "C" fn(*const ())>(function) };
            // SAFETY: the address is a name only.
            unsafe { function($at) };
        }
    }};
}

/// AddressSanitizer reports who touches the bytes.
#[inline]
pub(super) fn poison(start: *mut u8, bytes: usize) {
    on_range!("__asan_poison_memory_region", start, bytes);
}

/// AddressSanitizer lets the bytes be used.
#[inline]
pub(super) fn unpoison(start: *mut u8, bytes: usize) {
    on_range!("__asan_unpoison_memory_region", start, bytes);
}

/// ThreadSanitizer orders what was done before what follows an [`acquire`] of the address.
#[inline]
pub(super) fn release(at: *const ()) {
    on_address!("__tsan_release", at);
}

#[inline]
pub(super) fn acquire(at: *const ()) {
    on_address!("__tsan_acquire", at);
}
