//! The one door to assembly.

/// The same pointer, but one that the compiler must hold in a register.
///
/// A thread-local at a constant offset is otherwise addressed as `fs:[constant]`, and processors that forward a store to
/// a load by its base register (AMD's Zen, by all we measured) do not see that two such accesses are the same: an
/// allocation and its free then cost a store-to-load round trip each. Through a register the pair took 1.0 ns instead of
/// 3.7 on an AMD EPYC, for one more load.
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
