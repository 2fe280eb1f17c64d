//! A heap, who works with it, and what they do.

use super::paths::{Caches, Path};
use super::stage::{self, Stage};
use super::steps::{Actor, BOUND, Phase, Stuck};
use crate::heap::Bandolier;
use crate::stats::Bounds;
use crate::{Backend, Limits};
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::panic::Location;
use core::ptr::NonNull;
use core::sync::atomic::Ordering::Relaxed;
use std::string::String;
use std::thread::{self, Scope, ScopedJoinHandle};
use std::vec::Vec;

pub(super) type Heap = Bandolier<Stage>;

pub(super) const UNIT: usize = Stage::UNIT;

/// A block of somebody's, with his stamp at both ends.
struct Block {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u8,
}

impl Block {
    fn ends(&self) -> [NonNull<u8>; 2] {
        // SAFETY: inside the block.
        [self.start, unsafe { self.start.add(self.layout.size() - 1) }]
    }

    fn stamp(&self) {
        // SAFETY: ours.
        self.ends().iter().for_each(|end| unsafe { end.write(self.stamp) });
    }

    fn check(&self) {
        // SAFETY: ours, and written.
        let whole = self.ends().iter().all(|end| unsafe { end.read() } == self.stamp);
        assert!(whole, "somebody else has written to a block");
    }
}

/// What somebody holds of a heap.
pub(super) struct Hands<'a> {
    pub(super) heap: &'a Heap,
    held: Vec<Block>,
    stamp: u8,
    /// There may be no memory.
    poor: bool,
}

impl<'a> Hands<'a> {
    pub(super) fn new(heap: &'a Heap, poor: bool) -> Self {
        Self { heap, held: Vec::with_capacity(1024), stamp: 0, poor }
    }

    fn keep(&mut self, block: *mut u8, size: usize) {
        let Some(start) = NonNull::new(block) else {
            return assert!(self.poor, "there is no memory, though there is enough");
        };
        self.stamp = self.stamp.wrapping_add(1);
        let block = Block { start, layout: layout(size), stamp: self.stamp };
        block.stamp();
        self.held.push(block);
    }

    pub(super) fn alloc(&mut self, count: usize, size: usize) {
        for _ in 0..count {
            // SAFETY: the size is not zero.
            let block = unsafe { self.heap.alloc(layout(size)) };
            self.keep(block, size);
            if block.is_null() {
                // Once is enough.
                return;
            }
        }
    }

    pub(super) fn zeroed(&mut self, size: usize) {
        // SAFETY: the size is not zero.
        let block = unsafe { self.heap.alloc_zeroed(layout(size)) };
        // SAFETY: so many bytes.
        let zero = block.is_null() || (0..size).all(|at| unsafe { block.wrapping_add(at).read() } == 0);
        assert!(zero, "a block is not zero");
        self.keep(block, size);
    }

    /// Gives the last block another size.
    pub(super) fn resize(&mut self, size: usize) {
        let Some(block) = self.held.pop() else { return };
        block.check();
        // SAFETY: ours, of that layout; the size is not zero.
        let resized = unsafe { self.heap.realloc(block.start.as_ptr(), block.layout, size) };
        if resized.is_null() {
            assert!(self.poor, "there is no memory, though there is enough");
            return self.held.push(block);
        }
        // SAFETY: the block has a byte.
        assert_eq!(unsafe { resized.read() }, block.stamp, "a block that moved has lost what was in it");
        self.keep(resized, size);
    }

    pub(super) fn free(&mut self, count: usize) {
        let rest = self.held.len().saturating_sub(count);
        self.held.drain(rest..).for_each(|block| free(self.heap, &block));
    }

    pub(super) fn free_all(&mut self) {
        self.free(usize::MAX);
    }

    /// All but each `step`th.
    pub(super) fn thin(&mut self, step: usize) {
        let heap = self.heap;
        let mut number = 0;
        self.held.retain(|block| {
            number += 1;
            number % step == 0 || {
                free(heap, block);
                false
            }
        });
    }
}

