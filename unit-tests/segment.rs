//! Which units are handed out, and which are given back.

use super::*;
use crate::unit_support::{Bench, Paper, UNIT};
use std::vec::Vec;

/// How a run was found: its first unit, and what is in it.
fn found(bench: &Bench, units: u32, room: u32) -> (u32, Contents) {
    let wish = Wish { units, room, home: Home::COMMON };
    let (run, contents) = bench.segments.claim::<Paper>(wish).unwrap();
    (run.first, contents)
}

fn purge(bench: &Bench, scope: Scope) -> usize {
    bench.segments.purge(bench.supply(), scope, &Budget::of(usize::MAX))
}

fn release(bench: &Bench, scope: Scope) -> usize {
    bench.segments.release_free(bench.supply(), scope, &Budget::of(usize::MAX))
}

fn free(bench: &Bench, run: Run) {
    bench.segments.free(run).unwrap();
}

/// Where a run lies, as a purge says it.
fn span(run: Run) -> (usize, usize) {
    (run.start.addr().get(), run.units as usize * UNIT)
}

/// The first group's.
fn hints(bench: &Bench) -> Vec<u64> {
    let (_, group) = bench.segments.groups().next().unwrap();
    group.hints.iter().map(|hints| hints.load(Ordering::Relaxed)).collect()
}

#[test]
fn starts_are_those_of_the_naive_search() {
    let mut bits = 0x9e37_79b9_7f4a_7c15_u64;
    for _ in 0..if cfg!(miri) { 5 } else { 2000 } {
        bits = bits.rotate_left(7).wrapping_mul(0x2545_f491_4f6c_dd1d) | bits >> 3;
        for units in [1, 2, 3, 5, 8, 31, 32, 63, 64] {
            let naive = (0..=64 - units).filter(|&at| bits & mask(at, units) == mask(at, units));
            assert_eq!(starts(bits, units), naive.fold(0, |all, at| all | 1 << at));
        }
    }
}

#[test]
fn homes_are_different_ones() {
    let bits = 1 << 3 | 1 << 17 | 1 << 63;
    assert_eq!([0, 1, 2, 3].map(|n| one_of(bits, Home::nth(n))), [3, 17, 63, 3]);
    assert!(one_of(0, Home::nth(5)) < u64::BITS);
}

#[test]
fn slots_are_used_again() {
    let bench = Bench::new();
    for _ in 0..SEGMENTS {
        bench.grow(2, 2).unwrap();
        bench.grow(2, 2).unwrap();
        assert_eq!(release(&bench, Scope::All), 2 * 2 * UNIT);
    }
    assert_eq!(bench.segments.bytes_in_use(), size_of::<Group>());
}

#[test]
fn lengths_count_powers_of_two_in_a_row() {
    assert_eq!(lengths(0), 0);
    assert_eq!(lengths(0b101), 1);
    assert_eq!(lengths(0b0110), 2);
    assert_eq!(lengths(u64::MAX), 7);
}

#[test]
fn a_run_lies_where_its_units_are() {
    let bench = Bench::with(&[UNITS, UNITS, UNITS]);
    let runs = [3, 5, 56].map(|units| bench.claim(units));
    assert_eq!(runs.map(|run| run.first), [0, 3, 8]);
    let offsets = runs.map(|run| run.start.addr().get() - runs[0].start.addr().get());
    assert_eq!(offsets, [0, 3 * UNIT, 8 * UNIT]);
    // The other segments are other memory.
    let mut whole = [runs[0], bench.claim(UNITS), bench.claim(UNITS)].map(|run| run.start.addr().get());
    whole.sort_unstable();
    assert!(whole.windows(2).all(|pair| pair[1] - pair[0] >= UNITS as usize * UNIT));
    assert!(bench.segments.claim::<Paper>(Wish::units(1)).is_none());
}

#[test]
fn a_segment_of_few_units_has_no_more() {
    let bench = Bench::with(&[5]);
    assert!(bench.segments.claim::<Paper>(Wish::units(6)).is_none());
    assert_eq!(found(&bench, 5, 5).0, 0);
    assert!(bench.segments.claim::<Paper>(Wish::units(1)).is_none());
}

#[test]
fn what_was_used_is_not_taken_for_untouched() {
    let bench = Bench::with(&[UNITS]);
    let run = bench.claim(4);
    free(&bench, run);
    assert_eq!(found(&bench, 6, 6), (0, Contents::Unknown { untouched: 2 }));
    assert_eq!(found(&bench, 6, 6), (6, Contents::Untouched));
    assert_eq!(Contents::Untouched.untouched(6), 6);
    assert_eq!(Contents::Unknown { untouched: 2 }.untouched(6), 2);
}

