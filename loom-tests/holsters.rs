//! Models of the search: a thread is at work or asleep while another takes what it has.
//!
//! Each thread has a CPU, on which it takes its steps; the searcher's fence comes between two of them.

use super::super::thread::ThreadCache;
use super::Holsters;
use crate::arsenal::Arsenal;
use crate::loom_support::{Machine, Memory, Shared, Side, explore};
use crate::magazine::Round;
use crate::reclaim;
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use core::cell::RefCell;
use std::sync::Arc;
use std::vec::Vec;

struct World {
    machine: Arc<Machine>,
    arsenal: Arsenal,
    holsters: Holsters,
    memory: Shared,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

/// A thread's cache, lent to the one thread of a model that plays it.
struct Wearer(RefCell<ThreadCache>);

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            machine: Machine::new(),
            arsenal: Arsenal::new(),
            holsters: Holsters::new(),
            memory: Memory::new(),
        })
    }

    /// Takes a chunk, from the slabs if the thread has no turn.
    fn take(&self, cache: &ThreadCache) -> Round {
        let slow = || {
            let supply = self.arsenal.supply(&self.memory);
            let turn = cache.enter(&self.arsenal, &self.holsters, supply, || true);
            turn.map_or_else(
                || self.arsenal.take_one(&self.memory, class()),
                |turn| turn.alloc(&self.arsenal, &self.memory, class()),
            )
        };
        let chunk = cache.pop(class()).or_else(slow).expect("there is memory");
        self.memory.0.touch(chunk);
        chunk
    }

    /// Gives one back, to the slabs if the thread has no turn.
    fn give(&self, cache: &ThreadCache, chunk: Round) {
        self.memory.0.touch(chunk);
        if cache.push(class(), chunk) {
            return;
        }
        let supply = self.arsenal.supply(&self.memory);
        match cache.enter(&self.arsenal, &self.holsters, supply, || true) {
            Some(turn) => _ = turn.dealloc(&self.arsenal, &self.memory, class(), chunk),
            None => self.arsenal.give(&self.memory, &mut [chunk]),
        }
    }

    /// A thread that holds `held` chunks and has given `loaded` others into its magazines.
    fn wearer(&self, held: usize, loaded: usize) -> (ThreadCache, Vec<Round>) {
        let cache = ThreadCache::new();
        let mut chunks: Vec<_> = (0..held + loaded).map(|_| self.take(&cache)).collect();
        chunks.drain(held..).for_each(|chunk| self.give(&cache, chunk));
        (cache, chunks)
    }

    fn search(&self) {
        Machine::seat(&self.machine, 1);
        let _ = self.holsters.search(&self.arsenal, &self.memory, None);
        // What was taken goes to others at once.
        let other = self.arsenal.take_one(&self.memory, class()).expect("there is memory");
        self.memory.0.touch(other);
        self.arsenal.give(&self.memory, &mut [other]);
    }

    fn nothing_lost(&self) {
        reclaim::drain(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        let _ = reclaim::give_back(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        assert_eq!((self.memory.0.segment_bytes(), self.arsenal.threads()), (0, 0));
        assert_eq!((self.arsenal.depot.bytes_in_use(), self.holsters.bytes_in_use()), (0, 0));
    }
}

// SAFETY: loom's threads run one at a time, and only one of them uses the cache.
unsafe impl Sync for Wearer {}
// SAFETY: as above.
unsafe impl Send for Wearer {}

/// Runs `work` of a thread that holds `held` chunks and has `loaded` ones, against a search; then the thread leaves.
fn searched(side: Side, held: usize, loaded: usize, work: impl Fn(&World, &ThreadCache, Vec<Round>) + Copy + 'static) {
    let world = World::new();
    let (cache, chunks) = world.wearer(held, loaded);
    let wearer = Arc::new(Wearer(RefCell::new(cache)));
    let lent = wearer.clone();
    let works = move |world: &World| {
        Machine::seat(&world.machine, 0);
        work(world, &lent.0.borrow(), chunks);
    };
    side.race(&world, works, World::search);
    wearer.0.borrow().leave();
    world.nothing_lost();
}

/// A thread that rests is searched: all but what it may just be taking is anybody's.
#[test]
fn a_thread_that_rests_is_searched() {
    explore(|_| {
        let world = World::new();
        let (cache, _) = world.wearer(0, 2);
        let had = world.holsters.rounds(class());
        Machine::seat(&world.machine, 1);
        assert_eq!(world.holsters.search(&world.arsenal, &world.memory, None).0, 0);
        assert!(had > 1 && world.holsters.rounds(class()) <= 1);
        cache.leave();
        world.nothing_lost();
    });
}

/// The thread takes a chunk from its magazine, and gives it back.
#[test]
fn a_chunk_is_taken_or_searched() {
    explore(|side| {
        searched(side, 0, 2, |world, cache, _| {
            let chunk = world.take(cache);
            world.give(cache, chunk);
        });
    });
}

/// The thread takes two: the second time it has been stopped, or has not.
#[test]
fn one_fast_path_at_most_goes_on() {
    explore(|side| {
        searched(side, 0, 2, |world, cache, _| {
            let chunks = [world.take(cache), world.take(cache)];
            chunks.into_iter().for_each(|chunk| world.give(cache, chunk));
        });
    });
}

/// The thread gives a chunk back while what lies below is taken.
#[test]
fn a_chunk_is_given_while_it_is_searched() {
    explore(|side| {
        searched(side, 1, 1, |world, cache, chunks| chunks.into_iter().for_each(|chunk| world.give(cache, chunk)));
    });
}

/// The thread is in a slow path, or about to be.
#[test]
fn a_slow_path_is_not_searched() {
    explore(|side| {
        // Of six chunks, four lie in two full magazines, and two are held: there is no room for the first.
        searched(side, 2, 4, |world, cache, chunks| chunks.into_iter().for_each(|chunk| world.give(cache, chunk)));
    });
}

/// The thread leaves while it is searched: one of the two does what is left to do.
#[test]
fn a_thread_leaves_while_it_is_searched() {
    explore(|side| {
        searched(side, 0, 2, |world, cache, _| {
            let chunk = world.take(cache);
            world.give(cache, chunk);
            cache.leave();
        });
    });
}

/// A thread that was searched, and comes by again, has magazines again.
#[test]
fn a_thread_resumes() {
    explore(|_| {
        let world = World::new();
        let (cache, _) = world.wearer(0, 2);
        world.search();
        let chunk = world.take(&cache);
        world.give(&cache, chunk);
        let chunk = cache.pop(class()).expect("it was put into a magazine");
        assert!(cache.push(class(), chunk));
        cache.leave();
        world.nothing_lost();
    });
}

/// Two search at once: each thread is searched by one of them.
#[test]
fn two_search_at_once() {
    explore(|side| {
        let world = World::new();
        let (cache, _) = world.wearer(0, 2);
        let there = |world: &World| {
            Machine::seat(&world.machine, 0);
            let _ = world.holsters.search(&world.arsenal, &world.memory, None);
        };
        side.race(&world, there, World::search);
        cache.leave();
        world.nothing_lost();
    });
}

/// A thread begins while others are searched.
#[test]
fn a_thread_begins_while_others_are_searched() {
    explore(|side| {
        let world = World::new();
        let begin = |world: &World| {
            Machine::seat(&world.machine, 0);
            let (cache, _) = world.wearer(0, 1);
            cache.leave();
        };
        side.race(&world, begin, World::search);
        world.nothing_lost();
    });
}

/// A thread that was searched goes on, beside another search.
#[test]
fn a_thread_resumes_beside_a_search() {
    explore(|side| {
        let world = World::new();
        let (cache, _) = world.wearer(0, 2);
        world.search();
        let wearer = Arc::new(Wearer(RefCell::new(cache)));
        let lent = wearer.clone();
        let works = move |world: &World| {
            Machine::seat(&world.machine, 0);
            let chunk = world.take(&lent.0.borrow());
            world.give(&lent.0.borrow(), chunk);
        };
        side.race(&world, works, World::search);
        wearer.0.borrow().leave();
        world.nothing_lost();
    });
}

/// A holster that another thread has worn before is worn again.
#[test]
fn a_holster_is_worn_again_while_others_are_searched() {
    explore(|side| {
        let world = World::new();
        world.wearer(0, 1).0.leave();
        let begin = |world: &World| {
            Machine::seat(&world.machine, 0);
            let (cache, _) = world.wearer(0, 1);
            cache.leave();
        };
        side.race(&world, begin, World::search);
        world.nothing_lost();
    });
}
