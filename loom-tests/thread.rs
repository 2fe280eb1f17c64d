//! Models of thread exit: magazines are handed in whole, before the heap may go.

use super::{ThreadCache, Turn};
use crate::arsenal::Arsenal;
use crate::cache::holsters::Holsters;
use crate::loom_support::{Memory, Shared, explore};
use crate::magazine::Round;
use crate::reclaim;
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use crate::sync::Witness;
use std::sync::Arc;
use std::vec::Vec;

struct World {
    arsenal: Arsenal,
    holsters: Holsters,
    memory: Shared,
    heap: Witness,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            arsenal: Arsenal::new(),
            holsters: Holsters::new(),
            memory: Memory::new(),
            heap: Witness::new(),
        })
    }

    /// A turn of the thread with that cache, if it gets one; it can set its exit hook, if `hook`.
    fn enter<'a>(&self, cache: &'a ThreadCache, hook: bool) -> Option<Turn<'a>> {
        cache.enter(&self.arsenal, &self.holsters, self.arsenal.supply(&self.memory), || hook)
    }

    /// Takes a chunk as a thread does that works for the arsenal.
    fn take(&self, cache: &ThreadCache) -> Round {
        let chunk = cache.pop(class()).or_else(|| {
            let turn = self.enter(cache, true).expect("nobody searches");
            turn.alloc(&self.arsenal, &self.memory, class())
        });
        let chunk = chunk.expect("there is memory");
        self.memory.0.touch(chunk);
        chunk
    }

    /// Gives one back.
    fn give(&self, cache: &ThreadCache, chunk: Round) {
        self.memory.0.touch(chunk);
        if !cache.push(class(), chunk) {
            let turn = self.enter(cache, true).expect("nobody searches");
            turn.dealloc(&self.arsenal, &self.memory, class(), chunk);
        }
    }

    /// What a thread does in its life: enter, allocate and free `count` chunks, leave.
    fn live(&self, count: usize) {
        let cache = ThreadCache::new();
        let chunks: Vec<_> = (0..count).map(|_| self.take(&cache)).collect();
        chunks.into_iter().for_each(|chunk| self.give(&cache, chunk));
        self.heap.look();
        cache.leave();
        assert!(cache.pop(class()).is_none());
        assert!(self.enter(&cache, true).is_none());
    }

    fn reclaim(&self) {
        self.arsenal.recall();
        reclaim::drain(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        let _ = reclaim::give_back(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
    }
}

/// A thread exits while another reclaims; afterwards nothing is left.
#[test]
fn exit_against_reclaim() {
    explore(|side| {
        let here = World::new();
        side.race(&here, |world| world.live(3), World::reclaim);
        here.reclaim();
        assert_eq!((here.memory.0.segment_bytes(), here.arsenal.threads()), (0, 0));
    });
}

/// A thread that leaves is done with the heap, also with tidying up, before it is counted off.
#[test]
fn a_thread_is_counted_while_it_tidies_up() {
    explore(|_| {
        let mut world = World::new();
        let tidy = |arsenal: &Arsenal, _| assert_ne!(arsenal.threads(), 0);
        Arc::get_mut(&mut world).expect("nobody else has it").arsenal.tidy = Some(tidy);
        world.live(1);
        assert_eq!(world.arsenal.threads(), 0);
    });
}

/// Who sees that no thread is left may tear the heap down: every use by a thread is over.
#[test]
fn the_last_thread_has_left() {
    explore(|side| {
        let here = World::new();
        here.arsenal.enlist();
        let leave = |world: &World| {
            world.heap.look();
            world.arsenal.discharge();
        };
        let tear_down = |world: &World| {
            if world.arsenal.threads() == 0 {
                world.heap.touch();
            }
        };
        side.race(&here, leave, tear_down);
    });
}

/// A thread that comes by after a recall hands in what it has.
#[test]
fn a_recall_is_obeyed_at_the_next_slow_path() {
    explore(|_| {
        let world = World::new();
        let cache = ThreadCache::new();
        let chunk = world.take(&cache);
        world.give(&cache, chunk);
        world.reclaim();
        assert_ne!(world.memory.0.segment_bytes(), 0);
        assert!(world.enter(&cache, true).is_some());
        world.reclaim();
        assert_eq!(world.memory.0.segment_bytes(), 0);
        cache.leave();
    });
}

/// A thread whose hook cannot be set never works for a heap.
#[test]
fn without_a_hook_there_is_no_cache() {
    explore(|_| {
        let world = World::new();
        let cache = ThreadCache::new();
        assert!(world.enter(&cache, false).is_none());
        assert!(world.enter(&cache, true).is_none());
        assert_eq!(world.arsenal.threads(), 0);
    });
}

/// A thread that has emptied some magazines keeps one of them; when it leaves, it does no longer.
#[test]
fn spare_magazines_are_handed_in() {
    explore(|_| {
        let world = World::new();
        let (giver, taker) = (ThreadCache::new(), ThreadCache::new());
        // Six chunks and two to a magazine.
        let chunks: [_; 6] = core::array::from_fn(|_| world.take(&giver));
        chunks.into_iter().for_each(|chunk| world.give(&giver, chunk));
        giver.leave();
        let chunks: [_; 6] = core::array::from_fn(|_| world.take(&taker));
        chunks.into_iter().for_each(|chunk| world.arsenal.give(&world.memory, &mut [chunk]));
        taker.leave();
        world.reclaim();
        assert_eq!(world.arsenal.depot.bytes_in_use(), 0);
    });
}
