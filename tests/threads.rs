//! Where threads begin and end: destructors, exit handlers, before `main`, forked children, short lives, hand-overs.

#![cfg(all(feature = "std", unix))]

mod common;

use bandolier::{Backend, Bandolier, FromGlobal, Locator, Os, SizeClass};
use common::{Block, Dice, QUARANTINE, child, isolated, layout, role, rounded, scaled};
use core::alloc::GlobalAlloc;
use core::cell::{Cell, RefCell};
use core::ffi::c_void;
use core::ptr;
use core::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::alloc::System;
use std::sync::mpsc::sync_channel;
use std::thread;

#[global_allocator]
static HEAP: Bandolier = common::as_chosen(Bandolier::new().per_thread());

/// Makes the calling thread one that is counted, where a thread has to earn that.
fn busy() {
    (0..1000).for_each(|n| Block::new(&HEAP, layout(64, 8), n).unwrap().free(&HEAP));
}

/// Allocates and frees blocks of many sizes through the heap, and through the collections that sit on it.
fn work<B: Backend>(heap: &Bandolier<B>, seed: u64) {
    let mut dice = Dice::new(seed);
    let mut held = Vec::new();
    for stamp in 0..scaled(300, 200, 20) as u64 {
        held.push(Block::new(heap, dice.layout(200_000), seed << 32 | stamp).unwrap());
        if dice.below(2) == 0 {
            held.swap_remove(dice.below(held.len())).free(heap);
        }
    }
    held.into_iter().for_each(|block| block.free(heap));
    let words: Vec<_> = (0..50).map(|n| format!("{seed} and {n}")).collect();
    assert!(words.concat().len() > 50);
}

// ---- before main ---------------------------------------------------------------------------------------------------

#[cfg(target_os = "linux")]
mod before_main {
    use super::{Block, HEAP, layout, work};
    use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
    use std::sync::Mutex;

    static RAN: AtomicBool = AtomicBool::new(false);
    static KEPT: Mutex<Vec<Block>> = Mutex::new(Vec::new());

    #[used]
    #[unsafe(link_section = ".init_array")]
    static START: extern "C" fn() = {
        extern "C" fn start() {
            work(&HEAP, 1);
            KEPT.lock().unwrap().extend((0..100).map(|n| Block::new(&HEAP, layout(500, 8), n).unwrap()));
            RAN.store(true, Relaxed);
        }
        start
    };

    #[test]
    fn blocks_from_before_main_live_on() {
        assert!(RAN.load(Relaxed));
        KEPT.lock().unwrap().drain(..).for_each(|block| block.free(&HEAP));
    }
}

// ---- threads of C and destructors ----------------------------------------------------------------------------------

/// Runs `body` on a thread that the standard library knows nothing of.
fn on_a_c_thread(body: extern "C" fn(*mut c_void) -> *mut c_void) {
    let mut thread = core::mem::MaybeUninit::uninit();
    // SAFETY: the place is writable, and the body takes a null argument.
    let made = unsafe { libc::pthread_create(thread.as_mut_ptr(), ptr::null(), body, ptr::null_mut()) };
    assert_eq!(made, 0);
    // SAFETY: the call above succeeded, so it wrote the thread.
    let thread = unsafe { thread.assume_init() };
    // SAFETY: made above, joined once.
    assert_eq!(unsafe { libc::pthread_join(thread, ptr::null_mut()) }, 0);
}

/// A heap is made by whichever thread is first, so even one with the smallest stack there is must be able to.
#[test]
fn the_first_allocation_of_a_heap_fits_a_small_stack() {
    static FRESH: Bandolier<Os> = Bandolier::with_backend(Os);
    // Frames are larger where nothing is optimised; two heaps by value would not fit there either.
    const LEAST: usize = scaled(16, 40, 40) << 10;
    const STACK: usize = if libc::PTHREAD_STACK_MIN > LEAST { libc::PTHREAD_STACK_MIN } else { LEAST };
    isolated("the_first_allocation_of_a_heap_fits_a_small_stack", || {
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            let of = layout(64, 8);
            // SAFETY: the size is not zero.
            let block = unsafe { FRESH.alloc(of) };
            if !block.is_null() {
                // SAFETY: live, of this layout.
                unsafe { FRESH.dealloc(block, of) };
            }
            block.cast()
        }
        let mut attributes = core::mem::MaybeUninit::uninit();
        // SAFETY: a place for the attributes.
        assert_eq!(unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) }, 0);
        // SAFETY: made by the call above.
        let set = unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK) };
        assert_eq!(set, 0);
        let mut thread = core::mem::MaybeUninit::uninit();
        let (place, attributes) = (thread.as_mut_ptr(), attributes.as_ptr());
        // SAFETY: a place for the thread, attributes made above, and a body that looks at no argument.
        let made = unsafe { libc::pthread_create(place, attributes, body, ptr::null_mut()) };
        assert_eq!(made, 0);
        // SAFETY: the call above succeeded, so it wrote the thread.
        let thread = unsafe { thread.assume_init() };
        let mut block = ptr::null_mut();
        // SAFETY: made above, joined once.
        assert_eq!(unsafe { libc::pthread_join(thread, &raw mut block) }, 0);
        assert!(!block.is_null());
    });
}

