//! The heap of a microcontroller without 64-bit atomics: filled, given back, and used from an interrupt in the middle of it all.

#![no_std]
#![no_main]

extern crate alloc;

use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use bandolier::{Arena, Bandolier};
use core::alloc::{GlobalAlloc, Layout};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};

use cortex_m::peripheral::syst::SystClkSource;
use cortex_m_rt::{entry, exception};
use cortex_m_semihosting::{debug, hprintln};
use panic_semihosting as _;

static MEMORY: Arena<{ 256 << 10 }> = Arena::new();

#[global_allocator]
static HEAP: Bandolier<&Arena<{ 256 << 10 }>> = Bandolier::with_backend(&MEMORY);

static SMALL_MEMORY: Arena<{ 64 << 10 }> = Arena::new();
static SMALL: Bandolier<&Arena<{ 64 << 10 }>> = Bandolier::with_backend(&SMALL_MEMORY);

/// Interrupts to serve while the program works.
const INTERRUPTS: u32 = 40_000;

static SERVED: AtomicU32 = AtomicU32::new(0);
/// Of these: what the program had in its hands just then was all that there was.
static REFUSED: AtomicU32 = AtomicU32::new(0);
static AT_WORK: AtomicBool = AtomicBool::new(false);

/// A block that tells itself from all others, if there is memory for one.
fn stamped(seed: u32) -> Option<Vec<u32>> {
    let (mut block, words) = (Vec::new(), 1 + seed as usize % 60);
    block.try_reserve_exact(words).ok()?;
    block.resize(words, seed.wrapping_mul(0x9e37_79b9));
    Some(block)
}

fn check(seed: u32, block: &[u32]) {
    assert!(block.iter().all(|&word| word == seed.wrapping_mul(0x9e37_79b9)), "block {seed}");
}

/// Takes and frees in the middle of whatever the program does, and keeps some blocks from one time to the next.
#[exception]
fn SysTick() {
    static mut HELD: [Option<(u32, Vec<u32>)>; 20] = [const { None }; 20];
    let now = SERVED.fetch_add(1, Relaxed);
    let place = &mut HELD[now as usize % 20];
    if let Some((seed, block)) = place.take() {
        check(seed, &block);
    }
    if AT_WORK.load(Relaxed) {
        *place = stamped(now).map(|block| (now, block));
        REFUSED.fetch_add(place.is_none().into(), Relaxed);
    }
}

/// Fills a heap with blocks of one layout, frees them, and gives back what it can; how many there were.
fn filled<const N: usize>(heap: &Bandolier<&'static Arena<N>>, layout: Layout, held: &mut [*mut u8; 4096]) -> usize {
    let mut count = 0;
    while count < held.len() {
        // SAFETY: the size is not zero.
        held[count] = unsafe { heap.alloc(layout) };
        if held[count].is_null() {
            break;
        }
        // SAFETY: a fresh block of that many bytes.
        unsafe { held[count].write_bytes(count as u8, layout.size()) };
        count += 1;
    }
    for (number, &block) in held[..count].iter().enumerate() {
        // SAFETY: written above.
        assert_eq!(unsafe { block.add(layout.size() - 1).read() }, number as u8);
        // SAFETY: taken above with this layout.
        unsafe { heap.dealloc(block, layout) };
    }
    let _ = heap.reclaim();
    assert_eq!(heap.stats().in_use, 0);
    count
}

fn an_arena_is_filled_and_filled_again() {
    static mut HELD: [*mut u8; 4096] = [core::ptr::null_mut(); 4096];
    // SAFETY: this function alone uses it, and is called once.
    let held = unsafe { &mut *(&raw mut HELD) };
    for size in [16, 64, 256, 1024] {
        let layout = Layout::from_size_align(size, 8).unwrap();
        let first = filled(&SMALL, layout, held);
        assert!(first * size > 24 << 10, "{first} blocks of {size}");
        for _ in 0..3 {
            assert_eq!(filled(&SMALL, layout, held), first, "blocks of {size}");
        }
        hprintln!("64 KiB hold {} blocks of {} bytes, again and again", first, size);
    }
}

fn interrupts_allocate_too() {
    let mut map = BTreeMap::new();
    let mut seed = 1_u32 << 31;
    AT_WORK.store(true, Relaxed);
    while SERVED.load(Relaxed) < INTERRUPTS {
        seed += 1;
        map.insert(seed.wrapping_mul(0x85eb_ca6b), (seed, stamped(seed).expect("there is room")));
        if map.len() > 200 {
            let (_, (seed, block)) = map.pop_first().unwrap();
            check(seed, &block);
        }
        if seed % 1024 == 0 {
            let _ = HEAP.reclaim();
        }
    }
    AT_WORK.store(false, Relaxed);
    map.values().for_each(|(seed, block)| check(*seed, block));
    let refused = REFUSED.load(Relaxed);
    hprintln!("{} blocks beside {} interrupts, of which {} got none", seed - (1 << 31), SERVED.load(Relaxed), refused);
    assert!(refused < INTERRUPTS / 100);
}

#[entry]
fn main() -> ! {
    an_arena_is_filled_and_filled_again();
    let mut clock = cortex_m::Peripherals::take().unwrap().SYST;
    clock.set_clock_source(SystClkSource::Core);
    clock.set_reload(2_411);
    clock.clear_current();
    clock.enable_counter();
    clock.enable_interrupt();
    interrupts_allocate_too();
    // The handler lets go of what it holds, and then there is nothing left.
    while HEAP.stats().in_use > 0 {
        cortex_m::asm::wfi();
    }
    clock.disable_interrupt();
    let back = HEAP.reclaim();
    assert!(back.total() > 0);
    hprintln!("{} bytes went back; {} are in use", back.total(), HEAP.stats().in_use);
    debug::exit(debug::EXIT_SUCCESS);
    loop {}
}
