//! What it costs to give memory back under a load that stays, with the allocator that this was built with.
//!
//! ```text
//!   workers   fill, warm up │     window      │
//!   driver    one ──────────┤ another one ────┤
//!   ledger                  ▲                 ▲        all workers stand still
//! ```
//!
//! Each thread keeps `live` blocks of 16 bytes to 32 KiB, give or take `wave` per cent in each `period`, writes them all over, and
//! replaces them at random; of each 200 ms it works `busy` per cent. One line: the allocator's name, and of the window: seconds;
//! blocks allocated; CPU seconds of the process; of these, those of threads that are neither workers nor the one that looks on;
//! minor page faults; the median of KiB resident; bytes that the driver gave back.

#[path = "../measure/allocator.rs"]
mod allocator;
mod ledger;
mod load;
mod options;
#[cfg(feature = "tcmalloc")]
#[path = "../measure/tcmalloc.rs"]
mod tcmalloc;
mod worker;

use bandolier_peers::clock::{rss_kib, thread_cpu};
use bandolier_peers::driver::Driver;
use core::time::Duration;
use ledger::Ledger;
use options::{Options, USAGE};
use std::process::ExitCode;
use std::sync::Barrier;
use std::thread;
use std::time::Instant;
use worker::Worker;

/// Between two looks at what is resident; no divisor of a period that somebody would ask for.
const LOOK: Duration = Duration::from_millis(37);

/// What one thread did in the window.
struct Shift {
    operations: u64,
    cpu: Duration,
}

/// Where all meet who take part: before the window twice, since the ledger is read in between, and behind it twice.
fn shift(options: &Options, born: Instant, seed: usize, meeting: &Barrier) -> Shift {
    let mut worker = Worker::new(options.load, seed);
    worker.work(born, options.warm_up);
    meeting.wait();
    let start = thread_cpu();
    meeting.wait();
    let operations = worker.work(born, options.warm_up + options.window);
    let cpu = thread_cpu() - start;
    meeting.wait();
    // What it has stays until the ledger has been read.
    meeting.wait();
    Shift { operations, cpu }
}

/// Looks at what is resident until then; the median.
fn look_on(born: Instant, until: Duration) -> u64 {
    let mut seen = Vec::with_capacity(1 << 12);
    while born.elapsed() < until {
        seen.push(rss_kib().unwrap_or(0));
        thread::sleep(LOOK.min(until.saturating_sub(born.elapsed())));
    }
    seen.sort_unstable();
    seen.get(seen.len() / 2).copied().unwrap_or(0)
}

/// One line of what the run has cost.
fn run(options: &Options, mut driver: Option<Driver>) -> String {
    let (born, meeting) = (Instant::now(), Barrier::new(options.threads + 1));
    thread::scope(|scope| {
        let spawn = |seed| {
            let meeting = &meeting;
            scope.spawn(move || shift(options, born, seed, meeting))
        };
        let crew: Vec<_> = (0..options.threads).map(spawn).collect();
        meeting.wait();
        // Another one, whose bytes are those of the window.
        driver = driver.take().and_then(|driver| {
            driver.stop();
            Driver::start()
        });
        let before = Ledger::now();
        meeting.wait();
        let resident = look_on(born, options.warm_up + options.window);
        meeting.wait();
        let after = Ledger::now();
        let given_back = driver.take().map_or_else(|| "-".into(), |driver| driver.stop().to_string());
        meeting.wait();
        let shifts: Vec<_> = crew.into_iter().filter_map(|one| one.join().ok()).collect();
        let operations: u64 = shifts.iter().map(|shift| shift.operations).sum();
        let workers: Duration = shifts.iter().map(|shift| shift.cpu).sum();
        let cpu = after.cpu - before.cpu - (after.own - before.own);
        let others = cpu.saturating_sub(workers);
        let wall = (after.now - before.now).as_secs_f64();
        let faults = after.faults - before.faults;
        let (cpu, others) = (cpu.as_secs_f64(), others.as_secs_f64());
        format!("{wall:.3}\t{operations}\t{cpu:.6}\t{others:.6}\t{faults}\t{resident}\t{given_back}")
    })
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("{USAGE}");
        return ExitCode::from(2);
    };
    let driver = options.driven.then(Driver::start).flatten();
    if options.driven && driver.is_none() {
        eprintln!("steady: {} has no driver", allocator::NAME);
        return ExitCode::FAILURE;
    }
    if let Some(fault) = allocator::fault() {
        eprintln!("steady: {fault}");
        return ExitCode::FAILURE;
    }
    println!("{}\t{}", allocator::NAME, run(&options, driver));
    ExitCode::SUCCESS
}
