//! Which slab is taken from, which are idle, and which of their pages go back.

use super::*;
use crate::segment::Wish;
use crate::unit_support::{Bench, PAGE, Paper, UNIT};
use core::alloc::Layout;
use std::vec::Vec;

fn class(bytes: usize) -> SizeClass {
    SizeClass::of(Layout::array::<u8>(bytes).unwrap()).unwrap()
}

/// Slabs, and where their units are from.
struct Yard {
    slabs: Slabs,
    bench: Bench,
}

impl Yard {
    fn new() -> Self {
        Self { slabs: Slabs::new(), bench: Bench::with(&[UNITS]) }
    }

    fn carve(&self, class: SizeClass) -> Held {
        let units = Slabs::units::<Paper>(class);
        let (run, contents) = self.bench.segments.claim::<Paper>(Wish::units(units)).unwrap();
        self.slabs.carve(self.bench.supply(), run, contents, class).unwrap()
    }

    /// Takes up to `most` chunks, in the order of their addresses.
    fn take(&self, held: Held, most: usize) -> Vec<Round> {
        let mut chunks = std::vec![MaybeUninit::uninit(); most];
        let (taken, _) = self.slabs.take(held, &mut chunks);
        // SAFETY: `take` has written that many.
        let mut chunks = chunks[..taken].iter().map(|chunk| unsafe { chunk.assume_init() }).collect::<Vec<_>>();
        chunks.sort_unstable();
        chunks
    }

    /// A slab none of whose chunks is free, and all of them.
    fn full(&self, class: SizeClass) -> (SlabId, Vec<Round>) {
        let held = self.carve(class);
        (held.id(), self.take(held, 4096))
    }

    fn idle(&self, class: SizeClass) -> u32 {
        self.slabs.class(class).idle.load(Ordering::Relaxed)
    }

    /// How many slabs are retired.
    fn retire(&self, class: SizeClass, scope: Scope) -> usize {
        let mut retired = 0;
        self.slabs.retire_idle(class, scope, |run| {
            retired += 1;
            self.bench.segments.free(run).unwrap();
        });
        retired
    }

    /// Pages that lie in free chunks, as addresses and bytes; `done` is what becomes of them.
    fn pages(&self, class: SizeClass, scope: Scope, done: bool) -> Vec<(usize, usize)> {
        let mut pages = Vec::new();
        self.slabs.each_free_page(class, PAGE, scope, &Budget::of(usize::MAX), |start, bytes| {
            pages.push((start.addr().get(), bytes));
            done
        });
        pages
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        // SAFETY: nobody uses any of it any more.
        unsafe { self.slabs.release(self.bench.supply()) };
    }
}

/// Slabs are listed at their first free chunk; what becomes free later does not make them come first.
#[test]
fn the_fullest_slab_is_taken_from_first() {
    let (yard, class) = (Yard::new(), class(64));
    let [(dense, some), (sparse, most)] = [yard.full(class), yard.full(class)];
    yard.slabs.give(dense, &some[..1]).unwrap();
    yard.slabs.give(sparse, &most[..1]).unwrap();
    yard.slabs.give(sparse, &most[1..most.len() - 1]).unwrap();
    let first = yard.slabs.pop(class).unwrap();
    assert_eq!(first.id(), dense);
    assert_eq!(yard.slabs.pop(class).unwrap().id(), sparse);
    assert!(yard.slabs.pop(class).is_none());
    yard.slabs.settle(first, 0);
}

/// While a pass looks at one slab, others find the rest, those seen and those not.
#[test]
fn a_pass_hides_one_slab_at_a_time() {
    let (yard, class) = (Yard::new(), class(64));
    [yard.full(class), yard.full(class)].iter().for_each(|(id, chunks)| yard.slabs.give(*id, &chunks[1..]).unwrap());
    let mut visits = 0;
    yard.slabs.each_free_page(class, PAGE, Scope::All, &Budget::of(usize::MAX), |_, _| {
        visits += 1;
        let other = yard.slabs.pop(class).expect("the other slab is hidden");
        yard.slabs.settle(other, 0);
        true
    });
    assert_eq!(visits, 2);
}

