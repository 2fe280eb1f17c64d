//! Children of a process that is in the middle of everything: forked, or begun by `vfork` and `exec`.
//!
//! `BANDOLIER_LONG=1 cargo test --release --test forks` forks five times as often.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Limits, Os};
use common::{Block, Dice, Metered, Refuse, is_long, isolated, layout, scaled};
use core::alloc::Layout;
use core::cell::Cell;
use core::ffi::c_void;
use core::ptr::{self, NonNull};
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::process::Command;
use std::thread;

#[global_allocator]
static HEAP: Bandolier = common::as_chosen(Bandolier::new());

static PER_THREAD: Bandolier<Os> = Bandolier::with_backend(Os).per_thread();
static PER_CPU: Bandolier<Os> = Bandolier::with_backend(Os).per_cpu();
static SHARED: Bandolier<Os> = Bandolier::with_backend(Os).without_thread_caches();

/// Takes and frees blocks of all kinds in one heap; false where there was no memory.
fn work(heap: &impl core::alloc::GlobalAlloc, seed: u64, turns: usize) -> bool {
    let mut dice = Dice::new(seed);
    // Nothing here is on the heap of the process, whose state is the thing tried.
    let mut held: [Option<Block>; 40] = [const { None }; 40];
    let mut served = true;
    for turn in 0..turns as u64 {
        let place = dice.below(held.len());
        match held[place].take() {
            Some(block) => block.free(heap),
            None => {
                held[place] = Block::new(heap, dice.layout(200_000), seed << 32 | turn);
                served &= held[place].is_some();
            }
        }
    }
    held.into_iter().flatten().for_each(|block| block.free(heap));
    served
}

fn work_everywhere(seed: u64, turns: usize) -> bool {
    let served = [work(&PER_THREAD, seed, turns), work(&PER_CPU, seed, turns), work(&SHARED, seed, turns)];
    work(&HEAP, seed, turns) && served == [true; 3]
}

/// Keeps three threads busy with blocks and the verbs of all heaps while `body` goes on.
fn beside_a_busy_crowd(body: impl FnOnce()) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let over = &over;
        let verbs: [fn(); 3] = [
            || work_everywhere(1, 100).then_some(()).unwrap(),
            || {
                work(&PER_THREAD, 2, 200);
                let _ = (HEAP.trim(), PER_CPU.drain(), PER_THREAD.reclaim(), SHARED.reclaim());
            },
            || {
                let _ = (PER_THREAD.drain_caches(), HEAP.reclaim(), PER_CPU.reclaim(), SHARED.trim());
                work(&PER_CPU, 3, 50);
            },
        ];
        let begin = |verb: fn()| {
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    verb();
                }
            })
        };
        let crowd = verbs.map(begin);
        // A test that has failed is over, too.
        struct End<'a>(&'a AtomicBool);
        impl Drop for End<'_> {
            fn drop(&mut self) {
                self.0.store(true, Relaxed);
            }
        }
        let end = End(over);
        body();
        drop(end);
        // Joined, all of them: a scope does not wait for threads' ends, where they hand in what they have.
        crowd.into_iter().for_each(|thread| thread.join().unwrap());
    });
}

/// How often to fork.
fn forks() -> u64 {
    if is_long() { 1000 } else { scaled(200, 60, 0) as u64 }
}

/// Forks, has the child do something, and waits for it: what it says, which is 0 when all is well.
///
/// The child must not panic: other threads' locks may be taken for ever.
fn forked(child: impl FnOnce() -> u8) -> i32 {
    const WELL: i32 = 17;
    // SAFETY: the child only allocates and calls what may be called then, and ends with `_exit`.
    let process = unsafe { libc::fork() };
    assert!(process >= 0);
    if process == 0 {
        // SAFETY: no conditions; ends a child that hangs.
        unsafe { libc::alarm(90) };
        let code = child();
        // SAFETY: no conditions.
        unsafe { libc::_exit(WELL + i32::from(code)) };
    }
    let mut status = 0;
    // SAFETY: a child of ours, and a place for its status.
    assert_eq!(unsafe { libc::waitpid(process, &raw mut status, 0) }, process);
    assert!(libc::WIFEXITED(status), "the child ended with status {status:#x}");
    libc::WEXITSTATUS(status) - WELL
}

