//! What a hardened heap finds, and what it makes hard. (Double and invalid frees of chunks and runs are in `misuse.rs`.)

#![cfg(all(feature = "hardened", feature = "std", unix))]

mod common;

use bandolier::{Arena, Backend, Bandolier, FromGlobal, Os, SizeClass};
use common::court::{Expected, Telling, accused, confession, convicted, give, take};
use common::{child, isolated, layout, role};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::alloc::System;
use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::sync::Mutex;

#[global_allocator]
static HEAP: Telling = Telling::new();

const SMALL: Layout = Layout::new::<[u64; 5]>();
const RUN: Layout = Layout::new::<[u64; 12_000]>();
const LARGE: Layout = Layout::new::<[u64; 700_000]>();

fn realloc<B: Backend>(heap: &Bandolier<B>, block: *mut u8, old: Layout, new: usize) -> *mut u8 {
    // SAFETY: of the heap with this layout, or that is what is tested.
    unsafe { heap.realloc(block, old, new) }
}

/// Where somebody has written last, or is about to.
static GUILTY: AtomicUsize = AtomicUsize::new(0);

/// Writes one byte somewhere, as a program with a bug would.
fn scribble(block: *mut u8, offset: isize) {
    let place = block.wrapping_offset(offset);
    GUILTY.store(place.addr(), Relaxed);
    // SAFETY: it is not: that is what is tested.
    unsafe { place.write_volatile(0x55) };
}

fn is_zero(block: *mut u8, bytes: usize) -> bool {
    // SAFETY: memory of the heap's, which is never uninitialised where it is hardened.
    (0..bytes).all(|at| unsafe { block.wrapping_add(at).read_volatile() } == 0)
}

/// Runs `crime` in a process of its own, which must end by a memory fault.
fn faults(test: &str, crime: impl FnOnce()) {
    /// The fault must be at the address that the crime is about, which it has told.
    extern "C" fn fault(signal: libc::c_int, about: *mut libc::siginfo_t, _: *mut libc::c_void) {
        // SAFETY: what the kernel says of a fault.
        let about = unsafe { &*about };
        // SAFETY: of a fault it says where that was.
        let is_there = GUILTY.load(Relaxed) == unsafe { about.si_addr() }.addr();
        // SAFETY: the signal does then what it does by default.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
        if !is_there {
            // SAFETY: no conditions.
            unsafe { libc::_exit(3) };
        }
    }
    if role().is_some() {
        for signal in [libc::SIGSEGV, libc::SIGBUS] {
            // SAFETY: all zeros is a value of it.
            let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
            action.sa_sigaction = fault as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO;
            // SAFETY: a handler that does what one may.
            assert_eq!(unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) }, 0);
        }
        crime();
        std::process::exit(0);
    }
    let output = child(test, "crime");
    let fault = [libc::SIGSEGV, libc::SIGBUS].map(Some).contains(&output.status.signal());
    assert!(fault, "{}: {}", output.status, String::from_utf8_lossy(&output.stderr));
}

// ---- writes where nobody may ---------------------------------------------------------------------------------------

/// Takes chunks until the one comes that was written to.
fn take_until_found(heap: &Bandolier<Os>, of: Layout) {
    for _ in 0..100_000 {
        take(heap, of);
    }
}

#[test]
fn a_write_after_a_free() {
    let expected = Expected { what: "write after free", size: 40, class: Some(48) };
    convicted("a_write_after_a_free", expected, |heap, ready| {
        let others: Vec<_> = (0..1000).map(|_| take(heap, SMALL)).collect();
        let block = take(heap, SMALL);
        give(heap, block, SMALL);
        scribble(block, 39);
        // So that quarantine ends.
        others.into_iter().for_each(|other| give(heap, other, SMALL));
        ready(block);
        take_until_found(heap, SMALL);
    });
}

#[test]
fn a_write_after_a_free_that_went_through_the_slabs() {
    let expected = Expected { what: "write after free", size: 40, class: Some(48) };
    convicted("a_write_after_a_free_that_went_through_the_slabs", expected, |heap, ready| {
        // All of its page but the block itself stays in use, and so does the page.
        let others: Vec<_> = (0..2000).map(|_| take(heap, SMALL)).collect();
        let block = others[1000];
        give(heap, block, SMALL);
        scribble(block, 0);
        heap.flush_thread();
        let _ = heap.drain();
        ready(block);
        take_until_found(heap, SMALL);
    });
}

