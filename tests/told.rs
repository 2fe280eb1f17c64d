//! What valgrind and AddressSanitizer report of a program that misuses its blocks, once the heap tells them what is free.
//!
//! Each misuse is done by a process of its own, under the tool that `BANDOLIER_TOOL` names: `valgrind`, or `address` where this was
//! built with that sanitizer. `cargo xtask valgrind` and `cargo xtask asan` set it. Without it there is no tool to report anything,
//! and what is tested is that right use is none the wiser.

#![cfg(all(target_os = "linux", any(target_arch = "x86_64", target_arch = "aarch64"), not(miri)))]

mod common;

use bandolier::{Backend, Bandolier, Os};
use common::{Block, Dice, layout};
use core::alloc::{GlobalAlloc, Layout};
use core::hint::black_box;
use core::ptr::NonNull;
use std::alloc::System;
use std::process::{Command, Output};
use std::thread;

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

/// One in which nothing else lives, so that what lies behind a block is known.
static FRESH: Bandolier<Os> = Bandolier::with_backend(Os);

/// What a process does that is watched, and what it has done wrong as the tools put it.
struct Misuse {
    name: &'static str,
    go: fn(),
    valgrind: &'static str,
    address: Option<&'static str>,
}

fn taken(size: usize) -> *mut u8 {
    // SAFETY: no size here is zero.
    let block = unsafe { FRESH.alloc(layout(size, 8)) };
    assert!(!block.is_null());
    block
}

fn free(block: *mut u8, size: usize) {
    // SAFETY: for all that this call can see. Some misuse it.
    unsafe { FRESH.dealloc(block, layout(size, 8)) };
}

fn read(block: *mut u8, at: usize) -> u8 {
    // SAFETY: none. The page is mapped, or the process ends.
    unsafe { block.wrapping_add(at).read_volatile() }
}

fn write(block: *mut u8, at: usize) {
    // SAFETY: none, as above.
    unsafe { block.wrapping_add(at).write_volatile(7) };
}

fn freed(size: usize) -> *mut u8 {
    let block = taken(size);
    write(block, 0);
    free(block, size);
    block
}

const INVALID: Option<&str> = Some("AddressSanitizer: use-after-poison");

const MISUSES: &[Misuse] = &[
    Misuse {
        name: "a read after the free of a chunk",
        go: || _ = read(freed(100), 40),
        valgrind: "is 40 bytes inside a block of size 100 free'd",
        address: INVALID,
    },
    Misuse {
        name: "a write after the free of a chunk",
        go: || write(freed(30_000), 0),
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a write into what is left of the chunk",
        go: || write(taken(100), 100),
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a write into the next chunk, which is free",
        go: || write(taken(112), 112),
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a write behind what a block was cut to in its place",
        go: || {
            let block = taken(128);
            // SAFETY: live, of this layout.
            let cut = unsafe { FRESH.realloc(block, layout(128, 8), 115) };
            assert_eq!(cut, block);
            write(cut, 116);
        },
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a read after the free of a run",
        go: || _ = read(freed(100_000), 99_999),
        valgrind: "Invalid read of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a write behind a run",
        go: || write(taken(100_000), 100_000),
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a write behind what a run was cut to",
        go: || {
            let block = taken(200_000);
            // SAFETY: live, of this layout.
            let cut = unsafe { FRESH.realloc(block, layout(200_000, 8), 100_000) };
            assert_eq!(cut, block);
            write(cut, 150_000);
        },
        valgrind: "Invalid write of size 1",
        address: INVALID,
    },
    Misuse {
        name: "a read after the free of a large block",
        go: || _ = read(freed(5 << 20), 0),
        valgrind: "Invalid read of size 1",
        // Its pages are gone.
        address: Some("AddressSanitizer: SEGV"),
    },
    Misuse {
        name: "a second free",
        go: || free(freed(100), 100),
        valgrind: "Invalid free()",
        // A debug build ends itself.
        address: None,
    },
    Misuse {
        name: "a decision by what was never written",
        go: || {
            if read(taken(100), 0) == 3 {
                black_box(());
            }
        },
        valgrind: "depends on uninitialised value",
        address: None,
    },
    Misuse {
        name: "a decision by what the last owner wrote",
        go: || {
            let old = freed(100);
            let new = taken(100);
            assert_eq!(old, new);
            if read(new, 0) == 3 {
                black_box(());
            }
        },
        valgrind: "depends on uninitialised value",
        address: None,
    },
];