/// A pass comes to an end though what it has seen is listed again before its eyes.
#[test]
fn a_pass_looks_at_no_more_slabs_than_there_are() {
    let (yard, class) = (Yard::new(), class(64));
    [yard.full(class), yard.full(class)].iter().for_each(|(id, chunks)| yard.slabs.give(*id, &chunks[..1]).unwrap());
    let visits = core::cell::Cell::new(0);
    yard.slabs.sweep(
        class,
        || visits.get() < 100,
        |held| {
            visits.set(visits.get() + 1);
            yard.slabs.settle(held, 0);
            None
        },
    );
    assert_eq!(visits.get(), 2);
}

/// There is a bit for each of the smallest chunks, of which a slab has most.
#[test]
#[cfg_attr(miri, ignore = "many chunks")]
fn all_chunks_of_a_slab_have_bits_of_their_own() {
    let (yard, class) = (Yard::new(), class(16));
    let (id, chunks) = yard.full(class);
    assert_eq!(chunks.len(), UNIT / 16);
    assert!(chunks.windows(2).all(|pair| pair[0] < pair[1]));
    yard.slabs.give(id, &chunks).unwrap();
    assert_eq!(yard.retire(class, Scope::All), 1);
}

#[test]
fn quarters_are_those_of_the_capacity() {
    let quarters = |capacity, counts: &[i32]| counts.iter().map(|&n| Partial::quarter(n, capacity)).collect::<Vec<_>>();
    assert_eq!(quarters(100, &[-5, 0, 1, 25, 26, 50, 51, 75, 76, 100]), [0, 0, 0, 0, 1, 1, 2, 2, 3, 3]);
    assert_eq!(quarters(2, &[1, 2, 3, 9]), [0, 2, 3, 3], "there is no stack beyond the last");
}

#[test]
fn a_slab_of_the_first_quarter_is_taken_before_one_of_the_second() {
    let (yard, class) = (Yard::new(), class(64));
    let [(dense, some), (sparse, most)] = [yard.full(class), yard.full(class)];
    let quarter = some.len() / 4;
    yard.slabs.give(sparse, &most[..quarter + 1]).unwrap();
    yard.slabs.give(dense, &some[..quarter]).unwrap();
    assert_eq!(yard.slabs.pop(class).unwrap().id(), dense);
    assert_eq!(yard.slabs.pop(class).unwrap().id(), sparse);
}

/// It was listed when half of it was free, and nearly all of it is now.
#[test]
fn a_slab_on_the_wrong_stack_is_put_right() {
    let (yard, class) = (Yard::new(), class(64));
    let [(other, some), (sparse, most)] = [yard.full(class), yard.full(class)];
    let half = some.len() / 2;
    yard.slabs.give(sparse, &most[..half]).unwrap();
    yard.slabs.give(sparse, &most[half..most.len() - 1]).unwrap();
    yard.slabs.give(other, &some[..half + 1]).unwrap();
    assert_eq!(yard.slabs.pop(class).unwrap().id(), other);
    assert_eq!(yard.slabs.pop(class).unwrap().id(), sparse);
}

#[test]
fn a_slab_has_sixteen_chunks_while_that_is_little_enough() {
    let units = |bytes| {
        (
            Slabs::units::<Paper>(class(bytes)),
            Slabs::capacity::<Paper>(Slabs::units::<Paper>(class(bytes)), class(bytes)),
        )
    };
    let expected =
        [(16, (1, 4096)), (80, (1, 819)), (4096, (1, 16)), (5120, (2, 25)), (8192, (2, 16)), (12288, (4, 21))];
    expected.into_iter().for_each(|(bytes, expected)| assert_eq!(units(bytes), expected, "{bytes}"));
    assert_eq!(units(32 << 10), (8, 16));
    assert_eq!(Slabs::capacity::<Paper>(8, class(16)), 4096, "no more than there are bits");
}

