//! Models of reclaim beside allocation, frees, and itself.

use super::{drain, give_back};
use crate::arsenal::Arsenal;
use crate::cache::Pair;
use crate::cache::pouch::Pouch;
use crate::home::Home;
use crate::loom_support::{Memory, Shared, explore};
use crate::magazine::{Round, Top};
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use std::sync::Arc;

struct World {
    arsenal: Arsenal,
    memory: Shared,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { arsenal: Arsenal::new(), memory: Memory::new() })
    }

    fn take(&self) -> Round {
        let chunk = self.arsenal.take_one(&self.memory, class()).expect("there is memory");
        self.memory.0.touch(chunk);
        chunk
    }

    fn give(&self, chunk: Round) {
        self.memory.0.touch(chunk);
        self.arsenal.give(&self.memory, &mut [chunk]);
    }

    /// A magazine with one chunk.
    fn loaded(&self) -> Pair {
        let mut pair = Pair { loaded: Top::NONE, previous: Top::NONE };
        pair.loaded = self.arsenal.arm(&self.memory, class(), Home::COMMON).expect("there is memory");
        assert!(pair.push(self.take()));
        pair
    }

    fn reclaim(&self) {
        drain(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        let _ = give_back(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
    }

    fn nothing_lost(&self) {
        self.reclaim();
        assert_eq!(self.memory.0.segment_bytes(), 0);
    }
}

/// A chunk is freed and another allocated while the slabs they lie in are reclaimed.
#[test]
fn beside_frees_and_allocations() {
    explore(|side| {
        let here = World::new();
        let first = here.take();
        let work = move |world: &World| {
            world.give(first);
            let again = world.take();
            world.give(again);
        };
        side.race(&here, work, World::reclaim);
        here.nothing_lost();
    });
}

/// A magazine is handed in at the depot while the depot is drained.
#[test]
fn beside_trades() {
    explore(|side| {
        let here = World::new();
        let work = |world: &World| {
            let mut pair = Pair { loaded: Top::NONE, previous: Top::NONE };
            let pouch = Pouch::<0>::new(Home::COMMON);
            let chunk = pair.alloc(&world.arsenal, &world.memory, class(), &pouch).expect("there is memory");
            world.memory.0.touch(chunk);
            assert!(pair.push(chunk));
            pair.hand_in(&world.arsenal, class(), Home::COMMON);
        };
        side.race(&here, work, World::reclaim);
        here.nothing_lost();
    });
}

/// Two passes at once, over something to reclaim.
#[test]
fn beside_itself() {
    explore(|side| {
        let here = World::new();
        let chunk = here.take();
        here.give(chunk);
        side.race(&here, World::reclaim, World::reclaim);
        here.nothing_lost();
    });
}

/// A magazine is taken off a shelf and goes elsewhere while the depot is drained: the others are drained all the same.
#[test]
fn a_drain_is_not_misled() {
    explore(|side| {
        let here = World::new();
        for _ in 0..3 {
            here.loaded().hand_in(&here.arsenal, class(), Home::COMMON);
        }
        let take = |world: &World| {
            if let Some(top) = world.arsenal.depot.take(class(), Home::COMMON) {
                // SAFETY: taken from the depot, so ours, and discarded empty.
                world.arsenal.depot.discard(unsafe { world.arsenal.spill(&world.memory, top) }, Home::COMMON);
            }
        };
        side.race(&here, take, |world| drain(&world.arsenal, &world.memory, Scope::All, &Budget::of(usize::MAX)));
        assert_eq!(here.arsenal.depot.counts(class()), (0, 0));
        here.nothing_lost();
    });
}
