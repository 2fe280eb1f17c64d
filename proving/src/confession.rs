//! What a process says when it dies: how to do again what it was doing.

use core::cell::Cell;
use core::ffi::c_int;
use core::fmt::Display;
use std::io::Write as _;
use std::sync::Once;

const ROOM: usize = 512;

thread_local! {
    /// A line, and how much of it is used. Without a destructor, so that it can be read at any time.
    static LINE: Cell<([u8; ROOM], usize)> = const { Cell::new(([0; ROOM], 0)) };
}

/// Has this thread say so when it dies, or when this is dropped by a panic.
#[must_use = "what is said is taken back when this is dropped"]
pub struct Confession(());

/// Prepares to say `how` the present work is done again.
pub fn prepare(how: impl Display) -> Confession {
    static ONCE: Once = Once::new();
    ONCE.call_once(listen);
    let mut line = ([0; ROOM], 0);
    let mut room = &mut line.0[..];
    // A line that does not fit is cut.
    let _ = writeln!(room, "to repeat it: {how}");
    line.1 = ROOM - room.len();
    LINE.set(line);
    Confession(())
}

/// What this thread would say, for one that works for it.
#[derive(Clone, Copy)]
pub(crate) struct Inherited([u8; ROOM], usize);

pub(crate) fn inherit() -> Inherited {
    let (line, used) = LINE.get();
    Inherited(line, used)
}

impl Inherited {
    /// Has the calling thread say it.
    pub(crate) fn adopt(self) {
        LINE.set((self.0, self.1));
    }
}

impl Drop for Confession {
    fn drop(&mut self) {
        if std::thread::panicking() {
            say();
        }
        LINE.set(([0; ROOM], 0));
    }
}

fn say() {
    let (line, used) = LINE.get();
    // SAFETY: a buffer and its length.
    unsafe { libc::write(2, line.as_ptr().cast(), used) };
}

extern "C" fn die(signal: c_int) {
    say();
    // SAFETY: the handler was for one signal; the next one of its kind, raised here or by the instruction that comes again, ends
    // the process.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: no conditions.
    unsafe { libc::raise(signal) };
}

const DEADLY: [c_int; 4] = [libc::SIGABRT, libc::SIGSEGV, libc::SIGBUS, libc::SIGILL];

/// Has the process say it when it is ended by a signal of its own making, unless somebody else listens for that, as libFuzzer does.
fn listen() {
    for signal in DEADLY {
        let mut old = core::mem::MaybeUninit::<libc::sigaction>::zeroed();
        // SAFETY: a place for what was set.
        unsafe { libc::sigaction(signal, core::ptr::null(), old.as_mut_ptr()) };
        // SAFETY: zeros are valid, and the call wrote over them.
        let old = unsafe { old.assume_init() };
        // Rust's own for stack overflow gives way.
        if signal == libc::SIGABRT && old.sa_sigaction != libc::SIG_DFL {
            return;
        }
        // SAFETY: a handler that only writes and raises.
        unsafe { libc::signal(signal, die as *const () as libc::sighandler_t) };
    }
}

/// Has signals end this process as they do by default, in a forked child of one that listens.
pub(crate) fn forget() {
    for signal in DEADLY {
        // SAFETY: no conditions.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
}
