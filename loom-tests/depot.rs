//! Models of the depot: a magazine changes hands whole.

use super::Depot;
use crate::home::Home;
use crate::loom_support::{Source, explore};
use crate::magazine::{Round, Top};
use crate::size_class::SizeClass;
use crate::sync::Witness;
use std::sync::Arc;

struct World {
    depot: Depot,
    source: Source,
    chunks: [Witness; 5],
}

fn class() -> SizeClass {
    SizeClass::numbered(1).unwrap()
}

fn chunk(n: usize) -> Round {
    Round::without_provenance((n * 32).try_into().unwrap())
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { depot: Depot::new(), source: Source::new(), chunks: core::array::from_fn(|_| Witness::new()) })
    }

    /// A magazine with the chunks `first` to `last`.
    fn load(&self, first: usize, last: usize) -> Top {
        let mut top = self.depot.arm(self.source.supply(), class(), Home::COMMON).unwrap();
        for n in first..=last {
            self.chunks[n].touch();
            // SAFETY: armed above or pushed to just now; the chunk is ours.
            top = unsafe { top.push(chunk(n)) }.unwrap();
        }
        top
    }

    /// Uses every round of a magazine and throws it away; how many they were.
    fn unload(&self, mut top: Top) -> usize {
        let mut rounds = 0;
        // SAFETY: the caller owns the magazine.
        while let Some((round, below)) = unsafe { top.pop() } {
            self.chunks[round.addr().get() / 32].touch();
            rounds += 1;
            top = below;
        }
        self.depot.discard(top, Home::COMMON);
        rounds
    }
}

/// One thread gives a full and a half full magazine, the other takes what is there.
#[test]
fn a_magazine_is_handed_over_with_its_rounds() {
    explore(|side| {
        let here = World::new();
        let give = |world: &World| {
            world.depot.give(class(), world.load(1, 2), Home::COMMON);
            world.depot.give(class(), world.load(3, 3), Home::COMMON);
        };
        let take = |world: &World| world.depot.take(class(), Home::COMMON).map_or(0, |top| world.unload(top));
        let ((), mut rounds) = side.race(&here, give, take);
        while let Some(top) = here.depot.take(class(), Home::COMMON) {
            rounds += here.unload(top);
        }
        assert_eq!(rounds, 3);
        assert_eq!(here.depot.counts(class()), (0, 0));
    });
}

/// Two threads trade: each gives a full magazine and takes one, perhaps the other's.
#[test]
fn a_trade_has_two_sides() {
    explore(|side| {
        let here = World::new();
        let trade = |n: usize| {
            move |world: &World| {
                world.depot.give(class(), world.load(n, n + 1), Home::COMMON);
                world.depot.take(class(), Home::COMMON).map_or(0, |top| world.unload(top))
            }
        };
        let (one, other) = side.race(&here, trade(1), trade(3));
        assert_eq!(one + other, 4);
        here.depot.clear_racks();
        assert_eq!(here.depot.bytes_in_use(), 0);
    });
}

/// Two threads give a magazine each, one of them after it has taken one: the one on top knows what lies there afterwards.
#[test]
fn a_shelf_knows_what_lies_on_it() {
    explore(|side| {
        let here = World::new();
        here.depot.give(class(), here.load(1, 2), Home::COMMON);
        let (one, other) = (here.load(3, 3), here.load(4, 4));
        let give = move |world: &World| world.depot.give(class(), one, Home::COMMON);
        let take_and_give = move |world: &World| {
            let taken = world.depot.take(class(), Home::COMMON).map_or(0, |top| usize::from(top.rounds().0));
            world.depot.give(class(), other, Home::COMMON);
            taken
        };
        let ((), taken) = side.race(&here, give, take_and_give);
        assert_eq!(here.depot.counts(class()), (2, 4 - taken));
    });
}

/// Two threads give a magazine each that they have made: it lies on the other one, or under it.
#[test]
fn a_magazine_counts_what_lies_below() {
    explore(|side| {
        let here = World::new();
        let give = |first, last| move |world: &World| world.depot.give(class(), world.load(first, last), Home::COMMON);
        side.race(&here, give(1, 2), give(3, 3));
        assert_eq!(here.depot.counts(class()), (2, 3));
    });
}

/// Who looks at a shelf sees the magazine on top whole, however new it is.
#[test]
fn a_magazine_on_top_is_whole_when_it_is_seen() {
    explore(|side| {
        let here = World::new();
        let give = |world: &World| world.depot.give(class(), world.load(1, 2), Home::COMMON);
        let ((), seen) = side.race(&here, give, |world| world.depot.counts(class()));
        assert!([(0, 0), (1, 2)].contains(&seen), "{seen:?}");
    });
}

/// An empty magazine on the rack is armed by one of two threads, and comes back.
#[test]
fn an_empty_magazine_has_one_owner() {
    explore(|side| {
        let here = World::new();
        here.unload(here.load(1, 1));
        let use_one = |n| move |world: &World| world.unload(world.load(n, n));
        assert_eq!(side.race(&here, use_one(2), use_one(3)), (1, 1));
        here.depot.clear_racks();
        assert_eq!(here.depot.bytes_in_use(), 0);
    });
}
