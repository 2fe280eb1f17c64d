//! Models of an arena's bitmap: a page has one owner, also where runs cross words.

use super::{PAGE, PageMap};
use crate::loom_support::explore;
use crate::sync::{Atomic, Witness};
use core::alloc::Layout;
use loom::thread;
use std::sync::Arc;
use std::vec::Vec;

/// Pages 62 to 65 are free: two in each of two words.
struct World {
    words: [Atomic<u64>; 2],
    pages: [Witness; 4],
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            words: [Atomic::new(u64::MAX >> 2), Atomic::new(u64::MAX << 2)],
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
    explore(|| {
        let here = World::new();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            if let Some(first) = there.take(3) {
                there.give(first, 3);
            }
        });
        if let Some(first) = here.take(2) {
            here.give(first, 2);
        }
        other.join().unwrap();
        let all: Vec<_> = (0..4).map(|_| here.take(1).expect("a page is lost")).collect();
        assert_eq!(all, [62, 63, 64, 65]);
    });
}

/// A taker that is refused in the second word gives the first one's pages back.
#[test]
fn a_refused_run_is_given_back() {
    explore(|| {
        let here = World::new();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.take(1).map(|first| there.give(first, 1)));
        let run = here.take(4);
        other.join().unwrap();
        if let Some(first) = run {
            here.give(first, 4);
        }
        assert_eq!(here.take(4), Some(62));
    });
}
