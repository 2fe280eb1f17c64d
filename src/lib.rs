#![no_std]
#![cfg_attr(feature = "nightly", feature(allocator_api))]
#![cfg_attr(docsrs, feature(doc_cfg))]
#![deny(missing_docs)]
#![doc = include_str!("../README.md")]

#[cfg(any(feature = "std", test))]
extern crate std;

mod sync;

mod breach;
mod dice;
mod geometry;
mod home;
mod size_class;
mod stats;
mod tell;
mod wipe;

mod backend;
mod passes;
mod patience;
mod process;
mod supply;
mod surplus;
mod treiber;

mod map;
mod pool;

mod magazine;
mod segment;

mod depot;
mod slab;

mod arsenal;

mod cache;

mod reclaim;

mod heap;

mod allocator;

mod limits;

mod reclaimer;

#[cfg(all(test, loom))]
#[path = "../loom-tests/support.rs"]
mod loom_support;

#[cfg(all(test, not(loom)))]
#[path = "../unit-tests/support.rs"]
mod unit_support;

#[cfg(all(test, steps))]
#[path = "../progress-tests/mod.rs"]
mod progress;

#[cfg(all(feature = "std", not(all(test, loom))))]
pub use backend::Os;
pub use backend::{Arena, Backend, FromGlobal, Native};
pub use heap::Bandolier;
pub use limits::Limits;
pub use reclaimer::Reclaimer;
#[cfg(all(feature = "std", not(all(test, loom))))]
pub use reclaimer::Running;
pub use size_class::SizeClass;
pub use stats::{Bounds, ClassStats, Locator, Reclaimed, Stats};
