//! What surrounds an allocator: signals, destructors of every kind, panics, stacks that overflow, ten thousand threads.
//!
//! `BANDOLIER_LONG=1 cargo test --release --test environment` has ten thousand threads alive at once, and longer storms.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Bandolier, Locator, Os};
use common::{Block, Dice, child, is_long, isolated, layout, role, scaled};
use core::alloc::GlobalAlloc;
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread;

#[global_allocator]
static HEAP: Bandolier = common::as_chosen(Bandolier::new());

static PER_CPU: Bandolier<Os> = Bandolier::with_backend(Os).per_cpu();
static SHARED: Bandolier<Os> = Bandolier::with_backend(Os).without_thread_caches();

// ---- signals -------------------------------------------------------------------------------------------------------

static STORMS: AtomicUsize = AtomicUsize::new(0);
static BROKEN: AtomicBool = AtomicBool::new(false);

/// Takes blocks of several classes and of a run, and frees them, in the order in which they were taken or not.
fn in_a_handler(heap: &impl GlobalAlloc, seed: u64) {
    let mut held: [Option<Block>; 12] = [const { None }; 12];
    let mut dice = Dice::new(seed);
    for (place, stamp) in held.iter_mut().zip(0..) {
        *place = Block::new(heap, layout([16, 64, 64, 700, 5000, 80_000][dice.below(6)], 8), seed << 8 | stamp);
    }
    held.rotate_left(dice.below(12));
    if held.iter().any(Option::is_none) {
        BROKEN.store(true, Relaxed);
    }
    held.into_iter().flatten().for_each(|block| block.free(heap));
}

extern "C" fn handler(_: libc::c_int) {
    let storm = STORMS.fetch_add(1, Relaxed) as u64;
    in_a_handler(&PER_CPU, storm << 1 | 1);
    in_a_handler(&SHARED, storm << 1);
    if storm % 16 == 0 {
        let _ = (PER_CPU.drain(), SHARED.trim(), PER_CPU.stats());
    }
}

/// In heaps of which no thread has magazines of its own, each step is one instruction's, so what a signal interrupts is whole:
/// a handler may take and free blocks of them, once the heap has been used.
#[test]
fn a_signal_handler_may_allocate_where_threads_have_no_magazines() {
    isolated("a_signal_handler_may_allocate_where_threads_have_no_magazines", || {
        in_a_handler(&PER_CPU, 1);
        in_a_handler(&SHARED, 2);
        if PER_CPU.stats().locator != Locator::PerCpu {
            println!("SKIPPED: no restartable sequences: {:?}", PER_CPU.stats().why);
            return;
        }
        // SAFETY: the handler touches the heaps alone, which is what is tried.
        unsafe { libc::signal(libc::SIGUSR1, handler as extern "C" fn(libc::c_int) as libc::sighandler_t) };
        let (over, process) = (AtomicUsize::new(0), std::process::id());
        let turns = if is_long() { 300_000 } else { scaled(20_000, 3_000, 0) as u64 };
        thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::channel();
            for seed in 0..3_u64 {
                let (over, send) = (&over, send.clone());
                scope.spawn(move || {
                    // SAFETY: no conditions.
                    send.send(unsafe { libc::gettid() }).unwrap();
                    for turn in 0..turns {
                        in_a_handler(&PER_CPU, seed << 48 | 1 << 44 | turn);
                        if turn % 4 == 0 {
                            in_a_handler(&SHARED, seed << 48 | 1 << 44 | turn);
                        }
                        if turn % 512 == 0 {
                            let _ = (PER_CPU.reclaim(), SHARED.reclaim());
                        }
                    }
                    over.fetch_add(1, Relaxed);
                    while over.load(Relaxed) < 4 {
                        thread::yield_now();
                    }
                });
            }
            let threads: Vec<_> = receive.iter().take(3).collect();
            while over.load(Relaxed) < 3 {
                for &thread in &threads {
                    // SAFETY: the thread is there until this one has counted, too.
                    unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR1) };
                }
            }
            over.fetch_add(1, Relaxed);
        });
        let storms = STORMS.load(Relaxed);
        println!("{storms} signals");
        assert!(storms > 100 && !BROKEN.load(Relaxed), "{storms} signals");
        for heap in [&PER_CPU, &SHARED] {
            assert_eq!(heap.stats().in_use, 0);
            let _ = heap.reclaim();
            let stats = heap.stats();
            assert_eq!((stats.from_backend, stats.cached), (stats.metadata, 0));
        }
    });
}

