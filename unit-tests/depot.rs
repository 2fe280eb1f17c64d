//! What lies on the shelves, what is left there, and how large magazines are.

use super::*;
use crate::magazine::Round;
use crate::unit_support::{Bench, PAGE};
use core::alloc::Layout;
use std::vec::Vec;

const HOME: Home = Home::COMMON;
const ABROAD: Home = Home::nth(1);

fn class(bytes: usize) -> SizeClass {
    SizeClass::of(Layout::array::<u8>(bytes).unwrap()).unwrap()
}

/// A depot, and where its magazines are from.
struct Store {
    bench: Bench,
    depot: Depot,
}

impl Store {
    fn new() -> Self {
        Self { bench: Bench::new(), depot: Depot::new() }
    }

    fn arm(&self, class: SizeClass) -> Top {
        self.depot.arm(self.bench.supply(), class, HOME).unwrap()
    }

    /// Gives a magazine with so many rounds, none of which is looked at.
    fn give(&self, class: SizeClass, rounds: usize, home: Home) {
        let mut top = self.arm(class);
        for round in 1..=rounds {
            // SAFETY: the magazine is ours.
            top = unsafe { top.push(Round::new(core::ptr::without_provenance_mut(16 * round)).unwrap()) }.unwrap();
        }
        self.depot.give(class, top, home);
    }

    /// Takes all rounds out of a magazine, and puts it onto the rack at home.
    #[cfg(not(feature = "hardened"))]
    fn empty(&self, top: Top) {
        // SAFETY: ours.
        let (_, empty) = unsafe { top.take_all() };
        self.depot.discard(empty, HOME);
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { self.depot.release(self.bench.supply()) };
    }
}

fn rounds(tops: impl Iterator<Item = Top>) -> Vec<u16> {
    tops.map(|top| top.rounds().0).collect()
}

#[test]
fn capacities_are_bounded_in_rounds_and_in_bytes() {
    for class in SizeClass::all() {
        for capacities in &CAPACITIES {
            let rounds = usize::from(capacities[class].0);
            assert!((2..=MOST_ROUNDS).contains(&rounds));
            assert!(rounds == 2 || rounds * class.bytes() <= MAGAZINE_BYTES_GROWN);
        }
    }
    let capacity = |bytes, doublings: usize| CAPACITIES[doublings][class(bytes)];
    assert_eq!(capacity(16, 0), Rounds(125));
    assert_eq!(capacity(256, 0), Rounds(64));
    assert_eq!(capacity(256, 1), Rounds(125));
    assert_eq!(capacity(1024, 0), Rounds(16));
    assert_eq!(capacity(1024, 1), Rounds(32));
    assert_eq!(capacity(1024, 2), Rounds(64));
    assert_eq!(capacity(6144, 0), Rounds(2));
    assert_eq!(capacity(5120, 0), Rounds(3));
    assert_eq!(capacity(32 << 10, 0), Rounds(2));
    assert_eq!(capacity(32 << 10, DOUBLINGS), Rounds(2));
}

#[test]
#[cfg(not(feature = "hardened"))]
fn a_magazine_is_found_at_home_and_by_others_when_they_look_further() {
    let (store, small) = (Store::new(), class(16));
    store.give(small, 3, HOME);
    assert!(store.depot.take(small, ABROAD).is_none());
    assert!(store.depot.take_abroad(small, HOME).is_none(), "home is not abroad");
    assert!(store.depot.take(class(32), HOME).is_none());
    let top = store.depot.take_abroad(small, ABROAD).unwrap();
    assert_eq!(top.rounds(), Rounds(3));
    store.depot.give(small, top, ABROAD);
    let top = store.depot.take(small, ABROAD).unwrap();
    store.empty(top);
    assert!(store.depot.take(small, ABROAD).is_none());
}

#[test]
fn what_lies_on_the_shelves_is_counted() {
    let (store, small) = (Store::new(), class(16));
    assert_eq!(store.depot.counts(small), (0, 0));
    store.give(small, 3, HOME);
    assert_eq!(store.depot.counts(small), (1, 3));
    store.give(small, 5, HOME);
    store.give(small, 7, ABROAD);
    store.give(class(32), 9, HOME);
    assert_eq!(store.depot.counts(small), (3, 15));
    assert_eq!(store.depot.counts(class(32)), (1, 9));
    // One without rounds is an empty one.
    store.give(small, 0, HOME);
    assert_eq!(store.depot.counts(small), (3, 15));
    let mut drained = rounds(store.depot.drained(small));
    drained.sort_unstable();
    assert_eq!(drained, [3, 5, 7]);
    assert_eq!(store.depot.counts(small), (0, 0));
}

/// What is drained is at most what lay there, or may lie there, so that who drains comes to an end beside who gives.
#[test]
#[cfg_attr(miri, ignore = "many turns")]
fn a_drain_ends_beside_who_gives() {
    let (store, small) = (Store::new(), class(16));
    store.give(small, 125, HOME);
    let mut turns = 0;
    for top in store.depot.drained(small).take(1000) {
        turns += 1;
        store.depot.give(small, top, HOME);
    }
    assert_eq!(turns, CORNERS * DEPOT_MAGAZINES);
    assert_eq!(store.depot.drained(small).count(), 1);
}

#[test]
fn a_shelf_has_enough_by_its_bytes_and_by_its_magazines() {
    let store = Store::new();
    for (class, rounds, magazines) in [(class(32 << 10), 2, 8), (class(512), 32, 32), (class(16), 1, DEPOT_MAGAZINES)] {
        (1..magazines).for_each(|_| store.give(class, rounds, HOME));
        assert!(!store.depot.has_enough(class, HOME));
        store.give(class, rounds, HOME);
        assert!(store.depot.has_enough(class, HOME));
        assert!(!store.depot.has_enough(class, ABROAD));
    }
}