/// The system's allocator, behind one that writes into what comes back, as those do which keep lists of free blocks.
struct Listed;

// SAFETY: every block is one of `System`, which keeps the contract, and knows of no heap.
unsafe impl Backend for Listed {
    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        // SAFETY: no heap asks for nothing.
        NonNull::new(unsafe { System.alloc(layout) })
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let last = block.as_ptr().wrapping_add(layout.size() - 1);
        for place in [block.as_ptr(), last] {
            // SAFETY: of the block, which nothing uses any more, by the caller's promise.
            unsafe { place.write_volatile(1) };
        }
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(block.as_ptr(), layout) };
    }
}

/// What is given back to a back-end is the back-end's to write to.
fn gives_back() {
    let heap = Bandolier::with_backend(Listed).without_thread_caches();
    for size in [100, 100_000, 5 << 20] {
        Block::new(&heap, layout(size, 8), 1).unwrap().free(&heap);
        assert!(heap.reclaim().released > 0 || size > 4 << 20);
    }
}

/// Blocks of every kind, on several threads, read only where they were written.
fn right_use() {
    gives_back();
    let storm = |seed: u64| {
        let mut dice = Dice::new(seed);
        let mut held = Vec::new();
        for stamp in 0..300 {
            let make = if dice.below(3) == 0 { Block::zeroed } else { Block::new };
            held.push(make(&HEAP, dice.layout(6 << 20), seed << 32 | stamp).unwrap());
            let place = dice.below(held.len());
            match dice.below(4) {
                0 => held.swap_remove(place).free(&HEAP),
                1 => {
                    let block = held.swap_remove(place).resize(&HEAP, dice.size(6 << 20));
                    held.push(block.unwrap());
                }
                2 if stamp % 50 == 0 => _ = HEAP.reclaim(),
                _ => {}
            }
        }
        held.into_iter().for_each(|block| block.free(&HEAP));
    };
    let crowd: Vec<_> = (0..3).map(|seed| thread::spawn(move || storm(seed))).collect();
    crowd.into_iter().for_each(|thread| thread.join().unwrap());
    let (words, more): (Vec<String>, Vec<String>) = (0..500).map(|n| (n.to_string(), format!("{n:>50}"))).unzip();
    assert_eq!(words.concat().len() + more.concat().len(), 10 + 180 + 1200 + 500 * 50);
}

const RIGHT: &str = "right use";
/// What a child finds in its environment: which of them it is to do.
const ROLE: &str = "BANDOLIER_TOLD";

/// Does what is asked of a child process; in the parent, nothing.
#[test]
fn role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    match MISUSES.iter().find(|misuse| misuse.name == role) {
        Some(misuse) => (misuse.go)(),
        None if role == RIGHT => right_use(),
        None => panic!("there is no role {role}"),
    }
}

/// The tool that watches children, if there is one.
fn tool() -> Option<String> {
    std::env::var("BANDOLIER_TOOL").ok()
}

/// Runs this program again in a role, under the tool.
fn watched(role: &str) -> (Output, String) {
    let program = std::env::current_exe().unwrap();
    let mut command = match tool().as_deref() {
        Some("valgrind") => {
            let mut command = Command::new("valgrind");
            command.args(["--error-exitcode=99", "--num-callers=30"]).arg(program);
            command
        }
        Some("address") | None => Command::new(program),
        Some(other) => panic!("BANDOLIER_TOOL={other} is none that this knows"),
    };
    let output = command.args(["role", "--exact", "--nocapture", "--test-threads=1"]).env(ROLE, role).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output, said)
}

#[test]
fn every_misuse_is_reported() {
    let Some(tool) = tool() else { return };
    for misuse in MISUSES {
        let expected = if tool == "valgrind" { Some(misuse.valgrind) } else { misuse.address };
        let Some(expected) = expected else { continue };
        let (output, said) = watched(misuse.name);
        assert!(said.contains(expected), "{}: no `{expected}` in\n{said}", misuse.name);
        assert!(!output.status.success(), "{}: reported, but all went well\n{said}", misuse.name);
    }
}

#[test]
fn right_use_is_not_reported() {
    let (output, said) = watched(RIGHT);
    assert!(output.status.success(), "{}\n{said}", output.status);
    assert!(!said.contains("AddressSanitizer") && !said.contains("Invalid"), "{said}");
}
