//! The end of a thread.

use crate::sync::{AtomicU64, Ordering};
use core::ffi::c_void;

/// What a thread calls when it exits.
type Hook = unsafe extern "C" fn(*mut c_void);

/// A function that threads call when they exit: after the destructors of thread-locals, and also if they are told so by one of
/// those, or by another key's destructor.
pub(super) struct Key(
    /// The number, plus one; 0 = none yet, [`REFUSED`] the same, or [`GONE`].
    AtomicU64,
);

/// None yet, and the last time that one was asked for there was none left.
const REFUSED: u64 = u64::MAX - 1;

/// There will be none any more.
const GONE: u64 = u64::MAX;

impl Key {
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    fn number(&self, hook: Hook) -> Option<libc::pthread_key_t> {
        // Relaxed: the number alone is needed.
        let known = self.0.load(Ordering::Relaxed);
        if known != 0 && known != REFUSED {
            return (known != GONE).then_some((known - 1) as libc::pthread_key_t);
        }
        let mut number = 0;
        // SAFETY: a place for the number, and a destructor that takes any value.
        if unsafe { libc::pthread_key_create(&raw mut number, Some(hook)) } != 0 {
            // Relaxed both: as above. Who has one meanwhile, keeps it.
            let _ = self.0.compare_exchange(0, REFUSED, Ordering::Relaxed, Ordering::Relaxed);
            return None;
        }
        // Relaxed both: as above.
        match self.0.compare_exchange(known, number as u64 + 1, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => Some(number),
            Err(other) => {
                // SAFETY: made just now, known to nobody.
                unsafe { libc::pthread_key_delete(number) };
                (other < REFUSED).then(|| other.checked_sub(1)).flatten().map(|number| number as libc::pthread_key_t)
            }
        }
    }

    /// Whether there was no key left, the last time that one was needed.
    fn is_refused(&self) -> bool {
        // Relaxed: a figure.
        self.0.load(Ordering::Relaxed) == REFUSED
    }

    /// Sees to it that the calling thread calls `hook`, always the same function for a key; whether it will.
    pub(super) fn at_thread_exit(&self, hook: Hook) -> bool {
        let set = |number| {
            // SAFETY: the key is there until the library is unloaded; a value that is not null asks for the destructor.
            unsafe { libc::pthread_setspecific(number, core::ptr::without_provenance(1)) == 0 }
        };
        self.number(hook).is_some_and(set)
    }

    /// Threads that exit from now on call nothing.
    fn forget(&self) {
        // Relaxed: as in `number`. A thread that has read the number already may set a value of a key that is no more, which
        // fails; one that makes a key just now finds that there is to be none, and deletes it.
        let known = self.0.swap(GONE, Ordering::Relaxed);
        if known != 0 && known < REFUSED {
            // SAFETY: a key made in `number`.
            unsafe { libc::pthread_key_delete((known - 1) as libc::pthread_key_t) };
        }
    }
}

static CACHES: Key = Key::new();

/// Sees to it that `hook`, always the same function, is called when the calling thread exits; whether it will be.
pub(crate) fn at_thread_exit(hook: Hook) -> bool {
    CACHES.at_thread_exit(hook)
}

/// Whether the system had no key left to tell of the exit of a thread, the last time that one was needed.
pub(crate) fn is_refused() -> bool {
    CACHES.is_refused()
}

/// Takes the hook back when the library that it lies in is unloaded, or the program ends.
extern "C" fn forget_hook() {
    CACHES.forget();
}

#[used]
// SAFETY: the section holds pointers to functions of this type, called once when the object is unloaded.
#[unsafe(link_section = ".fini_array")]
static FORGET_HOOK: extern "C" fn() = forget_hook;
