//! The one door to atomics, ownership witnesses, back-off and loom.
//!
//! Every other module takes its synchronisation from here, so that the code which ships is the code which is
//! model-checked: under `cfg(all(test, loom))` the same names are loom's. The gate is never a bare `cfg(loom)`,
//! because `RUSTFLAGS` reach every dependency of whoever runs loom on their own crate.
//!
//! | name        | in a build                         | in a model                                      |
//! |-------------|------------------------------------|-------------------------------------------------|
//! | `Atomic<T>` | crate `atomic`, lock-free or panic | loom's 64-bit atomic                            |
//! | `AtomicU64` | `core`'s, or critical sections     | loom's                                          |
//! | `AtomicPtr` | `core`'s, keeps provenance         | loom's                                          |
//! | `Witness`   | nothing at all                     | a cell: two owners at once are reported as a race |
//! | `Backoff`   | `crossbeam_utils`                  | a yield                                         |
//! | `step`      | nothing at all                     | nothing at all                                  |
//!
//! What has 64 bits everywhere is an `AtomicU64` and no `Atomic<u64>`: the crate `atomic` goes by the alignment of the type it
//! wraps, and that of `u64` is four bytes on 32-bit x86.
//!
//! Under `cfg(all(test, steps))` all is as in a build, but each operation says that it is about to be done, and a thread can be stopped
//! there for as long as a test likes (`progress-tests/`).

