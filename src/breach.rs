//! What happens when a contract is broken: one line to standard error, then an abort.
//!
//! Nothing is formatted on the heap and nothing unwinds: the message is built in a buffer on the stack. Without
//! `std` the message goes to the panic handler from a function that cannot unwind, which aborts.

use core::fmt;

/// A broken contract, and what is known of the block it was broken with (sizes in bytes).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Breach {
    pub(crate) what: &'static str,
    pub(crate) chunk: usize,
    /// What the caller's layout asked for.
    pub(crate) size: usize,
    pub(crate) align: usize,
    /// Bytes of the chunks of the slab that the address lies in; 0 where it lies in none.
    pub(crate) class: usize,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, chunk, size, align, class } = *self;
        write!(f, "bandolier: {what}: chunk {chunk:#x}, size {size}, align {align}")?;
        if class == 0 { writeln!(f, ", in no slab") } else { writeln!(f, ", in a slab of class {class}") }
    }
}

impl Breach {
    /// Says what was broken, and ends the process.
    #[cold]
    #[inline(never)]
    pub(crate) fn abort(self) -> ! {
        end(&self)
    }
}

#[cfg(all(feature = "std", not(all(test, loom))))]
fn end(breach: &Breach) -> ! {
    use fmt::Write as _;

    let mut line = Line { bytes: [0; 256], used: 0 };
    // A line that does not fit is cut, which is better than none.
    let _ = write!(line, "{breach}");
    crate::backend::os::complain(&line.bytes[..line.used]);
    std::process::abort()
}

#[cfg(not(all(feature = "std", not(all(test, loom)))))]
extern "C" fn end(breach: &Breach) -> ! {
    panic!("{breach}")
}

/// A line of text on the stack.
#[cfg(all(feature = "std", not(all(test, loom))))]
struct Line {
    bytes: [u8; 256],
    used: usize,
}

#[cfg(all(feature = "std", not(all(test, loom))))]
impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.len() - self.used;
        let fits = text.len().min(room);
        self.bytes[self.used..self.used + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.used += fits;
        if fits == text.len() { Ok(()) } else { Err(fmt::Error) }
    }
}