#[test]
fn what_was_purged_is_untouched() {
    let bench = Bench::with(&[UNITS]);
    let (run, other) = (bench.claim(4), bench.claim(4));
    free(&bench, run);
    assert_eq!(purge(&bench, Scope::All), 4 * UNIT);
    free(&bench, other);
    assert_eq!(found(&bench, 4, 4), (4, Contents::Unknown { untouched: 0 }), "pages that are there come first");
    assert_eq!(found(&bench, 4, 4), (0, Contents::Untouched));
}

#[test]
fn a_block_that_has_grown_gets_room_to_grow() {
    let bench = Bench::with(&[UNITS]);
    let [hole, _, wide, _] = [2, 1, 8, 1].map(|units| bench.claim(units));
    free(&bench, hole);
    assert_eq!(found(&bench, 1, 8).0, 12, "where there is room, though no pages are");
    assert_eq!(found(&bench, 1, 64).0, 0, "anywhere, if there is room nowhere");
    free(&bench, wide);
    assert_eq!(found(&bench, 2, 8).0, 3, "where there is room, and pages are");
    assert_eq!(found(&bench, 1, 1).0, 1);
}

#[test]
fn homes_begin_in_different_segments_and_go_on_with_the_next() {
    let bench = Bench::with(&[4, 4, 4]);
    let claim = |home| {
        let wish = Wish { units: 4, room: 4, home: Home::nth(home) };
        bench.segments.claim::<Paper>(wish).map(|(run, _)| run)
    };
    let last = claim(2).unwrap();
    assert_eq!(last.segment.slot(), 2);
    free(&bench, last);
    let middle = claim(1).unwrap();
    assert_eq!(middle.segment.slot(), 1);
    // Of the two that are left, the second; then there is one.
    assert_eq!(claim(1).unwrap().segment.slot(), 2);
    assert_eq!(claim(7).unwrap().segment.slot(), 0);
    assert!(claim(0).is_none());
    free(&bench, middle);
    // The last one has room for one unit, and for no run of four.
    assert_eq!(claim(2).unwrap().segment.slot(), 1);
}

#[test]
fn who_begins_at_the_last_segment_finds_the_first() {
    let bench = Bench::with(&[4, 4]);
    let claim = |units, home| {
        let wish = Wish { units, room: units, home: Home::nth(home) };
        bench.segments.claim::<Paper>(wish).map(|(run, _)| run.segment.slot())
    };
    // Three in a row are asked for where hints say that there are two.
    assert_eq!(claim(2, 1), Some(1));
    assert_eq!(claim(3, 1), Some(0));
    assert_eq!(claim(3, 1), None);
}

#[test]
fn a_hint_that_is_wrong_is_taken_back_and_one_that_is_right_is_not() {
    let bench = Bench::with(&[8, 8]);
    assert_eq!(hints(&bench), [3, 3, 3, 3, 0, 0, 0]);
    let (_, first) = (bench.claim(8), bench.claim(4));
    assert!(bench.segments.claim::<Paper>(Wish::units(8)).is_none());
    assert_eq!(hints(&bench), [3, 3, 2, 0, 0, 0, 0], "both were looked at for eight, and the first for four");
    let second = bench.claim(4);
    assert!(bench.segments.claim::<Paper>(Wish::units(1)).is_none());
    assert_eq!(hints(&bench), [0, 3, 2, 0, 0, 0, 0], "and both for one");
    free(&bench, first);
    assert_eq!(hints(&bench), [2, 3, 2, 0, 0, 0, 0]);
    // Three are not four, and hints know of powers of two alone.
    assert_eq!(bench.claim(1).segment.slot(), 1);
    assert!(bench.segments.claim::<Paper>(Wish::units(4)).is_none());
    assert!(bench.segments.claim::<Paper>(Wish::units(2)).is_some());
    assert!(bench.segments.claim::<Paper>(Wish::units(3)).is_none());
    assert_eq!(hints(&bench)[..3], [2, 0, 0]);
    free(&bench, second);
    let (_, group) = bench.segments.groups().next().unwrap();
    group.unhint(1, 2);
    assert_eq!(hints(&bench)[2], 2, "there are four in a row");
    group.unhint(1, 0);
    assert_eq!(hints(&bench)[0], 2);
}

