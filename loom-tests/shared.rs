//! Models of the shared slots: a pair has one owner, and nobody waits.

use super::Slots;
use crate::arsenal::Arsenal;
use crate::loom_support::{Memory, Shared, explore};
use crate::size_class::SizeClass;
use crate::surplus::{Budget, Scope};
use std::sync::Arc;

struct World {
    slots: Slots,
    arsenal: Arsenal,
    memory: Shared,
}

fn class() -> SizeClass {
    SizeClass::numbered(0).unwrap()
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { slots: Slots::new(), arsenal: Arsenal::new(), memory: Memory::new() })
    }

    /// Allocates a chunk, uses it, and frees it.
    fn work(&self) {
        let chunk = self.slots.alloc(&self.arsenal, &self.memory, class()).expect("there is memory");
        self.memory.0.touch(chunk);
        self.slots.dealloc(&self.arsenal, &self.memory, class(), chunk);
    }

    /// After everything is handed in and drained, the back-end has all of its segments again.
    fn nothing_lost(&self) {
        self.slots.hand_in(&self.arsenal);
        crate::reclaim::drain(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        let _ = crate::reclaim::give_back(&self.arsenal, &self.memory, Scope::All, &Budget::of(usize::MAX));
        assert_eq!(self.memory.0.segment_bytes(), 0);
    }
}

/// Two threads work through the slots at once, from the same shard.
#[test]
fn a_slot_has_one_owner() {
    explore(|side| {
        let here = World::new();
        here.work();
        side.race(&here, World::work, World::work);
        here.nothing_lost();
    });
}

/// Slots are handed in while another thread works through them.
#[test]
fn handing_in_takes_no_slot_in_use() {
    explore(|side| {
        let here = World::new();
        here.work();
        side.race(&here, World::work, |world| world.slots.hand_in(&world.arsenal));
        here.nothing_lost();
    });
}
