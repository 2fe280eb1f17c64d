//! Limits: the hard one is never exceeded and nothing is lost there, before the soft one memory is given back first.

#![cfg(all(feature = "std", not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Limits, Os};
use common::{Block, HARDENED, Metered, layout, rounded, scaled};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::thread;

const MIB: usize = 1 << 20;

/// Blocks of `size` until there is no memory.
fn fill(heap: &Bandolier<Metered<Os>>, size: usize, stamp: u64) -> Vec<Block> {
    (0..).map_while(|n| Block::new(heap, layout(size, 8), stamp << 32 | n)).collect()
}

#[test]
fn the_hard_limit_is_never_exceeded() {
    const HARD: usize = 24 * MIB;
    let (backend, account) = Metered::new(Os);
    let heap = Bandolier::with_backend(backend);
    assert_eq!(heap.committed(), 0);
    assert!(heap.set_limits(Limits::NONE.hard(HARD)));
    for size in [100, 3000, 50_000, 700_000, 6 * MIB, 24] {
        let counts: Vec<_> = thread::scope(|scope| {
            let heap = &heap;
            let fill = |stamp| move || fill(heap, size, stamp);
            let threads: Vec<_> = (0..3).map(|stamp| scope.spawn(fill(stamp))).collect();
            let held: Vec<_> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
            // SAFETY: the size is not zero.
            assert!(unsafe { heap.alloc(layout(32 * MIB, 8)) }.is_null());
            let bytes: usize = held.iter().map(|block| rounded::<Os>(block.layout())).sum();
            assert!(bytes >= HARD / 2, "{bytes} bytes in blocks of {size}");
            held.into_iter().map(|block| block.free(heap)).collect()
        });
        assert!(!counts.is_empty());
        assert!(account.peak() <= HARD, "{}", account.peak());
        assert_eq!(heap.committed(), account.outstanding());
    }
    // Without it, more is to be had.
    assert!(heap.set_limits(Limits::NONE));
    let more: Vec<_> = (0..16).map(|n| Block::new(&heap, layout(4 * MIB, 8), n).unwrap()).collect();
    more.into_iter().for_each(|block| block.free(&heap));
}

/// A block that cannot grow stays as it is; where pages cannot be moved, a block and its copy are there at once, so it can grow less.
#[cfg(target_os = "linux")]
#[test]
fn a_block_at_the_limit_stays_as_it_is() {
    let (backend, account) = Metered::new(Os);
    let heap = Bandolier::with_backend(backend);
    // A hardened heap copies.
    let copy = if HARDENED { 9 * MIB } else { 0 };
    assert!(heap.set_limits(Limits::NONE.hard(20 * MIB + copy)));
    let block = Block::new(&heap, layout(9 * MIB, 8), 1).unwrap();
    let block = block.resize(&heap, 12 * MIB).unwrap_or_else(|_| panic!("there is room"));
    let block = block.resize(&heap, 21 * MIB).expect_err("there is no room");
    block.check();
    let block = block.resize(&heap, 5 * MIB).unwrap_or_else(|_| panic!("it is smaller"));
    assert_eq!(heap.committed(), account.outstanding());
    block.free(&heap);
    assert_eq!(heap.committed(), account.outstanding());
}

/// What threads that sleep and the depot hold is given back before the soft limit is exceeded.
#[test]
fn the_soft_limit_reclaims_first() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    fn told(held: usize) {
        TOLD.store(held, Relaxed);
    }
    let (backend, account) = Metered::timeless(Os);
    let heap = Bandolier::with_backend(backend);
    assert!(heap.set_limits(Limits::NONE.soft(32 * MIB).notify(told)));
    let count = 20 * MIB / 1000;
    // Twenty of them twice: the second time in other classes, so that nothing serves again unless it went back.
    for size in [1000, 500, 2000, 60_000, 250] {
        let each = if HARDENED { rounded::<Os>(layout(size, 8)) } else { size };
        let blocks: Vec<_> =
            (0..count * 1000 / each).map(|n| Block::new(&heap, layout(size, 8), n as u64).unwrap()).collect();
        blocks.into_iter().for_each(|block| block.free(&heap));
    }
    assert_eq!(TOLD.load(Relaxed), 0, "it was not necessary");
    assert!(account.peak() <= 33 * MIB, "{}", account.peak());
    // What is needed is to be had all the same, and whoever wants to know is told.
    let blocks: Vec<_> = (0..scaled(60, 50, 0) as u64).map(|n| Block::new(&heap, layout(MIB, 8), n).unwrap()).collect();
    assert!(TOLD.load(Relaxed) > 24 * MIB, "{}", TOLD.load(Relaxed));
    blocks.into_iter().for_each(|block| block.free(&heap));
}