#[test]
fn a_run_is_extended_by_the_free_units_behind_it() {
    let bench = Bench::with(&[UNITS]);
    let run = bench.claim(4);
    let longer = bench.segments.extend(run, 4).unwrap();
    assert_eq!((longer.start, longer.segment, longer.first, longer.units), (run.start, run.segment, 0, 8));
    let next = bench.claim(4);
    assert_eq!(next.first, 8);
    assert_eq!(bench.segments.extend(longer, 1), None, "somebody else's");
    assert_eq!(bench.segments.extend(next, 53), None, "beyond the end");
    assert_eq!(bench.segments.extend(next, 52).map(|run| run.units), Some(56), "up to the end");
    assert!(bench.segments.claim::<Paper>(Wish::units(1)).is_none());
    free(&bench, longer);
    assert_eq!(found(&bench, 8, 8), (0, Contents::Unknown { untouched: 0 }));
}

#[test]
fn a_run_is_located_by_its_start_and_its_length() {
    let bench = Bench::with(&[UNITS]);
    let locate = |run: Run, offset: isize, units| {
        let start = NonNull::new(run.start.as_ptr().wrapping_offset(offset)).unwrap();
        bench.segments.locate::<Paper>(run.segment, start, units)
    };
    let runs = [2, 58, 4].map(|units| bench.claim(units));
    for run in runs {
        assert_eq!(locate(run, 0, run.units), Some(run));
        assert_eq!(locate(run, 1, run.units), None, "no start of a unit");
        assert_eq!(locate(run, 0, UNITS - run.first).map(|run| run.units), Some(UNITS - run.first));
        assert_eq!(locate(run, 0, UNITS - run.first + 1), None, "beyond the end");
    }
    assert_eq!(locate(runs[0], -(UNIT as isize), 1), None, "before the start");
}

#[test]
fn units_that_are_free_are_purged_once() {
    let bench = Bench::with(&[UNITS, UNITS]);
    let runs = [4, 4, 8, 48, 16].map(|units| bench.claim(units));
    [runs[0], runs[2], runs[4]].into_iter().for_each(|run| free(&bench, run));
    assert_eq!(purge(&bench, Scope::Worthwhile), (4 + 8 + 16) * UNIT);
    let mut spans = [runs[0], runs[2], runs[4]].map(span);
    spans.sort_unstable();
    assert_eq!(bench.paper.purged(), spans);
    assert_eq!(purge(&bench, Scope::All), 0);
    assert_eq!(bench.paper.purged(), []);
}

#[test]
fn what_is_not_purged_is_asked_for_again_in_the_next_pass() {
    let bench = Bench::with(&[UNITS]);
    let runs = [4, 1, 2].map(|units| bench.claim(units));
    [runs[0], runs[2]].into_iter().for_each(|run| free(&bench, run));
    bench.paper.refuse(true);
    assert_eq!(purge(&bench, Scope::All), 0);
    assert_eq!(bench.paper.purged(), [span(runs[0]), span(runs[2])], "each once");
    bench.paper.refuse(false);
    assert_eq!(purge(&bench, Scope::All), 6 * UNIT);
    assert_eq!(found(&bench, 4, 4), (0, Contents::Untouched));
}

#[test]
fn a_purge_ends_when_its_budget_is_spent() {
    let bench = Bench::with(&[UNITS, UNITS, UNITS]);
    (0..3).map(|_| bench.claim(UNITS)).collect::<Vec<_>>().into_iter().for_each(|run| free(&bench, run));
    let whole = UNITS as usize * UNIT;
    let part = |bytes| bench.segments.purge(bench.supply(), Scope::All, &Budget::of(bytes));
    assert_eq!(part(0), 0);
    assert_eq!(part(whole + 1), 2 * whole);
    assert_eq!(part(usize::MAX), whole);
}

#[test]
fn what_was_used_in_the_interval_is_not_unused() {
    let bench = Bench::with(&[UNITS]);
    let runs = [4, 4, 4, 4].map(|units| bench.claim(units));
    runs.into_iter().for_each(|run| free(&bench, run));
    assert_eq!(purge(&bench, Scope::Unused), 0, "no interval has begun");
    bench.segments.begin_interval();
    let used = bench.claim(4);
    assert_eq!(used, runs[0]);
    let longer = bench.segments.extend(used, 4).unwrap();
    free(&bench, longer);
    assert_eq!(purge(&bench, Scope::Unused), 8 * UNIT);
    assert_eq!(bench.paper.purged(), [(runs[2].start.addr().get(), 8 * UNIT)]);
    bench.segments.begin_interval();
    assert_eq!(purge(&bench, Scope::Unused), 8 * UNIT);
}