#[test]
fn a_slab_of_many_chunks_has_a_wide_record() {
    let yard = Yard::new();
    for (bytes, wide) in [(16, true), (48, true), (64, false), (80, false)] {
        let held = yard.carve(class(bytes));
        assert_eq!(held.id().is_wide(), wide, "{bytes}");
        yard.slabs.settle(held, 0);
    }
    let records = 2 * size_of::<Wide>() + 2 * size_of::<Narrow>();
    assert_eq!(yard.slabs.bytes_in_use(), records);
    let retired: usize = SizeClass::all().map(|class| yard.retire(class, Scope::All)).sum();
    assert_eq!((retired, yard.slabs.bytes_in_use()), (4, 0));
}

#[test]
#[cfg_attr(miri, ignore = "long")]
fn both_kinds_of_records_go_back() {
    let yard = Yard::new();
    (0..2).for_each(|_| yard.bench.grow(UNITS, UNITS).unwrap());
    let held: Vec<_> = (0..80).flat_map(|_| [yard.carve(class(16)), yard.carve(class(64))]).collect();
    held.into_iter().for_each(|held| yard.slabs.settle(held, 0));
    assert_eq!(yard.slabs.bytes_in_use(), 80 * (size_of::<Wide>() + size_of::<Narrow>()));
    let trimmed = |class| {
        assert_eq!(yard.retire(class, Scope::All), 80);
        let bytes = yard.slabs.trim(yard.bench.supply());
        assert_eq!(yard.bench.paper.purged().iter().map(|(_, bytes)| bytes).sum::<usize>(), bytes);
        bytes
    };
    let (narrow, wide) = (trimmed(class(64)), trimmed(class(16)));
    assert!(0 < narrow && narrow <= 80 * size_of::<Narrow>(), "{narrow}");
    assert!(narrow < wide && wide <= 80 * size_of::<Wide>(), "{wide}");
}

#[test]
fn chunks_of_untouched_units_have_no_pages() {
    let (yard, class) = (Yard::new(), class(64));
    let mut chunks = [MaybeUninit::uninit(); 10];
    assert_eq!(yard.slabs.take(yard.carve(class), &mut chunks), (10, 10));
    let held = yard.slabs.pop(class).unwrap();
    assert_eq!(yard.slabs.take(held, &mut chunks), (10, 10));
    let (run, _) = yard.bench.segments.claim::<Paper>(Wish::units(1)).unwrap();
    let unknown = Contents::Unknown { untouched: 0 };
    let held = yard.slabs.carve(yard.bench.supply(), run, unknown, class).unwrap();
    assert_eq!(yard.slabs.take(held, &mut chunks), (10, 0));
}

#[test]
fn a_slab_that_is_idle_is_counted_and_retired() {
    let (yard, class) = (Yard::new(), class(64));
    let figures = || (yard.idle(class), yard.slabs.class(class).slabs.get(), yard.slabs.class(class).taken.get());
    let held = yard.carve(class);
    let id = held.id();
    assert_eq!(figures(), (1, 1, 0));
    yard.slabs.settle(held, 0);
    assert_eq!(figures(), (1, 1, 0));
    let one = yard.take(yard.slabs.pop(class).unwrap(), 1);
    assert_eq!(figures(), (0, 1, 1));
    let two = yard.take(yard.slabs.pop(class).unwrap(), 2);
    assert_eq!(figures(), (0, 1, 3));
    assert_eq!(yard.retire(class, Scope::All), 0);
    yard.slabs.give(id, &two).unwrap();
    assert_eq!(figures(), (0, 1, 1));
    // One that is idle does not make the others so.
    let other = yard.carve(class);
    yard.slabs.settle(other, 0);
    assert_eq!((figures(), yard.retire(class, Scope::All), figures()), ((1, 2, 1), 1, (0, 1, 1)));
    yard.slabs.give(id, &one).unwrap();
    assert_eq!(figures(), (1, 1, 0));
    assert_eq!(yard.retire(class, Scope::Worthwhile), 1);
    assert_eq!(figures(), (0, 0, 0));
    assert!(yard.slabs.pop(class).is_none());
}

