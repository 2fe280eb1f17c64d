//! Paths through a heap whose back-end says no at the n-th call, for every n, and all that must hold afterwards.

use super::{Account, Block, HARDENED, Metered, Refuse, is_long, layout};
use bandolier::{Backend, Bandolier};
use std::sync::Arc;
use std::thread;

/// A heap that is tried, and what went through its back-end.
pub(crate) type Tried<B> = (Bandolier<Metered<B>>, Arc<Account>);

/// What a scenario holds, and whether it is to get all it asks for.
pub(crate) struct Hands<'a, B: Backend> {
    pub(crate) heap: &'a Bandolier<Metered<B>>,
    pub(crate) held: Vec<Block>,
    pub(crate) must: bool,
    stamps: u64,
    nulls: usize,
}

impl<'a, B: Backend> Hands<'a, B> {
    fn new(heap: &'a Bandolier<Metered<B>>, must: bool, thread: u64) -> Self {
        Self { heap, held: Vec::new(), must, stamps: thread << 32, nulls: 0 }
    }

    /// The next stamp that no other block has.
    pub(crate) fn stamp(&mut self) -> u64 {
        self.stamps += 1;
        self.stamps
    }

    pub(crate) fn keep(&mut self, block: Option<Block>) {
        self.asked(block.is_some());
        self.held.extend(block);
    }

    /// Notes that something was asked for, which may be refused only if it may.
    pub(crate) fn asked(&mut self, granted: bool) {
        assert!(!self.must || granted, "no memory, although the back-end has some");
        self.nulls += usize::from(!granted);
    }

    pub(crate) fn alloc(&mut self, size: usize, align: usize) {
        let stamp = self.stamp();
        self.keep(Block::new(self.heap, layout(size, align), stamp));
    }

    /// So many of a size, unless there is no memory: to ask again and again takes a heap its time.
    pub(crate) fn alloc_many(&mut self, count: usize, size: usize) {
        let enough = self.nulls + 2;
        (0..count).for_each(|_| {
            if self.nulls < enough {
                self.alloc(size, 8);
            }
        });
    }

    pub(crate) fn zeroed(&mut self, size: usize, align: usize) {
        let stamp = self.stamp();
        self.keep(Block::zeroed(self.heap, layout(size, align), stamp));
    }

    pub(crate) fn resize_last(&mut self, size: usize) {
        let Some(block) = self.held.pop() else { return };
        let resized = block.resize(self.heap, size);
        self.asked(resized.is_ok());
        let (Ok(block) | Err(block)) = resized;
        self.held.push(block);
    }

    pub(crate) fn free_every(&mut self, step: usize) {
        for (number, block) in (1..).zip(core::mem::take(&mut self.held)) {
            if number % step == 0 { block.free(self.heap) } else { self.held.push(block) }
        }
    }
}

/// What one thread does.
pub(crate) type Scenario<B> = fn(&mut Hands<'_, B>);

/// A scenario with a name.
pub(crate) type Path<B> = (&'static str, Scenario<B>);

/// Has `threads` threads go through a scenario, or this one alone; what they hold at the end, and how much was refused.
fn go<B: Backend>(
    heap: &Bandolier<Metered<B>>,
    scenario: Scenario<B>,
    must: bool,
    threads: u64,
) -> (Vec<Block>, usize) {
    let work = |thread| {
        let mut hands = Hands::new(heap, must, thread);
        scenario(&mut hands);
        (hands.held, hands.nulls)
    };
    if threads == 1 {
        return work(0);
    }
    thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = (1..=threads).map(|thread| scope.spawn(move || work(thread))).collect();
        // With `join` the threads are gone, exit hooks and all.
        let ends: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        let nulls = ends.iter().map(|(_, nulls)| nulls).sum();
        (ends.into_iter().flat_map(|(held, _)| held).collect(), nulls)
    })
}

/// What one run came to.
struct Outcome {
    calls: usize,
    nulls: usize,
    /// Threads with magazines of their own, and bytes of records in use beyond whole nodes of the map, which depend on where the
    /// kernel puts a segment.
    records: (usize, usize),
}