#[cfg(target_os = "linux")]
#[test]
fn a_control_groups_limits_can_be_adopted() {
    let heap = Bandolier::with_backend(Os);
    let limits = heap.adopt_cgroup_limits();
    assert!(limits.soft_bytes().is_none_or(|bytes| bytes > MIB) && limits.hard_bytes().is_none_or(|bytes| bytes > MIB));
    Block::new(&heap, layout(100, 8), 1).unwrap().free(&heap);
}

fn limited(limits: Limits) -> Bandolier<Metered<Os>> {
    let heap = Bandolier::with_backend(Metered::timeless(Os).0);
    assert!(heap.set_limits(limits));
    heap
}

fn large(heap: &Bandolier<Metered<Os>>, mib: usize) -> Option<Block> {
    Block::new(heap, layout(mib * MIB, 8), mib as u64)
}

/// Blocks of a MiB, taken and freed: segments that nothing is in.
fn leave_idle(heap: &Bandolier<Metered<Os>>, mib: usize) {
    let blocks: Vec<_> = (0..mib).map(|_| large(heap, 1).unwrap()).collect();
    blocks.into_iter().for_each(|block| block.free(heap));
}

/// What is refused because of memory that lies idle is to be had once that has gone back.
#[test]
fn a_large_block_is_worth_a_reclaim() {
    let heap = limited(Limits::NONE.hard(8 * MIB));
    leave_idle(&heap, 1);
    large(&heap, 5).expect("there is room, but for what is idle").free(&heap);
    let heap = limited(Limits::NONE.soft(50 * MIB));
    let live = large(&heap, 32).unwrap();
    leave_idle(&heap, 7);
    let block = large(&heap, 49).expect("a soft limit refuses nothing");
    [block, live].into_iter().for_each(|block| block.free(&heap));
}

/// What a block takes from the back-end is more than what was asked for: the room up to the soft limit may be enough for the one,
/// and not for the other.
#[test]
fn the_soft_limit_refuses_no_run_that_nearly_fits() {
    let heap = limited(Limits::NONE);
    let of = layout(40_000, 8);
    let mut blocks = vec![Block::new(&heap, of, 0).unwrap()];
    for room in [40_000, 50_000, 65_536, 300_000] {
        // Until there is a segment more, so that the next one is full before the limit is.
        let held = heap.committed();
        blocks.extend((1..).map_while(|n| Block::new(&heap, of, n).filter(|_| heap.committed() == held)));
        assert!(heap.set_limits(Limits::NONE.soft(heap.committed() + room)));
        let more: Vec<_> = (0..70).map(|n| Block::new(&heap, of, n)).collect();
        assert!(more.iter().all(Option::is_some), "with room for {room} bytes up to a soft limit");
        assert!(heap.set_limits(Limits::NONE));
        blocks.extend(more.into_iter().flatten());
    }
    blocks.into_iter().for_each(|block| block.free(&heap));
}

