//! What a process keeps of a burst when its threads have gone to sleep, with the allocator that it was built with.
//!
//! Eight threads allocate 1 GiB in blocks of 16 bytes to 32 KiB, use it, free all of it, and sleep. One line: the allocator's
//! name, then KiB resident before the burst, at its height, and 0, 0.1, 1 and 5 seconds after the last free; and of Bandolier
//! those after one `drain_caches` from the main thread, and the microseconds that it took.
//!
//! `idle [--driver] [--mib 1024]`: with a `Reclaimer`, where there is one.

#[path = "../measure/allocator.rs"]
mod allocator;
#[cfg(feature = "tcmalloc")]
#[path = "../measure/tcmalloc.rs"]
mod tcmalloc;

use bandolier_peers::clock::rss_kib;
use bandolier_peers::dice::Dice;
use bandolier_peers::driver::{self, Driver};
use core::time::Duration;
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;

const THREADS: usize = 8;
/// Seconds after the last free.
const LOOKS: [f64; 4] = [0.0, 0.1, 1.0, 5.0];

/// Takes so many bytes in blocks, uses them, and frees them in another order.
fn burst(bytes: usize, seed: usize, full: &Barrier, freed: &Barrier) {
    let mut dice = Dice::of(seed);
    let (mut left, mut blocks) = (bytes, Vec::new());
    while left > 0 {
        let size = dice.any_size(11);
        blocks.push(vec![1_u8; size]);
        left = left.saturating_sub(size);
    }
    full.wait();
    full.wait();
    for at in (1..blocks.len()).rev() {
        blocks.swap(at, dice.below(at + 1));
    }
    drop(blocks);
    freed.wait();
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let driven = words.iter().any(|word| word == "--driver");
    let mib = words.iter().skip_while(|word| *word != "--mib").nth(1).map_or(Ok(1024), |mib| mib.parse::<usize>());
    let Ok(mib) = mib else {
        eprintln!("usage: idle [--driver] [--mib 1024]");
        return ExitCode::from(2);
    };
    let driver = driven.then(Driver::start).flatten();
    if driven && driver.is_none() {
        eprintln!("idle: {} has no driver", allocator::NAME);
        return ExitCode::FAILURE;
    }
    if let Some(fault) = allocator::fault() {
        eprintln!("idle: {fault}");
        return ExitCode::FAILURE;
    }
    let resident = || rss_kib().unwrap_or(0);
    let before = resident();
    let (full, freed) = (Barrier::new(THREADS + 1), Barrier::new(THREADS + 1));
    let over = Barrier::new(THREADS + 1);
    let mut figures = vec![before];
    let mut drained = String::from("-\t-");
    thread::scope(|scope| {
        for seed in 0..THREADS {
            let (full, freed, over) = (&full, &freed, &over);
            scope.spawn(move || {
                burst(mib * (1 << 20) / THREADS, seed, full, freed);
                over.wait();
            });
        }
        full.wait();
        figures.push(resident());
        full.wait();
        freed.wait();
        let end = Instant::now();
        for look in LOOKS {
            thread::sleep(Duration::from_secs_f64(look).saturating_sub(end.elapsed()));
            figures.push(resident());
        }
        let begun = Instant::now();
        if driver::drain() {
            let took = begun.elapsed().as_micros();
            drained = format!("{}\t{took}", resident());
        }
        over.wait();
    });
    let figures: Vec<String> = figures.iter().map(ToString::to_string).collect();
    println!("{}\t{}\t{drained}", allocator::NAME, figures.join("\t"));
    // The driver ends here, with one step more.
    let _ = driver.map(Driver::stop);
    ExitCode::SUCCESS
}
