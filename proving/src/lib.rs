//! What fuzzing, its replay and the soak share: operations decoded from bytes, heaps on every back-end with every kind of
//! caches, and an oracle that knows what each of them must say.
//!
//! ```text
//!   bytes ──decode──▶ script: lanes of ops ──▶ oracle ──▶ stand: a heap, its caches, its back-end
//!   (libFuzzer, a file, dice)                     │              └ metered: every block on the books
//!                                                 └ blocks: every byte by a pattern; live bytes; who overlaps whom
//! ```
//!
//! A broken promise is a panic, or an abort of the library's own; [`confession`] says what it was that was running.

#[allow(clippy::manual_is_multiple_of, reason = "the library's own tests are for an older compiler")]
#[path = "../../tests/common/mod.rs"]
mod common;

mod block;
mod books;
mod classes;
pub mod confession;
mod counted;
mod crimes;
mod odd;
mod op;
mod oracle;
pub mod replay;
mod script;
mod stand;
mod subject;
mod target;

pub use block::Block;
pub use books::Books;
pub use counted::{Counted, Process};
pub use op::{Op, Sizes};
pub use oracle::{Oracle, Tally};
pub use script::Script;
pub use stand::{BEDS, Caches, clear_arenas};
pub use subject::Subject;
pub use target::{GLOBAL, TARGETS, Target, fuzz, random_bytes};
