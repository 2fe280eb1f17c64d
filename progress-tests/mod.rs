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

use crate::passes::TRIES;
use core::time::Duration;
use paths::{PATHS, Path};
use std::collections::BTreeMap;
use std::string::String;
use std::sync::Mutex;
use std::time::Instant;
use std::vec::Vec;
use std::{format, println};
use world::{Failure, Played, World};

/// What was seen of one path.
#[derive(Default)]
struct Seen {
    steps: u64,
    worst: (u64, &'static str),
    tries: u64,
    time: Duration,
}

impl Seen {
    fn note(&mut self, played: &Played, time: Duration) {
        (self.tries, self.time) = (self.tries + 1, self.time + time);
        if played.stopped.is_none() {
            self.steps = played.steps;
        }
        self.worst = self.worst.max(played.worst);
    }
}

/// Works in each lane, on threads of their own, while no other test does.
fn in_lanes(work: impl Fn(usize, usize) + Sync) {
    static LANES: Mutex<()> = Mutex::new(());
    let _lanes = LANES.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let lanes = std::thread::available_parallelism().map_or(2, usize::from).min(stage::LANES);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..lanes)
            .map(|lane| {
                scope.spawn({
                    let work = &work;
                    move || work(lane, lanes)
                })
            })
            .collect();
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
        assert!(
            failures.is_empty(),
            "{} paths hold others up, or lose something:\n\n{}",
            failures.len(),
            failures.join("\n\n")
        );
    }
}

/// A number that the environment may say.
fn told(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).ok().and_then(|number| number.parse().ok()).unwrap_or(otherwise)
}

/// Those paths that the environment chooses: `STEPS_PATH`, a part of their names.
fn chosen() -> impl Iterator<Item = &'static Path> {
    let part = std::env::var("STEPS_PATH").unwrap_or_default();
    PATHS.iter().filter(move |path| path.name.contains(&part) && path.is_possible())
}

#[test]
fn a_thread_that_stops_anywhere_holds_up_nobody() {
    let (failures, seen) = (Failures::default(), Mutex::new(BTreeMap::<_, Seen>::new()));
    // For who has less time: each so-manieth step only.
    let every = told("STEPS_EVERY", 1);
    in_lanes(|lane, lanes| {
        for (number, path) in chosen().enumerate() {
            // Each lane takes its turn of the steps, until the path is over before it comes to the next.
            for n in (1 + lane..).step_by(lanes).map(|n| 1 + (n as u64 - 1) * path.every * every) {
                let begun = Instant::now();
                let played = World::new(lane, path).stopped_at(&[(path, n)], false);
                match &played {
                    Ok(played) => seen.lock().unwrap().entry(number).or_default().note(played, begun.elapsed()),
                    Err(failure) => failures.note(path.name, failure),
                }
                if failures.has(path.name) || played.is_ok_and(|played| played.stopped.is_none()) {
                    break;
                }
            }
        }
    });
    println!(
        "\n| path | steps alone | stopped at | most steps of another's call | time of all |\n|---|--:|--:|--:|--:|"
    );
    for (path, seen) in chosen().zip(seen.into_inner().unwrap().values()) {
        let Seen { steps, tries, worst: (worst, call), time, .. } = seen;
        println!("| {} | {steps} | {tries} | {worst}, {call} | {} ms |", path.name, time.as_millis());
    }
    failures.none();
}

/// What a pass has in its hands is not there for others, who say so after a while; what it has not, they find.
#[test]
fn a_pass_that_stops_keeps_what_it_has_in_its_hands() {
    let all = Mutex::new(Vec::new());
    in_lanes(|lane, lanes| {
        for n in (1 + lane as u64..).step_by(lanes) {
            let left = world::beside_a_pass(lane, n);
            if !left.stopped {
                assert!(left.got, "there is no memory after a pass");
                break;
            }
            all.lock().unwrap().push(left);
        }
    });
    let all = all.into_inner().unwrap();
    let kept: Vec<_> = all.iter().filter(|left| !left.got).collect();
    let (worst, found) = [&kept, &all.iter().filter(|left| left.got).collect::<Vec<_>>()]
        .map(|which| which.iter().map(|left| left.steps).max().unwrap_or(0))
        .into();
    println!(
        "a pass stopped at {} steps kept the last chunks at {}; to say so took {worst} steps at most, to find one {found}",
        all.len(),
        kept.len()
    );
    assert!(!kept.is_empty() && kept.len() < all.len() / 4);
    assert!(worst > TRIES as u64);
}

/// What each path promises is written down.
#[test]
fn every_path_is_in_the_table_of_the_design() {
    let design = include_str!("../docs/DESIGN.md");
    let rows: Vec<_> = design.lines().filter(|line| line.starts_with("| ")).collect();
    let missing: Vec<_> = PATHS
        .iter()
        .filter(|path| !rows.iter().any(|row| row.contains(&format!("`{}`", path.name))))
        .map(|path| path.name)
        .collect();
    assert!(missing.is_empty(), "not in docs/DESIGN.md: {missing:?}");
}

/// Numbers from a seed: Vigna's splitmix64.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end
    }

    fn one_of<'a, T>(&mut self, all: &'a [T]) -> &'a T {
        &all[self.below(all.len() as u64) as usize]
    }
}

/// Pairs of steps that are tried.
const PAIRS: u64 = 2000;

/// The seed that chooses them.
const SEED: u64 = 1;

/// Two are stopped, and two others do everything at the same time.
#[test]
fn two_threads_that_stop_hold_up_nobody() {
    let (seed, pairs) = (told("STEPS_SEED", SEED), told("STEPS_PAIRS", PAIRS));
    println!("\npairs of stopped threads, STEPS_SEED={seed}");
    let failures = Failures::default();
    let paths: Vec<_> = chosen().filter(|path| !path.poor && !path.fresh).collect();
    // Steps of each path alone.
    let lengths = Mutex::new(std::vec![1; paths.len()]);
    in_lanes(|lane, lanes| {
        for (number, path) in paths.iter().enumerate().skip(lane).step_by(lanes) {
            match World::new(lane, path).stopped_at(&[(path, u64::MAX)], false) {
                Ok(alone) => lengths.lock().unwrap()[number] = alone.stops,
                Err(failure) => failures.note(path.name, &failure),
            }
        }
    });
    let lengths = lengths.into_inner().unwrap();
    let both = Mutex::new(0);
    in_lanes(|lane, lanes| {
        for pair in (lane as u64..pairs).step_by(lanes) {
            let mut random = Random(seed << 32 | pair);
            let first = random.below(paths.len() as u64) as usize;
            let alike: Vec<_> = (0..paths.len()).filter(|path| paths[*path].caches == paths[first].caches).collect();
            let walks = [first, *random.one_of(&alike)].map(|path| (paths[path], 1 + random.below(lengths[path])));
            match World::new(lane, walks[0].0).stopped_at(&walks, true) {
                Ok(played) => *both.lock().unwrap() += u64::from(played.all_stopped),
                Err(failure) => {
                    let steps = walks.map(|(path, n)| format!("{} at {n}", path.name)).join(" and ");
                    failures.note(&format!("pair {pair} of STEPS_SEED={seed}: {steps}"), &failure);
                }
            }
        }
    });
    println!("{pairs} pairs, in {} of which both were stopped", both.into_inner().unwrap());
    failures.none();
}