fn free(heap: &Heap, block: &Block) {
    block.check();
    // SAFETY: the caller's, of that layout.
    unsafe { heap.dealloc(block.start.as_ptr(), block.layout) };
}

fn layout(size: usize) -> Layout {
    Layout::from_size_align(size, 8).unwrap()
}

/// Something that a program asks of a heap.
type Call = (&'static str, fn(&mut Hands<'_>));

/// All of it.
const EVERYTHING: &[Call] = &[
    ("small blocks", |hands| {
        hands.alloc(20, 2048);
        hands.alloc(3, 16);
        hands.alloc(2, 320);
        hands.zeroed(700);
        hands.free_all();
    }),
    ("many blocks", |hands| {
        hands.alloc(140, 16);
        hands.free_all();
    }),
    ("runs", |hands| {
        hands.alloc(1, 3 * UNIT);
        hands.zeroed(2 * UNIT);
        hands.alloc(1, 16 * UNIT);
        hands.free_all();
    }),
    ("a run that grows and shrinks", |hands| {
        hands.alloc(1, 3 * UNIT);
        hands.resize(5 * UNIT);
        hands.resize(UNIT);
        hands.free_all();
    }),
    ("large blocks", |hands| {
        hands.alloc(1, 100 << 10);
        hands.resize(140 << 10);
        hands.zeroed(70 << 10);
        hands.free_all();
    }),
    ("a block that moves", |hands| {
        hands.alloc(1, 40);
        [400, 2000, 9000, 100_000, 300, 20].into_iter().for_each(|size| hands.resize(size));
        hands.free_all();
    }),
    ("trim", |hands| _ = hands.heap.trim()),
    ("a driver's step", |hands| _ = hands.heap.step_within(Bounds::NONE)),
    ("drain", |hands| _ = hands.heap.drain()),
    ("flush_thread", |hands| hands.heap.flush_thread()),
    ("small blocks of a thread without magazines", |hands| {
        hands.alloc(20, 2048);
        hands.free_all();
    }),
    ("drain_caches", |hands| _ = hands.heap.drain_caches()),
    ("stats", |hands| _ = hands.heap.stats()),
    ("small blocks of a drained heap", |hands| {
        hands.alloc(20, 2048);
        hands.free_all();
    }),
];

fn everything(hands: &mut Hands<'_>, actor: &Actor) {
    for (call, work) in EVERYTHING {
        actor.begin(call);
        work(hands);
    }
    actor.begin("the thread's end");
}

/// What became of one try.
pub(super) struct Played {
    /// Where the victim was stopped, unless it came to its end before.
    pub(super) stopped: Option<&'static Location<'static>>,
    /// Whether all victims were stopped.
    pub(super) all_stopped: bool,
    /// Of the first victim: steps, and those that it can be stopped at.
    pub(super) stops: u64,
    pub(super) steps: u64,
    /// Of one call of the others.
    pub(super) worst: (u64, &'static str),
}

/// What was wrong in it.
pub(super) struct Failure {
    /// Where the victims were stopped.
    victims: Vec<Option<&'static Location<'static>>>,
    what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in self.victims.iter().flatten() {
            writeln!(f, "  stopped before {place}")?;
        }
        write!(f, "  {}", self.what)
    }
}

/// A heap of its own for each try, and who works with it.
pub(super) struct World {
    lane: usize,
    heap: Heap,
    /// Steps that a call may take.
    bound: u64,
    poor: bool,
}

/// A thread of the world, and one that waits for its end: only then have its exit hooks run.
type Thread<'scope> = ScopedJoinHandle<'scope, ()>;

impl World {
    pub(super) fn new(lane: usize, path: &Path) -> Self {
        stage::open(lane);
        let heap = match path.caches {
            Caches::Thread => Heap::with_backend(Stage).per_thread(),
            Caches::Hybrid => Heap::with_backend(Stage).hybrid(),
            Caches::Cpu => Heap::with_backend(Stage).per_cpu(),
            Caches::Shared => Heap::with_backend(Stage).without_thread_caches(),
        };
        Self { lane, heap, bound: if path.poor { 64 * BOUND } else { BOUND }, poor: path.poor }
    }

