//! Many blocks of 64 bytes allocated, then freed, the last one first. An iteration is one such batch.

mod common;

use common::{HEAP, TALC, THREADS, contended, taken};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::alloc::System;

const LAYOUT: Layout = Layout::new::<[u64; 8]>();

fn batch<A: GlobalAlloc, const N: usize>(heap: &A, blocks: &mut [NonNull<u8>; N]) {
    blocks.fill_with(|| taken(heap, LAYOUT));
    for block in blocks.iter().rev() {
        // SAFETY: every block in the array was just taken from this heap with this layout, and is freed once.
        unsafe { heap.dealloc(block.as_ptr(), LAYOUT) }
    }
}

fn on<A: GlobalAlloc + Sync, const N: usize>(criterion: &mut Criterion, name: &str, heap: &A) {
    let mut group = criterion.benchmark_group(format!("batch{N}"));
    for threads in THREADS {
        group.throughput(Throughput::Elements((threads * N) as u64));
        group.bench_function(BenchmarkId::new(name, threads), |bencher| {
            let start = |_| {
                let mut blocks = [NonNull::dangling(); N];
                move || batch(heap, &mut blocks)
            };
            bencher.iter_custom(|each| contended(threads, each, start));
        });
    }
}

fn benches_of<const N: usize>(criterion: &mut Criterion) {
    on::<_, N>(criterion, "bandolier", &HEAP);
    on::<_, N>(criterion, "system", &System);
    on::<_, N>(criterion, "talc", &TALC);
}

criterion_group! { name = all; config = common::config(); targets = benches_of::<32>, benches_of::<1000> }
criterion_main!(all);