/// A soft limit near the hard one refuses no more than that one does.
#[test]
fn a_soft_limit_refuses_nothing_that_fits_below_the_hard_one() {
    let heap = limited(Limits::NONE);
    for size in [100, 40_000] {
        let first = Block::new(&heap, layout(size, 8), 0).unwrap();
        let held = heap.committed();
        assert!(heap.set_limits(Limits::NONE.hard(held + 2 * MIB)));
        let without = (1..).map_while(|n| Block::new(&heap, layout(size, 8), n)).collect::<Vec<_>>();
        let count = without.len();
        without.into_iter().for_each(|block| block.free(&heap));
        let _ = heap.reclaim();
        assert!(heap.set_limits(Limits::NONE.soft(held + MIB / 2).hard(held + 2 * MIB)));
        let with = (1..).map_while(|n| Block::new(&heap, layout(size, 8), n)).collect::<Vec<_>>();
        assert!(with.len() * 10 >= count * 9, "{} of {size} bytes, and {count} without a soft limit", with.len());
        with.into_iter().chain([first]).for_each(|block| block.free(&heap));
        assert!(heap.set_limits(Limits::NONE));
    }
}

/// A block may grow beyond the soft limit, and shrink beyond either; elsewhere as above.
#[cfg(target_os = "linux")]
#[test]
fn a_block_grows_and_shrinks_at_limits() {
    let heap = limited(Limits::NONE.soft(70 * MIB).hard((if HARDENED { 160 } else { 100 }) * MIB));
    let block = large(&heap, 60).unwrap();
    let block = block.resize(&heap, 80 * MIB).unwrap_or_else(|_| panic!("it is below the hard limit"));
    assert!(heap.set_limits(Limits::NONE.hard(50 * MIB)));
    let block = block.resize(&heap, 20 * MIB).unwrap_or_else(|_| panic!("it is smaller"));
    block.free(&heap);
}

/// A soft limit refuses nothing that the hard one allows, not even where a whole segment does not fit between the two.
#[cfg(not(feature = "hardened"))]
#[test]
fn a_soft_limit_close_to_the_hard_one_refuses_nothing() {
    for size in [1000, 30_000, 100_000] {
        let heap = limited(Limits::NONE.soft(10 * MIB).hard(12 * MIB));
        let held = fill(&heap, size, 0);
        assert!(heap.committed() >= 11 * MIB + MIB / 2, "{} with blocks of {size}", heap.committed());
        held.into_iter().for_each(|block| block.free(&heap));
    }
}

/// Nor where it is lifted, or others free so much that it need not be exceeded, just when it was to be.
#[test]
fn a_soft_limit_that_comes_and_goes_refuses_nothing() {
    let heap = Bandolier::with_backend(Metered::timeless(Os).0);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                [Limits::NONE.soft(MIB), Limits::NONE].into_iter().for_each(|limits| assert!(heap.set_limits(limits)));
            }
        });
        let refused = (0..scaled(600, 150, 0) as u64).find(|turn| {
            let blocks = [1000, 100_000, 5 * MIB].map(|size| Block::new(&heap, layout(size, 8), turn << 8));
            let refused = blocks.iter().any(Option::is_none);
            blocks.into_iter().flatten().for_each(|block| block.free(&heap));
            if turn % 8 == 0 {
                let _ = heap.drain();
            }
            refused
        });
        over.store(true, Relaxed);
        assert_eq!(refused, None);
    });
}

/// Who is told may allocate, also at the hard limit, and is not told of that.
#[test]
fn who_is_told_may_allocate() {
    static HEAP: Bandolier<Os> = Bandolier::with_backend(Os);
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    fn told(_: usize) {
        TOLD.fetch_add(1, Relaxed);
        let of = layout(4 * MIB + 1, 8);
        // SAFETY: the size is not zero.
        let block = unsafe { HEAP.alloc(of) };
        if !block.is_null() {
            // SAFETY: allocated above.
            unsafe { HEAP.dealloc(block, of) };
        }
    }
    assert!(HEAP.set_limits(Limits::NONE.soft(8 * MIB).hard(24 * MIB).notify(told)));
    let blocks: Vec<_> = (0..).map_while(|n| Block::new(&HEAP, layout(5 * MIB, 8), n).filter(|_| n < 100)).collect();
    assert!((2..=4).contains(&blocks.len()), "{}", blocks.len());
    blocks.into_iter().for_each(|block| block.free(&HEAP));
    assert!((1..=8).contains(&TOLD.load(Relaxed)), "{}", TOLD.load(Relaxed));
}

