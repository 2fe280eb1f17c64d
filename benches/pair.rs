//! One block of 64 bytes, allocated and freed: the floor of an allocator.

mod common;

use common::{HEAP, TALC, THREADS, contended, taken};
use core::alloc::{GlobalAlloc, Layout};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::alloc::System;

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

#[inline(always)]
fn pair<A: GlobalAlloc>(heap: &A) {
    let block = taken(heap, LAYOUT);
    // SAFETY: the block was just taken from this heap with this layout.
    unsafe { heap.dealloc(block.as_ptr(), LAYOUT) }
}

fn on<A: GlobalAlloc + Sync>(criterion: &mut Criterion, name: &str, heap: &A) {
    let mut group = criterion.benchmark_group("pair");
    for threads in THREADS {
        group.throughput(Throughput::Elements(threads as u64));
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            bencher.iter_custom(|each| contended(threads, each, |_| || pair(heap)));
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
