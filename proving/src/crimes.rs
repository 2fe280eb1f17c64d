//! Broken contracts, each in a forked child: what is promised to be caught ends it with a line that names the chunk.
//!
//! What is promised is what `tests/misuse.rs` tests: of runs, in every build; of chunks, where debug assertions are on, or the heap is hardened.

use crate::common::HARDENED;
use crate::confession;
use crate::op::{Op, SLOTS, Sizes};
use crate::oracle::Oracle;
use crate::stand::{BEDS, Caches};
use crate::subject::Subject;
use arbitrary::{Result, Unstructured};
use bandolier::{Bounds, SizeClass};
use core::alloc::Layout;
use core::ffi::c_int;
use core::ptr::NonNull;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsRawFd as _, FromRawFd as _};

const BUDGET: usize = 8 << 20;
/// Each takes a process.
const MOST: usize = 6;
/// Whether the library finds every broken contract at once.
const CHECKED: bool = cfg!(debug_assertions) || HARDENED;

/// Does what the bytes say, with a crime in the place of each pause.
///
/// # Panics
/// When one is not caught, or something is that is none.
pub(crate) fn run(bytes: &[u8]) {
    let u = &mut Unstructured::new(bytes);
    let (Ok(bed), Ok(caches)) = (u.arbitrary::<u8>(), u.arbitrary::<u8>()) else { return };
    let heap = BEDS[usize::from(bed) % BEDS.len()].heap(Caches::ALL[usize::from(caches) % 4]);
    let oracle = Oracle::new(BUDGET, true);
    let mut crimes = 0;
    while let Ok((_, op)) = Op::decode(u, Sizes::Mixed) {
        if !matches!(op, Op::Pause(_)) {
            oracle.apply(&*heap, op);
            continue;
        }
        oracle.lift(&*heap);
        if let Ok(Some(())) = commit(u, &*heap, &oracle) {
            crimes += 1;
        }
        if crimes == MOST {
            break;
        }
    }
    // The parent's heap has seen nothing of it.
    oracle.check_figures(&*heap);
    oracle.empty(&*heap);
}

/// What a block is, by which it is known what is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Chunk,
    Run,
    Large,
}

fn kind(heap: &dyn Subject, layout: Layout) -> Kind {
    match () {
        () if heap.is_chunk(layout) => Kind::Chunk,
        () if heap.is_large(layout) => Kind::Large,
        () => Kind::Run,
    }
}

/// A call, and how the line begins that it ends with; nothing for an honest one.
struct Crime {
    block: usize,
    layout: Layout,
    /// The size of a reallocation; without one it is freed.
    size: Option<usize>,
    caught: Option<&'static str>,
}

const TWICE: &str = "double free";
const FREE: &str = "realloc of a free chunk";
const NO_CHUNK: &str = "free of an address that is no chunk";
const NO_BLOCK: &str = "free of an address that is no block";
const INSIDE: &str = "free of an address inside a chunk";
const LAYOUT: &str = "free with a layout";

fn commit(u: &mut Unstructured<'_>, heap: &dyn Subject, oracle: &Oracle) -> Result<Option<()>> {
    let (which, slot, n) =
        (u.arbitrary::<u8>()?, usize::from(u.arbitrary::<u8>()?) % SLOTS, usize::from(u.arbitrary::<u16>()?));
    let Some((start, layout)) = oracle.lend(slot) else { return Ok(None) };
    let crime = match (which % 8, kind(heap, layout)) {
        (0, _) => Some(honest(start, layout, n)),
        (1, kind) => again(heap, oracle, slot, kind, n),
        (2, kind) => inside(heap, start, layout, kind, n),
        (3, kind) => other_kind(heap, start, kind, n),
        (4, Kind::Chunk) => other_class(heap, start, layout, n),
        (5, kind) => again_by_realloc(heap, oracle, slot, kind),
        (6 | 7, kind) => Some(foreign(layout, kind, n)).flatten(),
        _ => None,
    };
    // Where chunks are not checked nothing is promised of them.
    let crime = crime.filter(|crime| CHECKED || crime.caught.is_none_or(|caught| caught == NO_BLOCK));
    Ok(crime.map(|crime| judge(heap, &crime)))
}

fn honest(start: NonNull<u8>, layout: Layout, n: usize) -> Crime {
    let size = (n % 2 == 1).then_some(1 + n % (layout.size() + 100));
    Crime { block: start.addr().get(), layout, size, caught: None }
}

/// A double free, at once or after the memory has gone some of its way.
fn again(heap: &dyn Subject, oracle: &Oracle, slot: usize, kind: Kind, n: usize) -> Option<Crime> {
    let (start, layout) = oracle.lend(slot).filter(|_| kind != Kind::Large)?;
    oracle.apply(heap, Op::Free { slot });
    match n % 5 {
        1 => heap.flush_thread(),
        2 => _ = heap.drain(Bounds::NONE),
        3 => _ = heap.drain_caches(Bounds::NONE),
        4 => _ = heap.trim(Bounds::NONE),
        _ => {}
    }
    // Of a chunk it is the one or the other: its slab may have gone back.
    let caught = if kind == Kind::Run { NO_BLOCK } else { "" };
    Some(Crime { block: start.addr().get(), layout, size: None, caught: Some(caught) })
}

