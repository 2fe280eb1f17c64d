//! Crimes against a heap, each in a process of its own, and what the process has to say as it ends.

use super::{as_chosen, child, role};
use bandolier::{Backend, Bandolier, Os};
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::os::unix::process::ExitStatusExt;

/// The heap as the program's own, which tells when it is used while that is forbidden.
pub(crate) struct Telling(Bandolier);

impl Telling {
    pub(crate) const fn new() -> Self {
        Self(as_chosen(Bandolier::new()))
    }
}

pub(crate) static FORBIDDEN: AtomicBool = AtomicBool::new(false);
const CONFESSION: &str = "allocated while dying\n";

fn tell() {
    if FORBIDDEN.load(Relaxed) {
        // SAFETY: a buffer and its length.
        unsafe { libc::write(2, CONFESSION.as_ptr().cast(), CONFESSION.len()) };
    }
}

// SAFETY: every call is the inner allocator's.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        tell();
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(ptr, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        tell();
        // SAFETY: the caller's promise.
        unsafe { self.0.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        tell();
        // SAFETY: the caller's promise.
        unsafe { self.0.realloc(ptr, layout, new_size) }
    }
}

/// What the line must say.
pub(crate) struct Expected {
    pub(crate) what: &'static str,
    pub(crate) size: usize,
    pub(crate) class: Option<usize>,
}

/// Runs `crime` in a process of its own, on a heap of its own. It is handed a function to call just before the call that
/// must not return, with the address that the message must name.
pub(crate) fn convicted(test: &str, expected: Expected, crime: impl FnOnce(&'static Bandolier<Os>, fn(*mut u8))) {
    static VICTIM: Bandolier<Os> = Bandolier::with_backend(Os);
    if role().is_some() {
        crime(&VICTIM, accused);
        std::process::exit(0);
    }
    let line = confession(test);
    assert!(line.starts_with(&format!("bandolier: {}", expected.what)), "{line}");
    assert!(line.contains(&format!("size {},", expected.size)), "{line}");
    let slab = expected.class.map_or("in no slab".to_owned(), |bytes| format!("class {bytes}"));
    assert!(line.ends_with(&slab), "{line} does not end with {slab}");
}

/// Says which chunk the message must name, and forbids the use of the heap from now on.
pub(crate) fn accused(chunk: *mut u8) {
    eprintln!("chunk {:#x}", chunk.addr());
    FORBIDDEN.store(true, Relaxed);
}

/// The one line that a process says which commits the crime, and aborts.
pub(crate) fn confession(test: &str) -> String {
    let output = child(test, "crime");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.signal(), Some(libc::SIGABRT), "{}: {said}", output.status);
    // An emulator says that the program was ended, too.
    let lines: Vec<_> = said.lines().filter(|line| !line.starts_with("qemu: ")).collect();
    let [chunk, line] = lines[..] else { panic!("not two lines: {said:?}") };
    assert!(line.contains(&format!("{chunk},")), "{line} does not name {chunk}");
    line.to_owned()
}

pub(crate) fn take<B: Backend>(heap: &Bandolier<B>, layout: Layout) -> *mut u8 {
    // SAFETY: no test asks for a size of zero.
    let block = unsafe { heap.alloc(layout) };
    assert!(!block.is_null());
    block
}

pub(crate) fn give<B: Backend>(heap: &Bandolier<B>, block: *mut u8, layout: Layout) {
    // SAFETY: it is not: that is what is tested. The process ends here where it is a crime.
    unsafe { heap.dealloc(block, layout) };
}
