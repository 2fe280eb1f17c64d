//! Models of the CPUs' magazines: threads of one CPU and of two, and one that drains them.

use super::super::Pair;
use super::super::pouch::Pouch;
use super::{Cpus, keep_all, take_all};
use crate::arsenal::Arsenal;
use crate::loom_support::{Machine, Memory, Shared, explore};
use crate::magazine::Round;
use crate::reclaim;
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use std::sync::Arc;

struct World {
    machine: Arc<Machine>,
    cpus: Cpus,
    arsenal: Arsenal,
    memory: Shared,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    fn bare() -> Arc<Self> {
        Arc::new(Self { machine: Machine::new(), cpus: Cpus::new(), arsenal: Arsenal::new(), memory: Memory::new() })
    }

    /// With a table, and places for the first CPU, with one chunk there.
    fn new() -> Arc<Self> {
        let world = Self::bare();
        Machine::seat(&world.machine, 0);
        let chunk = world.take().expect("there is memory");
        world.give(chunk);
        world
    }

    fn take(&self) -> Option<Round> {
        let post = self.cpus.post(&self.arsenal, &self.memory)?;
        let chunk = self.cpus.alloc(post, &self.arsenal, &self.memory, class())?;
        self.memory.0.touch(chunk);
        Some(chunk)
    }

    fn give(&self, chunk: Round) {
        self.memory.0.touch(chunk);
        let post = self.cpus.post(&self.arsenal, &self.memory).expect("there is a table");
        assert!(self.cpus.dealloc(post, &self.arsenal, &self.memory, class(), chunk));
    }

    /// Takes a chunk on a CPU, and gives it back there.
    fn work(&self, cpu: usize) {
        Machine::seat(&self.machine, cpu);
        let chunk = self.take().expect("there is memory");
        self.give(chunk);
    }

    fn drain(&self) {
        Machine::seat(&self.machine, 1);
        self.cpus.hand_in(&self.arsenal, &self.memory);
    }

    fn rounds(&self) -> usize {
        let mut all = 0;
        self.cpus.each_rounds(|_, rounds| all += rounds);
        all
    }

    fn nothing_lost(&self) {
        Machine::seat(&self.machine, 0);
        assert_eq!(self.cpus.hand_in(&self.arsenal, &self.memory), 0);
        assert_eq!(self.rounds(), 0);
        reclaim::drain(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        let _ = reclaim::give_back(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        assert_eq!(self.memory.0.segment_bytes(), 0);
    }
}

/// Two threads of one CPU get in each other's way, where there is no magazine yet: each has its chunk for itself, and what one has
/// put there while the other traded is not lost.
#[test]
fn a_chunk_of_a_cpu_has_one_owner() {
    explore(|side| {
        let here = World::new();
        here.drain();
        side.race(&here, |world| world.work(0), |world| world.work(0));
        here.nothing_lost();
    });
}

/// A CPU is drained while a thread works there: what is taken from it is not handed out there too.
#[test]
fn a_drain_takes_what_nobody_else_has() {
    explore(|side| {
        let here = World::new();
        side.race(&here, |world| world.work(0), World::drain);
        here.nothing_lost();
    });
}

/// A thread is moved between taking and giving.
#[test]
fn a_thread_that_is_moved_loses_nothing() {
    explore(|side| {
        let here = World::new();
        let moved = |world: &World| {
            Machine::seat(&world.machine, 0);
            let chunk = world.take().expect("there is memory");
            Machine::seat(&world.machine, 1);
            world.give(chunk);
        };
        side.race(&here, moved, World::drain);
        here.nothing_lost();
    });
}

/// A thread is moved while it trades, to a CPU that has no places: what it has in its hands goes to the depot.
#[test]
fn a_trade_ends_on_another_cpu() {
    explore(|side| {
        let here = World::new();
        let trade = |world: &World| {
            Machine::seat(&world.machine, 0);
            let post = world.cpus.post(&world.arsenal, &world.memory).expect("there is a table");
            let moved = |_: &mut Pair, _: &Pouch<0>| Machine::seat(&world.machine, 1);
            world.cpus.trade(post, &world.arsenal, &world.memory, class(), moved).expect("there are places");
        };
        side.race(&here, trade, World::drain);
        here.nothing_lost();
    });
}

/// Two drain a CPU at once: each takes what it has put there, or what was there before.
#[test]
fn two_drain_at_once() {
    explore(|side| {
        let here = World::new();
        side.race(&here, World::drain, World::drain);
        here.nothing_lost();
    });
}

/// Places that a drain has emptied serve the next.
#[test]
fn emptied_places_are_used_again() {
    explore(|_| {
        let here = World::new();
        here.drain();
        here.work(0);
        let blocks = here.memory.0.metadata_blocks();
        (0..3).for_each(|_| {
            here.drain();
            here.work(0);
        });
        assert_eq!(here.memory.0.metadata_blocks(), blocks);
        here.nothing_lost();
    });
}

/// Places that a drain has emptied serve another drain, by another thread.
#[test]
fn emptied_places_change_hands() {
    explore(|side| {
        let here = World::new();
        side.race(&here, World::drain, |world| {
            Machine::seat(&world.machine, 1);
            if let Some(places) = take_all(&world.cpus.spares) {
                // SAFETY: the caller's own.
                assert_eq!(unsafe { places.as_ref() }.rounds(class(), || ()), 0);
                keep_all(&world.cpus.spares, places, places);
            }
        });
        here.nothing_lost();
    });
}

/// Two threads make the table.
#[test]
fn the_table_is_whole_when_it_is_seen() {
    explore(|side| {
        let here = World::bare();
        let begin = |cpu| {
            move |world: &World| {
                Machine::seat(&world.machine, cpu);
                assert!(world.cpus.post(&world.arsenal, &world.memory).is_some());
                assert_eq!(world.rounds(), 0);
            }
        };
        side.race(&here, begin(0), begin(1));
        here.nothing_lost();
    });
}

/// Two threads make the places of their CPU.
#[test]
fn places_are_whole_when_they_are_seen() {
    explore(|side| {
        let here = World::bare();
        let begin = |world: &World| {
            Machine::seat(&world.machine, 0);
            let post = world.cpus.post(&world.arsenal, &world.memory).expect("there is a table");
            assert!(world.cpus.furnish(post, world.arsenal.supply(&world.memory)));
            assert_eq!(post.pop(class()), None);
        };
        Machine::seat(&here.machine, 0);
        let _ = here.cpus.post(&here.arsenal, &here.memory);
        side.race(&here, begin, begin);
        here.nothing_lost();
    });
}

/// One makes the places of its CPU, and another looks whether nobody trades there.
#[test]
fn places_are_whole_for_who_looks() {
    explore(|side| {
        let here = World::bare();
        Machine::seat(&here.machine, 0);
        let _ = here.cpus.post(&here.arsenal, &here.memory);
        let look = |world: &World| {
            Machine::seat(&world.machine, 1);
            assert_eq!(world.rounds(), 0);
            world.cpus.hand_in_quiet(&world.arsenal, &world.memory);
        };
        let begin = |world: &World| {
            Machine::seat(&world.machine, 0);
            let post = world.cpus.post(&world.arsenal, &world.memory).expect("there is a table");
            assert!(world.cpus.furnish(post, world.arsenal.supply(&world.memory)));
        };
        side.race(&here, begin, look);
        here.nothing_lost();
    });
}