#[test]
fn a_slab_is_listed_once() {
    let (yard, class) = (Yard::new(), class(64));
    let held = yard.carve(class);
    let id = held.id();
    let chunks = yard.take(held, 5);
    chunks.iter().for_each(|chunk| yard.slabs.give(id, core::slice::from_ref(chunk)).unwrap());
    let held = yard.slabs.pop(class).unwrap();
    assert!(yard.slabs.pop(class).is_none());
    // Held, it is not listed by who gives.
    let chunks = yard.take(held, 4096);
    assert_eq!(chunks.len(), UNIT / 64);
    assert!(yard.slabs.pop(class).is_none(), "nothing is free in it");
    yard.slabs.give(id, &chunks[..1]).unwrap();
    assert!(yard.slabs.pop(class).is_some());
}

/// One in sixteen has to be idle.
#[test]
fn a_pass_is_made_when_it_is_worth_it() {
    let (yard, class) = (Yard::new(), class(64));
    let live: Vec<_> =
        (0..16).map(|_| yard.carve(class)).collect::<Vec<_>>().into_iter().map(|h| yard.take(h, 1)).collect();
    let idle = || yard.slabs.settle(yard.carve(class), 0);
    assert_eq!(yard.retire(class, Scope::Worthwhile), 0, "none is idle");
    idle();
    assert_eq!(yard.retire(class, Scope::Worthwhile), 0, "one of seventeen");
    idle();
    assert_eq!(yard.retire(class, Scope::Worthwhile), 2);
    idle();
    assert_eq!(yard.retire(class, Scope::All), 1);
    drop(live);
}

#[test]
fn one_idle_slab_of_sixteen_is_worth_a_pass() {
    let (yard, class) = (Yard::new(), class(64));
    let held: Vec<_> = (0..16).map(|_| yard.carve(class)).collect();
    for (n, held) in held.into_iter().enumerate() {
        if n == 0 { yard.slabs.settle(held, 0) } else { _ = yard.take(held, 1) }
    }
    assert_eq!(yard.retire(class, Scope::Worthwhile), 1);
}

#[test]
fn a_slab_is_unused_when_nobody_took_from_it_since_the_last_pass() {
    let (yard, class) = (Yard::new(), class(64));
    let (used, chunks) = yard.full(class);
    let (other, others) = yard.full(class);
    yard.slabs.give(used, &chunks).unwrap();
    yard.slabs.give(other, &others).unwrap();
    assert_eq!(yard.retire(class, Scope::Unused), 0, "no pass was made");
    assert_eq!(yard.pages(class, Scope::Unused, true), []);
    let held = yard.slabs.pop(class).unwrap();
    let id = held.id();
    let taken = yard.take(held, 1);
    yard.slabs.give(id, &taken).unwrap();
    assert_eq!(yard.retire(class, Scope::Unused), 1);
    assert_eq!(yard.slabs.class(class).slabs.get(), 1);
    assert_eq!(yard.pages(class, Scope::Unused, true), []);
    assert_eq!(yard.pages(class, Scope::Unused, true).len(), 1);
    assert_eq!(yard.pages(class, Scope::Unused, true), [], "they were purged");
    assert_eq!(yard.retire(class, Scope::Unused), 1);
}

/// Chunks of 64 bytes; pages of 64 chunks.
#[test]
fn whole_pages_between_chunks_in_use_go_back() {
    let (yard, class) = (Yard::new(), class(64));
    let (id, chunks) = yard.full(class);
    let start = chunks[0].addr().get();
    // Nothing whole; the second page and the third, but for a chunk; from within the fifth page to the end of the eighth.
    for free in [0..63, 64..191, 300..512] {
        yard.slabs.give(id, &chunks[free]).unwrap();
    }
    let pages = [(start + PAGE, PAGE), (start + 5 * PAGE, 3 * PAGE)];
    assert_eq!(yard.pages(class, Scope::All, false), pages, "refused");
    assert_eq!(yard.pages(class, Scope::All, true), pages);
    assert_eq!(yard.pages(class, Scope::All, true), [], "nothing came back since");
    yard.slabs.give(id, &chunks[63..64]).unwrap();
    assert_eq!(yard.pages(class, Scope::All, true), [(start, 2 * PAGE), (start + 5 * PAGE, 3 * PAGE)]);
    // What is taken is taken off what was purged.
    let taken = yard.take(yard.slabs.pop(class).unwrap(), 3);
    assert_eq!(yard.pages(class, Scope::All, true), []);
    yard.slabs.give(id, &taken).unwrap();
    assert_eq!(yard.pages(class, Scope::All, true).len(), 2);
}