#[test]
fn a_run_of_an_unused_slab_is_unused() {
    let bench = Bench::with(&[UNITS]);
    bench.segments.begin_interval();
    let (slab, other) = (bench.claim(4), bench.claim(4));
    [slab, other].into_iter().for_each(|run| free(&bench, run));
    bench.segments.note_unused(slab);
    assert_eq!(purge(&bench, Scope::Unused), 4 * UNIT);
    assert_eq!(bench.paper.purged(), [span(slab)]);
}

#[test]
fn a_segment_is_released_when_all_of_it_is_free_and_unused() {
    let bench = Bench::with(&[UNITS, UNITS, UNITS]);
    let whole = UNITS as usize * UNIT;
    let (run, _) = (bench.claim(UNITS), bench.claim(1));
    bench.segments.begin_interval();
    free(&bench, run);
    assert_eq!(release(&bench, Scope::Unused), whole, "the third; of the first it is not known, the second is in use");
    assert_eq!(bench.drawn.segments.get(), 2 * whole);
    bench.segments.begin_interval();
    assert_eq!(release(&bench, Scope::Unused), whole);
    assert_eq!(release(&bench, Scope::All), 0);
    assert_eq!(bench.drawn.segments.get(), whole);
}

#[test]
fn a_release_spends_what_has_pages_and_something_for_the_call() {
    let bench = Bench::with(&[8, 8, 8, 8]);
    let part = |units: usize| bench.segments.release_free(bench.supply(), Scope::All, &Budget::of(units * UNIT)) / UNIT;
    let run = bench.claim(8);
    assert_eq!(run.segment.slot(), 0);
    free(&bench, run);
    assert_eq!(part(0), 0);
    assert_eq!(part(9), 16, "one that was used and one that was not");
    assert_eq!(part(1), 8);
    assert_eq!(part(usize::MAX / UNIT), 8);
}

#[test]
fn a_segment_is_as_large_as_can_be_had() {
    let bench = Bench::with(&[2]);
    let drawn = || bench.drawn.segments.get() / UNIT;
    assert_eq!(drawn(), 2);
    bench.paper.leave_for_segments(21 * UNIT);
    bench.grow(2, 100).unwrap();
    assert_eq!(drawn(), 2 + 16, "half of half of what was asked for");
    bench.grow(3, UNITS).unwrap();
    assert_eq!(drawn(), 2 + 16 + 4);
    assert_eq!(bench.grow(3, UNITS), None);
    assert_eq!(bench.grow(1, 0), Some(()));
    assert_eq!(bench.grow(1, 1), None);
    assert_eq!(drawn(), 2 + 16 + 4 + 1);
}

#[test]
fn units_are_freed_once() {
    let bench = Bench::with(&[UNITS]);
    let run = bench.claim(4);
    free(&bench, run);
    assert!(bench.segments.free(run).is_err());
}

/// A back-end that can guard.
struct Guarding;

// SAFETY: it has no blocks.
unsafe impl Backend for Guarding {
    const GUARDS: bool = true;

    fn acquire(&self, _: Layout) -> Option<NonNull<u8>> {
        None
    }

    unsafe fn release(&self, _: NonNull<u8>, _: Layout) {}
}

/// Pages are what takes time; what was never used has none, and counts as one unit.
#[test]
fn segments_without_pages_take_little_of_a_budget() {
    let bench = Bench::with(&[8, 8, 8]);
    let part = |units: usize| bench.segments.release_free(bench.supply(), Scope::All, &Budget::of(units * UNIT)) / UNIT;
    assert_eq!([part(2), part(1), part(1)], [16, 8, 0]);
}

#[test]
fn guards_are_where_there_can_be_any_and_the_heap_is_hardened() {
    assert_eq!((guards::<Paper>(), guards::<Guarding>()), (0, u32::from(cfg!(feature = "hardened"))));
    assert_eq!(room(64, 1), u64::MAX >> 1 & !1);
    assert_eq!(room(5, 1), 0b1110);
}

#[test]
fn all_units_of_a_segment_may_be_used_at_once() {
    let bench = Bench::with(&[4]);
    bench.segments.begin_interval();
    let run = bench.claim(4);
    free(&bench, run);
    assert_eq!(purge(&bench, Scope::Unused), 0);
}