    fn actor(&self) -> Actor {
        Actor::new(self.bound)
    }

    /// Starts a thread that does `work`, and tells when it has ended altogether.
    fn start<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        actor: &'env Actor,
        work: impl FnOnce(&mut Hands<'_>) + Send + 'scope,
    ) -> Thread<'scope> {
        let lane = self.lane;
        actor.reach(Phase::Begun);
        let thread = move || {
            stage::enter(lane);
            work(&mut Hands::new(&self.heap, self.poor));
        };
        scope.spawn(move || {
            let ended = scope.spawn(thread).join();
            actor.account();
            actor.reach(Phase::Ended);
            ended.expect("a thread of the world has failed");
        })
    }

    /// Someone whose path this is, and who stops before the `n`th step of it.
    fn victim<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        actor: &'env Actor,
        path: &'static Path,
        n: u64,
    ) -> Thread<'scope> {
        self.start(scope, actor, move |hands| {
            (path.prepare)(hands);
            actor.reach(Phase::Ready);
            actor.wait_until(Phase::Going);
            // SAFETY: the actor outlives the scope.
            unsafe { actor.count(n) };
            actor.begin("the path");
            (path.go)(hands);
            if !path.ends {
                actor.rest();
            }
            hands.free_all();
        })
    }

    /// Someone who does everything, and had magazines before if he was to `warm` up.
    fn other<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        actor: &'env Actor,
        warm: bool,
    ) -> Thread<'scope> {
        self.start(scope, actor, move |hands| {
            if warm {
                hands.alloc(64, 2048);
                hands.free_all();
            }
            actor.reach(Phase::Ready);
            actor.wait_until(Phase::Going);
            // SAFETY: the actor outlives the scope.
            unsafe { actor.count(0) };
            everything(hands, actor);
        })
    }

    /// Walks paths up to a step of each, and has others do everything while those who walk them are stopped there: one after the
    /// other, or `together`.
    pub(super) fn stopped_at(self, walks: &[(&'static Path, u64)], together: bool) -> Result<Played, Failure> {
        let victims: Vec<_> = walks.iter().map(|_| self.actor()).collect();
        let others = [self.actor(), self.actor()];
        let mut places = Vec::new();
        let played = thread::scope(|scope| {
            let mut threads = Vec::new();
            let played = self.play(scope, &mut threads, (&victims, walks), (&others, together), &mut places);
            // Nobody is held up any longer, whatever was seen.
            let begun: Vec<_> = victims.iter().chain(&others).filter(|actor| actor.has_begun()).collect();
            begun.iter().for_each(|actor| actor.reach(Phase::Released));
            let ended: Result<Vec<_>, _> = begun.iter().map(|actor| actor.watch(Phase::Ended)).collect();
            if let (Err(Stuck(what)), Err(Stuck(after))) = (&played, &ended) {
                std::eprintln!("{places:?}\n{what}\nand when all may go on:\n{after}");
                std::process::abort();
            }
            let whole = threads.into_iter().map(Thread::join).filter(Result::is_err).count() == 0;
            played.and(ended).and(if whole { Ok(()) } else { Err(Stuck("a thread has failed; see above".into())) })
        });
        let (stopped, all_stopped) = (places.iter().flatten().next().copied(), places.iter().all(Option::is_some));
        let whole = played.map_err(|Stuck(what)| what).and_then(|()| is_whole(self.heap));
        whole.map_err(|what| Failure { victims: places, what })?;
        let worst = others.iter().map(Actor::worst).max().unwrap_or_default();
        let [stops, steps] = [&victims[0].stops, &victims[0].steps].map(|count| count.load(Relaxed));
        Ok(Played { stopped, all_stopped, stops, steps, worst })
    }

    fn play<'scope, 'env>(
        &'env self,
        scope: &'scope Scope<'scope, 'env>,
        threads: &mut Vec<Thread<'scope>>,
        (victims, walks): (&'env [Actor], &[(&'static Path, u64)]),
        (others, together): (&'env [Actor; 2], bool),
        places: &mut Vec<Option<&'static Location<'static>>>,
    ) -> Result<(), Stuck> {
        let [keeper, another] = others;
        if !walks.iter().any(|(path, _)| path.fresh) {
            threads.push(self.other(scope, keeper, true));
            keeper.watch(Phase::Ready)?;
        }
        for (actor, (path, n)) in victims.iter().zip(walks) {
            threads.push(self.victim(scope, actor, path, *n));
            actor.watch(Phase::Ready)?;
        }
        walks.iter().for_each(|(path, _)| (path.between)(&self.heap));
        for actor in victims {
            actor.reach(Phase::Going);
            places.push((actor.watch(Phase::Ended)? == Phase::Stopped).then(|| actor.place()).flatten());
        }
        if !keeper.has_begun() {
            threads.push(self.other(scope, keeper, false));
        }
        keeper.reach(Phase::Going);
        if !together {
            keeper.watch(Phase::Ended)?;
        }
        threads.push(self.other(scope, another, false));
        another.reach(Phase::Going);
        another.watch(Phase::Ended)?;
        keeper.watch(Phase::Ended).map(drop)
    }
}

