//! The one door to assembly.

use crate::magazine::Round;

/// Asks for the cache line at the start of a free chunk, which will be used soon: a hint, which touches nothing.
///
/// To ask for it for writing was not quicker (`prefetchw`: 9.8 ns where this took 9.5 and nothing 17).
#[inline(always)]
pub(crate) fn fetch(chunk: Round) {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    // SAFETY: a prefetch does not fault and changes nothing that can be seen, whatever the address.
    unsafe {
        core::arch::asm!("prefetcht0 [{}]", in(reg) chunk.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    #[cfg(all(target_arch = "aarch64", not(miri)))]
    // SAFETY: as above.
    unsafe {
        core::arch::asm!("prfm pldl1keep, [{}]", in(reg) chunk.as_ptr(), options(nostack, preserves_flags, readonly));
    }
    let _ = chunk;
}

/// The same pointer, but one that the compiler must hold in a register.
///
/// A thread-local at a constant offset is otherwise addressed as `fs:[constant]`, and processors that forward a store to
/// a load by its base register (AMD's Zen, by all we measured) do not see that two such accesses are the same: an
/// allocation and its free then cost a store-to-load round trip each. Through a register the pair took 1.0 ns instead of
/// 3.7 on an AMD EPYC, for one more load.
#[cfg(all(feature = "std", not(all(test, loom))))]
#[inline(always)]
pub(crate) fn in_register<T>(pointer: *const T) -> *const T {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    {
        #![expect(clippy::pointers_in_nomem_asm_block, reason = "nothing is done with it, so no memory is accessed")]
        let mut same = pointer;
        // SAFETY: there is no instruction in it.
        unsafe { core::arch::asm!("/* {0} */", inout(reg) same, options(pure, nomem, nostack, preserves_flags)) };
        same
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    pointer
}
