//! A whole case: a heap, and lanes of operations with pauses between them.

use crate::confession;
use crate::op::{Op, Pause, Sizes};
use crate::oracle::{Oracle, Tally};
use crate::stand::{BEDS, Bed, Caches};
use crate::subject::Subject;
use arbitrary::Unstructured;
use std::thread;

/// Bytes that a case may hold at a time.
const BUDGET: usize = 24 << 20;

/// What is done between two pauses, by lanes, and how it ends.
struct Part {
    lanes: Vec<Vec<Op>>,
    end: Pause,
}

/// A case.
pub struct Script {
    bed: &'static Bed,
    caches: Caches,
    /// Whether overlapping blocks are to be found at once, where there are several lanes: they then wait for each other.
    with_map: bool,
    parts: Vec<Part>,
}

impl Script {
    /// Reads a case for so many lanes at least, and at most 4.
    #[must_use]
    pub fn decode(bytes: &[u8], least: usize, sizes: Sizes) -> Option<Self> {
        let u = &mut Unstructured::new(bytes);
        let (bed, caches, lanes) = (u.arbitrary::<u8>().ok()?, u.arbitrary::<u8>().ok()?, u.arbitrary::<u8>().ok()?);
        let lanes = if least == 1 { 1 } else { least + usize::from(lanes) % (5 - least) };
        let part = |end| Part { lanes: vec![Vec::new(); lanes], end };
        let mut parts = vec![part(Pause::Look)];
        while let Ok((lane, op)) = Op::decode(u, sizes) {
            let last = parts.last_mut()?;
            match op {
                Op::Pause(end) => {
                    last.end = end;
                    parts.push(part(Pause::Look));
                }
                op => last.lanes[lane % lanes].push(op),
            }
        }
        parts.last_mut()?.end = Pause::Anew;
        Some(Self {
            bed: &BEDS[usize::from(bed) % BEDS.len()],
            caches: Caches::ALL[usize::from(caches) % 4],
            with_map: lanes == 1 || caches & 0x80 != 0,
            parts,
        })
    }

    /// Runs it on a heap of its own.
    ///
    /// # Panics
    /// When that breaks a promise.
    pub fn run(self) -> Tally {
        let (bed, caches) = (self.bed, self.caches);
        let oracle = Oracle::new(BUDGET, self.with_map);
        let mut heap = bed.heap(caches);
        for part in self.parts {
            part.run(&*heap, &oracle);
            if oracle.pause(&*heap, part.end) {
                let books = heap.books();
                drop(heap);
                assert_eq!(books.map_or(0, |books| books.outstanding()), 0, "bytes that a dropped heap kept");
                heap = bed.heap(caches);
            }
        }
        oracle.tally()
    }

    /// Runs it on a heap that is there already, and stays.
    ///
    /// # Panics
    /// When that breaks a promise.
    pub fn run_on(self, heap: &dyn Subject) -> Tally {
        let oracle = Oracle::new(BUDGET, self.with_map);
        for part in self.parts {
            part.run(heap, &oracle);
            let end = if part.end == Pause::Look { Pause::Look } else { Pause::Empty };
            oracle.pause(heap, end);
        }
        oracle.tally()
    }
}

impl Part {
    fn run(&self, heap: &dyn Subject, oracle: &Oracle) {
        if let [lane] = &self.lanes[..] {
            for op in lane {
                oracle.apply(heap, *op);
                oracle.check_bytes(heap);
                if matches!(op, Op::Look | Op::Trim(_) | Op::Drain(_) | Op::DrainCaches(_)) {
                    oracle.check_figures(heap);
                }
            }
            return;
        }
        let how = confession::inherit();
        thread::scope(|scope| {
            let run = move |lane: &Vec<Op>| {
                how.adopt();
                lane.iter().for_each(|op| oracle.apply(heap, *op));
            };
            let lanes: Vec<_> = self.lanes.iter().map(|lane| scope.spawn(move || run(lane))).collect();
            // A scope waits for what threads do, and not for their ends: magazines are handed in there.
            let ends: Vec<_> = lanes.into_iter().map(thread::ScopedJoinHandle::join).collect();
            ends.into_iter().for_each(|end| end.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        });
    }
}