/// In the middle, where no brink is.
#[test]
fn a_write_into_a_free_run() {
    let expected = Expected { what: "write after free", size: 0, class: None };
    convicted("a_write_into_a_free_run", expected, |heap, ready| {
        let block = take(heap, RUN);
        give(heap, block, RUN);
        scribble(block, 50_000);
        ready(block.wrapping_add(50_000));
        (0..100).for_each(|_| _ = take(heap, RUN));
    });
}

/// Chunks of another class are made of its memory.
#[test]
fn a_write_into_a_chunk_whose_slab_is_gone() {
    let expected = Expected { what: "write after free", size: 0, class: None };
    convicted("a_write_into_a_chunk_whose_slab_is_gone", expected, |_, ready| {
        // It purges nothing, and what was written stays where it is. This keeps the segment.
        take(&NOTING, RUN);
        let blocks: Vec<_> = (0..2000).map(|_| take(&NOTING, SMALL)).collect();
        blocks.iter().for_each(|&block| give(&NOTING, block, SMALL));
        let _ = NOTING.drain_caches();
        scribble(blocks[7], 0);
        ready(blocks[7]);
        (0..6000).for_each(|_| _ = take(&NOTING, layout(500, 8)));
    });
}

#[test]
fn a_write_behind_a_chunk() {
    let expected = Expected { what: "write past the end of a block", size: 41, class: Some(48) };
    convicted("a_write_behind_a_chunk", expected, |heap, ready| {
        let of = layout(41, 1);
        let block = take(heap, of);
        scribble(block, 41);
        ready(block);
        give(heap, block, of);
    });
}

#[test]
fn a_write_behind_a_chunk_that_was_shrunk() {
    let expected = Expected { what: "write past the end of a block", size: 33, class: Some(48) };
    convicted("a_write_behind_a_chunk_that_was_shrunk", expected, |heap, ready| {
        let block = realloc(heap, take(heap, SMALL), SMALL, 33);
        scribble(block, 40);
        ready(block);
        give(heap, block, layout(33, 8));
    });
}

#[test]
fn a_write_behind_a_run() {
    let expected = Expected { what: "write past the end of a block", size: 96_000, class: None };
    convicted("a_write_behind_a_run", expected, |heap, ready| {
        let block = take(heap, RUN);
        scribble(block, 96_010);
        ready(block);
        give(heap, block, RUN);
    });
}

#[test]
fn a_write_behind_a_large_block() {
    let expected = Expected { what: "write past the end of a block", size: 5_600_000, class: None };
    convicted("a_write_behind_a_large_block", expected, |heap, ready| {
        let block = take(heap, LARGE);
        scribble(block, 5_600_001);
        ready(block);
        give(heap, block, LARGE);
    });
}

#[test]
fn a_reallocation_of_a_free_chunk() {
    let expected = Expected { what: "realloc of a free chunk", size: 40, class: Some(48) };
    convicted("a_reallocation_of_a_free_chunk", expected, |heap, ready| {
        let block = take(heap, SMALL);
        give(heap, block, SMALL);
        ready(block);
        realloc(heap, block, SMALL, 41);
    });
}

/// The twin of the above: blocks that shrink and grow in place, filled to the last byte each time.
#[test]
fn honest_growth_is_not_convicted() {
    static HEAP: Bandolier<Os> = Bandolier::with_backend(Os);
    for sizes in [&[33, 48, 40, 35, 48][..], &[40_000, 70_000, 65_536, 300_000, 50_000], &[5 << 20, 9 << 20, 6 << 20]] {
        let mut of = layout(sizes[0], 8);
        let mut block = take(&HEAP, of);
        for &size in sizes {
            block = realloc(&HEAP, block, of, size);
            of = layout(size, 8);
            // SAFETY: so many bytes are ours.
            unsafe { block.write_bytes(0xee, size) };
        }
        give(&HEAP, block, of);
    }
    let _ = HEAP.drain_caches();
    assert_eq!(HEAP.stats().in_use, 0);
}

// ---- frees of what is no block -------------------------------------------------------------------------------------

#[test]
fn a_double_free_of_a_large_block() {
    let expected = Expected { what: "free of an address that is no block", size: 5_600_000, class: None };
    convicted("a_double_free_of_a_large_block", expected, |heap, ready| {
        let block = take(heap, LARGE);
        give(heap, block, LARGE);
        ready(block);
        give(heap, block, LARGE);
    });
}