extern "C" fn in_a_thread_of_the_child(served: *mut c_void) -> *mut c_void {
    if work_everywhere(77, 100) { served } else { ptr::null_mut() }
}

/// A thread that the standard library knows nothing of; whether it was served.
fn a_thread_was_served() -> bool {
    let (mut thread, mut served) = (core::mem::MaybeUninit::uninit(), ptr::null_mut());
    let place = thread.as_mut_ptr();
    // SAFETY: a place for the thread, and a body that hands its argument on.
    let made =
        unsafe { libc::pthread_create(place, ptr::null(), in_a_thread_of_the_child, ptr::without_provenance_mut(1)) };
    if made != 0 {
        return false;
    }
    // SAFETY: the call above succeeded, so it wrote the thread.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: made above, joined once.
    unsafe { libc::pthread_join(thread, &raw mut served) };
    !served.is_null()
}

/// All that a child does; which of it failed.
fn life(seed: u64, keep: &Block) -> u8 {
    keep.check();
    for round in 0..2 {
        if !work_everywhere(seed << 8 | round, 150) {
            return 1;
        }
        let _ = (HEAP.reclaim(), PER_THREAD.reclaim(), PER_CPU.reclaim(), SHARED.reclaim());
        let _ = (HEAP.trim(), PER_THREAD.drain());
        PER_THREAD.flush_thread();
    }
    if !a_thread_was_served() {
        return 2;
    }
    let held = [HEAP.stats(), PER_THREAD.stats(), PER_CPU.stats(), SHARED.stats()].map(|stats| stats.from_backend);
    if held.contains(&0) { 3 } else { 0 }
}

#[test]
fn a_child_of_a_busy_process_lives_on() {
    isolated("a_child_of_a_busy_process_lives_on", || {
        beside_a_busy_crowd(|| {
            let keep = Block::new(&HEAP, layout(5000, 8), 4711).unwrap();
            for n in 0..forks() {
                assert_eq!(forked(|| life(n, &keep)), 0, "at fork {n}");
            }
            keep.free(&HEAP);
        });
        for heap in [&PER_THREAD, &PER_CPU, &SHARED] {
            heap.flush_thread();
            assert_eq!(heap.stats().in_use, 0);
            let _ = heap.reclaim();
            assert_eq!(heap.stats().from_backend, heap.stats().metadata);
        }
    });
}

/// Who searches the thread that forks may be a thread of the parent, and never come back to let go of it in the child.
#[test]
fn a_child_that_was_being_searched_goes_on() {
    isolated("a_child_that_was_being_searched_goes_on", || {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let over = &over;
            for _ in 0..2 {
                scope.spawn(move || {
                    while !over.load(Relaxed) {
                        let _ = PER_THREAD.reclaim();
                    }
                });
            }
            for n in 0..forks() / 4 {
                // So that there is something to search.
                work(&PER_THREAD, n, 30);
                let code = forked(|| {
                    let served = (0..10).all(|round| work(&PER_THREAD, round, 300));
                    let _ = PER_THREAD.reclaim();
                    u8::from(!served)
                });
                if code != 0 {
                    over.store(true, Relaxed);
                }
                assert_eq!(code, 0, "at fork {n}");
            }
            over.store(true, Relaxed);
        });
    });
}

thread_local! {
    /// The thread stops where it is about to look in the map whose a chunk is.
    static STOPS: Cell<bool> = const { Cell::new(false) };
}

static HAS_STOPPED: AtomicBool = AtomicBool::new(false);
static GO_ON: AtomicBool = AtomicBool::new(false);

/// The system's memory, for a heap in the middle of which a thread can be stopped.
struct Stage;

// SAFETY: every block is one of `Os`, which keeps the contract.
unsafe impl Backend for Stage {
    const ADDRESS_BITS: u32 = Os::ADDRESS_BITS;

    fn base(&self) -> usize {
        if STOPS.replace(false) {
            HAS_STOPPED.store(true, Relaxed);
            while !GO_ON.load(Relaxed) {
                thread::sleep(Duration::from_millis(1));
            }
        }
        Os.base()
    }

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        Os.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { Os.release(block, layout) }
    }
}

