//! An HTTP service on Bandolier, and the same service on the system's allocator, under the same load.
//!
//!     cargo run --release --example service            under a minute; --help has the options
//!     cargo run --release --example service -- --peers --svg service.svg         mimalloc and jemalloc, too, and a plot
//!
//! ```text
//!   this process, on System                            the service, a process of its own
//!  ┌──────────────────────────────────┐   loopback    ┌─────────────────────────────────────┐
//!  │ round ▶ crowd ▶ 24 × client ─────┼── HTTP/1.1 ──▶│ axum, 2 workers ▶ cache of documents│
//!  │   ▲ figures       (1 thread)     │   keep-alive  │ #[global_allocator] Either          │
//!  │   ├─ table       child ──────────┼──── stdin ───▶│   ├ Bandolier, hooks and a task, or │
//!  │   └─ plot        sampler ◀───────┼─── /proc ─────│   └ System                          │
//!  └──────────────────────────────────┘ stdin's end   └─────────────────────────────────────┘
//!                                       is its end
//! ```
//!
//! A round is one such service for each allocator, one after the other: fill the cache, load it, import and delete a
//! few hundred megabytes (the burst), idle, reclaim. The table gives the median over the rounds, the plot resident memory
//! over time. On Bandolier the service uses what `bandolier-tokio` has; every other allocator runs as it comes. Those of
//! `--peers` are services of `benches/peers`, from the same files, without the branch of `Either`.
//!
//! What the numbers do not mean: the clients wait for each answer before they ask again and share the machine with
//! the service, so requests/s is what this machine does with both, not the service's limit.

mod allocator;
mod bodies;
mod cache;
mod child;
mod client;
mod connection;
mod contestant;
mod crowd;
mod document;
mod either;
mod life;
mod memory;
mod on_bandolier;
mod on_system;
mod options;
mod plot;
mod progress;
mod round;
mod sampler;
mod server;
mod table;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Instant;

use bodies::Bodies;
use contestant::Contestant;
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
            Some(side) => server::run(side.allocator(), options.port),
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

/// Runs the rounds, prints the table, and writes the plot if it is wanted.
fn compare(options: &Options) -> Result<(), Failure> {
    let mut contestants = Contestant::ours()?;
    let mut missing = Vec::new();
    if options.peers {
        let (peers, without) = Contestant::peers(|name| eprintln!("building a service on {name}"));
        contestants.extend(peers);
        missing = without;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let rounds = runtime.block_on(rounds(options, &contestants))?;
    say(&table::render(&options.plan, &contestants, &rounds))?;
    missing.iter().try_for_each(|missing| say(&format!("{missing}\n")))?;
    options.svg.as_deref().zip(rounds.last()).map_or(Ok(()), |(path, round)| write_plot(path, &contestants, round))
}

/// As many rounds as were planned, or as fit the time.
async fn rounds(options: &Options, contestants: &[Contestant]) -> Result<Vec<Round>, Failure> {
    let began = Instant::now();
    let plan = &options.plan;
    let progress = Progress::new(plan, contestants.len());
    let bodies = Arc::new(Bodies::generate());
    let mut rounds = Vec::new();
    while rounds.len() < plan.rounds {
        let round = round::run(rounds.len() + 1, contestants, options, &bodies, &progress).await?;
        rounds.push(round);
        let pace = began.elapsed() / rounds.len() as u32;
        if began.elapsed() + pace > plan.limit(contestants.len()) {
            break;
        }
    }
    Ok(rounds)
}

fn write_plot(path: &Path, contestants: &[Contestant], round: &Round) -> Result<(), Failure> {
    let svg = plot::render(contestants, round)?;
    std::fs::write(path, svg).map_err(|error| format!("{} cannot be written: {error}", path.display()))?;
    say(&format!("plot of the last round: {}\n", path.display()))
}
