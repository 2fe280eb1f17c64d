//! Magazines of CPUs: restartable sequences under everything that restarts them, and what comes back.

#![cfg(all(
    feature = "std",
    target_os = "linux",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64"),
    not(miri)
))]

mod common;

use bandolier::{Bandolier, Locator, Os};
use common::forbid::forbid;
use common::{Block, Dice, Metered, child_with, layout, role, scaled};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

/// More than CPUs, so that they are preempted.
const THREADS: usize = 16;
const TURNS: usize = scaled(300_000, 40_000, 0);

type Heap = Bandolier<Os>;

/// Takes and frees blocks of few classes, each checked from end to end.
fn busy(heap: &Heap, seed: u64, turns: usize) {
    let mut dice = Dice::new(seed);
    let mut held: Vec<Block> = Vec::new();
    for turn in 0..turns as u64 {
        if held.len() < 20 && dice.below(2) == 0 {
            let size = [16, 48, 64, 200][dice.below(4)];
            held.push(Block::new(heap, layout(size, 8), seed << 40 | turn).unwrap());
        } else if !held.is_empty() {
            held.swap_remove(dice.below(held.len())).free(heap);
        }
    }
    held.into_iter().for_each(|block| block.free(heap));
}

/// A crowd at work while `beside` goes on; then nothing is lost.
fn crowd(heap: &Heap, turns: usize, beside: impl Fn(&[libc::pid_t])) {
    let together = Barrier::new(THREADS + 1);
    let over = AtomicUsize::new(0);
    let threads = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let (together, over, threads) = (&together, &over, &threads);
        for seed in 0..THREADS as u64 {
            scope.spawn(move || {
                // SAFETY: no conditions.
                threads.lock().unwrap().push(unsafe { libc::gettid() });
                together.wait();
                busy(heap, seed, turns);
                over.fetch_add(1, Relaxed);
                // A thread that is told something must be there.
                together.wait();
            });
        }
        together.wait();
        let threads = threads.lock().unwrap().clone();
        while over.load(Relaxed) < THREADS {
            beside(&threads);
        }
        together.wait();
    });
    nothing_lost(heap);
}

fn nothing_lost(heap: &Heap) {
    assert_eq!((heap.stats().in_use, heap.stats().threads), (0, 0));
    assert_eq!((heap.stats().locator, heap.stats().why), (Locator::PerCpu, None));
    let _ = heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.in_use, stats.cached), (0, 0));
    assert_eq!(stats.from_backend, stats.metadata);
}

#[test]
fn preempted() {
    let heap = Bandolier::with_backend(Os).per_cpu();
    crowd(&heap, TURNS, |_| thread::sleep(Duration::from_millis(1)));
}

#[test]
fn moved_from_cpu_to_cpu() {
    let heap = Bandolier::with_backend(Os).per_cpu();
    let cpus: Vec<_> = {
        let mut set = MaybeUninit::<libc::cpu_set_t>::zeroed();
        // SAFETY: a place for the set of the calling thread.
        unsafe { libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), set.as_mut_ptr()) };
        // SAFETY: all zeros is an empty set already.
        let set = unsafe { set.assume_init() };
        // SAFETY: within the set.
        (0..libc::CPU_SETSIZE as usize).filter(|&cpu| unsafe { libc::CPU_ISSET(cpu, &set) }).collect()
    };
    let next = core::cell::Cell::new(0_usize);
    crowd(&heap, TURNS, |threads| {
        for &thread in threads {
            next.set(next.get() + 1);
            // SAFETY: all zeros is an empty set.
            let mut set = unsafe { MaybeUninit::<libc::cpu_set_t>::zeroed().assume_init() };
            // SAFETY: one of the bits of the set.
            unsafe { libc::CPU_SET(cpus[next.get() * 7 / 3 % cpus.len()], &mut set) };
            // SAFETY: a set of that size; the thread is there until the crowd is over.
            unsafe { libc::sched_setaffinity(thread, size_of::<libc::cpu_set_t>(), &raw const set) };
        }
        thread::yield_now();
    });
}