#[test]
fn a_large_block_freed_with_another_size() {
    let expected = Expected { what: "free with a layout that is not the block's", size: 5_600_008, class: None };
    convicted("a_large_block_freed_with_another_size", expected, |heap, ready| {
        let block = take(heap, LARGE);
        ready(block);
        give(heap, block, layout(5_600_008, 8));
    });
}

#[test]
fn a_large_block_freed_with_another_alignment() {
    let expected = Expected { what: "free with a layout that is not the block's", size: 5_600_000, class: None };
    convicted("a_large_block_freed_with_another_alignment", expected, |heap, ready| {
        let block = take(heap, LARGE);
        ready(block);
        give(heap, block, layout(5_600_000, 16));
    });
}

#[test]
fn an_address_inside_a_large_block() {
    let expected = Expected { what: "free of an address that is no block", size: 5_600_000, class: None };
    convicted("an_address_inside_a_large_block", expected, |heap, ready| {
        let block = take(heap, LARGE).wrapping_add(64);
        ready(block);
        give(heap, block, LARGE);
    });
}

#[test]
fn a_run_freed_with_a_larger_layout() {
    let expected = Expected { what: "free with a layout that is not the block's", size: 200_000, class: None };
    convicted("a_run_freed_with_a_larger_layout", expected, |heap, ready| {
        let block = take(heap, RUN);
        take(heap, RUN);
        ready(block);
        give(heap, block, layout(200_000, 8));
    });
}

#[test]
fn a_run_freed_with_a_smaller_layout() {
    let expected = Expected { what: "free with a layout that is not the block's", size: 50_000, class: None };
    convicted("a_run_freed_with_a_smaller_layout", expected, |heap, ready| {
        let block = take(heap, RUN);
        ready(block);
        give(heap, block, layout(50_000, 8));
    });
}

#[test]
fn a_large_block_reallocated_with_another_size() {
    let expected = Expected { what: "realloc with a layout that is not the block's", size: 5_600_008, class: None };
    convicted("a_large_block_reallocated_with_another_size", expected, |heap, ready| {
        let block = take(heap, LARGE);
        ready(block);
        realloc(heap, block, layout(5_600_008, 8), 9 << 20);
    });
}

/// Where the back-end has no guards, large blocks are in the ledger all the same.
#[test]
fn a_double_free_in_a_back_end_without_guards() {
    static HEAP: Bandolier<FromGlobal<System>> = Bandolier::with_backend(FromGlobal::new(&System));
    if role().is_some() {
        let block = take(&HEAP, LARGE);
        give(&HEAP, block, LARGE);
        accused(block);
        give(&HEAP, block, LARGE);
        std::process::exit(0);
    }
    let line = confession("a_double_free_in_a_back_end_without_guards");
    assert!(line.starts_with("bandolier: free of an address that is no block"), "{line}");
}

// ---- guards --------------------------------------------------------------------------------------------------------

static GUARDED: Bandolier<Os> = Bandolier::with_backend(Os);

#[test]
fn the_unit_behind_a_run_is_guarded() {
    faults("the_unit_behind_a_run_is_guarded", || scribble(take(&GUARDED, RUN), 2 << 16));
}

#[test]
fn the_unit_before_a_run_is_guarded() {
    faults("the_unit_before_a_run_is_guarded", || scribble(take(&GUARDED, RUN), -1));
}

#[test]
fn the_unit_behind_a_large_block_is_guarded() {
    faults("the_unit_behind_a_large_block_is_guarded", || {
        scribble(take(&GUARDED, LARGE), LARGE.size().next_multiple_of(1 << 16) as isize);
    });
}

#[test]
fn the_unit_before_a_large_block_is_guarded() {
    faults("the_unit_before_a_large_block_is_guarded", || scribble(take(&GUARDED, LARGE), -1));
}

#[test]
fn a_run_that_has_grown_is_guarded() {
    faults("a_run_that_has_grown_is_guarded", || {
        let block = take(&GUARDED, RUN);
        let grown = realloc(&GUARDED, block, RUN, 200_000);
        // SAFETY: so many bytes are ours now.
        unsafe { grown.write_bytes(1, 200_000) };
        scribble(grown, 200_000_usize.next_multiple_of(1 << 16) as isize);
    });
}

