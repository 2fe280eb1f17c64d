//! The slow paths: what comes before each, and what walks it.

use super::world::{Hands, Heap, UNIT};
use crate::Limits;
use crate::cache::cpus::Cpus;
use crate::stats::Bounds;

/// Whose magazines a heap's threads work from.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caches {
    Thread,
    Hybrid,
    Cpu,
    Shared,
}

/// A slow path.
pub(super) struct Path {
    /// As in the table of `docs/DESIGN.md`.
    pub(super) name: &'static str,
    pub(super) caches: Caches,
    /// By the one who walks it.
    pub(super) prepare: fn(&mut Hands<'_>),
    /// By somebody else, who has no magazines.
    pub(super) between: fn(&Heap),
    pub(super) go: fn(&mut Hands<'_>),
    /// Nobody has used the heap before.
    pub(super) fresh: bool,
    /// The thread's end is part of it.
    pub(super) ends: bool,
    /// There may be no memory.
    pub(super) poor: bool,
    /// Stops at each `every`th step only.
    pub(super) every: u64,
}

impl Path {
    /// Whether the machine has what it takes.
    pub(super) fn is_possible(&self) -> bool {
        matches!(self.caches, Caches::Thread | Caches::Shared) || Cpus::why_not().is_none()
    }
}

const PATH: Path = Path {
    name: "",
    caches: Caches::Thread,
    prepare: |_| (),
    between: |_| (),
    go: |_| (),
    fresh: false,
    ends: false,
    poor: false,
    every: 1,
};

/// A chunk of the largest class on the stage: eight fill a magazine.
const CHUNK: usize = UNIT / 2;

/// Leaves something everywhere: chunks and magazines of two classes, slabs in part and wholly free, free units.
fn litter(hands: &mut Hands<'_>) {
    hands.alloc(3, 3 * UNIT);
    hands.alloc(60, CHUNK);
    hands.alloc(40, 64);
    hands.thin(7);
    hands.alloc(2, UNIT);
    hands.free(1);
}

/// Fills the magazines of a thread, and puts some at the depot.
fn trade(hands: &mut Hands<'_>) {
    hands.alloc(40, CHUNK);
    hands.free(40);
}

/// Frees almost as much as a heap gives back of itself.
fn swell(hands: &mut Hands<'_>, free: usize) {
    hands.alloc(160, 16 * UNIT);
    hands.free(free);
}

fn no_more(heap: &Heap) {
    let _ = heap.set_limits(Limits::NONE.hard(heap.committed()));
}

pub(super) const PATHS: &[Path] = &[
    Path { name: "first block of a heap", fresh: true, go: |hands| hands.alloc(1, CHUNK), ..PATH },
    Path { name: "thread start", go: |hands| hands.alloc(1, CHUNK), ..PATH },
    Path {
        name: "refill from slabs",
        prepare: |hands| {
            hands.alloc(64, CHUNK);
            hands.thin(2);
            hands.heap.flush_thread();
            let _ = hands.heap.drain();
        },
        go: |hands| hands.alloc(20, CHUNK),
        ..PATH
    },
    Path { name: "trade at home", prepare: trade, go: trade, ..PATH },
    Path {
        name: "trade abroad",
        // The keeper's corner is another one.
        prepare: |hands| hands.alloc(1, 16),
        go: |hands| hands.alloc(40, CHUNK),
        ..PATH
    },
    Path {
        name: "spill",
        prepare: |hands| {
            hands.alloc(340, CHUNK);
            hands.free(310);
        },
        go: |hands| hands.free(30),
        ..PATH
    },
    Path { name: "fresh slabs and segments", go: |hands| hands.alloc(100, CHUNK), ..PATH },
    Path {
        name: "map and groups grow",
        prepare: |hands| hands.alloc(61, 16 * UNIT),
        go: |hands| hands.alloc(6, 16 * UNIT),
        ..PATH
    },
    Path {
        name: "runs",
        go: |hands| {
            hands.alloc(1, 3 * UNIT);
            hands.zeroed(UNIT);
            hands.free_all();
        },
        ..PATH
    },
    Path {
        name: "a run grows and shrinks in place",
        prepare: |hands| hands.alloc(1, 3 * UNIT),
        go: |hands| {
            hands.resize(6 * UNIT);
            hands.resize(2 * UNIT);
        },
        ..PATH
    },
    Path {
        name: "large blocks",
        go: |hands| {
            hands.alloc(1, 100 << 10);
            hands.resize(130 << 10);
            hands.zeroed(70 << 10);
            hands.free_all();
        },
        ..PATH
    },
    Path {
        name: "a block that moves",
        go: |hands| {
            hands.alloc(1, 40);
            [2000, 9000, 100_000, 20].into_iter().for_each(|size| hands.resize(size));
        },
        ..PATH
    },
    Path {
        name: "trim",
        prepare: |hands| {
            litter(hands);
            hands.heap.flush_thread();
        },
        between: |heap| _ = heap.trim(),
        go: |hands| _ = hands.heap.trim(),
        ..PATH
    },
    Path {
        name: "a driver's step",
        prepare: litter,
        between: |heap| _ = heap.step_within(Bounds::NONE),
        go: |hands| _ = hands.heap.step_within(Bounds::NONE),
        ..PATH
    },
    Path {
        name: "drain",
        prepare: |hands| {
            litter(hands);
            hands.heap.flush_thread();
        },
        go: |hands| _ = hands.heap.drain(),
        ..PATH
    },
    Path { name: "drain_caches, with a search", prepare: litter, go: |hands| _ = hands.heap.drain_caches(), ..PATH },
    Path {
        name: "a thread that was searched resumes",
        prepare: trade,
        between: |heap| _ = heap.drain_caches(),
        go: trade,
        ..PATH
    },
    Path { name: "flush_thread", prepare: litter, go: |hands| hands.heap.flush_thread(), ..PATH },
    Path { name: "stats", prepare: litter, go: |hands| _ = hands.heap.stats(), ..PATH },
    Path {
        name: "limits are set",
        go: |hands| {
            let _ = hands.heap.set_limits(Limits::NONE.soft(30 << 20).hard(31 << 20));
            let _ = hands.heap.committed();
        },
        ..PATH
    },
    Path { name: "thread end", prepare: litter, ends: true, ..PATH },
    Path {
        name: "a heap gives its surplus back",
        prepare: |hands| swell(hands, 100),
        go: |hands| hands.free(60),
        every: 3,
        ..PATH
    },
    Path {
        name: "thread end that gives surplus back",
        prepare: |hands| {
            hands.alloc(160, 16 * UNIT);
            hands.alloc(40, CHUNK);
            hands.alloc(70, CHUNK / 2);
            hands.free(110);
            hands.free(127);
        },
        ends: true,
        every: 3,
        ..PATH
    },
    Path {
        name: "an allocation at the hard limit",
        prepare: litter,
        between: no_more,
        go: |hands| hands.alloc(200, CHUNK),
        poor: true,
        every: 7,
        ..PATH
    },
    Path {
        name: "a pass beside allocations at the hard limit",
        prepare: litter,
        between: no_more,
        go: |hands| _ = hands.heap.drain_caches(),
        poor: true,
        every: 41,
        ..PATH
    },
    Path {
        name: "an allocation at the soft limit",
        prepare: litter,
        between: |heap| _ = heap.set_limits(Limits::NONE.soft(heap.committed()).notify(|_| ())),
        go: |hands| hands.alloc(100, CHUNK),
        every: 5,
        ..PATH
    },
    Path {
        name: "another heap comes and goes",
        go: |_| {
            let other = Heap::with_backend(super::stage::Stage).without_thread_caches();
            let mut its = Hands::new(&other, false);
            its.alloc(3, CHUNK);
            its.alloc(1, UNIT);
            its.free_all();
            drop(other);
        },
        ..PATH
    },
    Path { name: "shared slots", caches: Caches::Shared, prepare: trade, go: trade, ..PATH },
    Path {
        name: "drain_caches of shared slots",
        caches: Caches::Shared,
        prepare: litter,
        go: |hands| _ = hands.heap.drain_caches(),
        ..PATH
    },
    Path { name: "first block of a CPU", caches: Caches::Cpu, fresh: true, go: |hands| hands.alloc(1, CHUNK), ..PATH },
    Path { name: "trade of a CPU", caches: Caches::Cpu, prepare: trade, go: trade, ..PATH },
    Path {
        name: "drain_caches of CPUs",
        caches: Caches::Cpu,
        prepare: litter,
        go: |hands| _ = hands.heap.drain_caches(),
        ..PATH
    },
    Path {
        name: "trim of CPUs",
        caches: Caches::Cpu,
        prepare: litter,
        between: |heap| _ = heap.trim(),
        go: |hands| _ = hands.heap.trim(),
        ..PATH
    },
    Path {
        name: "a thread earns magazines",
        caches: Caches::Hybrid,
        prepare: |hands| {
            for _ in 0..250 {
                hands.alloc(1, CHUNK);
                hands.free(1);
            }
            hands.alloc(8, CHUNK);
        },
        go: trade,
        ..PATH
    },
    Path {
        name: "a thread gives magazines up",
        caches: Caches::Hybrid,
        prepare: |hands| {
            for size in [CHUNK, 16] {
                for _ in 0..300 {
                    hands.alloc(1, size);
                    hands.free(1);
                }
            }
            for _ in 0..2000 {
                hands.alloc(17, CHUNK);
                hands.free(17);
            }
        },
        go: |hands| {
            for _ in 0..100 {
                hands.alloc(17, CHUNK);
                hands.free(17);
            }
        },
        every: 61,
        ..PATH
    },
    Path {
        name: "drain_caches of a hybrid",
        caches: Caches::Hybrid,
        prepare: |hands| {
            for _ in 0..300 {
                hands.alloc(1, CHUNK);
                hands.free(1);
            }
            litter(hands);
        },
        go: |hands| _ = hands.heap.drain_caches(),
        ..PATH
    },
];
