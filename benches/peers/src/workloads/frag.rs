//! A heap that is filled, thinned out, filled with other sizes, and emptied: what stays resident?
//!
//! ```text
//!   filled ──free a random 90 %──▶ freed ──other sizes──▶ refilled ──free all──▶ emptied ──1 s──▶ idle
//!   16 B .. 4 KiB                          16 B .. 32 KiB
//! ```
//!
//! Threads share the work and stay to the end, waiting between phases. They hand blocks to nobody, since what a thread
//! frees of others is what `prodcons` asks.

use super::{Cost, Scenario};
use crate::block::Labelled;
use crate::clock::thread_cpu;
use crate::dice::Dice;
use crate::trace::Trace;
use core::time::Duration;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

/// Bytes of blocks when the heap is full, over all threads.
const FULL: usize = if cfg!(debug_assertions) { 8 << 20 } else { 1 << 30 };
/// Of ten blocks, that many are freed.
const FREED: usize = 9;
const DOUBLINGS: usize = 8;
const OTHER_DOUBLINGS: usize = 11;
const IDLE: Duration = Duration::from_secs(if cfg!(debug_assertions) { 0 } else { 1 });

pub(super) struct Frag;

impl Scenario for Frag {
    fn run(threads: usize, trace: &mut Trace) -> Cost {
        let barrier = Barrier::new(threads + 1);
        let mut wall = Duration::ZERO;
        let shares = thread::scope(|scope| {
            let shares: Vec<_> = (0..threads)
                .map(|number| {
                    scope.spawn({
                        let barrier = &barrier;
                        move || share(number, threads, barrier)
                    })
                })
                .collect();
            for phase in PHASES {
                let began = Instant::now();
                barrier.wait();
                barrier.wait();
                wall += began.elapsed();
                trace.mark(phase);
            }
            thread::sleep(IDLE);
            trace.mark("idle");
            barrier.wait();
            shares.into_iter().map(|share| share.join().expect("a phase does not panic")).collect::<Vec<_>>()
        });
        let pairs: u64 = shares.iter().map(|share| share.pairs).sum();
        Cost { cpu: shares.iter().map(|share| share.cpu).sum(), wall, each: pairs / threads as u64, pairs }
    }
}

const PHASES: [&str; 4] = ["filled", "freed", "refilled", "emptied"];

struct Share {
    pairs: u64,
    cpu: Duration,
}

fn share(number: usize, threads: usize, barrier: &Barrier) -> Share {
    let mut dice = Dice::of(number);
    let mut blocks = Vec::new();
    let (mut pairs, mut cpu) = (0, Duration::ZERO);
    let mut phase = |work: &mut dyn FnMut()| {
        barrier.wait();
        let began = thread_cpu();
        work();
        cpu += thread_cpu() - began;
        barrier.wait();
    };
    phase(&mut || pairs += fill(&mut blocks, &mut dice, DOUBLINGS, FULL / threads));
    let kept = FULL / threads * (10 - FREED) / 10;
    phase(&mut || thin(&mut blocks, &mut dice));
    phase(&mut || pairs += fill(&mut blocks, &mut dice, OTHER_DOUBLINGS, FULL / threads - kept));
    phase(&mut || blocks = Vec::new());
    barrier.wait();
    Share { pairs, cpu }
}

/// Takes blocks of `bytes` in all; how many.
fn fill(blocks: &mut Vec<Labelled>, dice: &mut Dice, doublings: usize, bytes: usize) -> u64 {
    let (mut left, mut taken) = (bytes, 0);
    while left > 0 {
        let size = dice.any_size(doublings);
        blocks.push(Labelled::take(size));
        left = left.saturating_sub(size);
        taken += 1;
    }
    taken
}

fn thin(blocks: &mut Vec<Labelled>, dice: &mut Dice) {
    blocks.retain(|_| dice.below(10) >= FREED);
    blocks.shrink_to_fit();
}
