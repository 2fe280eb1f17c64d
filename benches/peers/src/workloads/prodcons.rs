//! One thread allocates, another frees, a bounded ring between them; threads come in such couples.
//!
//! Its CPU time has the waiting at a full or empty ring in it, so this workload is judged by wall time.

use super::Workload;
use crate::block::Fixed;
use core::hint::spin_loop;
use rtrb::{Consumer, Producer, RingBuffer};
use std::sync::{Mutex, PoisonError};
use std::thread::yield_now;

const RING: usize = 1_024;
/// Looks at the ring before the CPU is offered to another thread.
const PATIENCE: u32 = 64;

type Block = Fixed<64>;

pub(super) struct ProdCons {
    hands: Vec<Mutex<Option<Hand>>>,
}

pub(super) enum Hand {
    Producer(Producer<Block>),
    Consumer(Consumer<Block>),
    /// Of the thread that is left over when their number is odd.
    Idle,
}

impl Workload for ProdCons {
    type Hand = Hand;

    fn new(threads: usize) -> Self {
        let hands = (0..threads / 2).flat_map(|_| {
            let (producer, consumer) = RingBuffer::new(RING);
            [Hand::Producer(producer), Hand::Consumer(consumer)]
        });
        Self { hands: hands.map(|hand| Mutex::new(Some(hand))).collect() }
    }

    fn hand(&self, thread: usize) -> Hand {
        let place = self.hands.get(thread).map(|hand| hand.lock().unwrap_or_else(PoisonError::into_inner));
        place.and_then(|mut hand| hand.take()).unwrap_or(Hand::Idle)
    }

    fn run(&self, hand: &mut Hand, pairs: u64) {
        match hand {
            Hand::Producer(ring) => (0..pairs).for_each(|_| put(ring, Block::take())),
            Hand::Consumer(ring) => (0..pairs).for_each(|_| drop(get(ring))),
            Hand::Idle => {}
        }
    }

    fn pairs(&self, threads: usize, each: u64) -> u64 {
        (threads / 2) as u64 * each
    }
}

#[inline(always)]
fn put(ring: &mut Producer<Block>, block: Block) {
    if ring.is_full() {
        wait_while(|| ring.is_full());
    }
    // There is room, and only this thread fills it.
    let _ = ring.push(block);
}

#[inline(always)]
fn get(ring: &mut Consumer<Block>) -> Option<Block> {
    if ring.is_empty() {
        wait_while(|| ring.is_empty());
    }
    ring.pop().ok()
}

#[cold]
fn wait_while(not_yet: impl Fn() -> bool) {
    let mut looks = 0;
    while not_yet() {
        looks += 1;
        if looks % PATIENCE == 0 { yield_now() } else { spin_loop() }
    }
}
