//! The one door to assembly.

use crate::home::Home;
use crate::magazine::Round;
use crate::size_class::SizeClass;
use crate::sync::{Atomic, AtomicPtr};
use core::cell::Cell;

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

/// A word of a magazine.
type Word = *mut u8;

/// What a CPU has, on lines of its own, two for processors that fetch pairs of them.
#[repr(C, align(128))]
pub(crate) struct Places {
    /// Of its magazines: all that sequences touch, and where they look for it.
    pub(crate) tops: [AtomicPtr<Word>; PLACES],
    /// Somebody has traded there since that was last asked.
    pub(crate) stirs: Atomic<bool>,
    /// Whose they are in the table, or were.
    pub(crate) home: Cell<Home>,
    /// Of those that are in no table, to the next.
    pub(crate) link: AtomicPtr<Self>,
}

/// How many there are: loaded and previous, of each class.
pub(crate) const PLACES: usize = 2 * SizeClass::COUNT;

/// The places by the numbers that threads have while they run, or null; and, before the first, two nulls for the numbers −1 and −2
/// of a thread that the kernel does not know.
pub(crate) type Table = *const AtomicPtr<Places>;

/// Restartable sequences: a few instructions up to one store, which the kernel begins anew if the thread was preempted,
/// moved to another CPU, or interrupted by a signal before that store. So they see and change what belongs to the CPU as if
/// nobody else ran there.
///
/// By the kernel's interface alone (`Documentation/userspace-api/rseq.rst`): of the thread's record only `rseq_cs` is written, and nothing in a sequence calls or traps. A sequence begins with the store that announces it, which
/// the kernel takes back when it interrupts, so an abort jumps there; it ends with taking that back, for this code may be
/// unloaded, and the kernel looks at what was announced last. What the sequence reads again after an abort is an input
/// that it does not change.
#[cfg(all(
    feature = "std",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri),
    not(all(test, loom))
))]
mod sequences {
    use super::{Table, Word};
    use crate::backend::os::restart;
    pub(crate) use crate::backend::os::restart::{fence, may_fence, why_not};
    use crate::geometry::BLOCK;
    use core::arch::asm;
    use core::ptr::NonNull;

    /// Where the calling thread tells the kernel of its sequences, and the kernel tells it a number. Not to be used by others.
    #[derive(Clone, Copy)]
    pub(crate) struct Seat {
        record: NonNull<u8>,
        /// Where in the record the number is, in bytes.
        number: usize,
    }

    /// One sequence: with the places of the CPU that it runs on in `{at}`, unless there are none, and then the lines
    /// given, of which the last is the one store. Lines leave early by jumping to `773f`.
    /// (The number is asked of `record` at `number`.)
    #[cfg(target_arch = "x86_64")]
    macro_rules! sequence {
        ($before:literal; $($line:literal,)*; $($operands:tt)*) => {
            asm!(
                ".pushsection __rseq_cs, \"aw\"",
                ".balign 32",
                "77: .long 0, 0",
                ".quad 772f, 773f - 772f, 774f",
                ".popsection",
                "771:",
                $before,
                "lea {at}, [rip + 77b]",
                "mov [{record} + 8], {at}",
                "772:",
                "movsxd {at}, dword ptr [{record} + {number}]",
                "mov {at}, [{table} + {at} * 8]",
                "test {at}, {at}",
                "jz 773f",
                $($line,)*
                "773:",
                "mov qword ptr [{record} + 8], 0",
                ".pushsection .text.bandolier_restart, \"ax\"",
                ".byte 0x0f, 0xb9, 0x3d",
                ".long {signature}",
                "774: jmp 771b",
                ".popsection",
                $($operands)*
                signature = const restart::SIGNATURE,
                at = out(reg) _,
                options(nostack)
            )
        };
    }

