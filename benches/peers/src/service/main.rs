//! The HTTP service of `examples/service`, from the same files, on the allocator that it was built with: the peers of
//! `cargo run --release --example service -- --peers`, which builds and starts it.
//!
//! `service --port N` serves until its stdin ends. Bandolier is not among these: that example is the service on it, with hooks.

#[path = "../measure/allocator.rs"]
mod global;
#[cfg(feature = "tcmalloc")]
#[path = "../measure/tcmalloc.rs"]
mod tcmalloc;

#[path = "../../../../examples/service/allocator.rs"]
mod allocator;
#[path = "../../../../examples/service/cache.rs"]
mod cache;
#[path = "../../../../examples/service/document.rs"]
#[expect(dead_code, reason = "the clients generate documents, and they are another process")]
mod document;
#[path = "../../../../examples/service/memory.rs"]
#[expect(dead_code, reason = "who started the service looks at it from outside")]
mod memory;
#[cfg(feature = "jemalloc")]
mod on_jemalloc;
#[cfg(any(feature = "mimalloc", feature = "mimalloc-v2"))]
mod on_mimalloc;
#[path = "../../../../examples/service/on_system.rs"]
mod on_system;
#[path = "../../../../examples/service/server.rs"]
mod server;

use allocator::Allocator;
use std::process::ExitCode;

/// What the service asks of the global allocator; of one that is not known here nothing more than of the system's.
#[cfg(feature = "jemalloc")]
const ASKED: &dyn Allocator = &tikv_jemallocator::Jemalloc;
#[cfg(any(feature = "mimalloc", feature = "mimalloc-v2"))]
const ASKED: &dyn Allocator = &mimalloc::MiMalloc;
#[cfg(not(any(feature = "jemalloc", feature = "mimalloc", feature = "mimalloc-v2")))]
const ASKED: &dyn Allocator = &std::alloc::System;

/// Why the service ended, in one line.
type Failure = Box<dyn core::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let port = match &words[..] {
        [] => Some(0),
        [option, port] if option == "--port" => port.parse().ok(),
        _ => None,
    };
    let Some(port) = port else {
        eprintln!("usage: service [--port N]");
        return ExitCode::from(2);
    };
    if let Some(fault) = global::fault() {
        println!("{}: {fault}", global::NAME);
        return ExitCode::FAILURE;
    }
    server::run(ASKED, port)
}