#[test]
#[cfg(not(feature = "hardened"))]
fn what_lay_there_all_the_time_is_unused() {
    let (store, small) = (Store::new(), class(16));
    (1..=5).for_each(|rounds| store.give(small, rounds, HOME));
    assert_eq!(rounds(store.depot.unused(small)), [], "no interval has begun");
    store.depot.begin_interval();
    // Three were left, then two; then there were more again.
    let taken: Vec<_> = (0..3).map_while(|_| store.depot.take(small, HOME)).collect();
    assert_eq!(taken.len(), 3);
    taken.into_iter().for_each(|top| store.depot.give(small, top, HOME));
    assert_eq!(rounds(store.depot.unused(small)).len(), 2);
    store.depot.begin_interval();
    assert_eq!(rounds(store.depot.unused(small)).len(), 3);
}

#[test]
fn a_rack_keeps_so_many_and_the_pool_gets_the_rest() {
    let (store, small) = (Store::new(), class(16));
    let all: Vec<_> = (0..EMPTY_MAGAZINES + 1).map(|_| store.arm(small)).collect();
    assert_eq!(store.depot.bytes_in_use(), (EMPTY_MAGAZINES + 1) * size_of::<Magazine>());
    all.into_iter().for_each(|top| store.depot.discard(top, HOME));
    assert_eq!(store.depot.bytes_in_use(), EMPTY_MAGAZINES * size_of::<Magazine>());
    // The rack is asked first, then the pool, then other racks.
    let top = store.arm(small);
    assert_eq!(store.depot.bytes_in_use(), EMPTY_MAGAZINES * size_of::<Magazine>());
    assert!(store.depot.arm(store.bench.supply(), small, ABROAD).is_some_and(|top| {
        store.depot.discard(top, ABROAD);
        store.depot.bytes_in_use() == (EMPTY_MAGAZINES + 1) * size_of::<Magazine>()
    }));
    store.depot.discard(top, HOME);
    store.depot.clear_racks();
    assert_eq!(store.depot.bytes_in_use(), 0);
    // Blocks of 4, 8 and 16 as a whole, and a page of one of 32, of which 5 were made.
    assert_eq!(store.depot.trim(store.bench.supply()), 28 * size_of::<Magazine>() + PAGE);
    assert_eq!(store.depot.trim(store.bench.supply()), 0);
}

#[test]
fn a_magazine_of_another_rack_is_found_when_there_is_no_memory() {
    let (store, small) = (Store::new(), class(16));
    let top = store.arm(small);
    store.depot.discard(top, ABROAD);
    store.bench.paper.leave(0);
    // The rest of the first block, and then that one.
    let all: Vec<_> = (0..5).map_while(|_| store.depot.arm(store.bench.supply(), small, HOME)).collect();
    assert_eq!(all.len(), 4);
}

#[test]
fn collisions_make_magazines_larger_up_to_a_bound() {
    let (store, class) = (Store::new(), class(1024));
    let grow = |collisions| {
        store.depot.grow(class, Collisions(collisions));
        let top = store.arm(class);
        store.depot.discard(top, HOME);
        top.capacity().0
    };
    assert_eq!([0, PATIENCE - 1, 0, 1].map(grow), [16, 16, 16, 32]);
    assert_eq!([PATIENCE - 1, 1, 5 * PATIENCE].map(grow), [32, 64, 64]);
    // The rest is not counted, so that it never comes round.
    assert_eq!(store.depot.impatience[class].load(Ordering::Relaxed), 2 * PATIENCE);
    assert_eq!(store.depot.capacity(SizeClass::numbered(class.number() + 1).unwrap()), Rounds(12));
}

/// What is put into a magazine that was stripped finds it as large as it is to be.
#[test]
#[cfg(not(feature = "hardened"))]
fn an_empty_magazine_gets_the_capacity_of_its_new_class() {
    let store = Store::new();
    let top = store.arm(class(16));
    assert_eq!((top.capacity(), top.room()), (Rounds(125), Rounds(125)));
    // SAFETY: ours, and empty.
    let top = unsafe { store.depot.rearm(class(1024), top) };
    assert_eq!((top.capacity(), top.room()), (Rounds(16), Rounds(16)));
    store.depot.discard(top, HOME);
}

/// Four have to be freed before the first of them is used again.
#[test]
#[cfg(feature = "hardened")]
fn what_was_freed_waits_for_three_more() {
    let (store, small) = (Store::new(), class(16));
    (1..=3).for_each(|rounds| store.give(small, rounds, HOME));
    assert!(store.depot.take(small, HOME).is_none());
    assert_eq!(store.depot.counts(small), (3, 6));
    store.give(small, 4, HOME);
    assert_eq!(
        (0..5).map_while(|_| store.depot.take(small, HOME)).map(|top| top.rounds().0).collect::<Vec<_>>(),
        [1, 2, 3, 4]
    );
}

#[test]
#[cfg(feature = "hardened")]
fn a_quarantine_that_nobody_came_to_is_unused() {
    let (store, small) = (Store::new(), class(16));
    (1..=2).for_each(|rounds| store.give(small, rounds, HOME));
    assert_eq!(rounds(store.depot.unused(small)), []);
    store.depot.begin_interval();
    store.give(small, 3, HOME);
    assert_eq!(rounds(store.depot.unused(small)), []);
    store.depot.begin_interval();
    assert_eq!(rounds(store.depot.unused(small)), [3, 2, 1]);
}
