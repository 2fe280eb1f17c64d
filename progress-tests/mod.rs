//! Whether a thread that stops, anywhere, holds up the others: the claim "lock-free", tested.
//!
//! ```text
//!   victim    prepare ──▶ go: step 1, 2, … n  ■ stopped before the n-th ················ goes on ──▶ end
//!   keeper    warm up ·························· everything ──▶ end                                      │
//!   another                                                      everything ──▶ end                      ▼
//!                                                                          nothing is lost: all goes back to the back-end
//! ```
//!
//! Each slow path (`paths.rs`) is walked alone once for each of its atomic steps, in a heap of its own, and stopped before that
//! step for good, as far as the others can tell. Two others then do everything that a program can ask of a heap: the keeper, who had
//! magazines before, and one who comes and leaves. Each call may take so many steps of its own and no more, so that who waits for
//! the stopped one in whatever way is found, with the place where it waits. They come one after the other, so that a run is like the
//! last; with two victims, at pairs of steps that a seed chooses, both at once.
//!
//! A step is an atomic operation, a restartable sequence's one store, or the beginning or the end of a call to the back-end. Where
//! a path only looks at one place of the code again and again (as the scan of a table does), others see no difference after the
//! second look, and it is not stopped at the rest.
//!
//! `cargo xtask progress` builds this, with `--cfg steps`, and runs it.

mod paths;
mod stage;
pub(crate) mod steps;
mod world;

use paths::{PATHS, Path};
use std::collections::BTreeMap;
use std::string::String;
use std::sync::Mutex;
use std::vec::Vec;
use std::{format, println};
use world::{Failure, Played, World};

/// What was seen of one path.
#[derive(Default)]
struct Seen {
    stops: u64,
    steps: u64,
    worst: (u64, &'static str),
}

impl Seen {
    fn note(&mut self, played: &Played) {
        (self.stops, self.steps) = (self.stops.max(played.stops), self.steps.max(played.steps));
        self.worst = self.worst.max(played.worst);
    }
}

/// Works in each lane, on threads of their own.
fn in_lanes(work: impl Fn(usize, usize) + Sync) {
    let lanes = std::thread::available_parallelism().map_or(2, usize::from).min(stage::LANES);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes).map(|lane| scope.spawn({ let work = &work; move || work(lane, lanes) })).collect();
        threads.into_iter().for_each(|thread| thread.join().expect("a lane has failed"));
    });
}

/// What goes wrong, once for each path.
#[derive(Default)]
struct Failures(Mutex<BTreeMap<String, String>>);

impl Failures {
    fn note(&self, path: &str, failure: &Failure) {
        self.0.lock().unwrap().entry(path.into()).or_insert_with(|| format!("{path}: {failure}"));
    }

    fn has(&self, path: &str) -> bool {
        self.0.lock().unwrap().contains_key(path)
    }

    fn none(self) {
        let failures: Vec<_> = self.0.into_inner().unwrap().into_values().collect();
        assert!(failures.is_empty(), "{} paths hold others up, or lose something:\n\n{}", failures.len(), failures.join("\n\n"));
    }
}

/// One of a row of paths, which may be chosen by the environment: `STEPS_PATH`, a part of its name.
fn chosen() -> impl Iterator<Item = &'static Path> {
    let part = std::env::var("STEPS_PATH").unwrap_or_default();
    PATHS.iter().filter(move |path| path.name.contains(&part) && path.is_possible())
}

#[test]
fn a_thread_that_stops_anywhere_holds_up_nobody() {
    let (failures, seen) = (Failures::default(), Mutex::new(BTreeMap::<_, Seen>::new()));
    in_lanes(|lane, lanes| {
        for (number, path) in chosen().enumerate() {
            // Each lane takes its turn of the steps, until the path is over before it comes to the next.
            for n in (1 + lane..).step_by(lanes).map(|n| 1 + (n as u64 - 1) * path.every) {
                let played = World::new(lane, path).stopped_at(&[(path, n)], false);
                match &played {
                    Ok(played) => seen.lock().unwrap().entry(number).or_default().note(played),
                    Err(failure) => failures.note(path.name, failure),
                }
                if failures.has(path.name) || played.is_ok_and(|played| played.stopped.is_none()) {
                    break;
                }
            }
        }
    });
    println!("\n| path | stopped at | steps | most steps of another's call |\n|---|--:|--:|--:|");
    for (path, seen) in chosen().zip(seen.into_inner().unwrap().values()) {
        let (worst, call) = seen.worst;
        println!("| {} | {} | {} | {worst}, {call} |", path.name, seen.stops.div_ceil(path.every), seen.steps);
    }
    failures.none();
}