#[test]
fn a_run_that_has_shrunk_is_guarded() {
    faults("a_run_that_has_shrunk_is_guarded", || {
        let shrunk = realloc(&GUARDED, take(&GUARDED, RUN), RUN, 40_000);
        scribble(shrunk, 1 << 16);
    });
}

/// Runs `body` in a process of its own, where guards are no marks in the page table: which kind there is is found out once.
#[cfg(target_os = "linux")]
fn without_marks(test: &'static str, body: impl FnOnce() + Send + 'static) {
    let refused = move || {
        if role().is_none() {
            common::forbid::forbid(libc::SYS_madvise, libc::EINVAL);
        }
        isolated(test, body);
    };
    std::thread::spawn(refused).join().unwrap();
}

/// Where the system has no marks, guards are mappings, of which a process has so many: others get some, too.
#[cfg(target_os = "linux")]
#[test]
fn guards_leave_mappings_for_others() {
    let test = || {
        let maps = || std::fs::read_to_string("/proc/self/maps").unwrap().lines().count();
        let before = maps();
        for _ in 0..2 {
            let runs: Vec<_> = (0..20_000).map(|_| take(&GUARDED, layout(40_000, 8))).collect();
            let larges: Vec<_> = (0..2_000).map(|_| take(&GUARDED, LARGE)).collect();
            let most = maps();
            assert!((before + 8_000..before + 30_000).contains(&most), "{most} mappings");
            // There are guards still, or again, once others are gone.
            runs.into_iter().for_each(|run| give(&GUARDED, run, layout(40_000, 8)));
            larges.into_iter().for_each(|large| give(&GUARDED, large, LARGE));
            let _ = GUARDED.reclaim();
            assert!(maps() < before + 200, "{} mappings, and {before} before", maps());
        }
    };
    without_marks("guards_leave_mappings_for_others", test);
}

/// An `Os` that notes what was asked of it.
struct Noting {
    acquired: Mutex<Vec<(usize, usize)>>,
    guarded: Mutex<Vec<(usize, usize)>>,
}

// SAFETY: every call is one of `Os`.
unsafe impl Backend for Noting {
    const ZEROED: bool = true;
    const GUARDS: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let block = Os.acquire(layout)?;
        self.acquired.lock().unwrap().push((block.addr().get(), layout.size()));
        Some(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }

    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        self.guarded.lock().unwrap().push((start.addr().get(), bytes));
        // SAFETY: the caller's promise.
        unsafe { Os.guard(start, bytes) }
    }

    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        self.guarded.lock().unwrap().retain(|guarded| *guarded != (start.addr().get(), bytes));
        // SAFETY: the caller's promise.
        unsafe { Os.unguard(start, bytes) }
    }
}

static NOTING: Bandolier<Noting> =
    Bandolier::with_backend(Noting { acquired: Mutex::new(Vec::new()), guarded: Mutex::new(Vec::new()) })
        .without_thread_caches();

#[test]
fn what_goes_back_has_no_guards() {
    static HEAP: Bandolier<Noting> =
        Bandolier::with_backend(Noting { acquired: Mutex::new(Vec::new()), guarded: Mutex::new(Vec::new()) })
            .without_thread_caches();
    let runs: Vec<_> = (0..100).map(|_| take(&HEAP, RUN)).collect();
    assert!(HEAP.backend().guarded.lock().unwrap().len() > 100);
    runs.iter().for_each(|&run| give(&HEAP, run, RUN));
    let _ = HEAP.reclaim();
    assert_eq!(HEAP.stats().from_backend, HEAP.stats().metadata);
    assert_eq!(*HEAP.backend().guarded.lock().unwrap(), []);
}

#[test]
fn segments_begin_and_end_with_guards_and_have_no_records_in_them() {
    let blocks: Vec<_> = (0..40_000).map(|n| take(&NOTING, layout(16 + n % 1000, 8))).collect();
    let (acquired, guarded) = (NOTING.backend().acquired.lock().unwrap(), NOTING.backend().guarded.lock().unwrap());
    let segments: Vec<_> = acquired.iter().filter(|(_, bytes)| *bytes >= 1 << 20).collect();
    assert!(segments.len() > 1, "{acquired:?}");
    for (start, bytes) in segments {
        assert!(guarded.contains(&(*start, 1 << 16)), "{start:#x} does not begin with a guard");
        assert!(guarded.contains(&(start + bytes - (1 << 16), 1 << 16)), "{start:#x} does not end with a guard");
    }
    // So a record lies at least a unit away from any chunk.
    for block in blocks {
        let home = acquired.iter().find(|(start, bytes)| (*start..start + bytes).contains(&block.addr())).unwrap();
        assert!(home.1 >= 1 << 20, "a chunk lies in a block of {} bytes", home.1);
        assert!(block.addr() - home.0 >= 1 << 16);
    }
}