/// A limit is not exceeded by what nobody could get. (With 32-bit addresses there may be room for half of them.)
#[cfg(target_pointer_width = "64")]
#[test]
fn what_the_system_refuses_lifts_no_soft_limit() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    fn told(_: usize) {
        TOLD.fetch_add(1, Relaxed);
    }
    // More than the system has addresses for.
    const ENDLESS: usize = isize::MAX as usize & !0xff_ffff;
    let heap = limited(Limits::NONE.soft(16 * MIB).notify(told));
    let live = large(&heap, 13).unwrap();
    // SAFETY: the size is not zero.
    assert!(unsafe { heap.alloc(layout(ENDLESS, 8)) }.is_null());
    let live = live.resize(&heap, ENDLESS).expect_err("there is no room");
    assert_eq!(TOLD.load(Relaxed), 0, "nothing was exceeded");
    let more: Vec<_> = (0..8).map(|_| large(&heap, 2).unwrap()).collect();
    assert!((1..=4).contains(&TOLD.load(Relaxed)), "{}", TOLD.load(Relaxed));
    more.into_iter().chain([live]).for_each(|block| block.free(&heap));
}

/// The operating system's memory; the first release that is made while that is wanted takes its time.
struct Lingering;

static LINGERS: AtomicBool = AtomicBool::new(false);

// SAFETY: every block is one of `Os`, which keeps the contract.
unsafe impl Backend for Lingering {
    const ZEROED: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        if LINGERS.load(Relaxed) {
            LINGERS.store(false, Relaxed);
            thread::sleep(Duration::from_micros(500));
        }
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }
}

/// What a pass is about to give back counts until then; once it has gone, the soft limit is no reason to refuse anything.
#[test]
fn what_a_pass_lets_go_of_may_exceed_the_soft_limit() {
    let refused = (0..20).filter(|n| {
        let heap = Bandolier::with_backend(Lingering).without_thread_caches();
        let of = layout(7 * MIB / 2, 8);
        let mut blocks: Vec<_> = (0..8).map(|n| Block::new(&heap, of, n).unwrap()).collect();
        assert!(heap.set_limits(Limits::NONE.soft(4 * MIB).hard(heap.committed())));
        blocks.pop().unwrap().free(&heap);
        LINGERS.store(true, Relaxed);
        let block = thread::scope(|scope| {
            scope.spawn(|| heap.reclaim());
            while LINGERS.load(Relaxed) {
                core::hint::spin_loop();
            }
            Block::new(&heap, of, *n)
        });
        let is_none = block.is_none();
        blocks.into_iter().chain(block).for_each(|block| block.free(&heap));
        // Served soon after: it was no matter of the hard limit. (One that lingers for longer than all tries is.)
        is_none
    });
    assert!(refused.count() < 10);
}

/// An allocation does not unwind: a panic of who is told ends the process.
#[test]
fn who_is_told_must_not_panic() {
    if common::role().is_some() {
        let heap = limited(Limits::NONE.soft(MIB).notify(|_| panic!("told")));
        let caught = std::panic::catch_unwind(core::panic::AssertUnwindSafe(|| large(&heap, 9).map(|_| ())));
        println!("an allocation has unwound: {}", caught.is_err());
        return;
    }
    let output = common::child("who_is_told_must_not_panic", "told");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(
        !output.status.success() && complained.contains("cannot unwind"),
        "{}\n{said}\n{complained}",
        output.status
    );
    assert!(!said.contains("has unwound"), "{said}");
}

/// A heap that goes up and down below its raised limit is not told each time.
#[test]
fn a_heap_at_its_soft_limit_does_not_reclaim_all_the_time() {
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    fn told(_: usize) {
        TOLD.fetch_add(1, Relaxed);
    }
    let heap = limited(Limits::NONE.soft(65 * MIB).notify(told));
    let live = large(&heap, 60).unwrap();
    (0..1000).for_each(|_| large(&heap, 6).unwrap().free(&heap));
    assert!(TOLD.load(Relaxed) <= 2, "{}", TOLD.load(Relaxed));
    live.free(&heap);
}