/// Allocates when it is dropped, and counts that it was.
struct Late(&'static AtomicUsize);

impl Drop for Late {
    fn drop(&mut self) {
        work(&HEAP, 77);
        self.0.fetch_add(1, Relaxed);
    }
}

#[test]
fn a_thread_of_c_may_allocate() {
    isolated("a_thread_of_c_may_allocate", || {
        busy();
        let before = HEAP.stats().threads;
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            work(&HEAP, 5);
            ptr::null_mut()
        }
        (0..20).for_each(|_| on_a_c_thread(body));
        assert_eq!(HEAP.stats().threads, before);
    });
}

#[test]
fn a_destructor_registered_before_the_first_allocation_may_allocate() {
    isolated("a_destructor_registered_before_the_first_allocation_may_allocate", || {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LATE: Late = const { Late(&DROPPED) };
        }
        busy();
        let before = HEAP.stats().threads;
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            LATE.with(|_| work(&HEAP, 6));
            ptr::null_mut()
        }
        (0..20).for_each(|_| on_a_c_thread(body));
        assert_eq!(DROPPED.load(Relaxed), 20);
        assert_eq!(HEAP.stats().threads, before);
    });
}

#[test]
fn a_destructor_registered_after_the_first_allocation_may_allocate() {
    isolated("a_destructor_registered_after_the_first_allocation_may_allocate", || {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LATE: Late = const { Late(&DROPPED) };
        }
        busy();
        let before = HEAP.stats().threads;
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            work(&HEAP, 7);
            LATE.with(|_| work(&HEAP, 8));
            ptr::null_mut()
        }
        (0..20).for_each(|_| on_a_c_thread(body));
        assert_eq!(DROPPED.load(Relaxed), 20);
        assert_eq!(HEAP.stats().threads, before);
    });
}

#[test]
fn a_destructor_may_be_the_first_to_allocate() {
    isolated("a_destructor_may_be_the_first_to_allocate", || {
        static DROPPED: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static LATE: Late = const { Late(&DROPPED) };
        }
        busy();
        let before = HEAP.stats().threads;
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            LATE.with(|_| ptr::null_mut())
        }
        (0..20).for_each(|_| on_a_c_thread(body));
        assert_eq!(DROPPED.load(Relaxed), 20);
        assert_eq!(HEAP.stats().threads, before);
    });
}

#[test]
fn collections_in_thread_locals_are_dropped_at_exit() {
    isolated("collections_in_thread_locals_are_dropped_at_exit", || {
        thread_local! {
            static STORE: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
            static COUNT: Cell<usize> = const { Cell::new(0) };
        }
        busy();
        let before = HEAP.stats();
        for _ in 0..50 {
            thread::spawn(|| {
                STORE.with(|store| store.borrow_mut().extend((0..1000).map(|n| format!("{n} strings"))));
                COUNT.set(STORE.with(|store| store.borrow().len()));
            })
            .join()
            .unwrap();
        }
        let after = HEAP.stats();
        assert_eq!(after.threads, before.threads);
        assert!(after.in_use <= before.in_use + (64 << 10), "{} to {}", before.in_use, after.in_use);
    });
}

static KEY: AtomicUsize = AtomicUsize::new(0);
static KEY_RAN: AtomicUsize = AtomicUsize::new(0);

extern "C" fn at_key_exit(_: *mut c_void) {
    work(&HEAP, 9);
    KEY_RAN.fetch_add(1, Relaxed);
}

/// Asks for `at_key_exit` when the calling thread exits: after the destructors of thread-locals, on Linux.
fn want_key_exit() {
    let key = KEY.load(Relaxed) as libc::pthread_key_t;
    // SAFETY: the key was made, and a value that is not null asks for the destructor.
    assert_eq!(unsafe { libc::pthread_setspecific(key, ptr::without_provenance(1)) }, 0);
}