    #[cfg(target_arch = "aarch64")]
    macro_rules! sequence {
        ($before:literal; $($line:literal,)*; $($operands:tt)*) => {
            asm!(
                ".pushsection __rseq_cs, \"aw\"",
                ".balign 32",
                "77: .long 0, 0",
                ".quad 772f, 773f - 772f, 774f",
                ".popsection",
                "771:",
                $before,
                "adrp {at}, 77b",
                "add {at}, {at}, :lo12:77b",
                "str {at}, [{record}, #8]",
                "772:",
                "ldrsw {at}, [{record}, {number}]",
                "ldr {at}, [{table}, {at}, lsl #3]",
                "cbz {at}, 773f",
                $($line,)*
                "773:",
                "str xzr, [{record}, #8]",
                ".pushsection .text.bandolier_restart, \"ax\"",
                ".inst {signature}",
                "774: b 771b",
                ".popsection",
                $($operands)*
                signature = const restart::SIGNATURE,
                at = out(reg) _,
                // A linker may reach the abort's branch through these.
                out("x16") _,
                out("x17") _,
                options(nostack)
            )
        };
    }

    fn thread_pointer() -> *mut u8 {
        let pointer;
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads the thread pointer, which lies at offset 0 of what it points to.
        unsafe {
            asm!("mov {}, fs:0", out(reg) pointer, options(pure, readonly, nostack, preserves_flags));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads a register.
        unsafe {
            asm!("mrs {}, tpidr_el0", out(reg) pointer, options(pure, nomem, nostack, preserves_flags));
        }
        pointer
    }

    impl Seat {
        /// The calling thread's; `None` where there are no restartable sequences.
        #[inline(always)]
        pub(crate) fn here() -> Option<Self> {
            Self::at(restart::offset(thread_pointer)?.get())
        }

        /// As [`here`](Self::here), after some thread has seen that there are restartable sequences; `None` for a thread that the
        /// kernel does not know of.
        #[inline(always)]
        pub(crate) fn here_surely() -> Option<Self> {
            Self::at(restart::known_offset())
        }

        #[inline(always)]
        fn at(offset: isize) -> Option<Self> {
            let record = NonNull::new(thread_pointer().wrapping_offset(offset))?;
            let seat = Self { record, number: restart::number() };
            // The other number may be zero, or an old one, while the kernel does not keep the record.
            (seat.field(restart::CPU_ID) >= 0).then_some(seat)
        }

        #[inline(always)]
        fn field(self, offset: usize) -> i32 {
            let field = self.record.as_ptr().wrapping_add(offset).cast::<i32>();
            // SAFETY: the record lies in the thread's own storage. Volatile, since the kernel writes it while the thread does not run.
            unsafe { field.read_volatile() }
        }

        /// The number of the places that are the thread's, or were just now: that of its CPU, or a smaller one. `None` while the
        /// kernel does not know of the thread.
        pub(crate) fn number(self) -> Option<usize> {
            usize::try_from(self.field(self.number)).ok()
        }

        /// Takes a round out of the magazine at `place` of this CPU; null when it has none, or the CPU has no places.
        ///
        /// # Safety
        /// The table is as its type says, for every number that a CPU can have; there is such a place; at every place is a
        /// `Top`; and places in a table are written by sequences alone.
        #[inline(always)]
        pub(crate) unsafe fn pop(self, table: Table, place: usize) -> Word {
            let mut round: Word;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("xor {round:e}, {round:e}";
                    "lea {at}, [{at} + {place} * 8]",
                    "mov {top}, [{at}]",
                    "mov {round}, [{top}]",
                    "test {round}, {round}",
                    "jz 773f",
                    "sub {top}, 8",
                    "mov [{at}], {top}",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    top = out(reg) _, round = out(reg) round,
                );
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("mov {round}, xzr";
                    "add {at}, {at}, {place}, lsl #3",
                    "ldr {top}, [{at}]",
                    "ldr {round}, [{top}]",
                    "cbz {round}, 773f",
                    "sub {top}, {top}, #8",
                    "str {top}, [{at}]",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    top = out(reg) _, round = out(reg) round,
                );
            }
            round
        }

        /// Puts a round into the magazine at `place` of this CPU; whether it did, and did not find the magazine full, or the
        /// CPU without places. (It writes the round before the store that counts: above the top, where nobody looks.)
        ///
        /// # Safety
        /// As for [`pop`](Self::pop); and the round is the caller's.
        #[inline(always)]
        pub(crate) unsafe fn push(self, table: Table, place: usize, round: Word) -> bool {
            let mut top: usize;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("xor {top:e}, {top:e}";
                    "lea {at}, [{at} + {place} * 8]",
                    "mov {top}, [{at}]",
                    "add {top}, 8",
                    "test {top:e}, {end}",
                    "jz 773f",
                    "mov [{top}], {round}",
                    "mov [{at}], {top}",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    round = in(reg) round, top = out(reg) top, end = const BLOCK - 1,
                );
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("mov {top}, xzr";
                    "add {at}, {at}, {place}, lsl #3",
                    "ldr {top}, [{at}]",
                    "add {top}, {top}, #8",
                    "tst {top}, #{end}",
                    "b.eq 773f",
                    "str {round}, [{top}]",
                    "str {top}, [{at}]",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    round = in(reg) round, top = out(reg) top, end = const BLOCK - 1,
                );
            }
            top & (BLOCK - 1) != 0
        }

