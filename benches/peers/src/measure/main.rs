//! Runs workloads on the allocator that it was built with, and prints a record for each.
//!
//! `measure [--threads 1,2,4,8] [--millis 100] [workload ...]`: without names, all of them. The peak memory in a
//! record is that of the process so far: for a figure of its own, give a workload a process of its own, as `compare`
//! does.
//!
//! `measure --nothing` is an empty program that says what memory it took, in KiB.

mod allocator;
#[cfg(feature = "tcmalloc")]
mod tcmalloc;

use bandolier_peers::clock::peak_rss_kib;
use bandolier_peers::record::Record;
use bandolier_peers::workloads::{ALL, Entry};
use core::num::NonZeroUsize;
use core::time::Duration;
use std::process::ExitCode;

struct Order {
    threads: Vec<NonZeroUsize>,
    target: Duration,
    workloads: Vec<&'static Entry>,
}

impl Order {
    fn from(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut order =
            Self { threads: vec![NonZeroUsize::MIN], target: Duration::from_millis(100), workloads: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--threads" => order.threads = numbers(&words.next()?)?,
                "--millis" => order.target = Duration::from_millis(words.next()?.parse().ok()?),
                name => order.workloads.push(Entry::named(name)?),
            }
        }
        if order.workloads.is_empty() {
            order.workloads.extend(&ALL);
        }
        Some(order)
    }

    fn obey(&self) {
        for entry in &self.workloads {
            for &threads in self.threads.iter().filter(|threads| entry.runs_on(threads.get())) {
                let outcome = (entry.measure)(threads, self.target);
                let peak = peak_rss_kib().unwrap_or(0);
                println!("{}", Record::of(allocator::NAME, entry.name, threads.get(), outcome, peak));
            }
        }
    }
}

fn numbers(list: &str) -> Option<Vec<NonZeroUsize>> {
    list.split(',').map(|number| number.parse().ok()).collect()
}

fn main() -> ExitCode {
    if std::env::args_os().nth(1).is_some_and(|word| word == "--nothing") {
        println!("{}", peak_rss_kib().unwrap_or(0));
        return ExitCode::SUCCESS;
    }
    let Some(order) = Order::from(std::env::args().skip(1)) else {
        eprintln!("usage: measure [--threads 1,2,4,8] [--millis 100] [workload ...] | --nothing");
        return ExitCode::from(2);
    };
    if let Some(fault) = allocator::fault() {
        eprintln!("error: {fault}");
        return ExitCode::FAILURE;
    }
    println!("{}", Record::HEADER);
    order.obey();
    ExitCode::SUCCESS
}