/// The size of the smallest node of a map.
const NODE: usize = if cfg!(target_pointer_width = "64") { 4096 } else { 1024 };

/// One run of a scenario with a back-end that refuses by `rule`, and all that must hold afterwards.
fn run<B: Backend>((heap, account): Tried<B>, scenario: Scenario<B>, rule: Refuse, threads: u64) -> Outcome {
    account.set(rule);
    let (mut held, nulls) = go(&heap, scenario, rule == Refuse::Never, threads);
    let calls = account.calls();
    // Frees are done while the rule stands: they never need what they cannot have.
    held.drain(held.len() / 2..).for_each(|block| block.free(&heap));
    let _ = heap.stats();
    account.set(Refuse::Never);
    held.iter().for_each(Block::check);
    let (again, _) = go(&heap, scenario, true, threads);
    held.into_iter().chain(again).for_each(|block| block.free(&heap));
    assert_eq!(heap.stats().in_use, 0);
    let _ = heap.reclaim();
    let stats = heap.stats();
    assert_eq!((stats.from_backend, stats.cached), (stats.metadata, 0));
    assert_eq!((stats.from_backend, heap.committed()), (account.outstanding(), account.outstanding()));
    drop(heap);
    assert_eq!(account.outstanding(), 0);
    Outcome { calls, nulls, records: (stats.threads, stats.metadata_in_use % NODE) }
}

/// All is freed and the heap dropped while the back-end still refuses.
fn end_refused<B: Backend>((heap, account): Tried<B>, scenario: Scenario<B>, rule: Refuse, threads: u64) {
    account.set(rule);
    let (held, _) = go(&heap, scenario, false, threads);
    held.into_iter().for_each(|block| block.free(&heap));
    drop(heap);
    assert_eq!(account.outstanding(), 0);
}

/// A rule that is named when what it stands for panics.
struct Named<'a>(&'a str, &'a str, Refuse);

impl Drop for Named<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("in path `{}` with caches `{}`: {:?}", self.1, self.0, self.2);
        }
    }
}

/// Every path, with each of its calls refused in turn, alone and with all that follow.
pub(crate) fn refuse_each<B: Backend>(caches: &str, paths: &[Path<B>], threads: u64, make: impl Fn() -> Tried<B>) {
    for &(name, scenario) in paths {
        let run = |rule| {
            let _named = Named(caches, name, rule);
            run(make(), scenario, rule, threads)
        };
        let (plain, several) = (run(Refuse::Never), threads > 1);
        assert!(plain.calls >= 2 && plain.nulls == 0, "{name}: {} calls", plain.calls);
        let sound = |outcome: &Outcome, rule: Refuse| {
            let ((threads, records), (others, lost)) = (plain.records, outcome.records);
            // Of threads that are the first at once, each may make a group of segments.
            let same = records == lost || several || threads != others || HARDENED;
            assert!(same, "{name}, {caches}, {rule:?}: records {records}, now {lost}");
        };
        // A refusal makes a scenario take other ways, so it may come to make more calls; hence not `1..=calls`.
        let (mut n, mut nulls) = (1, 0);
        loop {
            let outcome = run(Refuse::Nth(n));
            sound(&outcome, Refuse::Nth(n));
            nulls += outcome.nulls;
            if outcome.calls < n as usize && n as usize > plain.calls {
                break;
            }
            let outcome = run(Refuse::From(n));
            sound(&outcome, Refuse::From(n));
            nulls += outcome.nulls;
            if n % 2 == 0 || is_long() || cfg!(not(debug_assertions)) {
                let _named = Named(caches, name, Refuse::From(n));
                end_refused(make(), scenario, Refuse::From(n), threads);
            }
            n += 1;
            assert!(n < 2_000, "{name} makes more calls each time");
        }
        println!("{caches}, {threads} threads, {name}: {} calls refused in turn, {nulls} nulls", n - 1);
    }
}
