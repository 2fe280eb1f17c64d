//! Small storms on a small arena, for tools that look at every access: Miri with many seeds, and the sanitizers.
//!
//! Threads share nothing but the heap: each writes to what it gets and reads it back, and no channel or lock orders one after the
//! other. So what orders the last owner of a block before the next is the heap's own, and where that is missing, the two are a
//! data race.

mod common;

use bandolier::{Arena, Bandolier};
use common::{Dice, layout, turns};
use core::alloc::{GlobalAlloc, Layout};
use std::thread;

/// Small enough for units of a page, so that the largest chunk has 2 KiB, and magazines of it eight rounds.
const BYTES: usize = 1 << 20;
type Heap = Bandolier<&'static Arena<BYTES>>;

const TURNS: usize = turns(20_000, 2_000, 2);
const THREADS: u64 = if cfg!(miri) { 2 } else { 4 };

/// One class, so that threads meet, and one whose magazines are soon full.
const CHUNKS: &[usize] = &[2048];
/// Runs of one to three units.
const RUNS: &[usize] = &[4096, 9000];

/// A block that is written at both ends.
struct Held(*mut u64, Layout);

impl Held {
    fn new(heap: &Heap, size: usize, mark: u64) -> Option<Self> {
        let of = layout(size, 8);
        // SAFETY: the size is not zero.
        let start = unsafe { heap.alloc(of) }.cast::<u64>();
        (!start.is_null()).then_some(())?;
        let held = Self(start, of);
        held.ends().for_each(|word| {
            // SAFETY: inside the block, which is ours.
            unsafe { word.write(mark) }
        });
        Some(held)
    }

    /// The first whole word and the last.
    fn ends(&self) -> impl Iterator<Item = *mut u64> {
        let last = self.1.size() / size_of::<u64>() - 1;
        [self.0, self.0.wrapping_add(last)].into_iter()
    }

    fn free(self, heap: &Heap, mark: u64) {
        for word in self.ends() {
            // SAFETY: inside the block, which is ours, and written by `new`.
            assert_eq!(unsafe { word.read() }, mark, "somebody else has this block of {} bytes too", self.1.size());
        }
        // SAFETY: live, of this layout.
        unsafe { heap.dealloc(self.0.cast(), self.1) };
    }
}

/// Takes more blocks than two magazines hold and gives them back, so that every turn trades.
fn burst(heap: &Heap, sizes: &[usize], dice: &mut Dice) {
    let mark = dice.next();
    let count = if sizes == RUNS { 3 } else { 18 };
    let size = sizes[dice.below(sizes.len())];
    let held: Vec<_> = (0..count).filter_map(|_| Held::new(heap, size, mark)).collect();
    held.into_iter().for_each(|held| held.free(heap, mark));
}

/// Threads that do the same, one that reclaims beside them, and a reckoning.
fn storm(heap: &'static Heap, sizes: &'static [usize], reclaim: fn(&Heap)) {
    let work = move |number| {
        let mut dice = Dice::new(number);
        (0..TURNS).for_each(|_| burst(heap, sizes, &mut dice));
    };
    let crowd: Vec<_> = (0..THREADS).map(|number| thread::spawn(move || work(number))).collect();
    (0..TURNS.div_ceil(2)).for_each(|_| reclaim(heap));
    crowd.into_iter().for_each(|thread| thread.join().unwrap());
    // Of no interest to Miri, and as much work for it as all of the above.
    if !cfg!(miri) {
        let _ = heap.reclaim();
        assert_eq!((heap.stats().cached, heap.stats().from_backend), (0, heap.stats().metadata));
    }
    assert_eq!(heap.stats().in_use, 0);
}

/// A heap of its own for each test.
macro_rules! heap {
    ($($caches:ident)?) => {{
        static ARENA: Arena<BYTES> = Arena::new();
        static HEAP: Heap = Bandolier::with_backend(&ARENA)$(.$caches())?;
        &HEAP
    }};
}

#[test]
fn chunks_change_hands_between_threads_with_caches() {
    storm(heap!(), CHUNKS, |heap| _ = heap.drain());
}

#[test]
fn chunks_change_hands_through_shared_slots() {
    storm(heap!(without_thread_caches), CHUNKS, |heap| _ = heap.drain());
}

#[test]
fn threads_are_searched_while_they_work() {
    storm(heap!(), CHUNKS, |heap| _ = heap.reclaim());
}

#[test]
fn chunks_change_hands_while_they_are_trimmed() {
    storm(heap!(), CHUNKS, |heap| _ = heap.trim());
}

/// Who asks for figures looks at magazines that are others', some of them made just now. A thread that has traded nothing yet
/// has told nobody of them by any other way.
#[test]
fn figures_are_asked_for_while_threads_begin() {
    let heap = heap!();
    let first = Held::new(heap, 16, 0);
    let begin = |number| {
        let held: Vec<_> = (1..=32).rev().filter_map(|n| Held::new(heap, 64 * n, number)).collect();
        held.into_iter().for_each(|held| held.free(heap, number));
    };
    let crowd: Vec<_> = (0..THREADS).map(|number| thread::spawn(move || begin(number))).collect();
    let _ = heap.stats();
    crowd.into_iter().for_each(|thread| thread.join().unwrap());
    first.into_iter().for_each(|held| held.free(heap, 0));
    heap.flush_thread();
    assert_eq!(heap.stats().in_use, 0);
}

#[test]
fn runs_change_hands() {
    storm(heap!(), RUNS, |heap| _ = heap.drain());
}
