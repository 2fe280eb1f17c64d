//! A bounded ring through which blocks go from one thread to another, and the waiting at its ends.
//!
//! ```text
//!   thread ──put──▶ Inlet ░░░░▓▓▓▓▓▓░░ Outlet ──get──▶ thread
//! ```

use crate::block::Written;
use core::hint::spin_loop;
use rtrb::{Consumer, Producer, PushError, RingBuffer};
use std::thread::yield_now;

/// What a pipe holds.
pub(super) const ROOM: usize = 1_024;
/// Looks at the ring before the CPU is offered to another thread.
const PATIENCE: u32 = 64;

/// What goes through it: its first byte is written before, and read behind.
pub(super) type Block = Written<64>;

/// Where blocks are put.
pub(super) struct Inlet(Producer<Block>);

/// Where they come out, the first one first.
pub(super) struct Outlet(Consumer<Block>);

/// An empty pipe.
pub(super) fn pipe() -> (Inlet, Outlet) {
    let (producer, consumer) = RingBuffer::new(ROOM);
    (Inlet(producer), Outlet(consumer))
}

impl Inlet {
    /// Waits for room.
    #[inline(always)]
    pub(super) fn put(&mut self, mut block: Block) {
        while let Err(PushError::Full(back)) = self.0.push(block) {
            block = back;
            wait_while(|| self.0.is_full());
        }
    }
}

impl Outlet {
    /// Waits for a block.
    #[inline(always)]
    pub(super) fn get(&mut self) -> Block {
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
    use super::{Block, ROOM, pipe};
    use std::thread;

    #[test]
    fn blocks_arrive_in_order_with_what_was_written_in_them() {
        let (mut inlet, mut outlet) = pipe();
        let numbers = || (0..4 * ROOM).map(|number| number as u8);
        thread::scope(|scope| {
            scope.spawn(|| numbers().for_each(|number| inlet.put(Block::take(number))));
            numbers().for_each(|number| assert_eq!(outlet.get().read(), number));
        });
        assert!(outlet.is_empty());
    }
}
