//! The loops that every allocator runs, and the record that each run leaves.
//!
//! ```text
//!   compare ──builds, then starts──▶ measure (one binary per allocator)
//!      ▲                                │  workloads ─▶ block ─▶ std::alloc
//!      └────────── record ◀─────────────┘  crew: threads, barrier, clocks
//! ```
//!
//! This is a library, and `#[global_allocator]` stands in the binary `measure`. So without link-time optimisation
//! the loops reach the allocator as a dependency of a program does, and with it as the program itself does.

pub mod block;
pub mod clock;
pub mod crew;
pub mod dice;
pub mod driver;
pub mod record;
mod tail;
pub mod trace;
pub mod workloads;
