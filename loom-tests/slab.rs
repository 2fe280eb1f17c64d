//! Models of the slabs: take, give, list, and the sentence at the heart of reclaim.

use super::{Held, Slabs};
use crate::loom_support::{Shared, Source, explore};
use crate::magazine::Round;
use crate::map::Map;
use crate::segment::Segments;
use crate::segment::Wish;
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use core::mem::MaybeUninit;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// Slabs of four chunks in two words.
struct World {
    slabs: Slabs,
    segments: Segments,
    map: Map,
    source: Source,
}

const CHUNKS: usize = 4;

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    /// A slab of which `chunks` are taken.
    fn with(chunks: usize) -> (Arc<Self>, Vec<Round>) {
        let world = Self { slabs: Slabs::new(), segments: Segments::new(), map: Map::new(), source: Source::new() };
        world.segments.grow(world.source.supply(), &world.map, 1, 4).unwrap();
        let (run, contents) = world.segments.claim::<Shared>(Wish::units(1)).unwrap();
        let held = world.slabs.carve(world.source.supply(), run, contents, class()).unwrap();
        world.map.set(&world.source.memory, run.start, 1, held.id().to_bits());
        let taken = world.take_from(held, chunks);
        assert_eq!(taken.len(), chunks);
        (Arc::new(world), taken)
    }

    fn take_from(&self, held: Held, most: usize) -> Vec<Round> {
        let mut chunks = [MaybeUninit::uninit(); CHUNKS];
        let (taken, _) = self.slabs.take(held, &mut chunks[..most]);
        // SAFETY: `take` has written that many.
        let chunks: Vec<_> = chunks[..taken].iter().map(|chunk| unsafe { chunk.assume_init() }).collect();
        chunks.iter().for_each(|&chunk| self.source.memory().touch(chunk));
        chunks
    }

    /// Takes up to `most` chunks from whatever slab is listed.
    fn take(&self, most: usize) -> Vec<Round> {
        self.slabs.pop(class()).map_or_else(Vec::new, |held| self.take_from(held, most))
    }

    fn give(&self, chunks: &[Round]) {
        let Some(&first) = chunks.first() else { return };
        chunks.iter().for_each(|&chunk| self.source.memory().touch(chunk));
        let id = self.map.get(&self.source.memory, first.addr().get());
        self.slabs.give(super::SlabId::from_bits(id).unwrap(), chunks).unwrap();
    }

    /// Retires what is idle, and uses the memory under it for something else; how many slabs that were.
    fn retire(&self) -> usize {
        let mut retired = 0;
        self.slabs.retire_idle(class(), Scope::All, |run| {
            retired += 1;
            (0..CHUNKS).for_each(|n| {
                // SAFETY: inside the run's one unit.
                self.source.memory().touch(unsafe { run.start.add(n * 16) });
            });
            self.segments.free(run).unwrap();
        });
        retired
    }

    /// With every chunk given back, the slab can be taken from to the last chunk, or retired.
    fn nothing_lost(&self, retired: usize) {
        if retired == 0 {
            let all = self.take(CHUNKS);
            assert_eq!(all.len(), CHUNKS, "chunks are lost, or the slab is not listed");
            self.give(&all);
            assert_eq!(self.retire(), 1);
        }
        assert!(self.slabs.pop(class()).is_none());
        assert_eq!(self.slabs.class(class()).slabs.get(), 0);
        assert_eq!(self.slabs.class(class()).taken.get(), 0);
    }
}

/// The last chunk is given back while another party pops the slab and retires it if it is idle.
#[test]
fn an_idle_slab_has_no_giver() {
    explore(|side| {
        let (here, chunks) = World::with(1);
        let ((), retired) = side.race(&here, move |world| world.give(&chunks), World::retire);
        here.nothing_lost(retired);
    });
}

/// Two parties give the last two chunks, and a third looks for an idle slab.
#[test]
fn two_givers_and_a_retirer() {
    explore(|side| {
        let (here, chunks) = World::with(2);
        let give_and_retire = |chunk| {
            move |world: &World| {
                world.give(&[chunk]);
                world.retire()
            }
        };
        let (one, other) = side.race(&here, give_and_retire(chunks[0]), give_and_retire(chunks[1]));
        let retired = one + other;
        assert!(retired <= 1);
        here.nothing_lost(retired);
    });
}