/// An `Os` that counts guards in what it gets back, and ranges that it is to take guards down from where there are none.
struct Strict {
    up: Mutex<BTreeSet<usize>>,
    refuses: AtomicBool,
}

static WRONG: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is one of `Os`; what it refuses to purge it leaves in any state, as it may.
unsafe impl Backend for Strict {
    const ZEROED: bool = true;
    const PURGES: bool = true;
    const GUARDS: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let (start, end) = (block.addr().get(), block.addr().get() + layout.size());
        WRONG.fetch_add(self.up.lock().unwrap().range(start..end).count(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        if self.refuses.load(Relaxed) {
            // SAFETY: the caller's promise.
            unsafe { start.write_bytes(0xdd, bytes) };
            return false;
        }
        // SAFETY: the caller's promise.
        unsafe { Os.purge(start, bytes) }
    }

    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        WRONG.fetch_add(usize::from(!self.up.lock().unwrap().insert(start.addr().get())), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Os.guard(start, bytes) }
    }

    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        WRONG.fetch_add(usize::from(!self.up.lock().unwrap().remove(&start.addr().get())), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { Os.unguard(start, bytes) }
    }

    unsafe fn remap(&self, block: NonNull<u8>, layout: Layout, bytes: usize) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        unsafe { Os.remap(block, layout, bytes) }
    }
}

/// Also as runs and large blocks grow and shrink, when the heap is dropped, and beside purges that are refused.
#[test]
fn no_block_goes_back_with_guards() {
    for refuses in [false, true] {
        let backend = Strict { up: Mutex::new(BTreeSet::new()), refuses: AtomicBool::new(refuses) };
        let heap = Bandolier::with_backend(backend).without_thread_caches();
        let (mut live, mut size) = (Vec::new(), 40_000);
        for turn in 0..3000 {
            size = (size * 7 + 13 * turn) % 6_000_000 + 33_000;
            let of = layout(if turn % 5 == 0 { size } else { size % 400_000 + 100 }, 8);
            let block = take(&heap, of);
            // SAFETY: so many bytes are ours.
            unsafe { block.write_bytes(1, of.size()) };
            live.push((block, of));
            let (block, of) = live.swap_remove(turn * 31 % live.len());
            let new = if turn % 3 == 0 { of.size() / 2 + 1 } else { of.size() + turn };
            live.push((realloc(&heap, block, of, new), layout(new, 8)));
            if live.len() > 20 {
                let (block, of) = live.swap_remove(turn * 17 % live.len());
                give(&heap, block, of);
            }
            if turn % 500 == 0 {
                let _ = heap.reclaim();
            }
        }
        // Some runs are in use still.
        live.into_iter().filter(|(_, of)| of.size() > 200_000).for_each(|(block, of)| give(&heap, block, of));
        drop(heap);
        assert_eq!(WRONG.load(Relaxed), 0);
    }
}

/// A guard without rights is no data, as the kernel counts, and what it hides is again when it comes down: that may be refused, and
/// must not cost the rest.
#[cfg(target_os = "linux")]
#[test]
fn guards_that_stay_cost_no_more_than_themselves() {
    let data = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmData:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
    };
    let test = move || {
        let heap = Bandolier::with_backend(Os).without_thread_caches();
        let of = layout(100_000, 8);
        let mut live = Vec::with_capacity(1000);
        let limit = |bytes| {
            let limit = libc::rlimit { rlim_cur: bytes, rlim_max: libc::RLIM_INFINITY };
            // SAFETY: of this process, which does nothing else.
            assert_eq!(unsafe { libc::setrlimit(libc::RLIMIT_DATA, &raw const limit) }, 0);
        };
        limit(data() + (64 << 20));
        let rounds = [(); 4].map(|()| {
            // SAFETY: the size is not zero.
            live.extend((0..1000).map_while(|_| NonNull::new(unsafe { heap.alloc(of) })));
            let count = live.len();
            live.drain(..).for_each(|block: NonNull<u8>| give(&heap, block.as_ptr(), of));
            let _ = heap.reclaim();
            (count, heap.committed())
        });
        limit(libc::RLIM_INFINITY);
        assert!(rounds.iter().all(|&(count, left)| count > 200 && left < 16 << 20), "{rounds:?}");
    };
    without_marks("guards_that_stay_cost_no_more_than_themselves", test);
}