// ---- destructors of C++ --------------------------------------------------------------------------------------------

#[cfg(target_env = "gnu")]
mod cpp {
    use super::{Block, HEAP, isolated, layout};
    use core::alloc::GlobalAlloc;
    use core::ffi::c_void;
    use core::ptr;
    use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering::Relaxed};

    type CxaAtExit = unsafe extern "C" fn(unsafe extern "C" fn(*mut c_void), *mut c_void, *mut c_void) -> libc::c_int;

    static LEFT: AtomicPtr<u8> = AtomicPtr::new(ptr::null_mut());
    static ENDED: AtomicUsize = AtomicUsize::new(0);

    /// Frees what the thread has left, and works on.
    unsafe extern "C" fn at_end(_: *mut c_void) {
        let left = LEFT.swap(ptr::null_mut(), Relaxed);
        if !left.is_null() {
            // SAFETY: live, of this layout, stored by the thread that ends.
            unsafe { HEAP.dealloc(left, layout(64, 8)) };
        }
        let held: Vec<_> =
            (0..400).map(|n| Block::new(&HEAP, layout(64 + n as usize % 5 * 300, 8), n).unwrap()).collect();
        held.into_iter().for_each(|block| block.free(&HEAP));
        ENDED.fetch_add(1, Relaxed);
    }

    /// Registered as C++ does it for `thread_local` objects: before the thread has any magazines, and after.
    #[test]
    fn a_thread_local_object_of_cpp_may_allocate_when_it_goes() {
        unsafe extern "C" {
            fn __cxa_thread_atexit_impl(
                end: unsafe extern "C" fn(*mut c_void),
                object: *mut c_void,
                of: *mut c_void,
            ) -> libc::c_int;
            static __dso_handle: u8;
        }
        extern "C" fn body(first: *mut c_void) -> *mut c_void {
            let register = || {
                let register: CxaAtExit = __cxa_thread_atexit_impl;
                let of = (&raw const __dso_handle).cast_mut().cast();
                // SAFETY: a function that takes any object, of this program.
                let done = unsafe { register(at_end, ptr::null_mut(), of) };
                assert_eq!(done, 0);
            };
            if first.is_null() {
                register();
            }
            for turn in 0..700 {
                Block::new(&HEAP, layout(64, 8), turn).unwrap().free(&HEAP);
            }
            // SAFETY: the size is not zero.
            LEFT.store(unsafe { HEAP.alloc(layout(64, 8)) }, Relaxed);
            register();
            ptr::null_mut()
        }
        isolated("cpp::a_thread_local_object_of_cpp_may_allocate_when_it_goes", || {
            let run = |first: usize| {
                let mut thread = core::mem::MaybeUninit::uninit();
                let place = thread.as_mut_ptr();
                // SAFETY: a place for the thread, and a body that looks at its argument only.
                let made =
                    unsafe { libc::pthread_create(place, ptr::null(), body, ptr::without_provenance_mut(first)) };
                assert_eq!(made, 0);
                // SAFETY: the call above succeeded, so it wrote the thread.
                let thread = unsafe { thread.assume_init() };
                // SAFETY: made above, joined once.
                assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
            };
            (0..4).for_each(run);
            let before = HEAP.stats();
            (0..100).for_each(|n| run(n % 2));
            let after = HEAP.stats();
            assert_eq!(ENDED.load(Relaxed), 4 + 1 + 150);
            assert_eq!(after.threads, before.threads);
            assert!(after.in_use <= before.in_use + (8 << 10), "{} to {}", before.in_use, after.in_use);
        });
    }
}

// ---- threads that end while others begin ---------------------------------------------------------------------------

static KEY: AtomicUsize = AtomicUsize::new(0);
static ROUNDS: AtomicUsize = AtomicUsize::new(0);