#[test]
fn interrupted_by_signals() {
    extern "C" fn nothing(_: libc::c_int) {}
    let heap = Bandolier::with_backend(Os).per_cpu();
    // SAFETY: a handler that does nothing, for a signal that nobody uses here.
    unsafe { libc::signal(libc::SIGUSR2, nothing as extern "C" fn(libc::c_int) as libc::sighandler_t) };
    let process = std::process::id();
    crowd(&heap, TURNS, |threads| {
        for &thread in threads {
            // SAFETY: the thread is there until the crowd is over.
            unsafe { libc::syscall(libc::SYS_tgkill, process, thread, libc::SIGUSR2) };
        }
    });
}

#[test]
fn drained_meanwhile() {
    let heap = Bandolier::with_backend(Os).per_cpu();
    crowd(&heap, TURNS, |_| {
        let _ = heap.reclaim();
        thread::sleep(Duration::from_micros(300));
    });
}

#[test]
fn drained_by_several_at_once() {
    let heap = Bandolier::with_backend(Os).per_cpu();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let drainers: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    while !over.load(Relaxed) {
                        let _ = heap.reclaim();
                    }
                })
            })
            .collect();
        let busy: Vec<_> = (0..4)
            .map(|seed| {
                scope.spawn({
                    let heap = &heap;
                    move || busy(heap, seed, TURNS / 4)
                })
            })
            .collect();
        busy.into_iter().for_each(|thread| thread.join().unwrap());
        over.store(true, Relaxed);
        drainers.into_iter().for_each(|thread| thread.join().unwrap());
    });
    nothing_lost(&heap);
}

/// The child has the CPUs' magazines as they were, and works on.
#[test]
fn forked_in_the_middle() {
    static HEAP: Heap = Bandolier::with_backend(Os).per_cpu();
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let crowd: Vec<_> = (0..4)
            .map(|seed| {
                let over = &over;
                scope.spawn(move || {
                    let mut seed = seed << 20;
                    while !over.load(Relaxed) {
                        seed += 1;
                        busy(&HEAP, seed, 1000);
                    }
                })
            })
            .collect();
        for _ in 0..scaled(200, 100, 0) {
            // SAFETY: the child calls nothing but the heap, which takes no lock, and exits.
            let child = unsafe { libc::fork() };
            if child == 0 {
                for size in [16, 48, 64, 200, 1000] {
                    for _ in 0..200 {
                        let of = layout(size, 8);
                        // SAFETY: the size is not zero.
                        let block = unsafe { core::alloc::GlobalAlloc::alloc(&HEAP, of) };
                        if block.is_null() {
                            // SAFETY: ends the child.
                            unsafe { libc::_exit(1) };
                        }
                        // SAFETY: live, of this layout.
                        unsafe { core::alloc::GlobalAlloc::dealloc(&HEAP, block, of) };
                    }
                }
                // SAFETY: ends the child.
                unsafe { libc::_exit(0) };
            }
            let mut status = 0;
            // SAFETY: a place for the status of a child of ours.
            assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
            assert_eq!(status, 0);
        }
        over.store(true, Relaxed);
        crowd.into_iter().for_each(|thread| thread.join().unwrap());
    });
    assert_eq!(HEAP.stats().in_use, 0);
}

/// What sleeping threads have used lies with the CPUs, and a reclaim takes it from there.
#[test]
fn sleeping_threads_hold_nothing() {
    let (backend, account) = Metered::new(Os);
    let heap = Arc::new(Bandolier::with_backend(backend).per_cpu());
    let (used, over) = (Arc::new(Barrier::new(101)), Arc::new(Barrier::new(101)));
    let threads: Vec<_> = (0..100_u64)
        .map(|seed| {
            let (heap, used, over) = (heap.clone(), used.clone(), over.clone());
            thread::spawn(move || {
                let mut dice = Dice::new(seed);
                let blocks: Vec<_> =
                    (0..50).map(|n| Block::new(&*heap, layout(dice.size(4096), 8), seed << 32 | n).unwrap()).collect();
                blocks.into_iter().for_each(|block| block.free(&*heap));
                used.wait();
                over.wait();
            })
        })
        .collect();
    used.wait();
    assert_eq!((heap.stats().in_use, heap.stats().threads), (0, 0));
    assert_eq!((heap.stats().locator, heap.stats().why), (Locator::PerCpu, None));
    let _ = heap.reclaim();
    assert_eq!(heap.stats().cached, 0);
    assert_eq!(account.outstanding(), heap.stats().metadata);
    over.wait();
    threads.into_iter().for_each(|thread| thread.join().unwrap());
}

