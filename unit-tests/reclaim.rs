//! What each pass gives back, and what it leaves.

use super::*;
use crate::geometry::{KEEP, LOOK};
use crate::magazine::{Round, Top};
use crate::map::Map;
use crate::unit_support::{Camp, PAGE, Paper, UNIT};
use core::alloc::Layout;
use std::vec::Vec;

const ALL: usize = usize::MAX;

fn class() -> SizeClass {
    Camp::class(256)
}

/// Puts chunks into the depot, a magazine of them.
fn shelve(camp: &Camp, chunks: &[Round]) {
    let mut top = camp.arsenal.depot.arm(camp.supply(), class(), Home::COMMON).unwrap();
    for &chunk in chunks {
        // SAFETY: the magazine is ours, and so is the chunk.
        top = unsafe { top.push(chunk) }.unwrap();
    }
    camp.arsenal.depot.give(class(), top, Home::COMMON);
}

/// Chunks of a slab in the depot, and others that stay in use: so many of each.
fn shelved(camp: &Camp, free: usize, live: usize) -> Vec<Round> {
    let mut chunks = camp.chunks(class(), free + live);
    chunks.sort_unstable();
    let live = chunks.split_off(free);
    chunks.chunks(64).for_each(|chunks| shelve(camp, chunks));
    live
}

fn empty(camp: &Camp) -> Top {
    camp.arsenal.depot.arm(camp.supply(), class(), Home::COMMON).unwrap()
}

/// Two units that nobody has claimed.
fn free_segment(camp: &Camp) {
    let map = Map::new();
    camp.arsenal.segments.grow(camp.supply(), &map, 2, 2).unwrap();
    // SAFETY: nobody asks it for anything.
    unsafe { map.release(camp.supply()) };
}

fn back(camp: &Camp, scope: Scope, bytes: usize) -> Reclaimed {
    give_back(&camp.arsenal, &camp.paper, scope, &Budget::of(bytes))
}

fn spill_all(camp: &Camp) {
    drain(&camp.arsenal, &camp.paper, Scope::All, &Budget::of(ALL));
}

#[test]
fn a_drain_empties_shelves_and_racks() {
    let camp = Camp::new();
    let live = shelved(&camp, 128, 10);
    camp.arsenal.depot.discard(empty(&camp), Home::COMMON);
    assert_eq!((camp.stats(class()).cached, camp.stats(class()).taken), (128, 138));
    drain(&camp.arsenal, &camp.paper, Scope::All, &Budget::of(0));
    assert_eq!(camp.stats(class()).cached, 128, "nothing may be done");
    spill_all(&camp);
    assert_eq!((camp.stats(class()).cached, camp.stats(class()).taken), (0, 10));
    assert_eq!(camp.arsenal.depot.bytes_in_use(), 0);
    camp.arsenal.give(&camp.paper, &mut live.into_iter().collect::<Vec<_>>());
}

#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "long")]
fn what_lay_in_the_depot_since_the_last_trim_goes_back() {
    let camp = Camp::new();
    let live = shelved(&camp, 128, 10);
    let one_trim = || trim(&camp.arsenal, &camp.paper, &Budget::of(ALL));
    camp.arsenal.depot.discard(empty(&camp), Home::COMMON);
    let empty_ones = camp.arsenal.depot.bytes_in_use();
    assert_eq!((one_trim(), camp.stats(class()).cached), (Reclaimed::default(), 128));
    // One of them is needed meanwhile.
    let top = camp.arsenal.depot.take(class(), Home::COMMON).unwrap();
    camp.arsenal.depot.give(class(), top, Home::COMMON);
    let _ = one_trim();
    assert_eq!(camp.stats(class()).cached, 64);
    assert_eq!(camp.arsenal.depot.bytes_in_use(), empty_ones, "empty ones stay, and the one that was spilled is one");
    let _ = one_trim();
    assert_eq!(camp.stats(class()).cached, 0);
    drop(live);
}