fn make_key() {
    let mut key = 0;
    // SAFETY: the place is writable, and the destructor takes any value.
    assert_eq!(unsafe { libc::pthread_key_create(&raw mut key, Some(at_key_exit_unsafe)) }, 0);
    KEY.store(key as usize, Relaxed);
}

unsafe extern "C" fn at_key_exit_unsafe(value: *mut c_void) {
    at_key_exit(value);
}

#[test]
fn a_key_destructor_may_allocate_when_the_cache_is_gone() {
    isolated("a_key_destructor_may_allocate_when_the_cache_is_gone", || {
        make_key();
        let (before, ran) = (HEAP.stats().threads, KEY_RAN.load(Relaxed));
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            want_key_exit();
            work(&HEAP, 10);
            ptr::null_mut()
        }
        (0..20).for_each(|_| on_a_c_thread(body));
        assert_eq!(KEY_RAN.load(Relaxed), ran + 20);
        assert_eq!(HEAP.stats().threads, before);
    });
}

#[test]
fn a_key_destructor_may_be_the_first_to_allocate() {
    isolated("a_key_destructor_may_be_the_first_to_allocate", || {
        make_key();
        let (before, ran) = (HEAP.stats(), KEY_RAN.load(Relaxed));
        extern "C" fn body(_: *mut c_void) -> *mut c_void {
            want_key_exit();
            ptr::null_mut()
        }
        (0..200).for_each(|_| on_a_c_thread(body));
        assert_eq!(KEY_RAN.load(Relaxed), ran + 200);
        let after = HEAP.stats();
        assert_eq!(after.threads, before.threads, "threads that are gone are counted for ever");
        assert!(after.in_use <= before.in_use + (64 << 10), "{} to {}", before.in_use, after.in_use);
    });
}

#[test]
fn exit_handlers_may_allocate() {
    const DONE: i32 = 42;
    extern "C" fn at_exit() {
        work(&HEAP, 12);
        let _ = HEAP.reclaim();
        work(&HEAP, 13);
        // SAFETY: ends the process, which is what is going on anyway.
        unsafe { libc::_exit(DONE) }
    }
    if role().is_some() {
        // SAFETY: the handler has no conditions.
        assert_eq!(unsafe { libc::atexit(at_exit) }, 0);
        work(&HEAP, 11);
        std::process::exit(1);
    }
    let output = child("exit_handlers_may_allocate", "exit");
    assert_eq!(output.status.code(), Some(DONE), "{output:?}");
}

// ---- many threads --------------------------------------------------------------------------------------------------

#[test]
fn ten_thousand_short_threads_leave_the_memory_of_one() {
    isolated("ten_thousand_short_threads_leave_the_memory_of_one", || {
        let life = |n| {
            thread::spawn(move || {
                let mut dice = Dice::new(n);
                let held: Vec<_> =
                    (0..50).map(|s| Block::new(&HEAP, layout(dice.size(4_000), 8), s).unwrap()).collect();
                held.into_iter().for_each(|block| block.free(&HEAP));
            })
            .join()
            .unwrap();
        };
        (0..100).for_each(life);
        busy();
        let before = HEAP.stats();
        (0..scaled(10_000, 2_000, 0) as u64).for_each(life);
        let after = HEAP.stats();
        assert_eq!(after.threads, before.threads);
        let growth = after.from_backend.saturating_sub(before.from_backend);
        assert!(growth <= Os::SEGMENT + QUARANTINE, "{growth} bytes more after the threads than before");
        assert!(after.in_use <= before.in_use + (64 << 10), "{} to {}", before.in_use, after.in_use);
        // Two magazines of a KiB for each class of a CPU that came to be used meanwhile, or of a corner of the depot.
        let by_cpus = matches!(after.locator, Locator::Hybrid | Locator::PerCpu);
        let cpus = if by_cpus { thread::available_parallelism().map_or(1, usize::from) } else { 4 };
        assert!(
            after.metadata_in_use
                <= before.metadata_in_use + (64 << 10) + cpus * 2 * SizeClass::COUNT * 1024 + QUARANTINE / 16,
            "{} to {}",
            before.metadata_in_use,
            after.metadata_in_use
        );
    });
}

