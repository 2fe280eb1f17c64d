//! Heaps that come and go, with and without thread caches, one after the other and side by side.

mod common;

use bandolier::{Backend, Bandolier, FromGlobal};
use common::{Account, Block, Dice, Metered, layout, scaled, shared, threaded};
use core::alloc::GlobalAlloc;
use std::alloc::System;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;

fn from_system() -> FromGlobal<System> {
    FromGlobal::new(&System)
}

/// Blocks of many sizes; those that are not freed again.
fn work<B: Backend>(heap: &Bandolier<B>, seed: u64, keep: usize) -> Vec<Block> {
    let mut dice = Dice::new(seed);
    let mut held = Vec::new();
    for stamp in 0..scaled(2_000, 500, 30) as u64 {
        held.push(Block::new(heap, dice.layout(1 << 20), seed << 32 | stamp).unwrap());
        if held.len() > keep.max(50) {
            held.swap_remove(dice.below(held.len())).free(heap);
        }
    }
    held.drain(keep..).for_each(|block| block.free(heap));
    held
}

/// With blocks live, and chunks in magazines, slots, the depot and half-empty slabs.
#[test]
fn a_dropped_heap_gives_back_what_was_in_use_too() {
    for (heap, account) in [shared(from_system()), threaded(from_system())] {
        let mut held = work(&heap, 1, 40);
        held.push(Block::new(&heap, layout(3 << 20, 8), 1).unwrap());
        held.iter().for_each(Block::check);
        drop(heap);
        assert!(account.peak() > 0);
        // Large blocks are the back-end's own, known to nobody but the program: those it must give back itself.
        let large = held.iter().filter(|block| is_large::<FromGlobal<System>>(&block.layout()));
        let mut bytes = 0;
        for block in large {
            bytes += block.layout().size();
            // SAFETY: the heap had it from there with this layout, and is gone.
            unsafe { System.dealloc(block.start().as_ptr(), block.layout()) };
        }
        assert!(bytes > 0, "no block was large");
        assert_eq!(account.outstanding(), bytes);
    }
}

fn is_large<B: Backend>(layout: &core::alloc::Layout) -> bool {
    layout.size() > B::SEGMENT / 2 || layout.align() > B::UNIT
}

#[test]
fn a_heap_without_thread_caches_goes_while_its_threads_live() {
    let (heap, account) = shared(from_system());
    let heap = Arc::new(heap);
    let (send, receive) = channel::<()>();
    let (done, wait) = channel();
    let threads: Vec<_> = (0..3)
        .map(|seed| {
            let (heap, done) = (heap.clone(), done.clone());
            let (stop, stopped) = channel::<()>();
            let thread = thread::spawn(move || {
                work(&heap, seed, 0);
                drop(heap);
                done.send(()).unwrap();
                assert!(stopped.recv().is_err(), "woken by the end of the test only");
            });
            (stop, thread)
        })
        .collect();
    (0..3).for_each(|_| wait.recv().unwrap());
    drop((send, receive));
    assert_eq!(heap.stats().threads, 0);
    assert_eq!(heap.stats().in_use, 0);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
    for (stop, thread) in threads {
        drop(stop);
        thread.join().unwrap();
    }
}

/// A thread that has used runs only has no magazines to hand in, so nobody waits for it.
#[test]
fn a_heap_with_thread_caches_does_not_wait_for_who_has_none() {
    let (heap, account) = threaded(from_system());
    let heap = Arc::new(heap);
    let (stop, stopped) = channel::<()>();
    let (done, wait) = channel();
    let thread = thread::spawn({
        let heap = heap.clone();
        move || {
            Block::new(&*heap, layout(100_000, 8), 1).unwrap().free(&*heap);
            drop(heap);
            done.send(()).unwrap();
            assert!(stopped.recv().is_err(), "woken by the end of the test only");
        }
    });
    wait.recv().unwrap();
    assert_eq!(heap.stats().threads, 0);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
    drop(stop);
    thread.join().unwrap();
}

#[test]
fn a_heap_with_thread_caches_goes_after_its_threads() {
    let (heap, account) = threaded(from_system());
    let heap = Arc::new(heap);
    let threads: Vec<_> = (0..3)
        .map(|seed| {
            let heap = heap.clone();
            thread::spawn(move || work(&heap, seed, 0).into_iter().for_each(|block| block.free(&*heap)))
        })
        .collect();
    work(&heap, 9, 0);
    threads.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(heap.stats().threads, 1);
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

/// The one case in which a heap cannot be torn down: a thread still keeps magazines of it. It must not crash.
#[test]
fn a_heap_whose_thread_lives_on_is_leaked_and_not_torn_down() {
    let (heap, account) = threaded(from_system());
    let heap = Arc::new(heap);
    let (done, wait) = channel();
    let (stop, stopped) = channel::<()>();
    let other = heap.clone();
    let thread = thread::spawn(move || {
        work(&other, 3, 0);
        drop(other);
        done.send(()).unwrap();
        assert!(stopped.recv().is_err());
    });
    wait.recv().unwrap();
    assert_eq!(heap.stats().threads, 1);
    drop(heap);
    assert!(account.outstanding() > 0);
    drop(stop);
    thread.join().unwrap();
}

/// A thread that is free again works for the next heap with a cache of its own.
#[test]
fn heaps_follow_each_other_on_one_thread() {
    for seed in 0..scaled(50, 20, 3) as u64 {
        let (heap, account): (Bandolier<Metered<_>>, Arc<Account>) = threaded(from_system());
        let held = work(&heap, seed, 3);
        assert_eq!(heap.stats().threads, 1);
        held.into_iter().for_each(|block| block.free(&heap));
        assert_eq!(heap.stats().in_use, 0);
        drop(heap);
        assert_eq!(account.outstanding(), 0);
    }
}

#[test]
fn two_heaps_side_by_side_do_not_mix() {
    let (first, first_account) = threaded(from_system());
    let (second, second_account) = threaded(from_system());
    for n in 0..scaled(5_000, 1_000, 30) as u64 {
        let a = Block::new(&first, layout(64, 8), n).unwrap();
        let b = Block::new(&second, layout(64, 8), n).unwrap();
        a.free(&first);
        b.free(&second);
    }
    assert_eq!((first.stats().threads, second.stats().threads), (1, 0));
    assert_eq!((first.stats().in_use, second.stats().in_use), (0, 0));
    drop(first);
    assert_eq!(first_account.outstanding(), 0);
    work(&second, 4, 0);
    // The thread is free since the first heap went, so it works for the second now.
    assert_eq!(second.stats().threads, 1);
    drop(second);
    assert_eq!(second_account.outstanding(), 0);
}

#[test]
fn a_heap_that_was_never_used_draws_and_returns_nothing() {
    for (heap, account) in [shared(from_system()), threaded(from_system())] {
        let _ = heap.reclaim();
        heap.flush_thread();
        drop(heap);
        assert_eq!((account.calls(), account.peak(), account.outstanding()), (0, 0, 0));
    }
}
