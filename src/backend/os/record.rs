//! A thread's own record for restartable sequences, where the libc has none.
//!
//! ```text
//!   new ──register──▶ kept by the kernel ──thread exits──▶ gone
//!    └──refused: there is none to be had─────────────────────▲
//! ```
//!
//! The kernel writes to it whenever the thread comes back to the CPU, so it is taken back before the thread's memory goes: musl
//! unmaps the stack of a detached thread while that still runs. (A thread whose first block of all is taken in the last round of
//! the destructors of its keys is not told of its end any more: a detached one may then crash.) Where the numbers of a record are
//! none of a thread's places, the sequences find nothing there: −1 while it is new, −2 when it is gone.

use super::exit::Key;
use super::imp::quietly;
use super::restart;
use core::cell::Cell;
use core::ffi::{c_int, c_void};

/// `struct rseq` as far as it was at first, which is what every kernel takes; newer ones keep more fields of it.
#[repr(C, align(32))]
struct Record {
    cpu_id_start: Cell<u32>,
    cpu_id: Cell<u32>,
    rseq_cs: Cell<u64>,
    flags: Cell<u32>,
    node_id: Cell<u32>,
    mm_cid: Cell<u32>,
    rest: Cell<u32>,
}

const NEW: u32 = -1_i32 as u32;
const GONE: u32 = -2_i32 as u32;

/// For `rseq(2)`.
const UNREGISTER: c_int = 1;

static EXIT: Key = Key::new();

std::thread_local! {
    static RECORD: Record = const {
        Record {
            cpu_id_start: Cell::new(0),
            cpu_id: Cell::new(NEW),
            rseq_cs: Cell::new(0),
            flags: Cell::new(0),
            node_id: Cell::new(0),
            mm_cid: Cell::new(NEW),
            rest: Cell::new(0),
        }
    };
}

impl Record {
    fn call(&self, flags: c_int) -> bool {
        let (record, bytes) = (&raw const *self, size_of::<Self>());
        // SAFETY: the record stays where it is until `leave` has taken it back, and its fields are cells.
        quietly(|| unsafe { libc::syscall(libc::SYS_rseq, record, bytes, flags, restart::SIGNATURE) == 0 })
    }

    fn is_kept(&self) -> bool {
        // SAFETY: a field of the record. Volatile, since the kernel writes it.
        unsafe { self.cpu_id.as_ptr().read_volatile() < GONE }
    }

    fn end(&self) {
        self.cpu_id.set(GONE);
        self.mm_cid.set(GONE);
    }

    #[cold]
    #[inline(never)]
    fn register(&self) -> bool {
        if self.cpu_id.get() != NEW {
            return false;
        }
        // First the end, for a record that is not taken back outlives the thread.
        let kept = EXIT.at_thread_exit(leave) && (self.call(0) || self.is_kept());
        if !kept {
            self.end();
        }
        kept
    }
}

/// Sees to it that the kernel keeps the calling thread's record; whether it does.
#[inline(always)]
pub(super) fn register() -> bool {
    RECORD.with(|record| record.is_kept() || record.register())
}

unsafe extern "C" fn leave(_: *mut c_void) {
    RECORD.with(|record| {
        let gone = !record.is_kept() || record.call(UNREGISTER);
        if gone {
            record.end();
        }
    });
}

/// Where the calling thread's record is.
pub(super) fn address() -> usize {
    RECORD.with(|record| (&raw const *record).addr())
}

/// Bytes of it that the kernel keeps.
pub(super) fn kept() -> usize {
    restart::kept_by_kernel().min(size_of::<Record>())
}