// ---- what is free is zero, comes in no order, and not at once ------------------------------------------------------

#[test]
fn what_is_freed_is_wiped() {
    static HEAP: Bandolier<Os> = Bandolier::with_backend(Os);
    let keep = take(&HEAP, SMALL);
    let block = take(&HEAP, SMALL);
    // SAFETY: so many bytes are ours.
    unsafe { block.write_bytes(0xaa, 40) };
    give(&HEAP, block, SMALL);
    assert!(is_zero(block, 48));
    let run = take(&HEAP, RUN);
    // SAFETY: so many bytes are ours.
    unsafe { run.write_bytes(0xaa, 96_000) };
    give(&HEAP, run, RUN);
    assert!(is_zero(run, 96_000));
    give(&HEAP, keep, SMALL);
}

/// The part of its last unit that it gave up, too.
#[test]
fn what_a_run_that_shrank_had_is_wiped() {
    let heap = Bandolier::with_backend(Os).without_thread_caches();
    let run = take(&heap, RUN);
    // SAFETY: so many bytes are ours.
    unsafe { run.write_bytes(0xaa, 96_000) };
    let shrunk = realloc(&heap, run, RUN, 70_000);
    assert_eq!(shrunk, run);
    give(&heap, shrunk, layout(70_000, 8));
    assert!(is_zero(run, 96_000));
}

/// A compiler that sees them freed takes it that nobody reads them. (Seen with a back-end that is inlined.)
#[cfg(all(target_os = "linux", target_env = "gnu"))]
#[test]
fn what_another_allocator_gets_back_is_wiped() {
    static HEAP: Bandolier<FromGlobal<System>> = Bandolier::with_backend(FromGlobal::new(&System));
    for limit in [libc::M_MMAP_THRESHOLD, libc::M_TRIM_THRESHOLD] {
        // SAFETY: no conditions. It keeps what it gets, at these sizes, too.
        assert_eq!(unsafe { libc::mallopt(limit, 1 << 30) }, 1);
    }
    let (block, keep) = (take(&HEAP, LARGE), take(&HEAP, LARGE));
    // SAFETY: so many bytes are ours.
    unsafe { block.write_bytes(0xaa, LARGE.size()) };
    core::hint::black_box(block);
    give(&HEAP, block, LARGE);
    // But for the words of its own at both ends.
    assert!(is_zero(block.wrapping_add(4096), LARGE.size() - 8192));
    give(&HEAP, keep, LARGE);
}

#[test]
fn slabs_made_of_used_units_are_zero() {
    static ARENA: Arena<{ 8 << 20 }> = Arena::new();
    let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
    for _ in 0..3 {
        let runs: Vec<_> = (0..40).map(|_| take(&heap, RUN)).collect();
        for &run in &runs {
            // SAFETY: so many bytes are ours.
            unsafe { run.write_bytes(0xaa, 96_000) };
        }
        runs.iter().for_each(|&run| give(&heap, run, RUN));
        // A hardened heap looks at each chunk that it hands out.
        let chunks: Vec<_> = (0..20_000).map(|_| take(&heap, layout(100, 8))).collect();
        assert!(chunks.iter().all(|&chunk| is_zero(chunk, 100)));
        chunks.iter().for_each(|&chunk| give(&heap, chunk, layout(100, 8)));
        let _ = heap.reclaim();
    }
}

#[test]
fn chunks_come_in_no_order() {
    let first = || {
        let heap = Bandolier::with_backend(Os).without_thread_caches();
        let base = take(&heap, layout(64, 8)).addr();
        (0..100).map(|_| take(&heap, layout(64, 8)).addr().wrapping_sub(base)).collect::<Vec<_>>()
    };
    let (one, other) = (first(), first());
    let ascending = one.windows(2).filter(|two| (two[0] as isize) < two[1] as isize).count();
    assert!((20..80).contains(&ascending), "{ascending} of 99 lie behind the one before");
    assert_ne!(one, other);
}

