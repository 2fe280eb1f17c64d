//! What a pair trades with the depot and the slabs, and what lies in a pouch.

use super::*;
use crate::depot::Depot;
use crate::geometry::{LOOK, NOTE};
use crate::unit_support::Camp;
use std::vec::Vec;

const HOME: Home = Home::COMMON;
const ABROAD: Home = Home::nth(1);

/// Bytes of chunks; under Miri there are fewer of them.
const BYTES: usize = if cfg!(miri) { 1024 } else { 256 };
/// The capacity of their magazines.
const FULL: usize = (16 << 10) / BYTES;

/// A pair without magazines, and a pouch.
fn bare() -> (Pair, Pouch<2>) {
    (Pair { loaded: Top::NONE, previous: Top::NONE }, Pouch::new(HOME))
}

fn rounds(pair: &Pair) -> (u16, u16) {
    (pair.loaded.rounds().0, pair.previous.rounds().0)
}

fn alloc(camp: &Camp, pair: &mut Pair, pouch: &Pouch<2>) -> Round {
    let class = Camp::class(BYTES);
    pair.pop().or_else(|| pair.alloc(&camp.arsenal, &camp.paper, class, pouch)).unwrap()
}

fn give(camp: &Camp, pair: &mut Pair, pouch: &Pouch<2>, chunks: impl IntoIterator<Item = Round>) {
    let class = Camp::class(BYTES);
    chunks.into_iter().for_each(|chunk| pair.give(&camp.arsenal, &camp.paper, class, chunk, pouch));
}

fn done(camp: &Camp, pair: Pair, pouch: &Pouch<2>) {
    pair.hand_in(&camp.arsenal, Camp::class(BYTES), HOME);
    pouch.hand_in(&camp.arsenal);
}

#[test]
fn a_magazine_is_filled_from_slabs_when_both_are_empty() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let taken = || camp.stats(Camp::class(BYTES)).taken;
    let chunks: Vec<_> = (0..FULL).map(|_| alloc(&camp, &mut pair, &pouch)).collect();
    assert_eq!((rounds(&pair), taken()), ((0, 0), FULL));
    assert!(chunks.windows(2).all(|pair| pair[0] != pair[1]));
    // The same one again.
    let magazines = camp.arsenal.depot.bytes_in_use();
    let chunk = alloc(&camp, &mut pair, &pouch);
    assert_eq!(
        (rounds(&pair), taken(), camp.arsenal.depot.bytes_in_use()),
        ((FULL as u16 - 1, 0), 2 * FULL, magazines)
    );
    give(&camp, &mut pair, &pouch, chunks.into_iter().chain([chunk]));
    done(&camp, pair, &pouch);
    assert_eq!(camp.stats(Camp::class(BYTES)).cached, 2 * FULL);
}

#[test]
#[cfg(not(feature = "hardened"))]
fn an_empty_previous_magazine_is_filled_before_another_is_armed() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    pair.previous = camp.arsenal.depot.arm(camp.supply(), Camp::class(BYTES), HOME).unwrap();
    let index = pair.previous.index();
    let chunk = alloc(&camp, &mut pair, &pouch);
    assert_eq!((pair.loaded.index(), pair.previous == Top::NONE), (index, true));
    give(&camp, &mut pair, &pouch, [chunk]);
    done(&camp, pair, &pouch);
}

#[test]
#[cfg(not(feature = "hardened"))]
fn the_previous_magazine_is_used_before_others() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let chunks = camp.chunks(class, 2 * FULL);
    give(&camp, &mut pair, &pouch, chunks);
    assert_eq!(rounds(&pair), (FULL as u16, FULL as u16));
    let figures = || (camp.stats(class).taken, camp.stats(class).magazines, camp.arsenal.depot.bytes_in_use());
    let before = figures();
    // To and fro, past both ends of each.
    let chunks: Vec<_> = (0..2 * FULL).map(|_| alloc(&camp, &mut pair, &pouch)).collect();
    assert_eq!((rounds(&pair), figures()), ((0, 0), before));
    give(&camp, &mut pair, &pouch, chunks);
    assert_eq!((rounds(&pair), figures()), ((FULL as u16, FULL as u16), before));
    done(&camp, pair, &pouch);
}

#[test]
#[cfg(not(feature = "hardened"))]
fn full_magazines_go_to_the_depot_and_come_from_there() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let chunks = camp.chunks(class, 4 * FULL + 1);
    give(&camp, &mut pair, &pouch, chunks);
    assert_eq!((rounds(&pair), camp.stats(class).magazines), ((1, FULL as u16), 3));
    let taken = camp.stats(class).taken;
    let chunks: Vec<_> = (0..4 * FULL + 1).map(|_| alloc(&camp, &mut pair, &pouch)).collect();
    assert_eq!((rounds(&pair), camp.stats(class).magazines, camp.stats(class).taken), ((0, 0), 0, taken));
    give(&camp, &mut pair, &pouch, chunks);
    done(&camp, pair, &pouch);
}

