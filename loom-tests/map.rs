//! Models of the map: nodes are whole when they are seen, and are made once.

use super::Map;
use crate::backend::Backend;
use crate::loom_support::{Source, UNIT, explore};
use core::ptr::NonNull;
use std::sync::Arc;

struct World {
    map: Map,
    source: Source,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { map: Map::new(), source: Source::new() })
    }

    fn unit(&self, number: usize) -> NonNull<u8> {
        NonNull::without_provenance((self.source.memory.base() + number * UNIT).try_into().unwrap())
    }

    fn cover(&self, first: usize, units: u32) {
        let covered = self.map.cover(self.source.supply(), self.unit(first), units);
        assert!(matches!(covered, Some(Ok(()))));
    }

    fn set(&self, unit: usize, value: u32) {
        self.map.set(&self.source.memory, self.unit(unit), 1, value);
    }

    fn get(&self, unit: usize) -> u32 {
        self.map.get(&self.source.memory, self.unit(unit).addr().get())
    }
}

/// Somebody looks an address up that is nobody's, while its nodes are being made.
#[test]
fn a_node_is_whole_when_it_is_seen() {
    explore(|side| {
        let here = World::new();
        let make = |world: &World| {
            world.cover(0, 2);
            world.set(1, 7);
        };
        let ((), seen) = side.race(&here, make, |world| world.get(1));
        assert!([0, 7].contains(&seen));
        assert_eq!((here.get(0), here.get(1)), (0, 7));
    });
}

/// Two threads make the same nodes at once, for segments next to each other.
#[test]
fn two_threads_share_the_nodes_they_make() {
    explore(|side| {
        let here = World::new();
        let make = |unit, value| {
            move |world: &World| {
                world.cover(unit, 1);
                world.set(unit, value);
            }
        };
        side.race(&here, make(0, 5), make(1, 6));
        assert_eq!((here.get(0), here.get(1)), (5, 6));
        assert_eq!(here.source.memory().metadata_blocks(), 2);
    });
}

/// An address outside of the back-end's range is nobody's, and cannot be covered.
#[test]
fn addresses_out_of_range_are_refused() {
    explore(|_| {
        let world = World::new();
        let beyond = world.unit(16);
        assert!(matches!(world.map.cover(world.source.supply(), beyond, 1), Some(Err(_))));
        assert_eq!(world.map.get(&world.source.memory, beyond.addr().get()), 0);
        assert_eq!(world.map.get(&world.source.memory, world.source.memory.base() - 1), 0);
    });
}
