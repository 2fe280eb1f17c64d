//! Models of the stack: who owns a record, and what its next owner sees.

use super::{Index, Links, Stack};
use crate::loom_support::explore;
use crate::sync::{Atomic, Witness};
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
}

/// Everything is there once: what is held, and what is left.
fn nothing_lost<const N: usize>(world: &World<N>, held: impl IntoIterator<Item = Index>) {
    let mut all: Vec<_> = held.into_iter().collect();
    all.extend(core::iter::from_fn(|| world.take()));
    all.sort_unstable();
    assert_eq!(all, (1..=N as u32).map(|n| Index::new(n).unwrap()).collect::<Vec<_>>());
}

fn give_both(world: &World<2>) {
    world.give(Index::new(1).unwrap());
    world.give(Index::new(2).unwrap());
}

/// What a thread wrote to a record before pushing it is seen by the one that pops it.
#[test]
fn publication() {
    explore(|side| {
        let here = World::<2>::empty();
        let (held, ()) = side.race(&here, |world| [world.take(), world.take()], give_both);
        nothing_lost(&here, held.into_iter().flatten());
    });
}

/// A record is popped and pushed back while the other thread sleeps inside `pop`.
#[test]
fn a_record_has_one_owner_even_when_it_comes_back() {
    explore(|side| {
        let here = World::<2>::filled();
        let swap = |world: &World<2>| {
            let (first, second) = (world.take(), world.take());
            first.into_iter().for_each(|index| world.give(index));
            second
        };
        let (one, other) = side.race(&here, swap, World::take);
        nothing_lost(&here, one.into_iter().chain(other));
    });
}

/// Two threads push; two records are there afterwards.
#[test]
fn pushes_do_not_lose_each_other() {
    explore(|side| {
        let here = World::<2>::empty();
        let give = |n| move |world: &World<2>| world.give(Index::new(n).unwrap());
        side.race(&here, give(1), give(2));
        nothing_lost(&here, []);
    });
}