#[test]
fn nothing_goes_back_of_a_slab_that_nobody_has_used() {
    let (yard, class) = (Yard::new(), class(64));
    yard.slabs.settle(yard.carve(class), 0);
    assert_eq!(yard.pages(class, Scope::All, true), []);
    assert_eq!(yard.pages(class, Scope::Unused, true), []);
    assert_eq!(yard.pages(class, Scope::Unused, true), []);
    assert_eq!(yard.pages(class, Scope::Worthwhile, true), []);
}

#[test]
fn it_is_worth_while_when_more_came_back_than_is_out() {
    let (yard, class) = (Yard::new(), class(64));
    let (id, chunks) = yard.full(class);
    yard.slabs.give(id, &chunks[..512]).unwrap();
    assert_eq!(yard.pages(class, Scope::Worthwhile, true), []);
    yard.slabs.give(id, &chunks[512..513]).unwrap();
    assert_eq!(yard.pages(class, Scope::Worthwhile, true), [(chunks[0].addr().get(), 8 * PAGE)]);
    // 511 are out; since then 255 and then one more come back, of which 255 are out.
    yard.slabs.give(id, &chunks[513..768]).unwrap();
    assert_eq!(yard.pages(class, Scope::Worthwhile, true), []);
    yard.slabs.give(id, &chunks[768..769]).unwrap();
    assert_eq!(yard.pages(class, Scope::Worthwhile, true), [(chunks[0].addr().get(), 12 * PAGE)]);
}

#[test]
fn a_pass_over_pages_ends_with_its_budget() {
    let (yard, class) = (Yard::new(), class(64));
    let slabs = [yard.full(class), yard.full(class)];
    slabs.iter().for_each(|(id, chunks)| yard.slabs.give(*id, &chunks[1..]).unwrap());
    let budget = Budget::of(1);
    let mut purged = 0;
    let each = |purged: &mut usize, bytes| {
        *purged += 1;
        budget.spend(bytes);
        true
    };
    yard.slabs.each_free_page(class, PAGE, Scope::All, &budget, |_, bytes| each(&mut purged, bytes));
    assert_eq!(purged, 1);
}

#[test]
fn a_chunk_is_given_once() {
    let (yard, class) = (Yard::new(), class(64));
    let (id, chunks) = yard.full(class);
    assert_eq!(yard.slabs.class_of(id), Some(class));
    let twice = yard.slabs.give(id, &[chunks[3], chunks[4], chunks[4]]);
    assert!(twice.is_err_and(|NotTaken(round)| round == chunks[4]));
}

/// Where the program's hold on each chunk is noted.
#[test]
#[cfg(debug_assertions)]
fn what_the_program_may_not_do_with_a_chunk_is_noticed() {
    let (yard, class) = (Yard::new(), class(64));
    let (id, chunks) = yard.full(class);
    let address = chunks[70].addr().get();
    let note = |hold| yard.slabs.note(id, address, hold);
    assert_eq!(note(Hold::Given), Err("double free"));
    assert_eq!(note(Hold::Kept), Err("realloc of a free chunk"));
    assert_eq!(note(Hold::Taken), Ok(()));
    assert_eq!(note(Hold::Taken), Err("a chunk in use was handed out again"));
    assert_eq!(note(Hold::Kept), Ok(()));
    assert_eq!(yard.slabs.note(id, chunks[6].addr().get(), Hold::Given), Err("double free"), "another chunk");
    assert_eq!(note(Hold::Given), Ok(()));
    assert_eq!(note(Hold::Given), Err("double free"));
    assert_eq!(yard.slabs.note(id, address + 1, Hold::Kept), Err("free of an address inside a chunk"));
    assert_eq!(
        yard.slabs.note(id, chunks[0].addr().get() + UNIT, Hold::Kept),
        Err("free of an address inside a chunk")
    );
}
