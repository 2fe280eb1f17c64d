//! The maps of a service at a steady size: users in a tree, sessions in a hash table, names made by formatting.
//!
//! A pair is one entry removed and another one inserted, in the tree and in the table by turns.

use super::Workload;
use crate::dice::Dice;
use std::collections::{BTreeMap, HashMap};

/// In each of the two maps, per thread.
const ENTRIES: usize = 5_000;
/// Of a session's data: from 16 B to below 1 KiB.
const DOUBLINGS: usize = 6;

pub(super) struct Maps;

/// # Invariants
///
/// `keys` are the keys of `names`, in the order of their places.
#[derive(Default)]
struct Users {
    names: BTreeMap<u64, String>,
    keys: Vec<u64>,
}

impl Users {
    fn insert(&mut self, key: u64, place: usize) {
        self.names.insert(key, format!("user {key} at place {place}"));
    }

    fn add(&mut self, dice: &mut Dice) {
        let key = dice.roll();
        self.insert(key, self.keys.len());
        self.keys.push(key);
    }

    fn replace_one(&mut self, dice: &mut Dice) {
        let (place, key) = (dice.below(self.keys.len()), dice.roll());
        let old = core::mem::replace(&mut self.keys[place], key);
        self.names.remove(&old);
        self.insert(key, place);
    }
}

/// # Invariants
///
/// `keys` are those whose names are in `data`.
#[derive(Default)]
struct Sessions {
    data: HashMap<String, Vec<u8>>,
    keys: Vec<u64>,
}

impl Sessions {
    fn name(key: u64) -> String {
        format!("session-{key:016x}")
    }

    fn insert(&mut self, key: u64, size: usize) {
        self.data.insert(Self::name(key), vec![1; size]);
    }

    fn add(&mut self, dice: &mut Dice) {
        let key = dice.roll();
        self.insert(key, dice.any_size(DOUBLINGS));
        self.keys.push(key);
    }

    fn replace_one(&mut self, dice: &mut Dice) {
        let (place, key) = (dice.below(self.keys.len()), dice.roll());
        let old = core::mem::replace(&mut self.keys[place], key);
        self.data.remove(&Self::name(old));
        self.insert(key, dice.any_size(DOUBLINGS));
    }
}

pub(super) struct Hand {
    dice: Dice,
    users: Users,
    sessions: Sessions,
}

impl Workload for Maps {
    type Hand = Hand;

    fn new(_threads: usize) -> Self {
        Self
    }

    fn hand(&self, thread: usize) -> Hand {
        let (mut dice, mut users, mut sessions) = (Dice::of(thread), Users::default(), Sessions::default());
        for _ in 0..ENTRIES {
            users.add(&mut dice);
            sessions.add(&mut dice);
        }
        Hand { dice, users, sessions }
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        let Hand { dice, users, sessions } = hand;
        for _ in 0..pairs / 2 {
            users.replace_one(dice);
            sessions.replace_one(dice);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{ENTRIES, Maps};
    use crate::workloads::Workload;

    #[test]
    fn the_maps_keep_their_size() {
        let mut hand = Maps.hand(0);
        Maps.run(&mut hand, 1_000);
        assert_eq!((hand.users.names.len(), hand.sessions.data.len()), (ENTRIES, ENTRIES));
    }
}
