//! Where a thread of the tests is, in steps, and where it stops.

use core::cell::Cell;
use core::panic::Location;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::backtrace::Backtrace;
use std::string::{String, ToString};
use std::sync::{Condvar, Mutex, MutexGuard};

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing that others see.
    Look,
    Change,
}

/// Steps that one call may take beside others that are stopped.
pub(super) const BOUND: u64 = 1_000_000;

/// How long somebody may be without a step. No test depends on it that passes.
const PATIENCE: Duration = Duration::from_secs(60);

/// How far a thread is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Phase {
    New,
    Begun,
    Ready,
    Going,
    Stopped,
    Released,
    Ended,
}

/// A thread whose steps are counted.
pub(super) struct Actor {
    /// Steps in all, and those at which it can be stopped.
    pub(super) steps: AtomicU64,
    pub(super) stops: AtomicU64,
    /// Before which of these it stops; none if zero.
    stop_at: AtomicU64,
    /// `steps` when the call began.
    since: AtomicU64,
    /// Steps that a call of it may take.
    bound: u64,
    /// Looks in a row at one place.
    looks: AtomicU64,
    last: AtomicPtr<Location<'static>>,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    phase: Phase,
    /// What it is asked to do, and the most steps that any of that took.
    doing: &'static str,
    worst: (u64, &'static str),
    /// Where it was when a call had taken more steps than it may.
    spins: Option<String>,
}

std::thread_local! {
    static ACTOR: Cell<*const Actor> = const { Cell::new(ptr::null()) };
}

/// The calling thread is about to make a step.
#[track_caller]
pub(crate) fn about_to(kind: Kind) {
    // SAFETY: null, or an actor that outlives its thread.
    if let Some(actor) = unsafe { ACTOR.get().as_ref() } {
        actor.about_to(kind, Location::caller());
    }
}

/// It waits for somebody for ever.
#[derive(Debug)]
pub(super) struct Stuck(pub(super) String);

impl Actor {
    pub(super) fn new(bound: u64) -> Self {
        let state = State { phase: Phase::New, doing: "", worst: (0, ""), spins: None };
        Self {
            steps: AtomicU64::new(0),
            stops: AtomicU64::new(0),
            stop_at: AtomicU64::new(0),
            since: AtomicU64::new(0),
            bound,
            looks: AtomicU64::new(0),
            last: AtomicPtr::new(ptr::null_mut()),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    // ---- the thread itself -------------------------------------------------------------------------------------------

    /// Counts the calling thread's steps from now on, to its very end, and stops it before the `stop_at`th.
    ///
    /// # Safety
    /// The actor outlives the thread.
    pub(super) unsafe fn count(&self, stop_at: u64) {
        self.stop_at.store(stop_at, Relaxed);
        ACTOR.set(self);
    }

    /// What the thread does next was not asked of it.
    pub(super) fn rest(&self) {
        self.account();
        ACTOR.set(ptr::null());
    }

    /// Begins a call.
    pub(super) fn begin(&self, call: &'static str) {
        self.account();
        self.state().doing = call;
    }

    /// Ends a call.
    pub(super) fn account(&self) {
        let steps = self.steps.load(Relaxed);
        let mut state = self.state();
        state.worst = state.worst.max((steps - self.since.swap(steps, Relaxed), state.doing));
    }

    /// Is so far, at least.
    pub(super) fn reach(&self, phase: Phase) {
        let mut state = self.state();
        state.phase = state.phase.max(phase);
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn wait_until(&self, phase: Phase) {
        let waits = |state: &mut State| state.phase < phase;
        drop(self.changed.wait_while(self.state(), waits).unwrap_or_else(std::sync::PoisonError::into_inner));
    }

    fn about_to(&self, kind: Kind, place: &'static Location<'static>) {
        let steps = self.steps.fetch_add(1, Relaxed);
        let again = kind == Kind::Look && ptr::eq(self.last.swap(ptr::from_ref(place).cast_mut(), Relaxed), place);
        let looks = if again { self.looks.fetch_add(1, Relaxed) + 1 } else { 0 };
        if looks == 0 {
            self.looks.store(0, Relaxed);
        }
        if looks < 2 && self.stops.fetch_add(1, Relaxed) + 1 == self.stop_at.load(Relaxed) {
            self.reach(Phase::Stopped);
            self.wait_until(Phase::Released);
        }
        if steps - self.since.load(Relaxed) == self.bound {
            let stack = of_ours(&Backtrace::force_capture().to_string());
            let mut state = self.state();
            state.spins = Some(std::format!(
                "\"{}\" does not end in {} steps; it is at {place}\n{stack}",
                state.doing,
                self.bound
            ));
            drop(state);
            self.changed.notify_all();
        }
    }

    // ---- who watches it ----------------------------------------------------------------------------------------------

    /// Where it is stopped, or was last.
    pub(super) fn place(&self) -> Option<&'static Location<'static>> {
        // SAFETY: null, or a place in the code.
        unsafe { self.last.load(Relaxed).as_ref() }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.state().phase > Phase::New
    }

    pub(super) fn worst(&self) -> (u64, &'static str) {
        self.state().worst
    }

    /// Waits until it has come so far, or is stopped; how far it is.
    pub(super) fn watch(&self, phase: Phase) -> Result<Phase, Stuck> {
        let waits = |state: &mut State| state.phase < phase && state.phase != Phase::Stopped && state.spins.is_none();
        loop {
            let steps = self.steps.load(Relaxed);
            let (mut state, late) = self.changed.wait_timeout_while(self.state(), PATIENCE, waits).unwrap();
            if let Some(spins) = state.spins.take() {
                return Err(Stuck(spins));
            }
            if late.timed_out() && steps == self.steps.load(Relaxed) {
                let place = self.place().map_or_else(String::new, ToString::to_string);
                return Err(Stuck(std::format!("\"{}\" is held up; its last step was at {place}", state.doing)));
            }
            if !late.timed_out() {
                return Ok(state.phase);
            }
        }
    }
}

/// The lines of a stack that are the library's.
fn of_ours(stack: &str) -> String {
    let names = stack.lines().filter(|line| line.contains("bandolier::") && !line.contains("::progress::"));
    names.map(|line| std::format!("      in {}\n", line.split_once(": ").map_or(line, |(_, name)| name))).collect()
}