/// What a drain has in its hands just now is missing to nobody: an allocation that there is memory for gets it, also near the limit.
fn drained_at_the_limit(heap: &Bandolier<Metered<Os>>) {
    const THREADS: usize = 3;
    assert!(heap.set_limits(Limits::NONE.hard(12 * MIB)));
    let all = fill(heap, 1000, 0);
    // Each may keep one magazine back that it is just about to take from.
    let share = (all.len() - THREADS * 256) / THREADS;
    all.into_iter().for_each(|block| block.free(heap));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for verb in [Bandolier::drain_caches, Bandolier::trim] {
            let over = &over;
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    let _ = verb(heap);
                }
            });
        }
        let work = |stamp: u64| {
            for turn in 0..scaled(100, 20, 1) as u64 {
                let block = |n| Block::new(heap, layout(1000, 8), stamp << 56 | turn << 32 | n);
                let blocks: Vec<_> = (0..share as u64).map_while(block).collect();
                let missing = share - blocks.len();
                blocks.into_iter().for_each(|block| block.free(heap));
                assert_eq!(missing, 0, "of {share}, in turn {turn}");
            }
        };
        let threads: Vec<_> = (1..=THREADS as u64).map(|stamp| scope.spawn(move || work(stamp))).collect();
        let ends: Vec<_> = threads.into_iter().map(thread::ScopedJoinHandle::join).collect();
        over.store(true, Relaxed);
        assert!(ends.iter().all(Result::is_ok));
    });
}

#[test]
fn a_drain_at_the_limit_takes_nothing_from_threads() {
    drained_at_the_limit(&Bandolier::with_backend(Metered::new(Os).0).per_thread());
}

#[test]
fn a_drain_at_the_limit_takes_nothing_from_cpus() {
    drained_at_the_limit(&Bandolier::with_backend(Metered::new(Os).0).per_cpu());
}

#[test]
fn a_drain_at_the_limit_takes_nothing_from_a_hybrid() {
    drained_at_the_limit(&Bandolier::with_backend(Metered::new(Os).0).hybrid());
}

#[test]
fn a_drain_at_the_limit_takes_nothing_from_slots() {
    drained_at_the_limit(&Bandolier::with_backend(Metered::new(Os).0).without_thread_caches());
}

/// The operating system's memory, for a heap whose passes take their time over each piece.
struct Slow(Metered<Os>);

// SAFETY: every call is one of `Metered`, which keeps the contract.
unsafe impl Backend for Slow {
    const ZEROED: bool = true;
    const PURGES: bool = true;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.release(block, layout) }
    }

    fn granule(&self) -> usize {
        self.0.granule()
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        thread::sleep(Duration::from_micros(200));
        // SAFETY: the caller's promise.
        unsafe { self.0.purge(start, bytes) }
    }
}

/// Nearly all that is free is in the hands of a drain, most of the time: who needs it gets it.
#[test]
fn what_a_slow_drain_holds_is_missing_to_nobody() {
    let heap = Bandolier::with_backend(Slow(Metered::timeless(Os).0)).without_thread_caches();
    // One segment, and its records.
    assert!(heap.set_limits(Limits::NONE.hard(5 * MIB)));
    let of = layout(200_000, 8);
    let most = (0..).map_while(|n| Block::new(&heap, of, n)).collect::<Vec<_>>();
    // How a hardened heap gets segments again decides how many blocks with guards fit into them.
    let share = most.len() - if HARDENED { 2 } else { 0 };
    assert!(share >= if HARDENED { 8 } else { 12 }, "{share}");
    most.into_iter().for_each(|block| block.free(&heap));
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Relaxed) {
                let _ = heap.drain();
            }
        });
        let missing = (0..scaled(300, 100, 1) as u64).find(|turn| {
            let blocks: Vec<_> = (0..share as u64).map_while(|n| Block::new(&heap, of, n | turn << 32)).collect();
            let missing = blocks.len() < share;
            blocks.into_iter().for_each(|block| block.free(&heap));
            missing
        });
        over.store(true, Relaxed);
        assert_eq!(missing, None);
    });
}