/// Children of one process have the same heap at first, and what one of them tells should say nothing of another. (Of what lies in
/// magazines at the fork it does.)
#[cfg(target_os = "linux")]
#[test]
fn chunks_of_children_come_in_different_orders() {
    const COUNT: usize = 100;
    isolated("chunks_of_children_come_in_different_orders", || {
        let heap = Bandolier::with_backend(Os).without_thread_caches();
        take(&heap, RUN);
        let [one, other] = [0, 1].map(|_| {
            let (bytes, rights) = (COUNT * size_of::<usize>(), libc::PROT_READ | libc::PROT_WRITE);
            // SAFETY: a new mapping.
            let shared = unsafe {
                libc::mmap(core::ptr::null_mut(), bytes, rights, libc::MAP_SHARED | libc::MAP_ANONYMOUS, -1, 0)
            };
            assert_ne!(shared, libc::MAP_FAILED);
            let places = shared.cast::<usize>();
            // SAFETY: the child does nothing but allocate, write where it may, and end.
            let child = unsafe { libc::fork() };
            if child == 0 {
                for n in 0..COUNT {
                    let chunk = take(&heap, layout(64, 8)).addr();
                    // SAFETY: as many as there is room for in the mapping.
                    let place = unsafe { places.add(n) };
                    // SAFETY: as above.
                    unsafe { place.write(chunk) };
                }
                // SAFETY: no conditions.
                unsafe { libc::_exit(0) };
            }
            // SAFETY: a child of ours, whose status nobody wants.
            assert_eq!(unsafe { libc::waitpid(child, core::ptr::null_mut(), 0) }, child);
            // SAFETY: so many were written, or are zero.
            unsafe { core::slice::from_raw_parts(places, COUNT) }
        });
        assert!(!one.contains(&0) && one != other);
    });
}

/// A chunk that was freed is not among the next ones, whoever's magazines a thread works from.
#[test]
fn what_is_freed_does_not_come_back_at_once() {
    fn check(heap: Bandolier<Os>) {
        let of = layout(64, 8);
        let full = (0..2000).map(|_| take(&heap, of)).collect::<Vec<_>>();
        full.iter().for_each(|&chunk| give(&heap, chunk, of));
        for _ in 0..5000 {
            let block = take(&heap, of);
            give(&heap, block, of);
            let next: Vec<_> = (0..100).map(|_| take(&heap, of)).collect();
            assert!(!next.contains(&block));
            next.iter().for_each(|&chunk| give(&heap, chunk, of));
        }
    }
    check(Bandolier::with_backend(Os).per_thread());
    check(Bandolier::with_backend(Os).per_cpu());
    check(Bandolier::with_backend(Os).hybrid());
    check(Bandolier::with_backend(Os).without_thread_caches());
}

/// Not before magazines full of others were freed and taken after it, wherever in its magazine it lies.
#[test]
fn what_is_freed_waits_in_quarantine() {
    const MAGAZINE: usize = 125;
    let (heap, of) = (Bandolier::with_backend(Os).per_thread(), layout(64, 8));
    let next = || {
        let chunk = take(&heap, of);
        give(&heap, chunk, of);
        chunk
    };
    for _ in 0..300 {
        let block = next();
        let others = (0..).take_while(|_| next() != block).count();
        assert!(others >= 5 * MAGAZINE, "it came back after {others} others");
    }
}

/// What waits in quarantine is handed out before an allocation fails, and goes back when it is asked for.
#[test]
fn quarantine_is_no_leak() {
    static ARENA: Arena<{ 4 << 20 }> = Arena::new();
    let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
    for class in SizeClass::all().filter(|class| class.bytes() >= 512) {
        let of = layout(class.bytes(), 8);
        let mut most = Vec::new();
        loop {
            // SAFETY: the size is not zero.
            let block = unsafe { heap.alloc(of) };
            if block.is_null() {
                break;
            }
            most.push(block);
        }
        assert!(most.len() * class.bytes() > ARENA_LEAST, "{} blocks of {}", most.len(), class.bytes());
        most.iter().for_each(|&block| give(&heap, block, of));
    }
    let _ = heap.reclaim();
    assert_eq!((heap.stats().in_use, heap.stats().cached), (0, 0));
}

const ARENA_LEAST: usize = 3 << 20;
