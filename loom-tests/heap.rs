//! Models of the whole heap in tiny geometry: two rounds a magazine, four chunks a slab, four units a segment.

use super::Bandolier;
use crate::loom_support::{Memory, Shared, explore};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use std::sync::Arc;

struct World {
    heap: Bandolier<Shared>,
    memory: Shared,
}

impl World {
    fn new() -> Arc<Self> {
        let memory = Memory::new();
        Arc::new(Self { heap: Bandolier::with_backend(memory.clone()), memory })
    }

    fn alloc(&self, bytes: usize) -> NonNull<u8> {
        let layout = Layout::from_size_align(bytes, 1).unwrap();
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { self.heap.alloc(layout) }).expect("there is memory");
        self.memory.0.touch(block);
        block
    }

    fn free(&self, block: NonNull<u8>, bytes: usize) {
        self.memory.0.touch(block);
        let layout = Layout::from_size_align(bytes, 1).unwrap();
        // SAFETY: allocated by `alloc` with this size.
        unsafe { self.heap.dealloc(block.as_ptr(), layout) };
    }

    fn nothing_lost(&self) {
        let _ = self.heap.reclaim();
        assert_eq!(self.memory.0.segment_bytes(), 0);
        assert_eq!(self.heap.stats().in_use, 0);
    }
}

/// Two threads make the heap at once, and work with it.
#[test]
fn the_heap_is_made_once() {
    explore(|side| {
        let here = World::new();
        let (_, block) = side.race(&here, |world| world.heap.made().is_some(), |world| world.alloc(16));
        here.free(block, 16);
        here.nothing_lost();
    });
}

/// Two threads make the heap at once.
#[test]
fn two_threads_make_the_heap() {
    explore(|side| {
        let here = World::new();
        let make = |world: &World| assert!(world.heap.heap().is_some());
        side.race(&here, make, make);
        assert_eq!(here.memory.0.metadata_blocks(), 1);
    });
}

/// A block is allocated by one thread and freed by another, while the first allocates again.
#[test]
fn a_block_is_freed_elsewhere() {
    explore(|side| {
        let here = World::new();
        let block = here.alloc(16);
        let ((), mine) = side.race(&here, move |world| world.free(block, 16), |world| world.alloc(16));
        here.free(mine, 16);
        here.nothing_lost();
    });
}

/// A heap with nothing in it is reclaimed while a thread allocates its first block.
#[test]
fn reclaim_beside_the_first_block() {
    explore(|side| {
        let here = World::new();
        let (_, block) = side.race(&here, |world| world.heap.reclaim().total(), |world| world.alloc(16));
        here.free(block, 16);
        here.nothing_lost();
    });
}

/// Runs of units and chunks share segments.
#[test]
fn runs_and_chunks_share_segments() {
    explore(|side| {
        let here = World::new();
        let run = here.alloc(5000);
        let work = |world: &World| {
            let block = world.alloc(32);
            world.free(block, 32);
        };
        side.race(&here, work, move |world| world.free(run, 5000));
        here.nothing_lost();
    });
}