fn want_end(round: usize) {
    let key = KEY.load(Relaxed) as libc::pthread_key_t;
    // SAFETY: the key was made, and a value that is not null asks for the destructor.
    assert_eq!(unsafe { libc::pthread_setspecific(key, ptr::without_provenance(round)) }, 0);
}

/// Works in three rounds of a thread's destructors: before its magazines have been handed in, and after.
unsafe extern "C" fn at_key_end(round: *mut c_void) {
    let round = round.addr();
    let stamp = (ROUNDS.fetch_add(1, Relaxed) as u64) << 32;
    for turn in 0..5 {
        let block = |n| Block::new(&HEAP, layout(64, 8), stamp | turn << 16 | n).unwrap();
        let held: [_; 40] = core::array::from_fn(|n| block(n as u64));
        thread::yield_now();
        held.into_iter().for_each(|block| block.free(&HEAP));
    }
    if round < 3 {
        want_end(round + 1);
    }
}

/// What a thread has when it ends is the next one's at once, and its own no longer.
#[test]
fn threads_that_end_share_nothing_with_those_that_begin() {
    isolated("threads_that_end_share_nothing_with_those_that_begin", || {
        let mut key = 0;
        // SAFETY: a place for the key, and a destructor that takes any value.
        assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_key_end)) }, 0);
        KEY.store(key as usize, Relaxed);
        let lives = scaled(60, 20, 0);
        let life = |stamp: u64| {
            want_end(1);
            let mut held: Vec<_> = Vec::new();
            for n in 0..900 {
                held.push(Block::new(&HEAP, layout(64, 8), stamp << 32 | 1 << 31 | n).unwrap());
                if n % 2 == 1 {
                    held.swap_remove(held.len() / 2).free(&HEAP);
                }
            }
            held.into_iter().for_each(|block| block.free(&HEAP));
        };
        thread::scope(|scope| {
            let line = |stamp| {
                scope.spawn(move || (0..lives).for_each(|_| thread::spawn(move || life(stamp)).join().unwrap()))
            };
            // Joined, all of them: a scope does not wait for threads' ends.
            let lines = [1, 2, 3, 4].map(line);
            lines.into_iter().for_each(|line| line.join().unwrap());
        });
        assert_eq!(ROUNDS.load(Relaxed), 4 * lives * 3);
        assert!(HEAP.stats().threads <= 2, "{} threads that are gone are counted", HEAP.stats().threads);
    });
}

// ---- panics and overflows ------------------------------------------------------------------------------------------

/// What a panic unwinds through is freed on the way, while others work and drain.
#[test]
fn a_panic_frees_what_it_passes() {
    isolated("a_panic_frees_what_it_passes", || {
        std::panic::set_hook(Box::new(|_| ()));
        fn deep(level: usize) -> Vec<String> {
            let words: Vec<_> = (0..50).map(|n| format!("{level} {n:>width$}", width = level * 3)).collect();
            let _boxed = Box::new([level; 500]);
            assert!(level < 40, "deep enough");
            let below = deep(level + 1);
            [words, below].concat()
        }
        let once = || thread::spawn(|| deep(0).len()).join().unwrap_err();
        (0..20).for_each(|_| drop(once()));
        let before = HEAP.stats().in_use;
        for turn in 0..scaled(300, 100, 0) {
            drop(once());
            drop(std::panic::catch_unwind(|| deep(20)).unwrap_err());
            if turn % 16 == 0 {
                let _ = HEAP.reclaim();
            }
        }
        let after = HEAP.stats().in_use;
        assert!(after <= before + (64 << 10), "{before} to {after}");
    });
}

/// The guard of a stack is met, and the standard library says so, on the stack that it keeps for that.
#[test]
fn a_stack_that_overflows_is_named() {
    #[expect(unconditional_recursion, reason = "it is to overflow")]
    fn deeper(words: [u64; 64]) -> u64 {
        let block = Block::new(&HEAP, layout(40, 8), words[0]).unwrap();
        let sum = deeper(words.map(|word| word + 1)) + words[3];
        block.free(&HEAP);
        sum
    }
    if role().is_some() {
        let thread = thread::Builder::new().name("deep".into()).stack_size(256 << 10);
        println!("{}", thread.spawn(|| deeper([1; 64])).unwrap().join().unwrap());
        return;
    }
    let output = child("a_stack_that_overflows_is_named", "deep");
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && complained.contains("has overflowed its stack"), "{complained}");
}

