//! The allocator switch: Bandolier or System, one for the life of a process.
//!
//! ```text
//!   CHOICE   Undecided ──first allocation──▶ Bandolier │ System     and never again
//! ```
//!
//! `#[global_allocator]` is one static per binary and this binary is both services, so the choice is the environment's:
//! [`VARIABLE`]. It is read with `getenv`, which does not allocate, before the first allocation; a block is therefore
//! always freed by the allocator it came from. Both sides pay the same: one load and one branch that never changes its
//! mind. A program with one allocator needs none of this, only
//! `#[global_allocator] static HEAP: Bandolier = Bandolier::new();`.

use core::alloc::{GlobalAlloc, Layout};
use core::ffi::CStr;
use core::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::alloc::System;

use bandolier::Bandolier;

use crate::allocator::Allocator;

/// Set: this process is a service, on the allocator it names. Not set: this process is the command, on System.
pub(crate) const VARIABLE: &CStr = c"BANDOLIER_SERVICE";

/// The heap of a process on [`Side::Bandolier`].
static BANDOLIER: Bandolier = Bandolier::new();

static CHOICE: AtomicU8 = AtomicU8::new(Side::UNDECIDED);

/// An allocator that this program can run on.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Side {
    Bandolier = 1,
    System = 2,
}

impl Side {
    const BOTH: [Self; 2] = [Self::Bandolier, Self::System];

    const UNDECIDED: u8 = 0;

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Bandolier => "bandolier",
            Self::System => "system",
        }
    }

    /// What a service on this side asks.
    pub(crate) fn allocator(self) -> &'static dyn Allocator {
        match self {
            Self::Bandolier => &BANDOLIER,
            Self::System => &System,
        }
    }

    /// The side the environment names.
    pub(crate) fn asked_for() -> Option<Self> {
        // SAFETY: the name is a C string, and nothing in this program writes to its own environment.
        let value = unsafe { libc::getenv(VARIABLE.as_ptr()) };
        if value.is_null() {
            return None;
        }
        // SAFETY: `getenv` gave a C string of the environment, which nothing in this program changes.
        let value = unsafe { CStr::from_ptr(value) };
        Self::BOTH.into_iter().find(|side| side.name().as_bytes() == value.to_bytes())
    }

    /// The side this process allocates on.
    #[inline]
    fn chosen() -> Self {
        // Relaxed: the value is all there is to see, and every thread that finds none decides alike.
        match CHOICE.load(Relaxed) {
            1 => Self::Bandolier,
            2 => Self::System,
            _ => Self::decide(),
        }
    }

    #[cold]
    fn decide() -> Self {
        let side = Self::asked_for().unwrap_or(Self::System);
        CHOICE.store(side as u8, Relaxed);
        side
    }
}

/// Forwards to the chosen side.
pub(crate) struct Either;

// SAFETY: every call goes to one and the same allocator, which keeps the contract: the choice is made before the first
// block exists and stays.
unsafe impl GlobalAlloc for Either {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match Side::chosen() {
            // SAFETY: the caller owes the same to both.
            Side::Bandolier => unsafe { BANDOLIER.alloc(layout) },
            // SAFETY: as above.
            Side::System => unsafe { System.alloc(layout) },
        }
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match Side::chosen() {
            // SAFETY: the caller owes the same to both, and `block` came from this side.
            Side::Bandolier => unsafe { BANDOLIER.dealloc(block, layout) },
            // SAFETY: as above.
            Side::System => unsafe { System.dealloc(block, layout) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match Side::chosen() {
            // SAFETY: the caller owes the same to both.
            Side::Bandolier => unsafe { BANDOLIER.alloc_zeroed(layout) },
            // SAFETY: as above.
            Side::System => unsafe { System.alloc_zeroed(layout) },
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        match Side::chosen() {
            // SAFETY: the caller owes the same to both, and `block` came from this side.
            Side::Bandolier => unsafe { BANDOLIER.realloc(block, layout, new_size) },
            // SAFETY: as above.
            Side::System => unsafe { System.realloc(block, layout, new_size) },
        }
    }
}
