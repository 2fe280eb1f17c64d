//! Models of the stack: who owns a record, and what its next owner sees.

use super::{Index, Links, Stack};
use crate::loom_support::explore;
use crate::sync::{Atomic, Witness};
use loom::thread;
use std::sync::Arc;
use std::vec::Vec;

/// A stack over `N` records, each of them watched.
struct World<const N: usize> {
    stack: Stack,
    links: [Atomic<u32>; N],
    contents: [Witness; N],
}

impl<const N: usize> Links for World<N> {
    fn next(&self, index: Index) -> &Atomic<u32> {
        &self.links[index.get() as usize - 1]
    }
}

impl<const N: usize> World<N> {
    fn empty() -> Arc<Self> {
        Arc::new(Self {
            stack: Stack::new(),
            links: core::array::from_fn(|_| Atomic::new(0)),
            contents: core::array::from_fn(|_| Witness::new()),
        })
    }

    fn filled() -> Arc<Self> {
        let world = Self::empty();
        (1..=N as u32).rev().for_each(|n| world.give(Index::new(n).unwrap()));
        world
    }

    fn take(&self) -> Option<Index> {
        let index = self.stack.pop(self).0?;
        self.contents[index.get() as usize - 1].touch();
        Some(index)
    }

    fn give(&self, index: Index) {
        self.contents[index.get() as usize - 1].touch();
        self.stack.push(self, index);
    }

    fn take_all(&self) -> Vec<Index> {
        let all: Vec<_> = self.stack.pop_all(self).collect();
        all.iter().for_each(|index| self.contents[index.get() as usize - 1].touch());
        all
    }
}

/// Everything is there once: what is held, and what is left.
fn nothing_lost<const N: usize>(world: &World<N>, held: impl IntoIterator<Item = Index>) {
    let mut all: Vec<_> = held.into_iter().collect();
    all.extend(world.take_all());
    all.sort_unstable();
    assert_eq!(all, (1..=N as u32).map(|n| Index::new(n).unwrap()).collect::<Vec<_>>());
}

/// What a thread wrote to a record before pushing it is seen by the one that pops it.
#[test]
fn publication() {
    explore(|| {
        let here = World::<2>::empty();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            there.give(Index::new(1).unwrap());
            there.give(Index::new(2).unwrap());
        });
        let held = [here.take(), here.take()];
        other.join().unwrap();
        nothing_lost(&here, held.into_iter().flatten());
    });
}

/// As `publication`, for all at once.
#[test]
fn publication_of_all() {
    explore(|| {
        let here = World::<2>::empty();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || {
            there.give(Index::new(1).unwrap());
            there.give(Index::new(2).unwrap());
        });
        let held = here.take_all();
        other.join().unwrap();
        nothing_lost(&here, held);
    });
}

/// A record is popped and pushed back while the other thread sleeps inside `pop`.
#[test]
fn a_record_has_one_owner_even_when_it_comes_back() {
    explore(|| {
        let here = World::<2>::filled();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.take());
        let (first, second) = (here.take(), here.take());
        if let Some(index) = first {
            here.give(index);
        }
        let held = [second, other.join().unwrap()];
        nothing_lost(&here, held.into_iter().flatten());
    });
}

/// The other thread sleeps inside `pop` while everything is taken at once and put back in another order.
#[test]
fn a_chain_has_one_owner_even_when_it_comes_back() {
    explore(|| {
        let here = World::<2>::filled();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.take());
        let all = here.take_all();
        let (kept, back) = all.split_at(all.len() / 2);
        back.iter().rev().for_each(|&index| here.give(index));
        if let [first, ..] = kept {
            here.give(*first);
        }
        let held = other.join().unwrap();
        nothing_lost(&here, held);
    });
}

/// Two threads push; two records are there afterwards.
#[test]
fn pushes_do_not_lose_each_other() {
    explore(|| {
        let here = World::<2>::empty();
        let there = Arc::clone(&here);
        let other = thread::spawn(move || there.give(Index::new(1).unwrap()));
        here.give(Index::new(2).unwrap());
        other.join().unwrap();
        nothing_lost(&here, []);
    });
}
