//! Models of the shared slots: a pair has one owner, and nobody waits.

use super::Slots;
use crate::arsenal::Arsenal;
use crate::loom_support::{Memory, Shared, explore};
use crate::size_class::SizeClass;
use loom::thread;
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
        crate::reclaim::drain(&self.arsenal, &self.memory);
        let _ = crate::reclaim::give_back(&self.arsenal, &self.memory);
        assert_eq!(self.memory.0.segment_bytes(), 0);
    }
}

/// Two threads work through the slots at once, from the same shard.
#[test]
fn a_slot_has_one_owner() {
    explore(|| {
        let here = World::new();
        here.work();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.work());
        here.work();
        other.join().unwrap();
        here.nothing_lost();
    });
}

/// Slots are handed in while another thread works through them.
#[test]
fn handing_in_takes_no_slot_in_use() {
    explore(|| {
        let here = World::new();
        here.work();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.work());
        here.slots.hand_in(&here.arsenal);
        other.join().unwrap();
        here.nothing_lost();
    });
}
