//! Rayon's threads sleep between jobs, and have no hook for that; but they start, they end, and any thread can reach what they hold.
//!
//! ```sh
//! cargo run --release --example rayon
//! ```

use bandolier::{Bandolier, Reclaimer};
use core::error::Error;
use core::time::Duration;
use rayon::ThreadPoolBuilder;
use rayon::prelude::*;

use std::thread;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

fn say(when: &str) {
    let stats = HEAP.stats();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("{when:32} {:7.1} MiB held, {:5.1} MiB of it in magazines", mib(stats.from_backend), mib(stats.cached));
}

/// Sorts words that every thread makes.
fn job() -> usize {
    let mut words: Vec<String> =
        (0..2_000_000_u64).into_par_iter().map(|n| (n * 7919 % 1_000_003).to_string()).collect();
    words.par_sort_unstable();
    words.dedup();
    words.len()
}

fn main() -> Result<(), Box<dyn Error>> {
    let pool = ThreadPoolBuilder::new()
        // A thread that ends hands in what it has by itself; this does so before its own destructors run.
        .exit_handler(|_| HEAP.flush_thread())
        .build()?;
    println!("{} words", pool.install(job));
    say("the threads sleep");

    // Who knows that there will be no job for a while can ask all threads, which wakes them …
    pool.broadcast(|_| HEAP.flush_thread());
    say("each has flushed");

    // … or take what they have without waking them …
    println!("{} words", pool.install(job));
    let back = HEAP.drain_caches();
    say("drained by another thread");
    assert!(back.is_complete() || back.missed_threads > 0);

    // … or leave it to a driver, which takes what nobody needed for an interval.
    println!("{} words", pool.install(job));
    let running = Reclaimer::new(&HEAP).interval(Duration::from_millis(100)).spawn()?;
    thread::sleep(Duration::from_millis(500));
    say("half a second later");
    println!("{} bytes went back by the driver", running.stop().total());
    Ok(())
}
