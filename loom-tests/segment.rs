//! Models of the segments: a unit has one owner, its next owner sees what the last one did, and no free unit is hidden.

use super::{Run, Segments};
use crate::loom_support::{Shared, Source, explore};
use crate::map::Map;
use crate::segment::Wish;
use crate::surplus::{Budget, Scope};
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
        self.segments.install(self.source.supply(), &self.map, base, units, 0).unwrap();
    }

    fn grow(&self) {
        self.segments.grow(self.source.supply(), &self.map, 1, 4).unwrap();
    }

    fn claim(&self, units: u32) -> Option<Run> {
        let (run, _) = self.segments.claim::<Shared>(Wish::units(units))?;
        self.source.memory().touch(run.start);
        Some(run)
    }

    fn free(&self, run: Run) {
        self.source.memory().touch(run.start);
        self.segments.free(run).unwrap();
    }

    fn release(&self) {
        self.segments.release_free(self.source.supply(), Scope::All, &Budget::of(usize::MAX));
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

fn claim_and_free(world: &World) {
    if let Some(run) = world.claim(1) {
        world.free(run);
    }
}

/// Two threads claim, use and free units of one segment.
#[test]
fn a_unit_has_one_owner() {
    explore(|side| {
        let here = World::with(2);
        let work = |world: &World| {
            let run = world.claim(1).expect("there are two units");
            world.free(run);
        };
        side.race(&here, work, work);
        here.nothing_lost(2);
    });
}

/// A unit goes from one owner to the next.
#[test]
fn a_unit_is_handed_over() {
    explore(|side| {
        let here = World::with(1);
        let run = here.claim(1).unwrap();
        let ((), again) = side.race(&here, move |world| world.free(run), |world| world.claim(1));
        again.into_iter().for_each(|run| here.free(run));
        here.nothing_lost(1);
    });
}

/// One thread frees the only unit while the other finds none and takes the hint back.
#[test]
fn a_free_unit_is_never_hidden() {
    explore(|side| {
        let here = World::with(2);
        let (first, second) = (here.claim(1).unwrap(), here.claim(1).unwrap());
        let look_twice = |world: &World| world.claim(1).or_else(|| world.claim(1));
        let ((), held) = side.race(&here, move |world| world.free(first), look_twice);
        held.into_iter().for_each(|run| here.free(run));
        here.free(second);
        here.nothing_lost(2);
    });
}

/// Two units are freed by two threads while a third run of two is looked for.
#[test]
fn a_run_made_of_two_frees_is_never_hidden() {
    explore(|side| {
        let here = World::with(2);
        let (first, second) = (here.claim(1).unwrap(), here.claim(1).unwrap());
        let ((), pair) = side.race(
            &here,
            move |world| world.free(first),
            move |world| {
                world.free(second);
                world.claim(2)
            },
        );
        pair.into_iter().for_each(|run| here.free(run));
        let pair = here.claim(2).expect("the run is hidden");
        here.free(pair);
        here.nothing_lost(2);
    });
}

/// A fresh segment is seen with its base by whoever claims from it.
#[test]
fn a_segment_is_whole_when_it_is_seen() {
    explore(|side| {
        let here = World::new();
        let ((), run) = side.race(&here, |world| world.install(1), |world| world.claim(1));
        run.into_iter().for_each(|run| here.free(run));
        here.nothing_lost(1);
    });
}

/// As above, in a group that is there already.
#[test]
fn a_segment_in_an_old_group_is_whole_when_it_is_seen() {
    explore(|side| {
        let here = World::with(1);
        let first = here.claim(1).unwrap();
        // Takes the hint back, which would otherwise order things.
        assert!(here.claim(1).is_none());
        let ((), run) = side.race(&here, |world| world.install(1), |world| world.claim(1));
        run.into_iter().for_each(|run| here.free(run));
        here.free(first);
        here.nothing_lost(2);
    });
}

/// A segment is released only when nobody has a unit of it, and its slot serves again.
#[test]
fn release_takes_no_unit_in_use() {
    explore(|side| {
        let here = World::with(1);
        side.race(&here, claim_and_free, World::release);
        here.release();
        assert_eq!(here.source.memory().segment_bytes(), 0);
        here.install(1);
        here.nothing_lost(1);
    });
}

/// Two threads release and install at once, so a slot changes hands.
#[test]
fn a_slot_changes_hands() {
    explore(|side| {
        let here = World::with(1);
        side.race(&here, |world| world.install(1), World::release);
        here.release();
        assert_eq!(here.source.memory().segment_bytes(), 0);
    });
}

/// Two threads add a group each, and a third looks for units meanwhile: both groups are in the list.
#[test]
fn groups_are_whole_and_do_not_lose_each_other() {
    explore(|side| {
        let here = World::new();
        side.race(&here, |world| world.install(1), |world| world.install(1));
        here.nothing_lost(2);
    });
}

/// A free unit's pages are given back while somebody wants the unit.
#[test]
fn purge_takes_no_unit_in_use() {
    explore(|side| {
        let here = World::with(1);
        let run = here.claim(1).unwrap();
        here.free(run);
        side.race(&here, claim_and_free, |world| {
            world.segments.purge(world.source.supply(), Scope::All, &Budget::of(usize::MAX))
        });
        here.nothing_lost(1);
    });
}

/// A run grows in place while somebody else wants the unit behind it.
#[test]
fn an_extension_has_one_owner() {
    explore(|side| {
        let here = World::with(2);
        let run = here.claim(1).unwrap();
        let ((), longer) = side.race(&here, claim_and_free, move |world| world.segments.extend(run, 1));
        if let Some(longer) = longer {
            // SAFETY: the second unit of the run.
            here.source.memory().touch(unsafe { longer.start.add(crate::loom_support::UNIT) });
        }
        here.free(longer.unwrap_or(run));
        here.nothing_lost(2);
    });
}

/// A run grows by all the units asked or by none.
#[test]
fn an_extension_takes_all_or_nothing() {
    explore(|_| {
        let world = World::with(3);
        let (first, second) = (world.claim(1).unwrap(), world.claim(1).unwrap());
        assert!(world.segments.extend(first, 2).is_none());
        world.free(second);
        let longer = world.segments.extend(first, 2).expect("both units are free");
        world.free(longer);
        world.nothing_lost(3);
    });
}

/// Segments larger than one unit come from the back-end as a whole.
#[test]
fn growth_installs_what_it_acquires() {
    explore(|_| {
        let here = World::new();
        here.grow();
        here.nothing_lost(4);
    });
}
