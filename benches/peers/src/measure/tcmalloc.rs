//! Whether tcmalloc has its per-CPU caches.
//!
//! They are turned on by a static initialiser in a file of which the crate uses nothing, so the linker leaves it out,
//! and per-thread caches, about twice as slow, do the work in silence. To ask for the state is to link the file. The caches
//! also need the kernel's `rseq`, which glibc claims for itself unless told not to.

unsafe extern "C" {
    // SAFETY: it has no arguments, reads one atomic flag, and is declared so in `internal_malloc_extension.h`.
    safe fn MallocExtension_Internal_GetPerCpuCachesActive() -> bool;
}

/// What is missing.
pub(crate) fn fault() -> Option<&'static str> {
    let active = MallocExtension_Internal_GetPerCpuCachesActive();
    (!active).then_some("tcmalloc has no per-CPU caches; run it with GLIBC_TUNABLES=glibc.pthread.rseq=0")
}