#[test]
fn crowds_of_threads_come_and_go() {
    isolated("crowds_of_threads_come_and_go", || {
        busy();
        let before = HEAP.stats().threads;
        for crowd in 0..scaled(20, 5, 0) as u64 {
            let threads: Vec<_> = (0..32).map(|n| thread::spawn(move || work(&HEAP, crowd << 8 | n))).collect();
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        }
        assert_eq!(HEAP.stats().threads, before);
        HEAP.flush_thread();
        let _ = HEAP.reclaim();
        let stats = HEAP.stats();
        assert!(stats.from_backend - stats.metadata <= 8 * Os::SEGMENT, "{stats:?}");
    });
}

#[test]
fn what_a_consumer_frees_the_producer_gets_again() {
    isolated("what_a_consumer_frees_the_producer_gets_again", || {
        const WAITING: usize = 200;
        // What both threads' magazines, the depot and two segments may hold besides.
        const SLACK: usize = 16 << 20;
        for (size, rounds) in [(1000, scaled(400_000, 60_000, 0)), (8_000, 60_000), (40_000, 20_000)] {
            busy();
            let before = HEAP.stats().from_backend;
            let (send, receive) = sync_channel::<Block>(WAITING);
            let consumer = thread::spawn(move || receive.into_iter().for_each(|block| block.free(&HEAP)));
            let mut most = 0;
            for n in 0..rounds {
                send.send(Block::new(&HEAP, layout(size, 8), n as u64).unwrap()).unwrap();
                if n % 100 == 0 {
                    most = most.max(HEAP.stats().from_backend);
                }
            }
            drop(send);
            consumer.join().unwrap();
            let bound = WAITING * rounded::<Os>(layout(size, 8)).max(size.next_power_of_two()) + SLACK + QUARANTINE;
            assert!(rounds * size > 2 * bound, "the test proves nothing");
            let growth = most.saturating_sub(before);
            assert!(growth <= bound, "{growth} bytes of growth with blocks of {size}");
        }
    });
}

// ---- two heaps -----------------------------------------------------------------------------------------------------

/// A thread has a cache for the heap of the process, one for the first other heap, and none for the next.
#[test]
fn three_heaps_work_beside_each_other_on_every_thread() {
    static SECOND: Bandolier<FromGlobal<System>> = Bandolier::with_backend(FromGlobal::new(&System));
    static THIRD: Bandolier<Os> = Bandolier::with_backend(Os);
    fn free((heap, block): (usize, Block)) {
        match heap {
            0 => block.free(&HEAP),
            1 => block.free(&SECOND),
            _ => block.free(&THIRD),
        }
    }
    let threads: Vec<_> = (0..4_u64)
        .map(|seed| {
            thread::spawn(move || {
                let mut dice = Dice::new(seed);
                let mut held: Vec<(usize, Block)> = Vec::new();
                for turn in 0..scaled(20_000, 4_000, 0) as u64 {
                    if dice.below(2) == 0 || held.is_empty() {
                        let (layout, heap, stamp) = (dice.layout(1 << 20), dice.below(3), seed << 40 | turn);
                        let block = match heap {
                            0 => Block::new(&HEAP, layout, stamp),
                            1 => Block::new(&SECOND, layout, stamp),
                            _ => Block::new(&THIRD, layout, stamp),
                        };
                        held.push((heap, block.unwrap()));
                    } else {
                        free(held.swap_remove(dice.below(held.len())));
                    }
                }
                held.into_iter().for_each(free);
            })
        })
        .collect();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!((SECOND.stats().in_use, SECOND.stats().threads), (0, 0));
    assert_eq!((THIRD.stats().in_use, THIRD.stats().threads), (0, 0));
    let _ = (SECOND.reclaim(), THIRD.reclaim());
    assert_eq!(SECOND.stats().from_backend, SECOND.stats().metadata);
    assert_eq!(THIRD.stats().from_backend, THIRD.stats().metadata);
}

#[test]
fn all_names_of_the_heap_of_the_process_mean_the_same_heap() {
    let (one, other) = (Bandolier::new(), Bandolier::new().without_thread_caches());
    let of = layout(5 << 20, 8);
    let block = Block::new(&one, of, 7).unwrap();
    assert!(HEAP.stats().large >= of.size());
    drop(one);
    block.free(&other);
    let small = Block::new(&other, layout(64, 8), 8).unwrap();
    drop(other);
    small.free(&HEAP);
    assert!(HEAP.stats().from_backend > 0, "a name that goes takes nothing away");
}