/// Declares a function that is `const` except under loom, whose constructors are not; one body serves both.
macro_rules! const_fn {
    ($(#[$attr:meta])* $vis:vis fn $($rest:tt)*) => {
        #[cfg(not(all(test, loom)))]
        $(#[$attr])* $vis const fn $($rest)*
        #[cfg(all(test, loom))]
        $(#[$attr])* $vis fn $($rest)*
    };
}
pub(crate) use const_fn;

/// An array of values made one by one, in a constant except under loom.
macro_rules! array {
    ($make:expr; $count:expr) => {{
        #[cfg(not(all(test, loom)))]
        {
            [const { $make }; $count]
        }
        #[cfg(all(test, loom))]
        {
            core::array::from_fn::<_, { $count }, _>(|_| $make)
        }
    }};
}
pub(crate) use array;

#[cfg(not(all(test, loom)))]
mod imp {
    #[cfg(all(test, steps))]
    pub(crate) use super::counted::{Atomic, AtomicPtr, AtomicU64};
    #[cfg(not(target_has_atomic = "64"))]
    pub(crate) use super::guarded::AtomicU64;
    #[cfg(not(all(test, steps)))]
    pub(crate) use atomic::Atomic;
    #[cfg(not(all(test, steps)))]
    pub(crate) use core::sync::atomic::AtomicPtr;
    #[cfg(all(target_has_atomic = "64", not(all(test, steps))))]
    pub(crate) use core::sync::atomic::AtomicU64;
    #[cfg(feature = "std")]
    pub(crate) use core::sync::atomic::compiler_fence;
    pub(crate) use core::sync::atomic::fence;
    pub(crate) use crossbeam_utils::Backoff;

    /// Makes null pointers of memory that is zero.
    ///
    /// # Safety
    /// The places are the caller's, and read as zero.
    #[inline(always)]
    pub(crate) unsafe fn make_nulls<T>(_: *mut AtomicPtr<T>, _: usize) {}

    /// Marks data that one party owns at a time; only models look at it.
    pub(crate) struct Witness;

    impl Witness {
        pub(crate) const fn new() -> Self {
            Self
        }

        /// Says: whoever calls this owns the marked data now.
        #[inline(always)]
        pub(crate) fn touch(&self) {}

        /// Says: whoever calls this reads the marked data now, perhaps with others.
        #[inline(always)]
        pub(crate) fn look(&self) {}
    }
}

/// Words of 64 bits where the processor has no such atomics: every access is a critical section, of a crate whose very purpose is
/// that the program says what one is (interrupts off on a single core, a lock beside that on two).
///
/// It is the conventional answer, and the only one that keeps the proofs. Heads of two 16-bit halves would fit a native atomic, but
/// their tags come round after 65,536 exchanges, which an interrupt's or a task's burst makes within a tenth of a second of one
/// preemption; and a lock that is taken with interrupts on would make a handler wait for what it has interrupted.
#[cfg(not(any(target_has_atomic = "64", all(test, loom))))]
mod guarded {
    use super::Ordering;
    use core::cell::UnsafeCell;

    #[repr(C, align(8))]
    pub(crate) struct AtomicU64(UnsafeCell<u64>);

    // SAFETY: all access is in critical sections, of which there is one at a time.
    unsafe impl Sync for AtomicU64 {}

    impl AtomicU64 {
        pub(crate) const fn new(value: u64) -> Self {
            Self(UnsafeCell::new(value))
        }

        /// Puts what `new` makes of the value in its place, if anything; the value before. One section after the other: no
        /// ordering is weaker than that.
        fn update(&self, new: impl FnOnce(u64) -> Option<u64>) -> u64 {
            critical_section::with(|_| {
                // SAFETY: nobody else is in a critical section, and this one has no other reference.
                let value = unsafe { &mut *self.0.get() };
                let old = *value;
                *value = new(old).unwrap_or(old);
                old
            })
        }

        pub(crate) fn load(&self, _: Ordering) -> u64 {
            self.update(|_| None)
        }

        pub(crate) fn store(&self, value: u64, _: Ordering) {
            self.update(|_| Some(value));
        }

        pub(crate) fn compare_exchange(&self, old: u64, new: u64, _: Ordering, _: Ordering) -> Result<u64, u64> {
            let now = self.update(|now| (now == old).then_some(new));
            if now == old { Ok(now) } else { Err(now) }
        }

        pub(crate) fn compare_exchange_weak(
            &self,
            old: u64,
            new: u64,
            ok: Ordering,
            err: Ordering,
        ) -> Result<u64, u64> {
            self.compare_exchange(old, new, ok, err)
        }

        pub(crate) fn fetch_add(&self, more: u64, _: Ordering) -> u64 {
            self.update(|now| Some(now.wrapping_add(more)))
        }

        pub(crate) fn fetch_or(&self, bits: u64, _: Ordering) -> u64 {
            self.update(|now| Some(now | bits))
        }

        pub(crate) fn fetch_and(&self, bits: u64, _: Ordering) -> u64 {
            self.update(|now| Some(now & bits))
        }
    }
}

#[cfg(all(test, loom))]
mod imp {
    use super::Ordering;
    use bytemuck::NoUninit;
    use core::marker::PhantomData;
    pub(crate) use loom::sync::atomic::{AtomicPtr, fence};

    /// `atomic::Atomic` over loom's 64-bit atomic. Values must not wrap in `fetch_add` and `fetch_sub`.
    pub(crate) struct Atomic<T>(loom::sync::atomic::AtomicU64, PhantomData<T>);

    pub(crate) type AtomicU64 = Atomic<u64>;

    fn to_bits<T: NoUninit>(value: T) -> u64 {
        const { assert!(size_of::<T>() <= 8) };
        let mut bytes = [0; 8];
        bytes[..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(&value));
        u64::from_le_bytes(bytes)
    }

    fn from_bits<T: NoUninit>(bits: u64) -> T {
        let bytes = bits.to_le_bytes();
        // SAFETY: the low bytes were written by `to_bits` from a `T`; `read_unaligned` asks no alignment.
        unsafe { bytes.as_ptr().cast::<T>().read_unaligned() }
    }

    impl<T: NoUninit> Atomic<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::atomic::AtomicU64::new(to_bits(value)), PhantomData)
        }

        pub(crate) fn load(&self, order: Ordering) -> T {
            from_bits(self.0.load(order))
        }

        pub(crate) fn store(&self, value: T, order: Ordering) {
            self.0.store(to_bits(value), order);
        }

        pub(crate) fn compare_exchange(&self, old: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T> {
            self.0.compare_exchange(to_bits(old), to_bits(new), ok, err).map(from_bits).map_err(from_bits)
        }

        pub(crate) fn compare_exchange_weak(&self, old: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T> {
            self.compare_exchange(old, new, ok, err)
        }

        pub(crate) fn fetch_add(&self, value: T, order: Ordering) -> T {
            from_bits(self.0.fetch_add(to_bits(value), order))
        }

        pub(crate) fn fetch_sub(&self, value: T, order: Ordering) -> T {
            from_bits(self.0.fetch_sub(to_bits(value), order))
        }

        pub(crate) fn fetch_or(&self, value: T, order: Ordering) -> T {
            from_bits(self.0.fetch_or(to_bits(value), order))
        }

        pub(crate) fn fetch_and(&self, value: T, order: Ordering) -> T {
            from_bits(self.0.fetch_and(to_bits(value), order))
        }
    }

    /// Makes null pointers of memory that is zero; loom's are more than that.
    ///
    /// # Safety
    /// The places are the caller's.
    pub(crate) unsafe fn make_nulls<T>(first: *mut AtomicPtr<T>, count: usize) {
        for place in 0..count {
            // SAFETY: the caller's promise.
            unsafe { first.add(place).write(AtomicPtr::new(core::ptr::null_mut())) };
        }
    }

    /// A cell that loom watches: two owners with no order between them are reported as a race.
    pub(crate) struct Witness(loom::cell::UnsafeCell<()>);

    // SAFETY: to find out whether it is shared without order is what it is for.
    unsafe impl Sync for Witness {}

    impl Witness {
        pub(crate) fn new() -> Self {
            Self(loom::cell::UnsafeCell::new(()))
        }

        pub(crate) fn touch(&self) {
            self.0.with_mut(|_| ());
        }

        pub(crate) fn look(&self) {
            self.0.with(|_| ());
        }
    }

    /// The model's scheduler decides who goes on.
    pub(crate) struct Backoff;

    impl Backoff {
        pub(crate) fn new() -> Self {
            Self
        }

        pub(crate) fn spin(&self) {
            loom::thread::yield_now();
        }
    }
}

#[cfg(all(test, steps))]
#[path = "../progress-tests/counted.rs"]
mod counted;

/// Before what is no atomic operation here, and yet one step for others: a restartable sequence.
#[inline(always)]
#[cfg_attr(all(test, steps), track_caller)]
pub(crate) fn step() {
    #[cfg(all(test, steps))]
    counted::step();
}

pub(crate) use core::sync::atomic::Ordering;
pub(crate) use crossbeam_utils::CachePadded;
pub(crate) use imp::*;