/// Every verb, in every heap, on a stack as small as threads have anywhere.
#[test]
fn every_verb_fits_a_small_stack() {
    const STACK: usize = scaled(24, 64, 0) << 10;
    let work = || {
        for n in 0..50 {
            let held = [64, 3000, 90_000].map(|size| Block::new(&PER_CPU, layout(size, 8), n).unwrap());
            held.into_iter().for_each(|block| block.free(&PER_CPU));
            let held = [64, 3000, 90_000].map(|size| Block::new(&HEAP, layout(size, 8), n).unwrap());
            held.into_iter().for_each(|block| block.free(&HEAP));
        }
        let gone = [HEAP.trim(), HEAP.drain(), HEAP.reclaim(), PER_CPU.trim(), PER_CPU.drain(), PER_CPU.reclaim()];
        HEAP.flush_thread();
        gone.iter().map(|gone| gone.total()).sum::<usize>()
    };
    thread::Builder::new().stack_size(STACK).spawn(work).unwrap().join().unwrap();
}

// ---- very many threads ---------------------------------------------------------------------------------------------

/// All alive at once, each with blocks and with what it has in its magazines; then all asleep while one reclaims; then all gone.
#[test]
fn very_many_threads_are_alive_at_once() {
    isolated("very_many_threads_are_alive_at_once", || {
        let wanted = if is_long() { 10_000 } else { scaled(1_000, 300, 0) };
        let used = AtomicUsize::new(0);
        let (gate, opened) = (std::sync::Mutex::new(false), std::sync::Condvar::new());
        let before = HEAP.stats();
        thread::scope(|scope| {
            let mut threads = Vec::new();
            for seed in 0..wanted as u64 {
                let (used, gate, opened) = (&used, &gate, &opened);
                let life = move || {
                    let mut dice = Dice::new(seed);
                    let block = |n| Block::new(&HEAP, layout(dice.size(2000), 8), seed << 32 | n).unwrap();
                    let mut held: Vec<_> = (0..30).map(block).collect();
                    // Some are busy enough to earn magazines.
                    for n in 0..if seed % 8 == 0 { 800 } else { 20 } {
                        held.push(Block::new(&HEAP, layout(64, 8), seed << 32 | 1 << 20 | n).unwrap());
                        held.swap_remove(dice.below(held.len())).free(&HEAP);
                    }
                    used.fetch_add(1, Relaxed);
                    let open = opened.wait_while(gate.lock().unwrap(), |open| !*open).unwrap();
                    drop(open);
                    held.into_iter().for_each(|block| block.free(&HEAP));
                };
                match thread::Builder::new().stack_size(64 << 10).spawn_scoped(scope, life) {
                    Ok(thread) => threads.push(thread),
                    Err(error) => {
                        println!("SKIPPED: no more than {} threads: {error}", threads.len());
                        break;
                    }
                }
            }
            while used.load(Relaxed) < threads.len() {
                thread::yield_now();
            }
            let gone = HEAP.reclaim();
            let stats = HEAP.stats();
            let (alive, with, bytes) = (threads.len(), stats.threads, stats.from_backend);
            println!("{alive} threads alive, {with} with magazines, {bytes} bytes held, {} given back", gone.total());
            assert!(stats.in_use > before.in_use + threads.len() * 30 * 16);
            *gate.lock().unwrap() = true;
            opened.notify_all();
            assert!(threads.len() >= wanted.min(300));
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        let _ = HEAP.reclaim();
        let after = HEAP.stats();
        // This thread, and the one of the tests, may have earned some by now.
        assert!(after.threads <= 2, "{} threads that are gone are counted", after.threads);
        assert!(after.in_use <= before.in_use + (256 << 10), "{} to {}", before.in_use, after.in_use);
        let held = after.from_backend - after.metadata;
        assert!(held <= (before.from_backend - before.metadata) + 4 * (4 << 20), "{held} bytes are held");
    });
}
