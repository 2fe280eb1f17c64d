//! An HTTP service on Bandolier, and the same service on the system's allocator, under the same load.
//!
//!     cargo run --release --example service            under a minute; --help has the options
//!
//! ```text
//!   this process, on System                            the service, a process of its own
//!  ┌──────────────────────────────────┐   loopback    ┌─────────────────────────────────────┐
//!  │ round ▶ crowd ▶ 24 × client ─────┼── HTTP/1.1 ──▶│ axum, 2 workers ▶ cache of documents│
//!  │   ▲ figures       (1 thread)     │   keep-alive  │ #[global_allocator] Either          │
//!  │   └─ table       child ──────────┼──── stdin ───▶│   ├ Bandolier, or                   │
//!  └──────────────────────────────────┘   its end is  │   └ System                          │
//!                                         its end too └─────────────────────────────────────┘
//! ```
//!
//! A round is one such service for each allocator, one after the other: fill the cache, load it, import and delete a
//! few hundred megabytes (the burst), idle, reclaim. The table gives the median over the rounds.
//!
//! What the numbers do not mean: the clients wait for each answer before they ask again and share the machine with
//! the service, so requests/s is what this machine does with both, not the service's limit.

mod bodies;
mod cache;
mod child;
mod client;
mod connection;
mod crowd;
mod document;
mod either;
mod memory;
mod options;
mod progress;
mod round;
mod server;
mod table;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bodies::Bodies;
use either::{Either, Side};
use options::{Options, Request};
use progress::Progress;
use round::Round;

#[global_allocator]
static ALLOCATOR: Either = Either;

/// Why a run ended early, in one line.
type Failure = Box<dyn core::error::Error + Send + Sync>;

fn main() -> ExitCode {
    match Options::parse(std::env::args().skip(1)) {
        Err(mistake) => complain(&mistake, 2),
        Ok(Request::Help) => finish(say(options::HELP)),
        Ok(Request::Run(options)) => match Side::asked_for() {
            Some(side) => server::run(side, options.port),
            None => finish(compare(&options)),
        },
    }
}

fn finish(outcome: Result<(), Failure>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => complain(&failure.to_string(), 1),
    }
}

fn complain(what: &str, code: u8) -> ExitCode {
    eprintln!("service: {what}");
    ExitCode::from(code)
}

/// `println!` would panic where a reader has gone away.
fn say(text: &str) -> Result<(), Failure> {
    Ok(io::stdout().write_all(text.as_bytes())?)
}

/// Runs the rounds and prints the table.
fn compare(options: &Options) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rounds = runtime.block_on(rounds(options))?;
    say(&table::render(&options.plan, &rounds))
}

/// As many rounds as were planned, or as fit the time.
async fn rounds(options: &Options) -> Result<Vec<Round>, Failure> {
    let began = Instant::now();
    let plan = &options.plan;
    let progress = Progress::new(plan);
    let bodies = Arc::new(Bodies::generate());
    let mut rounds = Vec::new();
    while rounds.len() < plan.rounds {
        let round = Round::run(rounds.len() + 1, options, &bodies, &progress).await?;
        rounds.push(round);
        let pace = began.elapsed() / rounds.len() as u32;
        if began.elapsed() + pace > plan.limit() {
            break;
        }
    }
    Ok(rounds)
}