/// The same, for certain: the other thread stops in its search, with what was this thread's in its hands, and does not exist in the
/// child. That one is served at once, and by and by from magazines of its own.
#[test]
fn a_child_waits_for_no_search() {
    static SEARCHED: Bandolier<Stage> = Bandolier::with_backend(Stage).per_thread();
    isolated("a_child_waits_for_no_search", || {
        work(&SEARCHED, 1, 300);
        /// The searcher goes on whatever becomes of the child.
        struct Release;
        impl Drop for Release {
            fn drop(&mut self) {
                GO_ON.store(true, Relaxed);
            }
        }
        thread::scope(|scope| {
            let release = Release;
            let searcher = scope.spawn(|| {
                STOPS.set(true);
                let _ = SEARCHED.reclaim();
                STOPS.set(false);
            });
            // Where the kernel grants no fence, it does not search.
            while !HAS_STOPPED.load(Relaxed) && !searcher.is_finished() {
                thread::yield_now();
            }
            let threads = SEARCHED.stats().threads;
            let code = forked(|| {
                if !work(&SEARCHED, 2, 30_000) {
                    return 1;
                }
                let newcomers = SEARCHED.stats().threads - threads;
                if newcomers == usize::from(HAS_STOPPED.load(Relaxed)) { 0 } else { 2 }
            });
            drop(release);
            assert_eq!(code, 0);
        });
        assert!(work(&SEARCHED, 3, 300));
        SEARCHED.flush_thread();
        assert_eq!(SEARCHED.stats().in_use, 0);
    });
}

/// What a thread of the parent has in its hands is lost to the child; that the child then waits for it, each time that it has no
/// memory, would be worse.
#[test]
fn a_child_at_its_limit_is_told_so() {
    isolated("a_child_at_its_limit_is_told_so", || {
        const MIB: usize = 1 << 20;
        let (backend, account) = Metered::timeless(Os);
        let heap = Bandolier::with_backend(backend);
        // By the back-end, which counts how often it is asked.
        account.set(Refuse::Above((12 * MIB / 4096) as u32));
        let keep = Block::new(&heap, layout(100, 8), 1).unwrap();
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Relaxed) {
                    let _ = heap.reclaim();
                }
            });
            for n in 0..forks().div_ceil(30) {
                let code = forked(|| {
                    let before = account.calls();
                    let mut held: [Option<Block>; 64] = [const { None }; 64];
                    for place in &mut held {
                        *place = Block::new(&heap, layout(MIB / 2, 8), n);
                    }
                    let nulls = held.iter().filter(|block| block.is_none()).count();
                    held.into_iter().flatten().for_each(|block| block.free(&heap));
                    let again = Block::new(&heap, layout(MIB / 2, 8), n);
                    let calls = account.calls() - before;
                    if nulls == 0 || nulls == 64 {
                        1
                    } else if again.is_none() {
                        2
                    } else {
                        // Once it may take a pass that never ends for one that does.
                        u8::from(calls > 3 * 4096 * 10) * 3
                    }
                });
                if code != 0 {
                    over.store(true, Relaxed);
                }
                assert_eq!(code, 0, "at fork {n}");
            }
            over.store(true, Relaxed);
        });
        keep.free(&heap);
    });
}

/// Somebody was being told that the soft limit is exceeded, when the child was forked: for the child it holds, and it is told, too.
#[test]
fn a_child_has_a_soft_limit() {
    static LIMITED: Bandolier<Os> = Bandolier::with_backend(Os).without_thread_caches();
    static TOLD: AtomicUsize = AtomicUsize::new(0);
    static OVER: AtomicBool = AtomicBool::new(false);
    fn told(_: usize) {
        TOLD.fetch_add(1, Relaxed);
        while !OVER.load(Relaxed) {
            thread::yield_now();
        }
    }
    const MIB: usize = 1 << 20;
    fn fill() -> Vec<Option<Block>> {
        (0..24).map(|n| Block::new(&LIMITED, layout(MIB, 8), n)).collect()
    }
    isolated("a_child_has_a_soft_limit", || {
        assert!(LIMITED.set_limits(Limits::NONE.soft(8 * MIB).notify(told)));
        let other = thread::spawn(|| fill().into_iter().flatten().for_each(|block| block.free(&LIMITED)));
        while TOLD.load(Relaxed) == 0 {
            thread::yield_now();
        }
        let code = forked(|| {
            OVER.store(true, Relaxed);
            TOLD.store(0, Relaxed);
            let mut held: [Option<Block>; 24] = [const { None }; 24];
            held.iter_mut().for_each(|place| *place = Block::new(&LIMITED, layout(MIB, 8), 1));
            if held.iter().any(Option::is_none) { 1 } else { u8::from(TOLD.load(Relaxed) == 0) * 2 }
        });
        OVER.store(true, Relaxed);
        other.join().unwrap();
        assert_eq!(code, 0);
    });
}