#[test]
#[cfg(not(feature = "hardened"))]
fn what_others_have_left_is_taken_before_slabs_are_asked() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let (mut other, bag) = bare();
    give(&camp, &mut other, &bag, camp.chunks(class, 10));
    other.hand_in(&camp.arsenal, class, ABROAD);
    assert_eq!(camp.stats(class).taken, 10);
    let chunk = alloc(&camp, &mut pair, &pouch);
    assert_eq!((rounds(&pair), camp.stats(class).taken), ((9, 0), 10));
    give(&camp, &mut pair, &pouch, [chunk]);
    done(&camp, pair, &pouch);
}

#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "many chunks")]
fn what_the_depot_has_no_use_for_goes_to_the_slabs() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    // 32 magazines of 16 KiB are what a shelf keeps.
    give(&camp, &mut pair, &pouch, camp.chunks(class, 34 * FULL));
    assert_eq!((rounds(&pair), camp.stats(class).magazines), ((FULL as u16, FULL as u16), 32));
    let (taken, magazines) = (camp.stats(class).taken, camp.arsenal.depot.bytes_in_use());
    give(&camp, &mut pair, &pouch, camp.chunks(class, 1));
    assert_eq!((rounds(&pair), camp.stats(class).magazines), ((1, FULL as u16), 32));
    assert_eq!(camp.stats(class).taken, taken + 1 - FULL);
    assert_eq!(camp.arsenal.depot.bytes_in_use(), magazines, "the magazine is used again");
    // A pair without magazines gets them all the same.
    let (mut other, bag) = bare();
    give(&camp, &mut other, &bag, camp.chunks(class, 2));
    assert_eq!(rounds(&other), (2, 0));
    done(&camp, other, &bag);
    done(&camp, pair, &pouch);
}

#[test]
fn without_memory_for_a_magazine_chunks_go_past_all_of_them() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let chunks = camp.chunks(class, 3);
    camp.paper.leave(0);
    give(&camp, &mut pair, &pouch, chunks);
    assert_eq!((rounds(&pair), camp.stats(class).taken), ((0, 0), 0));
    let chunk = alloc(&camp, &mut pair, &pouch);
    assert_eq!((rounds(&pair), camp.stats(class).taken), ((0, 0), 1));
    give(&camp, &mut pair, &pouch, [chunk]);
}

/// So many bytes are handed in that a look is due, but for one chunk.
#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "many chunks")]
fn what_is_freed_is_noted_by_its_bytes() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let is_due = || camp.arsenal.surplus.is_due(HOME);
    // One magazine after the other goes to the depot: it is noted when it does.
    let magazines = LOOK / (FULL * BYTES);
    let chunks = camp.chunks(class, 2 * FULL);
    give(&camp, &mut pair, &pouch, chunks);
    for _ in 0..magazines - 1 {
        give(&camp, &mut pair, &pouch, camp.chunks(class, FULL));
    }
    pouch.settle(&camp.arsenal);
    assert!(!is_due());
    give(&camp, &mut pair, &pouch, camp.chunks(class, 1));
    pouch.settle(&camp.arsenal);
    assert!(is_due());
    done(&camp, pair, &pouch);
}

/// As above, where a magazine is traded when another chunk comes that it has no room for.
#[test]
#[cfg(feature = "hardened")]
fn what_waits_is_noted_by_its_bytes() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    let is_due = || camp.arsenal.surplus.is_due(HOME);
    for _ in 0..LOOK / (FULL * BYTES) {
        give(&camp, &mut pair, &pouch, camp.chunks(class, FULL));
    }
    pouch.settle(&camp.arsenal);
    assert!(!is_due());
    give(&camp, &mut pair, &pouch, camp.chunks(class, 1));
    pouch.settle(&camp.arsenal);
    assert!(is_due());
    done(&camp, pair, &pouch);
}

/// What has waited longest goes to the slabs when the depot has enough.
#[test]
#[cfg(feature = "hardened")]
fn what_waits_is_thinned_out() {
    let (camp, (mut pair, pouch)) = (Camp::new(), bare());
    let class = Camp::class(BYTES);
    // 32 magazines of 16 KiB would be enough.
    for magazines in 1..=40 {
        give(&camp, &mut pair, &pouch, camp.chunks(class, FULL));
        let waiting = (magazines - 1).min(31);
        let figures = (camp.stats(class).magazines, camp.stats(class).taken);
        assert_eq!(figures, (waiting, (waiting + 1) * FULL), "after {magazines}");
    }
    done(&camp, pair, &pouch);
}

