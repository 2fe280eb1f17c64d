//! A burst, and what is left of it: 1 GiB of mixed small blocks on two threads, freed, then reclaimed.
//!
//! `cargo run --release --example reclaim` prints resident memory (Linux only) and times at each step.

use bandolier::{Bandolier, Stats};
use core::time::Duration;
use std::time::Instant;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

const THREADS: usize = 2;
const BYTES: usize = 1 << 30;

/// Resident memory of the process in bytes, or 0 where there is no `/proc`.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()).unwrap_or(0) << 10
}

/// Sizes from 16 B to 1 KiB, small ones more often, the same at every run.
fn sizes(seed: u64) -> impl Iterator<Item = usize> {
    let mut state = seed;
    core::iter::repeat_with(move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let doubling = state % 6;
        (16 << doubling) + (state >> 32) as usize % (16 << doubling)
    })
}

/// One thread's share of the burst, every byte written.
fn share(seed: u64) -> Vec<Vec<u8>> {
    let mut left = BYTES / THREADS;
    let take = |size: usize| {
        left = left.checked_sub(size)?;
        Some(vec![seed as u8; size])
    };
    sizes(seed).map_while(take).collect()
}

fn on_all_threads<T: Send>(work: impl Fn(usize) -> T + Sync) -> Vec<T> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..THREADS)
            .map(|n| {
                scope.spawn({
                    let work = &work;
                    move || work(n)
                })
            })
            .collect();
        threads.into_iter().map(|thread| thread.join().expect("the work does not panic")).collect()
    })
}

fn print(step: &str, time: Duration, stats: Stats) {
    const MIB: f64 = (1 << 20) as f64;
    println!(
        "{step:<22}{:>10.1}{:>12.1}{:>14.1}{:>13.2} %{:>10.1}",
        resident() as f64 / MIB,
        stats.in_use as f64 / MIB,
        stats.from_backend as f64 / MIB,
        100.0 * stats.metadata_in_use as f64 / stats.in_use.max(1) as f64,
        time.as_secs_f64() * 1e3,
    );
}

fn main() {
    println!("{:<22}{:>10}{:>12}{:>14}{:>15}{:>10}", "", "RSS, MiB", "in use", "from system", "metadata", "ms");
    print("at start", Duration::ZERO, HEAP.stats());

    let start = Instant::now();
    let blocks = on_all_threads(|n| share(n as u64 + 1));
    print("1 GiB allocated", start.elapsed(), HEAP.stats());

    let start = Instant::now();
    let blocks: Vec<_> = blocks.into_iter().map(|blocks| std::sync::Mutex::new(Some(blocks))).collect();
    on_all_threads(|n| drop(blocks[n].lock().expect("not poisoned").take()));
    drop(blocks);
    print("all freed", start.elapsed(), HEAP.stats());

    let start = Instant::now();
    let reclaimed = HEAP.reclaim();
    print("after reclaim()", start.elapsed(), HEAP.stats());
    println!("\nreclaim() released {} bytes and purged {}.", reclaimed.released, reclaimed.purged());
}
