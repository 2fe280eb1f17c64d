//! Models of the segments: a unit has one owner, its next owner sees what the last one did, and no free unit is hidden.

use super::{Run, Segments};
use crate::loom_support::{Shared, Source, explore};
use crate::map::Map;
use loom::thread;
use std::sync::Arc;
use std::vec::Vec;

struct World {
    segments: Segments,
    map: Map,
    source: Source,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { segments: Segments::new(), map: Map::new(), source: Source::new() })
    }

    /// With one segment of `units` units.
    fn with(units: u32) -> Arc<Self> {
        let world = Self::new();
        world.install(units);
        world
    }

    fn install(&self, units: u32) {
        use crate::backend::Backend;
        let layout = super::segment_layout::<Shared>(units).unwrap();
        let base = self.source.memory.acquire(layout).unwrap();
        self.segments.install(self.source.supply(), &self.map, base, units).unwrap();
    }

    fn grow(&self) {
        self.segments.grow(self.source.supply(), &self.map, 1).unwrap();
    }

    fn claim(&self, units: u32) -> Option<Run> {
        let (run, _) = self.segments.claim::<Shared>(units)?;
        self.source.memory().touch(run.start);
        Some(run)
    }

    fn free(&self, run: Run) {
        self.source.memory().touch(run.start);
        self.segments.free(run).unwrap();
    }

    fn release(&self) {
        self.segments.release_free(self.source.supply());
    }

    /// All of `units` units can be claimed, one by one, and no more; then all can be released.
    fn nothing_lost(&self, units: usize) {
        let all: Vec<_> = (0..units).map(|_| self.claim(1).expect("a unit is hidden or lost")).collect();
        assert!(self.claim(1).is_none());
        all.into_iter().for_each(|run| self.free(run));
        self.release();
        assert_eq!(self.source.memory().segment_bytes(), 0);
    }
}

/// Two threads claim, use and free units of one segment.
#[test]
fn a_unit_has_one_owner() {
    explore(|| {
        let here = World::with(2);
        let there = Arc::clone(&here);
        let work = |world: &World| {
            let run = world.claim(1).expect("there are two units");
            world.free(run);
        };
        let other = thread::spawn(move || work(&there));
        work(&here);
        other.join().unwrap();
        here.nothing_lost(2);
    });
}

/// A unit goes from one owner to the next.
#[test]
fn a_unit_is_handed_over() {
    explore(|| {
        let here = World::with(1);
        let run = here.claim(1).unwrap();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.free(run));
        let again = here.claim(1);
        other.join().unwrap();
        again.into_iter().for_each(|run| here.free(run));
        here.nothing_lost(1);
    });
}

/// One thread frees the only unit while the other finds none and takes the hint back.
#[test]
fn a_free_unit_is_never_hidden() {
    explore(|| {
        let here = World::with(2);
        let (first, second) = (here.claim(1).unwrap(), here.claim(1).unwrap());
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.free(first));
        let held = here.claim(1);
        let held = held.or_else(|| here.claim(1));
        other.join().unwrap();
        held.into_iter().for_each(|run| here.free(run));
        here.free(second);
        here.nothing_lost(2);
    });
}

/// Two units are freed by two threads while a third run of two is looked for.
#[test]
fn a_run_made_of_two_frees_is_never_hidden() {
    explore(|| {
        let here = World::with(2);
        let (first, second) = (here.claim(1).unwrap(), here.claim(1).unwrap());
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.free(first));
        here.free(second);
        let pair = here.claim(2);
        other.join().unwrap();
        pair.into_iter().for_each(|run| here.free(run));
        let pair = here.claim(2).expect("the run is hidden");
        here.free(pair);
        here.nothing_lost(2);
    });
}

/// A fresh segment is seen with its base by whoever claims from it.
#[test]
fn a_segment_is_whole_when_it_is_seen() {
    explore(|| {
        let here = World::new();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.install(1));
        let run = here.claim(1);
        other.join().unwrap();
        run.into_iter().for_each(|run| here.free(run));
        here.nothing_lost(1);
    });
}

/// A segment is released only when nobody has a unit of it, and its slot serves again.
#[test]
fn release_takes_no_unit_in_use() {
    explore(|| {
        let here = World::with(1);
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            if let Some(run) = there.claim(1) {
                there.free(run);
            }
        });
        here.release();
        other.join().unwrap();
        here.release();
        assert_eq!(here.source.memory().segment_bytes(), 0);
        here.install(1);
        here.nothing_lost(1);
    });
}

/// Two threads release and install at once, so a slot changes hands.
#[test]
fn a_slot_changes_hands() {
    explore(|| {
        let here = World::with(1);
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.install(1));
        here.release();
        other.join().unwrap();
        here.release();
        assert_eq!(here.source.memory().segment_bytes(), 0);
    });
}

/// Two threads add a group each, and a third looks for units meanwhile: both groups are in the list.
#[test]
fn groups_are_whole_and_do_not_lose_each_other() {
    explore(|| {
        let here = World::new();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.install(1));
        here.install(1);
        other.join().unwrap();
        here.nothing_lost(2);
    });
}

/// A free unit's pages are given back while somebody wants the unit.
#[test]
fn purge_takes_no_unit_in_use() {
    explore(|| {
        let here = World::with(1);
        let run = here.claim(1).unwrap();
        here.free(run);
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            if let Some(run) = there.claim(1) {
                there.free(run);
            }
        });
        here.segments.purge(here.source.supply());
        other.join().unwrap();
        here.nothing_lost(1);
    });
}

/// A run grows in place while somebody else wants the unit behind it.
#[test]
fn an_extension_has_one_owner() {
    explore(|| {
        let here = World::with(2);
        let run = here.claim(1).unwrap();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            if let Some(run) = there.claim(1) {
                there.free(run);
            }
        });
        let longer = here.segments.extend(run, 1);
        if let Some(longer) = longer {
            // SAFETY: the second unit of the run.
            here.source.memory().touch(unsafe { longer.start.add(crate::loom_support::UNIT) });
        }
        other.join().unwrap();
        here.free(longer.unwrap_or(run));
        here.nothing_lost(2);
    });
}

/// Segments larger than one unit come from the back-end as a whole.
#[test]
fn growth_installs_what_it_acquires() {
    explore(|| {
        let here = World::new();
        here.grow();
        here.nothing_lost(4);
    });
}
