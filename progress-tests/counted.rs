//! The atomics of `sync.rs`, each of whose operations says that it is about to be done.

use super::Ordering;
use crate::progress::steps::{Kind, about_to};
use bytemuck::NoUninit;

/// `atomic::Atomic`, counted.
#[repr(transparent)]
pub(crate) struct Atomic<T>(atomic::Atomic<T>);

pub(crate) type AtomicU64 = Atomic<u64>;

/// Before what is no atomic operation, and yet one step for others.
#[track_caller]
pub(super) fn step() {
    about_to(Kind::Change);
}

impl<T> core::fmt::Debug for Atomic<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Atomic")
    }
}

impl<T> Atomic<T> {
    pub(crate) const fn new(value: T) -> Self {
        Self(atomic::Atomic::new(value))
    }

    pub(crate) const fn is_lock_free() -> bool {
        atomic::Atomic::<T>::is_lock_free()
    }
}

/// Each operation by its kind, its arguments and its answer.
macro_rules! counted {
    ($($kind:ident $name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        #[track_caller]
        pub(crate) fn $name(&self, $($arg: $type),*) -> $answer {
            about_to(Kind::$kind);
            self.0.$name($($arg),*)
        }
    )*};
}

#[allow(dead_code, reason = "there are no thread exits to be told of on every system")]
impl<T: NoUninit> Atomic<T> {
    counted! {
        Look load(order: Ordering) -> T;
        Change store(value: T, order: Ordering) -> ();
        Change swap(value: T, order: Ordering) -> T;
        Change compare_exchange(old: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T>;
        Change compare_exchange_weak(old: T, new: T, ok: Ordering, err: Ordering) -> Result<T, T>;
    }
}

macro_rules! of_words {
    ($($word:ty)*) => {$(
        #[allow(dead_code, reason = "not every kind of word has each of them")]
        impl Atomic<$word> {
            counted! {
                Change fetch_add(value: $word, order: Ordering) -> $word;
                Change fetch_sub(value: $word, order: Ordering) -> $word;
                Change fetch_and(value: $word, order: Ordering) -> $word;
                Change fetch_or(value: $word, order: Ordering) -> $word;
            }
        }
    )*};
}

of_words!(u32 u64 usize);

/// `core`'s, counted.
#[derive(Debug)]
#[repr(transparent)]
pub(crate) struct AtomicPtr<T>(core::sync::atomic::AtomicPtr<T>);

impl<T> AtomicPtr<T> {
    pub(crate) const fn new(pointer: *mut T) -> Self {
        Self(core::sync::atomic::AtomicPtr::new(pointer))
    }

    counted! {
        Look load(order: Ordering) -> *mut T;
        Change store(pointer: *mut T, order: Ordering) -> ();
        Change swap(pointer: *mut T, order: Ordering) -> *mut T;
        Change compare_exchange(old: *mut T, new: *mut T, ok: Ordering, err: Ordering) -> Result<*mut T, *mut T>;
        Change compare_exchange_weak(old: *mut T, new: *mut T, ok: Ordering, err: Ordering) -> Result<*mut T, *mut T>;
    }
}