/// Where the libc was told to register nothing, or the kernel does not let us, threads have their own magazines, and all goes as well.
#[test]
fn without_restartable_sequences() {
    if role().is_some() {
        if cfg!(not(target_env = "gnu")) {
            forbid(libc::SYS_rseq, libc::EPERM);
        }
        let heap = Bandolier::with_backend(Os).per_cpu();
        let of = layout(64, 8);
        Block::new(&heap, of, 1).unwrap().free(&heap);
        assert_eq!(heap.stats().threads, 1, "the thread has its own magazines");
        assert_eq!(heap.stats().locator, Locator::PerThread);
        let cause = if cfg!(target_env = "gnu") { "tunable" } else { "the kernel registers no" };
        assert!(heap.stats().why.is_some_and(|why| why.contains(cause)), "{:?}", heap.stats().why);
        heap.flush_thread();
        thread::scope(|scope| {
            (0..4).for_each(|seed| {
                _ = scope.spawn({
                    let heap = &heap;
                    move || busy(heap, seed, 10_000)
                })
            })
        });
        // They have ended, but for their exit hooks.
        while heap.stats().threads > 1 {
            thread::yield_now();
        }
        assert_eq!(heap.stats().in_use, 0);
        return;
    }
    let output = child_with("without_restartable_sequences", "here", "GLIBC_TUNABLES", "glibc.pthread.rseq=0");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A thread gets magazines of its own for what it uses much, gives those up that it uses no longer, and never has more than so
/// many bytes in them.
#[test]
fn hybrids_earn_and_cool() {
    let heap = Bandolier::with_backend(Os).hybrid();
    let trade = |size: usize, times: u64| {
        for turn in 0..times {
            let blocks: Vec<_> =
                (0..400).map(|n| Block::new(&heap, layout(size, 8), turn << 32 | n).unwrap()).collect();
            blocks.into_iter().for_each(|block| block.free(&heap));
        }
    };
    let small = [16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 640, 768, 896, 1024];
    let every_class = || small.into_iter().for_each(|bytes| trade(bytes, 10));
    // In the magazines of this thread and of the CPUs.
    let cached = || {
        let _ = heap.drain();
        heap.stats().cached
    };
    // In those of this thread, which then has none.
    let own = || {
        let before = cached();
        heap.flush_thread();
        before - cached()
    };
    let mut dice = Dice::new(1);
    let blocks: Vec<_> = (0..200).map(|n| Block::new(&heap, layout(dice.size(8192), 8), n).unwrap()).collect();
    blocks.into_iter().for_each(|block| block.free(&heap));
    assert_eq!(heap.stats().threads, 0, "nothing is earned by 200 blocks of many sizes");
    thread::scope(|scope| {
        scope.spawn(|| {
            let blocks: Vec<_> = (0..200).map(|n| Block::new(&heap, layout(64, 8), n).unwrap()).collect();
            blocks.into_iter().for_each(|block| block.free(&heap));
            assert_eq!(heap.stats().threads, 0, "nor by 200 of one");
        });
    });
    trade(64, 40);
    assert_eq!(heap.stats().threads, 1);
    every_class();
    let hot = cached();
    trade(64, 4000);
    let gone = hot - cached();
    assert!((256 << 10..=(1 << 20) + (128 << 10)).contains(&gone), "{gone} of {hot}");
    let cool = own();
    assert!(cool < 64 << 10, "{cool} of one class, and {gone} were given up");
    // And once more: what was given up is earned again.
    every_class();
    let again = own();
    assert!(again > 256 << 10, "{again} after {cool}");
}

/// After a sequence the kernel is told of none: this code may be unloaded, and the kernel looks at what was announced last.
#[cfg(all(target_arch = "x86_64", target_env = "gnu"))]
#[test]
fn no_sequence_stays_announced() {
    // SAFETY: a name that ends with a zero.
    let offset = unsafe { libc::dlsym(libc::RTLD_DEFAULT, c"__rseq_offset".as_ptr()) };
    // SAFETY: null, or glibc's, of type `ptrdiff_t`.
    let offset = unsafe { offset.cast::<isize>().as_ref() };
    let heap = Bandolier::with_backend(Os).per_cpu();
    Block::new(&heap, layout(64, 8), 0).unwrap().free(&heap);
    assert_eq!((heap.stats().locator, heap.stats().why), (Locator::PerCpu, None));
    let mut thread: *const u8;
    // SAFETY: reads the thread pointer.
    unsafe { core::arch::asm!("mov {}, fs:0", out(reg) thread, options(pure, readonly, nostack, preserves_flags)) };
    let announced = thread.wrapping_offset(*offset.unwrap() + 8).cast::<u64>();
    for n in 0..100 {
        let block = Block::new(&heap, layout(64, 8), n).unwrap();
        // SAFETY: the thread's own record.
        assert_eq!(unsafe { announced.read_volatile() }, 0);
        block.free(&heap);
        // SAFETY: as above.
        assert_eq!(unsafe { announced.read_volatile() }, 0);
    }
    let _ = heap.reclaim();
    // SAFETY: as above.
    assert_eq!(unsafe { announced.read_volatile() }, 0);
}

/// A program that cannot be built anew is told by the environment, and one that has chosen for itself is not.
#[test]
fn the_environment_tells() {
    static HEAP: Bandolier = Bandolier::new();
    static CHOSEN: Bandolier = Bandolier::new().per_cpu();
    let Some(role) = role() else {
        for told in ["per-thread", "per-cpu", "hybrid", "nonsense", ""] {
            let output = child_with("the_environment_tells", told, "BANDOLIER_CACHES", told);
            assert!(output.status.success(), "{told}: {}", String::from_utf8_lossy(&output.stderr));
        }
        return;
    };
    let of = layout(64, 8);
    Block::new(&HEAP, of, 1).unwrap().free(&HEAP);
    let (locator, threads) = match role.as_str() {
        "per-thread" => (Locator::PerThread, 1),
        "per-cpu" => (Locator::PerCpu, 0),
        _ => (Locator::Hybrid, 0),
    };
    assert_eq!((HEAP.stats().locator, HEAP.stats().why, HEAP.stats().threads), (locator, None, threads));
    assert_eq!(CHOSEN.stats().locator, Locator::PerCpu);
    // Much of one class is a thread's own in a hybrid alone.
    for n in 0..20_000 {
        Block::new(&HEAP, of, n).unwrap().free(&HEAP);
    }
    assert_eq!(HEAP.stats().threads, usize::from(locator != Locator::PerCpu));
}

/// One thread may register its record, and another may not: what either finds first holds for both.
#[cfg(not(target_env = "gnu"))]
#[test]
fn one_thread_is_refused() {
    if let Some(role) = role() {
        let delay: usize = role.parse().unwrap();
        let heap = Bandolier::with_backend(Os).per_cpu();
        let there = AtomicUsize::new(0);
        // At the very same moment, and again when both have looked.
        let meet = |number| {
            there.fetch_add(1, Relaxed);
            while there.load(Relaxed) < number {
                core::hint::spin_loop();
            }
        };
        thread::scope(|scope| {
            for refused in [false, true] {
                let (heap, meet) = (&heap, &meet);
                scope.spawn(move || {
                    if refused {
                        forbid(libc::SYS_rseq, libc::EPERM);
                    }
                    meet(2);
                    (0..if refused { delay } else { 0 }).for_each(|_| core::hint::spin_loop());
                    Block::new(heap, layout(64, 8), 1).unwrap().free(heap);
                    meet(4);
                    busy(heap, 1, 1000);
                });
            }
        });
        // They have ended, but for their exit hooks.
        while heap.stats().threads > 0 {
            thread::yield_now();
        }
        assert_eq!(heap.stats().in_use, 0);
        return;
    }
    for n in 0..scaled(300, 50, 0) {
        let output = common::child("one_thread_is_refused", &(n % 30 * 50).to_string());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A thread that has earned magazines of one hybrid works for its CPU in another: there is one heap only of which it has its own.
#[test]
fn a_second_hybrid_has_cpus() {
    let hybrid = || Bandolier::with_backend(Os).hybrid();
    let heaps = [hybrid(), hybrid(), Bandolier::with_backend(Os).without_thread_caches()];
    for heap in &heaps {
        let blocks: Vec<_> = (0..2000).map(|n| Block::new(heap, layout(64, 8), n).unwrap()).collect();
        blocks.into_iter().for_each(|block| block.free(heap));
    }
    assert_eq!(heaps.each_ref().map(|heap| heap.stats().threads), [1, 0, 0]);
    // A table of CPUs takes 64 KiB of addresses.
    let [_, second, shared] = heaps.each_ref().map(|heap| heap.stats().metadata);
    assert!(second >= shared + (64 << 10), "{second}, and {shared} with slots");
}