        /// Puts `new` at `place` of this CPU; what was there, or null when the CPU has no places.
        ///
        /// # Safety
        /// As for [`pop`](Self::pop); `new` is the caller's, and so is what was there from then on.
        #[inline(always)]
        pub(crate) unsafe fn exchange(self, table: Table, place: usize, new: *mut Word) -> *mut Word {
            let mut old: *mut Word;
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("xor {old:e}, {old:e}";
                    "mov {old}, [{at} + {place} * 8]",
                    "mov [{at} + {place} * 8], {new}",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    new = in(reg) new, old = out(reg) old,
                );
            }
            #[cfg(target_arch = "aarch64")]
            // SAFETY: the caller's promise.
            unsafe {
                sequence!("mov {old}, xzr";
                    "ldr {old}, [{at}, {place}, lsl #3]",
                    "str {new}, [{at}, {place}, lsl #3]",;
                    record = in(reg) self.record.as_ptr(), number = in(reg) self.number, table = in(reg) table, place = in(reg) place,
                    new = in(reg) new, old = out(reg) old,
                );
            }
            old
        }
    }
}

/// With the abort made explicit.
#[cfg(all(test, loom))]
#[path = "../../loom-tests/sequences.rs"]
pub(crate) mod sequences;

/// Where there are no restartable sequences: nobody has a seat.
#[cfg(not(any(
    all(
        feature = "std",
        target_os = "linux",
        target_pointer_width = "64",
        any(target_arch = "x86_64", target_arch = "aarch64"),
        not(miri)
    ),
    all(test, loom)
)))]
mod sequences {
    use super::{Table, Word};

    pub(crate) fn may_fence() -> bool {
        false
    }

    pub(crate) fn why_not() -> &'static str {
        "there are no restartable sequences on this target, or none in this build"
    }

    pub(crate) fn fence() -> bool {
        false
    }

    /// Nobody's.
    #[derive(Clone, Copy)]
    pub(crate) enum Seat {}

    impl Seat {
        pub(crate) fn here() -> Option<Self> {
            None
        }

        pub(crate) fn here_surely() -> Option<Self> {
            None
        }

        pub(crate) fn number(self) -> Option<usize> {
            match self {}
        }

        pub(crate) unsafe fn pop(self, _: Table, _: usize) -> Word {
            match self {}
        }

        pub(crate) unsafe fn push(self, _: Table, _: usize, _: Word) -> bool {
            match self {}
        }

        pub(crate) unsafe fn exchange(self, _: Table, _: usize, _: *mut Word) -> *mut Word {
            match self {}
        }
    }
}

pub(crate) use sequences::{Seat, fence, may_fence, why_not};