/// What an allocation got that only a stopped pass could have left nothing for.
pub(super) struct Left {
    /// Whether the pass was stopped, and not at its end before.
    pub(super) stopped: bool,
    pub(super) got: bool,
    pub(super) steps: u64,
}

/// At the hard limit, with eight chunks free and no more: stops a pass that brings them home before its `n`th step, and asks for one.
pub(super) fn beside_a_pass(lane: usize, n: u64) -> Left {
    stage::open(lane);
    let heap = Heap::with_backend(Stage).without_thread_caches();
    let (pass, alone) = (Actor::new(BOUND), Actor::new(BOUND));
    let mut hands = Hands::new(&heap, true);
    hands.alloc(60, UNIT / 2);
    let _ = heap.set_limits(Limits::NONE.hard(heap.committed()));
    hands.alloc(1000, UNIT / 2);
    hands.free(8);
    let left = thread::scope(|scope| {
        scope.spawn(|| {
            stage::enter(lane);
            // SAFETY: the actor outlives the scope.
            unsafe { pass.count(n) };
            let _ = heap.drain_caches();
            pass.rest();
            pass.reach(Phase::Ended);
        });
        let stopped = pass.watch(Phase::Ended).is_ok_and(|phase| phase == Phase::Stopped);
        // SAFETY: the actor outlives what this thread counts.
        unsafe { alone.count(0) };
        let held = hands.held.len();
        hands.alloc(1, UNIT / 2);
        alone.rest();
        pass.reach(Phase::Released);
        Left { stopped, got: hands.held.len() > held, steps: alone.steps.load(Relaxed) }
    });
    hands.alloc(1, UNIT / 2);
    assert!(!hands.held.is_empty(), "nothing is left after the pass");
    hands.free_all();
    assert_eq!(is_whole(heap), Ok(()));
    left
}

/// Everything is back where it came from.
fn is_whole(heap: Heap) -> Result<(), String> {
    let _ = heap.set_limits(Limits::NONE);
    let _ = heap.reclaim();
    let stats = heap.stats();
    let figures = (stats.in_use, stats.cached, stats.threads);
    if figures != (0, 0, 0) || stats.from_backend != stats.metadata {
        let taken: Vec<_> =
            stats.classes.iter().map(|class| (class.bytes, class.taken)).filter(|taken| taken.1 > 0).collect();
        let (held, records) = (stats.from_backend, stats.metadata);
        return Err(std::format!(
            "something is lost: in use, cached, threads {figures:?}; {held} bytes held, {records} of them records; chunks {taken:?}"
        ));
    }
    drop(heap);
    if Stage::is_empty() { Ok(()) } else { Err("the back-end lacks something".into()) }
}
