//! A runtime with the hooks: it works, and what a burst has left goes back while all workers sleep.

#![cfg(target_os = "linux")]

use bandolier::{Bandolier, Bounds, Reclaimer};
use bandolier_tokio::BuilderExt as _;
use core::time::Duration;
use std::time::Instant;
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

const MIB: usize = 1 << 20;

fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() << 10
}

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_time().bandolier(&HEAP).build().unwrap()
}

/// Takes about so many bytes in each of eight tasks, with turns of the runtime in between.
async fn burst(bytes: usize) {
    let tasks: Vec<_> = (0..8_usize)
        .map(|seed| {
            tokio::spawn(async move {
                let mut blocks: Vec<Vec<u8>> = Vec::new();
                let mut size = 16 + seed;
                let mut left = bytes;
                while let Some(rest) = left.checked_sub(size) {
                    left = rest;
                    blocks.push(vec![seed as u8; size]);
                    size = 16 + (size * 7919) % 4000;
                    if blocks.len() % 512 == 0 {
                        tokio::task::yield_now().await;
                    }
                }
                assert!(blocks.iter().all(|block| block.iter().all(|&byte| byte == seed as u8)));
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

/// One test, since it looks at the memory of the process.
#[test]
fn a_burst_goes_back_while_the_workers_sleep() {
    let runtime = runtime();
    runtime.block_on(burst(MIB / 8));
    let before = resident();
    let gentle = Reclaimer::new(&HEAP).interval(Duration::from_millis(20)).bounds(Bounds::NONE.bytes(8 * MIB));
    let driver = runtime.spawn(bandolier_tokio::drive(gentle));
    runtime.block_on(async {
        burst(16 * MIB).await;
        let begun = Instant::now();
        while resident() > before + 16 * MIB {
            assert!(begun.elapsed() < Duration::from_secs(60), "{} of {before}", resident());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    driver.abort();
    // The hooks run at the end, too, and a runtime can be made again.
    drop(runtime);
    self::runtime().block_on(burst(MIB));
    let _ = HEAP.reclaim();
}
