//! Threads that only allocate and threads that only free, in groups of `P` and `C`, a pipe from each to each.
//!
//! ```text
//!   <1, 1>  p ──▶ c        <1, 3>  p ─┬▶ c        <3, 1>  p ─┬▶ c
//!                                     ├▶ c                p ─┤
//!                                     └▶ c                p ─┘
//! ```
//!
//! In a turn every producer of the group puts a block for the same consumer, which takes them; the next turn is that of
//! the next consumer. Whoever is at the least turn need not wait: all that was put in the turns before has been taken.
//! So a group comes to its end, whatever the numbers.
//!
//! Its CPU time has the waiting at a full or empty pipe in it, so this workload is judged by wall time.

use super::Workload;
use super::pipe::{Cargo, Inlet, Outlet, pipe};
use super::seats::Seats;
use core::array;

pub(super) struct ProdCons<const P: usize, const C: usize, T>(Seats<Hand<T>>);

pub(super) enum Hand<T> {
    /// To each consumer of the group.
    Producer(Vec<Inlet<T>>),
    /// From each producer of the group.
    Consumer {
        /// Among the consumers.
        number: usize,
        outlets: Vec<Outlet<T>>,
    },
}

impl<const P: usize, const C: usize, T: Cargo> ProdCons<P, C, T> {
    const GROUP: usize = P + C;

    /// The producers, then the consumers.
    fn group() -> Vec<Hand<T>> {
        let mut hands = Vec::with_capacity(Self::GROUP);
        let mut outlets: [Vec<_>; C] = array::from_fn(|_| Vec::with_capacity(P));
        for _ in 0..P {
            let (inlets, ends): (Vec<_>, Vec<_>) = (0..C).map(|_| pipe()).unzip();
            outlets.iter_mut().zip(ends).for_each(|(outlets, end)| outlets.push(end));
            hands.push(Hand::Producer(inlets));
        }
        hands.extend(outlets.into_iter().enumerate().map(|(number, outlets)| Hand::Consumer { number, outlets }));
        hands
    }

    fn produce(inlets: &mut [Inlet<T>], pairs: u64) {
        for turn in 0..pairs {
            let place = (turn % C as u64) as usize;
            inlets[place].put(T::load(turn as u8));
        }
    }

    /// The turns of this consumer: of each producer as many as that producer gives it.
    fn consume(number: usize, outlets: &mut [Outlet<T>], pairs: u64) {
        for _ in (number as u64..pairs).step_by(C) {
            for outlet in &mut *outlets {
                outlet.get().unload();
            }
        }
    }
}

impl<const P: usize, const C: usize, T: Cargo> Workload for ProdCons<P, C, T> {
    /// `None` of the threads that are left over when they do not make whole groups.
    type Hand = Option<Hand<T>>;

    fn new(threads: usize) -> Self {
        Self(Seats::of((0..threads / Self::GROUP).flat_map(|_| Self::group())))
    }

    fn hand(&self, thread: usize) -> Option<Hand<T>> {
        self.0.take(thread)
    }

    fn run(&self, hand: &mut Option<Hand<T>>, pairs: u64) {
        match hand {
            Some(Hand::Producer(inlets)) => Self::produce(inlets, pairs),
            Some(Hand::Consumer { number, outlets }) => Self::consume(*number, outlets, pairs),
            None => {}
        }
    }

    fn pairs(&self, threads: usize, each: u64) -> u64 {
        (threads / Self::GROUP * P) as u64 * each
    }
}

#[cfg(test)]
mod tests {
    use super::{Hand, ProdCons};
    use crate::workloads::pipe::Opened;
    use crate::workloads::{Workload, together};

    fn every_block_is_freed<const P: usize, const C: usize>() {
        for threads in 1..=9 {
            for each in [0, 1, 2, 3, 1_025, 4_000] {
                let hands = together::<ProdCons<P, C, Opened>>(threads, each);
                let consumers = hands.iter().flatten().filter_map(|hand| match hand {
                    Hand::Producer(_) => None,
                    Hand::Consumer { outlets, .. } => Some(outlets),
                });
                assert!(consumers.flatten().all(|outlet| outlet.is_empty()), "{threads} threads, {each} blocks");
                let groups = (threads / (P + C)) as u64;
                assert_eq!(ProdCons::<P, C, Opened>::new(threads).pairs(threads, each), groups * P as u64 * each);
            }
        }
    }

    #[test]
    fn any_number_of_threads_ends_with_empty_pipes() {
        every_block_is_freed::<1, 1>();
        every_block_is_freed::<1, 3>();
        every_block_is_freed::<3, 1>();
        every_block_is_freed::<2, 3>();
    }
}
