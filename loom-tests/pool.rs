//! Models of the pool: indices are handed out once, and their blocks are there.

use super::{Pool, Record};
use crate::loom_support::{Source, explore};
use crate::sync::{Atomic, Witness};
use crate::treiber::Index;
use std::sync::Arc;

struct Watched {
    next: Atomic<u32>,
    contents: Witness,
}

// SAFETY: a witness is touched by the record's owner only; loom says so if not.
unsafe impl Sync for Watched {}

impl Record for Watched {
    fn new(_: Index) -> Self {
        Self { next: Atomic::new(0), contents: Witness::new() }
    }

    unsafe fn renew(record: core::ptr::NonNull<Self>, _: Index) {
        // SAFETY: the caller owns the record.
        unsafe { record.as_ref() }.contents.touch();
    }

    fn next(&self) -> &Atomic<u32> {
        &self.next
    }
}

struct World {
    pool: Pool<Watched>,
    source: Source,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self { pool: Pool::new(), source: Source::new() })
    }

    fn take(&self) -> Index {
        let index = self.pool.take(self.source.supply()).unwrap();
        // The block, as the back-end handed it out to whoever grew the pool.
        let number = index.get() as usize - 1;
        let first = self.pool.address(index).cast::<u8>();
        let offset = if number == 0 { 0 } else { (number - 1) % 2 * size_of::<Watched>() };
        // SAFETY: the record lies `offset` bytes into its block.
        self.source.memory().look(unsafe { first.sub(offset) });
        self.pool.get(index).contents.touch();
        index
    }

    fn give(&self, index: Index) {
        self.pool.get(index).contents.touch();
        self.pool.give(index);
    }
}

/// Two threads grow the pool at once, the second one into the first one's block.
#[test]
fn growth_hands_out_each_index_once() {
    explore(|side| {
        let here = World::new();
        let first = here.take();
        let (mine, theirs) = side.race(&here, World::take, World::take);
        assert!(first != mine && mine != theirs && first != theirs);
        assert_eq!(here.source.memory().metadata_blocks(), 2);
    });
}

/// A record that comes back is handed out again, and its last owner's writes are seen.
#[test]
fn a_record_that_comes_back_has_one_owner() {
    explore(|side| {
        let here = World::new();
        let first = here.take();
        let (theirs, ()) = side.race(&here, World::take, move |world| world.give(first));
        let mine = here.take();
        assert_ne!(mine, theirs);
        assert!(here.source.memory().metadata_blocks() <= 2);
    });
}

/// When there is no memory the pool says so, and nothing is lost.
#[test]
fn growth_that_fails_takes_no_index() {
    explore(|_| {
        let memory = crate::loom_support::Memory::limited(1);
        let drawn = crate::supply::Drawn::new();
        let pool = Pool::<Watched>::new();
        let supply = crate::supply::Supply { backend: &memory, drawn: &drawn };
        let first = pool.take(supply).unwrap();
        assert_eq!(pool.take(supply), None);
        pool.give(first);
        assert_eq!(pool.take(supply), Some(first));
        memory.0.allow_one();
        assert_eq!(pool.take(supply).map(Index::get), Some(first.get() + 1));
    });
}

/// A block is trimmed while another thread takes records of it and gives them back.
#[test]
fn a_trimmed_block_has_no_owner() {
    explore(|side| {
        let here = World::new();
        let first = here.take();
        here.give(first);
        let work = |world: &World| {
            let index = world.take();
            world.give(index);
        };
        side.race(&here, work, |world| world.pool.trim(world.source.supply()));
        let (one, two) = (here.take(), here.take());
        assert_ne!(one, two);
        here.give(one);
        here.give(two);
        assert!(here.pool.trim(here.source.supply()) > 0);
        assert_eq!(here.pool.bytes_in_use(), 0);
    });
}

/// Two threads trim at once. Of one block all records are free, of the other one of two.
#[test]
fn two_trims_do_not_lose_each_others_records() {
    explore(|side| {
        let here = World::new();
        let (one, two, three) = (here.take(), here.take(), here.take());
        here.give(one);
        here.give(two);
        let trim = |world: &World| world.pool.trim(world.source.supply());
        side.race(&here, trim, trim);
        let again = [here.take(), here.take()];
        assert!(again.contains(&one) && again.contains(&two) && three != one);
        assert_eq!(here.source.memory().metadata_blocks(), 2);
    });
}

/// A block of which a record is in use stays as it is.
#[test]
fn a_block_with_a_record_in_use_is_not_trimmed() {
    explore(|_| {
        let world = World::new();
        let (one, two, three) = (world.take(), world.take(), world.take());
        world.give(two);
        world.pool.trim(world.source.supply());
        let (four, five) = (world.take(), world.take());
        assert!([four, five].iter().all(|index| ![one, three].contains(index)) && four != five);
    });
}