fn again_by_realloc(heap: &dyn Subject, oracle: &Oracle, slot: usize, kind: Kind) -> Option<Crime> {
    let (start, layout) = oracle.lend(slot).filter(|_| kind != Kind::Large)?;
    // What moves is copied first, for which there must be memory.
    if !heap.is_ample() {
        return None;
    }
    let (size, caught) = match kind {
        Kind::Run => (layout.size() * 2, NO_BLOCK),
        // A hardened heap may look before it copies.
        _ => (heap.rounded(layout) * 2, if HARDENED { "" } else { TWICE }),
    };
    oracle.apply(heap, Op::Free { slot });
    Some(Crime { block: start.addr().get(), layout, size: Some(size), caught: Some(caught) })
}

fn inside(heap: &dyn Subject, start: NonNull<u8>, layout: Layout, kind: Kind, n: usize) -> Option<Crime> {
    let (room, caught) = match kind {
        Kind::Chunk => (heap.rounded(layout), INSIDE),
        Kind::Run => (layout.size(), NO_BLOCK),
        Kind::Large => return None,
    };
    let block = start.addr().get() + 1 + n % (room - 1).max(1);
    Some(Crime { block, layout, size: None, caught: Some(caught) })
}

/// A block freed with the layout of one of another kind.
fn other_kind(heap: &dyn Subject, start: NonNull<u8>, of: Kind, n: usize) -> Option<Crime> {
    let (chunk, run) = (Layout::from_size_align(1 + n % 2000, 8).ok()?, Layout::from_size_align(33 << 10, 8).ok()?);
    let (layout, caught) = match (of, n % 2) {
        (Kind::Chunk, _) => (run, LAYOUT),
        (Kind::Run, _) | (Kind::Large, 0) => (chunk, NO_CHUNK),
        (Kind::Large, _) => (run, NO_BLOCK),
    };
    debug_assert_ne!(kind(heap, layout), of);
    Some(Crime { block: start.addr().get(), layout, size: None, caught: Some(caught) })
}

fn other_class(heap: &dyn Subject, start: NonNull<u8>, layout: Layout, n: usize) -> Option<Crime> {
    let other = Layout::from_size_align(1 + n % 2000, 1).ok()?;
    let differs = SizeClass::of(other) != SizeClass::of(layout);
    (differs && kind(heap, other) == Kind::Chunk).then_some(Crime {
        block: start.addr().get(),
        layout: other,
        size: None,
        caught: Some(LAYOUT),
    })
}

/// An address that is none of the heap's.
fn foreign(layout: Layout, kind: Kind, n: usize) -> Option<Crime> {
    static ELSEWHERE: [u64; 8] = [0; 8];
    let here = [0_u64; 8];
    let block = match n % 4 {
        0 => (&raw const here).addr(),
        1 => (&raw const ELSEWHERE).addr(),
        2 => 0x7000_0000_0000 + n * 8,
        _ => 8 + n * 8,
    };
    let caught = match kind {
        Kind::Chunk => NO_CHUNK,
        Kind::Run => NO_BLOCK,
        Kind::Large => return None,
    };
    Some(Crime { block, layout, size: None, caught: Some(caught) })
}

/// Commits it in a child, and wants the child to end as it must.
fn judge(heap: &dyn Subject, crime: &Crime) {
    let (status, said) = in_a_child(|| {
        let block = core::ptr::with_exposed_provenance_mut(crime.block);
        match crime.size {
            // SAFETY: it is not: that is what is tried. The process ends there where it is a crime.
            Some(size) => _ = unsafe { heap.realloc(block, crime.layout, size) },
            // SAFETY: as above.
            None => unsafe { heap.dealloc(block, crime.layout) },
        }
    });
    let Crime { block, layout, size, caught } = *crime;
    let of = format!("{block:#x} with {layout:?}, to {size:?}: status {status:#x}, {said:?}");
    let Some(caught) = caught else {
        assert!(libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0, "an honest call was not let go: {of}");
        return;
    };
    assert!(libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGABRT, "no {caught:?} was caught: {of}");
    let line = said.lines().last().unwrap_or_default();
    let what = line.strip_prefix("bandolier: ").unwrap_or_else(|| panic!("no line of the library's: {of}"));
    let expected = if caught.is_empty() {
        [TWICE, NO_CHUNK, FREE].iter().any(|c| what.starts_with(c))
    } else {
        what.starts_with(caught)
    };
    assert!(expected, "not {caught:?}: {of}");
    let (chunk, bytes) = (format!("chunk {block:#x},"), format!("size {},", layout.size()));
    assert!(what.contains(&chunk) && what.contains(&bytes), "not named: {of}");
}

/// Runs `body` in a forked child; its status, and what it wrote to standard error.
fn in_a_child(body: impl FnOnce()) -> (c_int, String) {
    let mut ends = [0; 2];
    // SAFETY: a place for two descriptors.
    assert_eq!(unsafe { libc::pipe(ends.as_mut_ptr()) }, 0);
    // SAFETY: the child does one call and leaves.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no process: {}", std::io::Error::last_os_error());
    // SAFETY: made above, each once.
    let [mut read, write] = ends.map(|end| unsafe { File::from_raw_fd(end) });
    if child == 0 {
        confession::forget();
        // SAFETY: two open descriptors.
        unsafe { libc::dup2(write.as_raw_fd(), 2) };
        // SAFETY: no conditions; ends a child that hangs.
        unsafe { libc::alarm(60) };
        let ended = std::panic::catch_unwind(core::panic::AssertUnwindSafe(body));
        // SAFETY: no conditions.
        unsafe { libc::_exit(i32::from(ended.is_err())) };
    }
    drop(write);
    let mut said = Vec::new();
    read.read_to_end(&mut said).expect("a pipe can be read");
    let mut status = 0;
    // SAFETY: a child of ours, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    (status, String::from_utf8_lossy(&said).into_owned())
}
