//! An executor of one's own, as `smol` has it: a worker that finds nothing to do flushes before it sleeps.
//!
//! ```sh
//! cargo run --release --example smol
//! ```

use async_executor::Executor;
use bandolier::{Bandolier, Reclaimer};
use core::time::Duration;
use futures_lite::future;
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

static EXECUTOR: Executor<'static> = Executor::new();

/// Between two flushes of a worker: a busy one, which sleeps for a moment now and then, shall not pay for each.
const THROTTLE: Duration = Duration::from_millis(100);

/// Runs tasks, and flushes before it waits for one.
fn work() {
    let mut flushed = Instant::now();
    loop {
        while EXECUTOR.try_tick() {}
        if flushed.elapsed() >= THROTTLE {
            HEAP.flush_thread();
            flushed = Instant::now();
        }
        future::block_on(EXECUTOR.tick());
    }
}

fn say(when: &str) {
    let stats = HEAP.stats();
    let mib = |bytes: usize| bytes as f64 / f64::from(1 << 20);
    println!("{when:32} {:7.1} MiB held, {:5.1} MiB of it in magazines", mib(stats.from_backend), mib(stats.cached));
}

fn main() -> std::io::Result<()> {
    for _ in 0..4 {
        thread::spawn(work);
    }
    let (done, all) = mpsc::channel();
    for seed in 0..64_usize {
        let done = done.clone();
        EXECUTOR
            .spawn(async move {
                let mut lines: Vec<String> = Vec::new();
                for n in 0..20_000 {
                    lines.push(format!("line {n} of task {seed}"));
                    if n % 1000 == 0 {
                        future::yield_now().await;
                    }
                }
                let _ = done.send(lines.len());
            })
            .detach();
    }
    drop(done);
    println!("{} lines", all.iter().sum::<usize>());
    say("the workers sleep");

    // A task can be the driver, where the executor has a timer; a thread is one anywhere.
    let running = Reclaimer::new(&HEAP).interval(Duration::from_millis(100)).spawn()?;
    thread::sleep(Duration::from_millis(500));
    say("half a second later");
    println!("{} bytes went back by the driver", running.stop().total());
    Ok(())
}
