//! The concurrent benchmark of the crate frusa, written anew after its shape: every thread allocates a random power of
//! two from 16 to 2,048 bytes and frees it at once. The time of an iteration is what one thread waits for one pair.

mod common;

use common::{HEAP, TALC, THREADS, contended, taken};
use core::alloc::{GlobalAlloc, Layout};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::alloc::System;

/// Layouts at random, by xorshift64: its cost is in every figure.
struct Dice(u64);

impl Dice {
    fn of(thread: usize) -> Self {
        Self((thread as u64 + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15))
    }

    #[inline(always)]
    fn layout(&mut self) -> Layout {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Layout::from_size_align(16 << (self.0 % 8), 8).expect("small, and aligned to a power of two")
    }
}

#[inline(always)]
fn pair<A: GlobalAlloc>(heap: &A, layout: Layout) {
    let block = taken(heap, layout);
    // SAFETY: the block was just taken from this heap with this layout.
    unsafe { heap.dealloc(block.as_ptr(), layout) }
}

fn on<A: GlobalAlloc + Sync>(criterion: &mut Criterion, name: &str, heap: &A) {
    let mut group = criterion.benchmark_group("seed");
    for threads in THREADS {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            let start = |thread| {
                let mut dice = Dice::of(thread);
                move || pair(heap, dice.layout())
            };
            bencher.iter_custom(|each| contended(threads, each, start));
        });
    }
}

fn benches(criterion: &mut Criterion) {
    on(criterion, "bandolier", &HEAP);
    on(criterion, "system", &System);
    on(criterion, "talc", &TALC);
}

criterion_group! { name = all; config = common::config(); targets = benches }
criterion_main!(all);
