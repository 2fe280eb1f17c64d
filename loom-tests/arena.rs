//! Models of an arena's bitmap: a page has one owner, also where runs cross words.

use super::{PAGE, PageMap};
use crate::loom_support::explore;
use crate::sync::{AtomicU64, Witness};
use core::alloc::Layout;
use std::sync::Arc;
use std::vec::Vec;

/// Pages 62 to 65 are free: two in each of two words.
struct World {
    words: [AtomicU64; 2],
    pages: [Witness; 4],
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: [AtomicU64::new(u64::MAX >> 2), AtomicU64::new(u64::MAX << 2)],
            pages: core::array::from_fn(|_| Witness::new()),
        })
    }

    fn touch(&self, first: usize, count: usize) {
        self.pages[first - 62..first - 62 + count].iter().for_each(Witness::touch);
    }

    fn take(&self, count: usize) -> Option<usize> {
        let layout = Layout::from_size_align(count * PAGE, PAGE).unwrap();
        let first = PageMap(&self.words).take(0, 128, layout)?;
        self.touch(first, count);
        Some(first)
    }

    fn give(&self, first: usize, count: usize) {
        self.touch(first, count);
        PageMap(&self.words).give(first, count);
    }
}

/// Two threads take and give runs that overlap.
#[test]
fn a_page_has_one_owner() {
    explore(|side| {
        let here = World::new();
        let work =
            |count| move |world: &World| world.take(count).into_iter().for_each(|first| world.give(first, count));
        side.race(&here, work(3), work(2));
        let all: Vec<_> = (0..4).map(|_| here.take(1).expect("a page is lost")).collect();
        assert_eq!(all, [62, 63, 64, 65]);
    });
}

/// A taker that is refused in the second word gives the first one's pages back.
#[test]
fn a_refused_run_is_given_back() {
    explore(|side| {
        let here = World::new();
        let one = |world: &World| world.take(1).into_iter().for_each(|first| world.give(first, 1));
        let ((), run) = side.race(&here, one, |world| world.take(4));
        if let Some(first) = run {
            here.give(first, 4);
        }
        assert_eq!(here.take(4), Some(62));
    });
}
