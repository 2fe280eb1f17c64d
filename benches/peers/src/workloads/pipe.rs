//! A bounded ring through which blocks go from one thread to another, and the waiting at its ends.
//!
//! ```text
//!   thread ──put──▶ Inlet ░░░░▓▓▓▓▓▓░░ Outlet ──get──▶ thread
//! ```

use crate::block::{Fixed, Written};
use core::hint::spin_loop;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::thread::yield_now;

/// What a pipe holds.
pub(super) const ROOM: usize = 1_024;
/// Looks at the ring before the CPU is offered to another thread.
const PATIENCE: u32 = 64;

/// What goes through it.
pub(super) trait Cargo: Send {
    /// Takes a block.
    fn load(number: u8) -> Self;

    /// Frees it.
    fn unload(self);
}

/// Nobody looks into it: what it costs is the allocator's.
pub(super) type Sealed = Fixed<64>;

impl Cargo for Sealed {
    #[inline(always)]
    fn load(_: u8) -> Self {
        Self::take()
    }

    #[inline(always)]
    fn unload(self) {}
}

/// Its first byte is written before, and read behind: the block's line goes from core to core.
pub(super) type Opened = Written<64>;

impl Cargo for Opened {
    #[inline(always)]
    fn load(number: u8) -> Self {
        Self::take(number)
    }

    #[inline(always)]
    fn unload(self) {
        self.read();
    }
}

/// Where blocks are put.
pub(super) struct Inlet<T>(Producer<T>);

/// Where they come out, the first one first.
pub(super) struct Outlet<T>(Consumer<T>);

/// An empty pipe.
pub(super) fn pipe<T>() -> (Inlet<T>, Outlet<T>) {
    let (producer, consumer) = RingBuffer::new(ROOM);
    (Inlet(producer), Outlet(consumer))
}

impl<T> Inlet<T> {
    /// Waits for room.
    #[inline(always)]
    pub(super) fn put(&mut self, mut block: T) {
        while let Err(PushError::Full(back)) = self.0.push(block) {
            block = back;
            wait_while(|| self.0.is_full());
        }
    }
}

impl<T> Outlet<T> {
    /// Waits for a block.
    #[inline(always)]
    pub(super) fn get(&mut self) -> T {
        loop {
            if let Ok(block) = self.0.pop() {
                return block;
            }
            wait_while(|| self.0.is_empty());
        }
    }

    /// Whether no block is left in it.
    #[cfg(test)]
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cold]
fn wait_while(not_yet: impl Fn() -> bool) {
    let mut looks = 0;
    while not_yet() {
        looks += 1;
        if looks % PATIENCE == 0 { yield_now() } else { spin_loop() }
    }
}

#[cfg(test)]
mod tests {
    use super::{Opened, ROOM, pipe};
    use std::thread;

    #[test]
    fn blocks_arrive_in_order_with_what_was_written_in_them() {
        let (mut inlet, mut outlet) = pipe();
        let numbers = || (0..4 * ROOM).map(|number| number as u8);
        thread::scope(|scope| {
            scope.spawn(|| numbers().for_each(|number| inlet.put(Opened::take(number))));
            numbers().for_each(|number| assert_eq!(outlet.get().read(), number));
        });
        assert!(outlet.is_empty());
    }
}
