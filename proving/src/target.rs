//! The targets by name: each takes bytes, and panics when a heap breaks a promise.

use crate::op::Sizes;
use crate::oracle::Tally;
use crate::script::Script;
use crate::subject::Subject;
use crate::{classes, crimes};

/// What bytes are fed to.
pub struct Target {
    /// As its folders and its fuzzing binary are called.
    pub name: &'static str,
    /// What it is for.
    pub what: &'static str,
    /// Runs one case.
    pub run: fn(&[u8]),
    /// Random cases in the tests.
    pub cases: u64,
    /// Most bytes of a random case.
    pub length: usize,
}

/// Those that make heaps of their own.
pub const TARGETS: [Target; 5] = [
    Target {
        name: "sequences",
        what: "operations of one thread, on every back-end, with every kind of caches",
        run: |bytes| _ = Script::decode(bytes, 1, Sizes::Mixed).map(Script::run),
        cases: 800,
        length: 3_000,
    },
    Target {
        name: "threads",
        what: "the same from two to four threads, which hand blocks to each other",
        run: |bytes| _ = Script::decode(bytes, 2, Sizes::Mixed).map(Script::run),
        cases: 300,
        length: 6_000,
    },
    Target { name: "classes", what: "any layout, and what it gets", run: classes::run, cases: 120, length: 400 },
    Target {
        name: "runs",
        what: "runs of units and large blocks: growing, shrinking, aligned",
        run: |bytes| _ = Script::decode(bytes, 1, Sizes::Large).map(Script::run),
        cases: 200,
        length: 1_000,
    },
    Target { name: "misuse", what: "broken contracts, in children", run: crimes::run, cases: 150, length: 1_500 },
];

/// The heap is that of the process, which the oracle's own memory is from, too.
pub const GLOBAL: &str = "global";

impl Script {
    /// A case for the heap of the process, as the target [`GLOBAL`] has it: on one thread, or on several.
    pub fn run_as_global(bytes: &[u8], heap: &dyn Subject) -> Tally {
        let least = 1 + bytes.first().map_or(0, |byte| usize::from(byte % 2));
        Self::decode(bytes, least, Sizes::Mixed).map_or_else(Tally::default, |script| script.run_on(heap))
    }
}

/// The bytes of the case with that number.
#[must_use]
pub fn random_bytes(seed: u64, most: usize) -> Vec<u8> {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; dice.usize(16..most)];
    dice.fill(&mut bytes);
    bytes
}

/// Runs one case of the target with that name.
///
/// # Panics
/// When it fails, or there is no such target.
pub fn fuzz(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target has that name");
    (target.run)(bytes);
}