/// What the parent's threads had in their hands is made anew in a child, so that its children, and theirs, reach their CPUs, too.
#[test]
fn children_of_children_reach_their_cpus() {
    const GENERATIONS: u8 = 3;
    static DRAINED: Bandolier<Os> = Bandolier::with_backend(Os).per_cpu();
    fn turn() -> usize {
        work(&DRAINED, 1, 30);
        DRAINED.drain_caches().missed_cpus
    }
    extern "C" fn drain(over: *mut c_void) -> *mut c_void {
        // SAFETY: who begins this waits for it.
        while !unsafe { over.cast::<AtomicBool>().as_ref() }.unwrap().load(Relaxed) {
            turn();
        }
        over
    }
    /// How many generations are left where CPUs are missed by who drains alone; 0 if none are.
    fn generation(left: u8) -> u8 {
        if (0..20).all(|_| turn() > 0) {
            return left;
        }
        if left == 1 {
            return 0;
        }
        let over = AtomicBool::new(false);
        let place = (&raw const over).cast_mut().cast();
        let crowd = [(); 4].map(|()| {
            let mut thread = core::mem::MaybeUninit::<libc::pthread_t>::uninit();
            // SAFETY: a place for a thread, and a body that gets what it waits for.
            let made = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), drain, place) };
            assert_eq!(made, 0);
            // SAFETY: the call above succeeded, so it wrote the thread.
            unsafe { thread.assume_init() }
        });
        let missed = (0..4).map(|_| {
            thread::sleep(Duration::from_micros(700));
            forked(|| generation(left - 1)) as u8
        });
        let missed = missed.max().unwrap();
        over.store(true, Relaxed);
        // SAFETY: made above, joined once.
        crowd.iter().for_each(|&thread| assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0));
        missed
    }
    isolated("children_of_children_reach_their_cpus", || assert_eq!(generation(GENERATIONS), 0));
}

/// By `posix_spawn`, whose child has the parent's memory until it executes something else; and by `fork` and `exec`, with a
/// closure of the parent's in between.
#[test]
fn a_busy_process_starts_others() {
    use std::os::unix::process::CommandExt;

    isolated("a_busy_process_starts_others", || {
        beside_a_busy_crowd(|| {
            for n in 0..forks() / 2 {
                let mut command = Command::new("/bin/sh");
                command.args(["-c", "exit 3"]);
                if n % 2 == 0 {
                    // SAFETY: the closure takes and frees memory of heaps that wait for nobody.
                    unsafe {
                        command.pre_exec(move || {
                            let served = work_everywhere(n, 50);
                            let _ = PER_THREAD.reclaim();
                            if served { Ok(()) } else { Err(std::io::ErrorKind::OutOfMemory.into()) }
                        });
                    }
                }
                assert_eq!(command.status().unwrap().code(), Some(3), "at start {n}");
            }
        });
    });
}

/// Ends the process while others allocate, from a child each time: exit handlers, destructors of statics and of this library
/// run beside them.
#[test]
fn a_process_exits_while_its_threads_work() {
    extern "C" fn at_exit() {
        if !work_everywhere(5, 200) {
            // SAFETY: ends the process, which is what is going on anyway.
            unsafe { libc::_exit(99) }
        }
        let _ = (HEAP.reclaim(), PER_THREAD.reclaim());
    }
    isolated("a_process_exits_while_its_threads_work", || {
        for n in 0..forks() / 4 {
            let code = forked(|| {
                // SAFETY: a handler without conditions.
                unsafe { libc::atexit(at_exit) };
                for _ in 0..2 {
                    thread::spawn(move || {
                        for seed in n.. {
                            // Threads come and go meanwhile, too.
                            thread::spawn(move || work_everywhere(seed, 20)).join().unwrap();
                            let _ = PER_THREAD.reclaim();
                        }
                    });
                }
                work_everywhere(n, 50);
                std::process::exit(42)
            });
            assert_eq!(code, 42 - 17, "at exit {n}");
        }
    });
}
