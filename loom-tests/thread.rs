//! Models of thread exit: magazines are handed in whole, before the heap may go.

use super::ThreadCache;
use crate::arsenal::Arsenal;
use crate::loom_support::{Memory, Shared, explore};
use crate::reclaim;
use crate::size_class::SizeClass;
use crate::surplus::Budget;
use crate::sync::Witness;
use std::sync::Arc;
use std::vec::Vec;

struct World {
    arsenal: Arsenal,
    memory: Shared,
    heap: Witness,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { arsenal: Arsenal::new(), memory: Memory::new(), heap: Witness::new() })
    }

    /// What a thread does in its life: enter, allocate and free `count` chunks, leave.
    fn live(&self, count: usize) {
        let cache = ThreadCache::new();
        assert!(cache.enter(&self.arsenal, || true));
        let chunks: Vec<_> = (0..count)
            .map(|_| {
                let chunk = cache
                    .pop(class())
                    .or_else(|| cache.alloc(&self.arsenal, &self.memory, class()))
                    .expect("there is memory");
                self.memory.0.touch(chunk);
                chunk
            })
            .collect();
        for chunk in chunks {
            if !cache.push(class(), chunk) {
                cache.dealloc(&self.arsenal, &self.memory, class(), chunk);
            }
        }
        self.heap.look();
        cache.leave();
        assert!(cache.pop(class()).is_none());
        assert!(!cache.enter(&self.arsenal, || true));
    }

    fn reclaim(&self) {
        self.arsenal.recall();
        reclaim::drain(&self.arsenal, &self.memory);
        let _ = reclaim::give_back(&self.arsenal, &self.memory, true, &Budget::of(usize::MAX));
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
        assert!(cache.enter(&world.arsenal, || true));
        let chunk = cache.alloc(&world.arsenal, &world.memory, class()).unwrap();
        assert!(cache.push(class(), chunk));
        world.reclaim();
        assert_ne!(world.memory.0.segment_bytes(), 0);
        assert!(cache.enter(&world.arsenal, || true));
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
        assert!(!cache.enter(&world.arsenal, || false));
        assert!(!cache.enter(&world.arsenal, || true));
        assert_eq!(world.arsenal.threads(), 0);
    });
}

/// A thread that has emptied some magazines keeps one of them; when it leaves, it does no longer.
#[test]
fn spare_magazines_are_handed_in() {
    explore(|_| {
        let world = World::new();
        let (giver, taker) = (ThreadCache::new(), ThreadCache::new());
        assert!(giver.enter(&world.arsenal, || true) && taker.enter(&world.arsenal, || true));
        // Six chunks and two to a magazine.
        let take = |cache: &ThreadCache| {
            let chunk = cache.pop(class()).or_else(|| cache.alloc(&world.arsenal, &world.memory, class()));
            chunk.expect("there is memory")
        };
        let chunks: [_; 6] = core::array::from_fn(|_| take(&giver));
        for chunk in chunks {
            if !giver.push(class(), chunk) {
                giver.dealloc(&world.arsenal, &world.memory, class(), chunk);
            }
        }
        giver.leave();
        let chunks: [_; 6] = core::array::from_fn(|_| take(&taker));
        for chunk in chunks {
            world.arsenal.give(&world.memory, &mut [chunk]);
        }
        taker.leave();
        world.reclaim();
        assert_eq!(world.arsenal.depot.bytes_in_use(), 0);
    });
}
