//! What the benches share: the allocators, called as objects, and a crew of threads that run one operation.
//!
//! Bandolier is the global allocator too, so that its thread caches live as they do in a program. frusa, whose own
//! benchmark `seed` is, cannot be here: its library needs an unstable feature. `benches/peers` has it, and the
//! allocators written in C and C++.

use bandolier::Bandolier;
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::NonNull;
use core::time::Duration;
use criterion::Criterion;
use spinning_top::RawSpinlock;
use std::alloc::{System, handle_alloc_error};
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use talc::TalcLock;
use talc::source::GlobalAllocSource;

#[global_allocator]
pub(crate) static HEAP: Bandolier = Bandolier::new();

/// Behind the lock and on the source that its own example has.
pub(crate) static TALC: TalcLock<RawSpinlock, GlobalAllocSource<System>> =
    TalcLock::new(GlobalAllocSource::new(System));

/// Powers of two: what the machine has, and more than it has.
pub(crate) const THREADS: [usize; 4] = [1, 2, 4, 8];

/// Short enough that a bench is a matter of a minute.
pub(crate) fn config() -> Criterion {
    let (warm_up, measure) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measure)
}

/// A block of `heap`, and not of size zero; the optimiser does not see through it.
#[inline(always)]
pub(crate) fn taken<A: GlobalAlloc>(heap: &A, layout: Layout) -> NonNull<u8> {
    assert!(layout.size() > 0);
    // SAFETY: as asserted, the size is above zero.
    let block = black_box(unsafe { heap.alloc(layout) });
    NonNull::new(block).unwrap_or_else(|| handle_alloc_error(layout))
}

/// Runs an operation `each` times on each of `threads` threads: from the first to begin to the last to end.
///
/// Every thread makes its own operation with `start`, then all wait for each other. They are spawned even when there
/// is one, for glibc leaves out its locks on a process' only thread.
pub(crate) fn contended<Op: FnMut()>(threads: usize, each: u64, start: impl Fn(usize) -> Op + Sync) -> Duration {
    let barrier = Barrier::new(threads);
    let shift = |thread| {
        let mut op = start(thread);
        barrier.wait();
        let began = Instant::now();
        (0..each).for_each(|_| op());
        (began, Instant::now())
    };
    let shifts = crew(threads, shift);
    let began = shifts.iter().map(|&(began, _)| began).min();
    let ended = shifts.iter().map(|&(_, ended)| ended).max();
    ended.zip(began).map_or(Duration::ZERO, |(ended, began)| ended - began)
}

/// What `shift` returns on each of `threads` threads, all at once.
fn crew<T: Send>(threads: usize, shift: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let shift = &shift;
    thread::scope(|scope| {
        let crew: Vec<_> = (0..threads).map(|thread| scope.spawn(move || shift(thread))).collect();
        crew.into_iter().map(|one| one.join().expect("an operation does not panic")).collect()
    })
}