/// Chunks go from their giver to the next taker, who may be ahead of the count.
#[test]
fn a_chunk_is_handed_over() {
    explore(|side| {
        let (here, chunks) = World::with(3);
        let (given, kept) = (chunks[..2].to_vec(), chunks[2]);
        let ((), mine) = side.race(&here, move |world| world.give(&given), |world| world.take(CHUNKS));
        here.give(&mine);
        here.give(&[kept]);
        here.nothing_lost(0);
    });
}

/// Pages of free chunks are given back while chunks are given and taken.
#[test]
fn a_free_page_is_nobodys() {
    explore(|side| {
        let (here, chunks) = World::with(1);
        let give_and_take = move |world: &World| {
            world.give(&chunks);
            let again = world.take(1);
            world.give(&again);
        };
        side.race(&here, give_and_take, |world| {
            world.slabs.each_free_page(class(), 16, Scope::All, &Budget::of(usize::MAX), |start, bytes| {
                for offset in (0..bytes).step_by(16) {
                    // SAFETY: inside the page range.
                    world.source.memory().touch(unsafe { start.add(offset) });
                }
                true
            });
        });
        here.nothing_lost(0);
    });
}

/// A chunk that is given while free pages are purged is purged by that pass or by the next.
#[test]
fn a_given_chunk_is_purged_once() {
    explore(|side| {
        let (here, chunks) = World::with(2);
        let (before, beside) = (chunks[..1].to_vec(), chunks[1..].to_vec());
        here.give(&before);
        let purge = move |world: &World| {
            let mut places = 0;
            world.slabs.each_free_page(class(), 16, Scope::All, &Budget::of(usize::MAX), |_, bytes| {
                places += bytes / 16;
                true
            });
            places
        };
        let ((), first) = side.race(&here, move |world| world.give(&beside), purge);
        let second = purge(&here);
        assert!(first == CHUNKS || second == CHUNKS, "{first} then {second}");
        assert_eq!(purge(&here), 0);
        here.nothing_lost(0);
    });
}

/// A chunk that was purged, taken and given back beside a pass is purged again, by that pass or by the next.
#[test]
fn a_chunk_that_was_used_again_is_purged_again() {
    explore(|side| {
        let (here, chunks) = World::with(1);
        here.give(&chunks);
        let used = Arc::new(Mutex::new(0));
        let (noted, found) = (Arc::clone(&used), Arc::clone(&used));
        let purge = move |world: &World| {
            world.slabs.each_free_page(class(), 16, Scope::All, &Budget::of(usize::MAX), |start, bytes| {
                let mut used = found.lock().unwrap();
                if (start.addr().get()..start.addr().get() + bytes).contains(&*used) {
                    *used = 0;
                }
                true
            });
        };
        purge(&here);
        let use_again = move |world: &World| {
            let again = world.take(1);
            if let Some(chunk) = again.first() {
                *noted.lock().unwrap() = chunk.addr().get();
            }
            world.give(&again);
        };
        side.race(&here, use_again, purge.clone());
        purge(&here);
        assert_eq!(*used.lock().unwrap(), 0, "its pages are there, and nobody will purge them");
        here.nothing_lost(0);
    });
}

/// Two parties give into a full slab: one of them lists it, once.
#[test]
fn a_full_slab_is_listed_once() {
    explore(|side| {
        let (here, chunks) = World::with(4);
        let (some, rest) = (chunks[..2].to_vec(), chunks[2..].to_vec());
        side.race(&here, move |world| world.give(&some), move |world| world.give(&rest));
        here.nothing_lost(0);
    });
}

/// The holder takes the last free chunks and unlists the slab while another party gives and lists it.
#[test]
fn an_unlisted_slab_is_listed_by_its_giver() {
    explore(|side| {
        let (here, chunks) = World::with(3);
        let (given, kept) = (chunks[..1].to_vec(), chunks[1..].to_vec());
        let give_and_take = move |world: &World| {
            world.give(&given);
            world.take(CHUNKS)
        };
        let (theirs, mine) = side.race(&here, give_and_take, |world| world.take(1));
        here.give(&mine);
        here.give(&theirs);
        here.give(&kept);
        here.nothing_lost(0);
    });
}