#[test]
fn what_is_handed_in_is_noted_by_its_bytes() {
    let class = Camp::class(BYTES);
    for (missing, due) in [(1, false), (0, true)] {
        let (camp, (mut pair, pouch)) = (Camp::new(), bare());
        camp.arsenal.surplus.note(LOOK - 5 * BYTES - missing, HOME);
        give(&camp, &mut pair, &pouch, camp.chunks(class, 5));
        pair.hand_in(&camp.arsenal, class, HOME);
        assert_eq!(camp.arsenal.surplus.is_due(HOME), due);
        pouch.hand_in(&camp.arsenal);
    }
}

fn empty(camp: &Camp) -> Top {
    camp.arsenal.depot.arm(camp.supply(), Camp::class(BYTES), ABROAD).unwrap()
}

/// Empty magazines on all racks.
fn on_racks(depot: &Depot) -> usize {
    let before = depot.bytes_in_use();
    depot.clear_racks();
    (before - depot.bytes_in_use()) / 1024
}

#[test]
fn a_pouch_has_room_for_so_many() {
    let camp = Camp::new();
    let pouch = Pouch::<2>::new(HOME);
    pouch.discard(&camp.arsenal, Top::NONE);
    let spares = [(); 3].map(|()| empty(&camp));
    pouch.discard(&camp.arsenal, spares[0]);
    pouch.discard(&camp.arsenal, spares[1]);
    assert_eq!(on_racks(&camp.arsenal.depot), 0);
    pouch.discard(&camp.arsenal, spares[2]);
    assert_eq!(on_racks(&camp.arsenal.depot), 1);
    let arm = |class| pouch.arm(&camp.arsenal, &camp.paper, class).unwrap();
    let last = arm(Camp::class(1024));
    assert_eq!((last.index(), last.capacity()), (spares[1].index(), Rounds(16)));
    pouch.discard(&camp.arsenal, last);
    assert_eq!([arm(Camp::class(BYTES)), arm(Camp::class(BYTES))], [spares[1], spares[0]]);
    [spares[0], spares[1]].into_iter().for_each(|top| pouch.discard(&camp.arsenal, top));
    pouch.hand_in(&camp.arsenal);
    assert_eq!(on_racks(&camp.arsenal.depot), 2);
    // Then there is none, and one of the depot's is armed.
    let before = camp.arsenal.depot.bytes_in_use();
    camp.arsenal.depot.discard(arm(Camp::class(BYTES)), HOME);
    assert_eq!(camp.arsenal.depot.bytes_in_use(), before + 1024);
}

#[test]
fn what_was_freed_is_noted_when_it_is_enough() {
    let camp = Camp::new();
    let pouch = Pouch::<2>::new(HOME);
    let is_due = || camp.arsenal.surplus.is_due(HOME);
    for _ in 1..LOOK / NOTE {
        pouch.note(&camp.arsenal, NOTE);
    }
    pouch.note(&camp.arsenal, NOTE - 1);
    assert!(!is_due());
    pouch.note(&camp.arsenal, 1);
    assert!(is_due());
    assert!(!camp.arsenal.surplus.glance(0, HOME));
    // And again, by who settles.
    pouch.note(&camp.arsenal, LOOK - 1);
    pouch.note(&camp.arsenal, 1);
    assert!(!is_due());
    pouch.settle(&camp.arsenal);
    assert!(is_due());
}

#[test]
fn slots_keep_what_is_freed_and_hand_it_in() {
    let camp = Camp::new();
    let (slots, class) = (shared::Slots::new(), Camp::class(BYTES));
    let alloc = || slots.alloc(&camp.arsenal, &camp.paper, class).unwrap();
    let chunks = [alloc(), alloc(), alloc()];
    // A frame is at home where its stack is, which under Miri is anywhere.
    let taken = camp.stats(class).taken;
    assert!(taken == FULL || cfg!(miri));
    assert_eq!(slots.rounds(class), taken - 3);
    chunks.into_iter().for_each(|chunk| _ = slots.dealloc(&camp.arsenal, &camp.paper, class, chunk));
    assert_eq!(slots.rounds(class), taken);
    assert_eq!((slots.rounds(Camp::class(512)), camp.stats(class).cached), (0, 0));
    slots.hand_in(&camp.arsenal);
    assert_eq!((slots.rounds(class), camp.stats(class).cached), (0, taken));
}