#[test]
fn a_trim_that_was_cut_short_begins_no_new_interval() {
    let camp = Camp::new();
    let _live = shelved(&camp, 64, 1);
    let _ = trim(&camp.arsenal, &camp.paper, &Budget::of(0));
    let _ = trim(&camp.arsenal, &camp.paper, &Budget::of(ALL));
    assert_eq!(camp.stats(class()).cached, 64, "that was the first");
    let _ = trim(&camp.arsenal, &camp.paper, &Budget::of(ALL));
    assert_eq!(camp.stats(class()).cached, 0);
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn what_nobody_used_for_an_interval_is_released() {
    let camp = Camp::new();
    let _ = shelved(&camp, 64, 0);
    spill_all(&camp);
    let one_trim = || trim(&camp.arsenal, &camp.paper, &Budget::of(ALL));
    let (mut gone, mut trims) = (Reclaimed::default(), 0);
    while gone.released == 0 && trims < 10 {
        gone = one_trim();
        trims += 1;
    }
    assert_eq!((gone.released, trims), (Paper::SEGMENT, 2));
    assert_eq!(camp.arsenal.drawn.segments.get(), 0);
}

#[test]
fn all_segments_that_are_free_go_back_and_those_of_idle_slabs() {
    let camp = Camp::new();
    // One with a slab in it, and one that is free already.
    let _ = shelved(&camp, 64, 0);
    spill_all(&camp);
    free_segment(&camp);
    let gone = back(&camp, Scope::Worthwhile, ALL);
    assert_eq!(gone.released, Paper::SEGMENT + 2 * UNIT);
    assert_eq!((camp.stats(class()).slabs, camp.arsenal.drawn.segments.get()), (0, 0));
}

#[test]
fn a_pass_without_a_budget_retires_nothing() {
    let camp = Camp::new();
    let live = shelved(&camp, 64, 0);
    spill_all(&camp);
    assert_eq!((back(&camp, Scope::All, 0), camp.stats(class()).slabs), (Reclaimed::default(), 1));
    // What there is to release is more than it may do.
    free_segment(&camp);
    assert_eq!((back(&camp, Scope::All, 1).total(), camp.stats(class()).slabs), (2 * UNIT, 1));
    assert_eq!(camp.paper.purged(), []);
    drop(live);
}

/// 256 chunks of a slab: pages of 16.
#[test]
#[cfg_attr(miri, ignore = "long")]
fn pages_between_blocks_in_use_go_back_when_it_is_worth_while() {
    let camp = Camp::new();
    let mut live = shelved(&camp, 0, 256);
    let mut free = live.split_off(156);
    camp.arsenal.give(&camp.paper, &mut free);
    assert_eq!(back(&camp, Scope::Worthwhile, ALL).purged_chunks, 0);
    let gone = back(&camp, Scope::All, ALL);
    // 100 chunks at the end are six pages and four chunks.
    assert_eq!((gone.purged_chunks, gone.released), (6 * PAGE, 0));
    let mut more = live.split_off(8);
    camp.arsenal.give(&camp.paper, &mut more);
    assert_eq!(back(&camp, Scope::Worthwhile, ALL).purged_chunks, 15 * PAGE);
    camp.arsenal.give(&camp.paper, &mut live);
}

#[test]
#[cfg(not(windows))]
#[cfg_attr(miri, ignore = "long")]
fn records_go_back_but_not_by_a_trim() {
    let camp = Camp::new();
    let _ = shelved(&camp, 4 * 64, 0);
    spill_all(&camp);
    let live = camp.chunks(class(), 1);
    assert_eq!(back(&camp, Scope::Unused, ALL).purged_records, 0);
    // Four magazines are a page.
    assert_eq!(back(&camp, Scope::All, ALL).purged_records, PAGE);
    drop(live);
}

/// Fills a heap that has no magazines, and frees so many chunks of 32 KiB again.
fn swell(camp: &Camp, chunks: usize, freed: usize) -> Vec<Round> {
    let class = Camp::class(32 << 10);
    let mut all = camp.chunks(class, chunks);
    all.sort_unstable();
    let mut free = all.split_off(chunks - freed);
    camp.arsenal.surplus.note(free.len() * class.bytes(), Home::COMMON);
    camp.arsenal.give(&camp.paper, &mut free);
    all
}

#[test]
#[cfg_attr(miri, ignore = "megabytes")]
fn a_heap_that_has_shrunk_by_much_gives_back() {
    let camp = Camp::new();
    let (chunk, drawn) = (32 << 10, || camp.arsenal.drawn.segments.get());
    let breathe = || ebb(&camp.arsenal, &camp.paper, Home::COMMON);
    camp.paper.at(1);
    let mut live = swell(&camp, 4 * KEEP / chunk, 0);
    breathe();
    let full = drawn();
    assert!(full >= 4 * KEEP);
    // Not much of it.
    let mut free = live.split_off(live.len() - KEEP / chunk / 2);
    camp.arsenal.give(&camp.paper, &mut free);
    breathe();
    assert_eq!(drawn(), full);
    let mut free = live.split_off(1);
    camp.arsenal.give(&camp.paper, &mut free);
    breathe();
    assert!(drawn() <= full / 4, "{}", drawn());
    camp.arsenal.give(&camp.paper, &mut live);
}

/// A back-end of no size.
struct Nowhere;

// SAFETY: it has no blocks.
unsafe impl Backend for Nowhere {
    fn acquire(&self, _: Layout) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn release(&self, _: NonNull<u8>, _: Layout) {}
}

#[test]
fn who_leaves_tidies_up_where_the_backend_has_no_place() {
    assert!(tidier::<Paper>().is_none());
    let tidy = tidier::<Nowhere>().unwrap();
    let camp = Camp::new();
    camp.arsenal.surplus.note(LOOK - 1, Home::COMMON);
    tidy(&camp.arsenal, Home::COMMON);
    camp.arsenal.surplus.note(1, Home::COMMON);
    assert!(camp.arsenal.surplus.is_due(Home::COMMON));
    tidy(&camp.arsenal, Home::COMMON);
    assert!(!camp.arsenal.surplus.is_due(Home::COMMON), "it has looked");
}

/// A back-end that cannot purge, and is not asked to.
struct Plain(Paper);

// SAFETY: blocks are those of `Paper`.
unsafe impl Backend for Plain {
    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.release(block, layout) }
    }

    fn granule(&self) -> usize {
        PAGE
    }

    unsafe fn purge(&self, _: NonNull<u8>, _: usize) -> bool {
        panic!("it was asked to purge")
    }
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn who_cannot_purge_is_not_asked_to() {
    let (arsenal, plain) = (Arsenal::new(), Plain(Paper::new()));
    let mut chunks: Vec<_> = (0..256).map(|_| arsenal.take_one(&plain, class()).unwrap()).collect();
    let live = chunks.pop();
    arsenal.give(&plain, &mut chunks);
    assert_eq!(give_back(&arsenal, &plain, Scope::All, &Budget::of(ALL)), Reclaimed::default());
    assert!(live.is_some());
    // SAFETY: nobody uses it any more.
    unsafe { arsenal.release(&plain) };
}
