//! Many threads that used the allocator a little and then sleep: what their caches keep, and what is left of it when
//! they have ended.
//!
//! ```text
//!   [ start THREADS; each: 20 blocks written, freed ─▶ sleep ]  "asleep"  wake ─▶ join  "gone"
//!     wall and CPU time, per thread
//! ```

use super::Scenario;
use crate::block::hide;
use crate::clock::process_cpu;
use crate::crew::Cost;
use crate::dice::Dice;
use crate::trace::Trace;
use core::hint::black_box;
use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Builder, Scope, ScopedJoinHandle};
use std::time::Instant;

const STACK: usize = 64 << 10;
/// That a thread has before it sleeps.
const BLOCKS: usize = 20;
/// From 16 B to 8 KiB.
const DOUBLINGS: usize = 9;

/// So many threads.
pub(super) struct Caches<const THREADS: usize>;

/// Where threads sleep until all may go.
#[derive(Default)]
struct Gate {
    state: Mutex<State>,
    fell_asleep: Condvar,
    opened: Condvar,
}

#[derive(Default)]
struct State {
    asleep: usize,
    open: bool,
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sleep(&self) {
        let mut state = self.state();
        state.asleep += 1;
        self.fell_asleep.notify_one();
        drop(self.opened.wait_while(state, |state| !state.open));
    }

    fn wait_for(&self, sleepers: usize) {
        drop(self.fell_asleep.wait_while(self.state(), |state| state.asleep < sleepers));
    }

    fn open(&self) {
        self.state().open = true;
        self.opened.notify_all();
    }
}

fn use_blocks(thread: usize) {
    let mut dice = Dice::of(thread);
    let blocks: [Vec<u8>; BLOCKS] = core::array::from_fn(|_| vec![1; hide(dice.any_size(DOUBLINGS))]);
    black_box(blocks);
}

/// Starts as many as it can; when that is fewer, with the reason.
fn start<'scope>(
    scope: &'scope Scope<'scope, '_>,
    gate: &'scope Gate,
    threads: usize,
) -> (Vec<ScopedJoinHandle<'scope, ()>>, io::Result<()>) {
    let mut started = Vec::with_capacity(threads);
    let result = (0..threads).try_for_each(|number| {
        let work = move || {
            use_blocks(number);
            gate.sleep();
        };
        started.push(Builder::new().stack_size(STACK).spawn_scoped(scope, work)?);
        Ok(())
    });
    (started, result)
}

impl<const THREADS: usize> Scenario for Caches<THREADS> {
    fn run(_threads: usize, trace: &mut Trace) -> Cost {
        let gate = Gate::default();
        let (began, cpu) = (Instant::now(), process_cpu());
        let (cost, result) = thread::scope(|scope| {
            let (sleepers, result) = start(scope, &gate, THREADS);
            gate.wait_for(sleepers.len());
            let pairs = THREADS as u64;
            let cost = Cost { cpu: process_cpu() - cpu, wall: began.elapsed(), each: pairs, pairs };
            trace.mark("asleep");
            gate.open();
            sleepers.into_iter().for_each(|one| one.join().expect("a sleeper does not panic"));
            (cost, result)
        });
        trace.mark("gone");
        result.unwrap_or_else(|error| panic!("the system does not start {THREADS} threads: {error}"));
        cost
    }
}

#[cfg(test)]
mod tests {
    use super::Caches;
    use crate::trace::Trace;
    use crate::workloads::Scenario;

    #[test]
    fn both_phases_are_marked() {
        let mut trace = Trace::default();
        assert_eq!(Caches::<10>::run(1, &mut trace).pairs, 10);
        let names: Vec<_> = trace.points.iter().map(|point| point.name.as_str()).collect();
        assert_eq!(names, ["asleep", "gone"]);
    }
}
