//! A fence of two unequal halves: nothing for those who come by often, a system call for who comes by seldom.
//!
//! ```text
//!   often     a = 1;  light();  read b         at least one of the two
//!   seldom    b = 1;  heavy();  read a         sees what the other has written
//! ```
//!
//! The heavy half makes every thread of the process that runs pass a full barrier (a thread that does not run has passed one),
//! so between any two of its instructions each thread sees what came before it, and has shown what it did. The light half only
//! keeps the compiler from changing their order. After D. Dice, H. Huang and M. Yang, "Asymmetric Dekker Synchronization"
//! (2001), and `membarrier(2)`.

pub(crate) use imp::{heavy, is_allowed, light, step};

#[cfg(not(all(test, loom)))]
mod imp {
    use crate::backend::os::barrier;
    pub(crate) use crate::backend::os::barrier::is_allowed;
    use crate::sync::{Ordering, compiler_fence};
    use crate::tell;

    /// A name for what the two halves order, for a tool that knows of no fence like this one.
    static ORDER: u8 = 0;

    /// The half of who comes by often.
    #[inline(always)]
    pub(crate) fn light() {
        // The partner is `heavy`, which does for the processor what this does for the compiler.
        compiler_fence(Ordering::SeqCst);
        tell::before(&raw const ORDER);
        tell::after(&raw const ORDER);
    }

    /// The half of who comes by seldom; whether it was done.
    pub(crate) fn heavy() -> bool {
        tell::before(&raw const ORDER);
        let done = barrier::heavy();
        tell::after(&raw const ORDER);
        done
    }

    /// An access between whose neighbours a heavy half may fall.
    #[inline(always)]
    pub(crate) fn step<R>(access: impl FnOnce() -> R) -> R {
        access()
    }
}

/// In a model, each thread's steps and the heavy half take turns.
#[cfg(all(test, loom))]
mod imp {
    use crate::loom_support::Machine;

    pub(crate) fn light() {}

    pub(crate) fn is_allowed() -> bool {
        true
    }

    pub(crate) fn heavy() -> bool {
        Machine::fence_all()
    }

    pub(crate) fn step<R>(access: impl FnOnce() -> R) -> R {
        Machine::step(access)
    }
}
