//! What a thread of the process is busy with.

use crate::epoch::Epoch;
use crate::{COUNTED, PROCESS};
use bandolier_proving::{Block, Op, Script, Sizes, random_bytes};
use core::alloc::Layout;
use core::sync::atomic::Ordering::Relaxed;
use fastrand::Rng;
use std::collections::BTreeMap;
use std::sync::mpsc::sync_channel;
use std::thread;

/// A kind of load: a turn takes some milliseconds at most.
type Load = fn(&Epoch<'_>, &mut Rng);

const LOADS: [Load; 8] = [ops, ops, ops, vectors, collections, breath, births, pipe];

/// Works until the epoch is over.
pub(crate) fn run(epoch: &Epoch<'_>, seed: u64) {
    let mut dice = Rng::with_seed(seed);
    while !epoch.over.load(Relaxed) {
        let load = if epoch.beside { beside } else { LOADS[dice.usize(0..LOADS.len())] };
        load(epoch, &mut dice);
    }
}

/// Any operation on blocks that all threads share, reclaim and limits among them.
fn ops(epoch: &Epoch<'_>, dice: &mut Rng) {
    let bytes = random_bytes(dice.u64(..), 2_000);
    let mut bytes = arbitrary::Unstructured::new(&bytes);
    while let Ok((_, op)) = Op::decode(&mut bytes, Sizes::Mixed) {
        // Each stops all threads for an instant.
        let is_dear = matches!(op, Op::Trim(_) | Op::Drain(_) | Op::DrainCaches(_));
        if !is_dear || dice.u8(0..4) == 0 {
            epoch.oracle.apply(&PROCESS, op);
        }
    }
}

/// A whole case on a heap of its own.
fn beside(epoch: &Epoch<'_>, dice: &mut Rng) {
    let bytes = random_bytes(dice.u64(..), 8_000);
    let sizes = if dice.u8(0..8) == 0 { Sizes::Large } else { Sizes::Mixed };
    let lanes = 1 + dice.usize(0..2);
    if let Some(script) = Script::decode(&bytes, lanes, sizes) {
        let tally = script.run();
        epoch.threads.fetch_add(if lanes == 1 { 0 } else { 3 }, Relaxed);
        epoch.add(tally);
    }
}

/// Vectors that grow, some of them at a time.
fn vectors(_: &Epoch<'_>, dice: &mut Rng) {
    let mut vectors: [Vec<u64>; 4] = Default::default();
    let end = 1_u64 << dice.u32(4..18);
    for n in 0..end {
        vectors[dice.usize(0..4)].push(n);
    }
    let sum: u64 = vectors.iter().flatten().sum();
    assert_eq!(sum, end * (end - 1) / 2, "a vector has lost something");
    vectors.iter().for_each(|vector| assert!(vector.is_sorted()));
}

/// Strings and maps, as programs have them.
fn collections(_: &Epoch<'_>, dice: &mut Rng) {
    let mut map: BTreeMap<u32, (String, Box<[u8]>)> = BTreeMap::new();
    for _ in 0..dice.usize(10..3000) {
        let key = dice.u32(0..1000);
        if dice.u8(0..3) == 0 {
            map.remove(&key);
        } else {
            let bytes = vec![key as u8; dice.usize(0..600)].into_boxed_slice();
            map.insert(key, (format!("{key} of {}", bytes.len()), bytes));
        }
    }
    for (key, (name, bytes)) in &map {
        assert_eq!(*name, format!("{key} of {}", bytes.len()));
        assert!(bytes.iter().all(|&byte| byte == *key as u8));
    }
}

/// Much of one size, all of which goes again.
fn breath(_: &Epoch<'_>, dice: &mut Rng) {
    let most = 1 << dice.u32(5..14);
    let size = dice.usize(1..=most);
    let layout = Layout::from_size_align(size, 8).unwrap_or(Layout::new::<u64>());
    let count = dice.usize(1..=(12 << 20) / size.max(64));
    let stamp = dice.u64(..);
    // None at a hard limit that somebody has set.
    let mut blocks: Vec<_> =
        (0..count as u64).filter_map(|n| Block::new(&PROCESS, layout, false, stamp.wrapping_add(n << 20))).collect();
    if dice.bool() {
        dice.shuffle(&mut blocks);
    }
    blocks.into_iter().for_each(|block| block.free(&PROCESS));
}

/// Threads that live for a moment.
fn births(epoch: &Epoch<'_>, dice: &mut Rng) {
    let count = dice.usize(1..6);
    let children: Vec<_> = (0..count)
        .map(|_| {
            let mut dice = dice.fork();
            let oracle = epoch.oracle.clone();
            thread::spawn(move || {
                let bytes = random_bytes(dice.u64(..), 400);
                let mut bytes = arbitrary::Unstructured::new(&bytes);
                while let Ok((_, op)) = Op::decode(&mut bytes, Sizes::Mixed) {
                    oracle.apply(&PROCESS, op);
                }
                COUNTED.heap().committed()
            })
        })
        .collect();
    epoch.threads.fetch_add(count as u64, Relaxed);
    children.into_iter().for_each(|child| assert!(child.join().is_ok()));
}

/// A producer, and a consumer who frees.
fn pipe(epoch: &Epoch<'_>, dice: &mut Rng) {
    let (send, receive) = sync_channel::<Block>(dice.usize(1..300));
    let consumer = thread::spawn(move || receive.into_iter().for_each(|block| block.free(&PROCESS)));
    let stamp = dice.u64(..);
    let most = 1 << dice.u32(5..12);
    for n in 0..dice.u64(100..5000) {
        let layout = Layout::from_size_align(dice.usize(1..=most), 8).unwrap_or(Layout::new::<u64>());
        if let Some(block) = Block::new(&PROCESS, layout, n % 16 == 0, stamp.wrapping_add(n << 20)) {
            assert!(send.send(block).is_ok());
        }
    }
    drop(send);
    epoch.threads.fetch_add(1, Relaxed);
    assert!(consumer.join().is_ok());
}
