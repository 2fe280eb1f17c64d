//! Immortal records, named by index.
//!
//! ```text
//!   chunks[0]  ─▶ │ 1 │ 2 │ … │ F │              F records, about a page of them
//!   chunks[1]  ─▶ │ F+1 │ …        │ 3F │        twice as many; and so on, each block twice the last
//!   fresh = how many indices were ever handed out;  free = a stack of those that came back
//!
//!   take()   free ─▶ Owned, or fresh+1 ─▶ Owned and made for the first time
//!   give(i)  Owned ─▶ free
//! ```
//!
//! # Invariants
//! - Blocks are never given back while the pool lives: an index once handed out can be looked up for ever, so a stale
//!   reader reads a stale record and never freed memory.
//! - A record is made by whoever first takes its index, before anybody else knows the index.

use crate::backend::Backend;
use crate::geometry::POOL_BLOCKS;
use crate::stats::Counter;
use crate::supply::{METADATA, Supply};
use crate::sync::{Atomic, AtomicPtr, CachePadded, Ordering, array, const_fn};
use crate::treiber::{Index, Links, Stack};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// What a pool is made of. `Sync`, because a pool hands out references to whoever knows the index.
pub(crate) trait Record: Sync {
    /// A record in its first state.
    fn new(index: Index) -> Self;

    /// The link by which stacks chain it.
    fn next(&self) -> &Atomic<u32>;
}

/// Bytes that the first block has about.
const FIRST_BYTES: usize = 4096;
/// Blocks begin at cache lines at least.
const LINE: usize = 64;

/// Records of one type.
pub(crate) struct Pool<T> {
    /// Apart, since every trade writes to them, and every look-up of a record reads the rest.
    busy: CachePadded<Busy>,
    blocks: [AtomicPtr<T>; POOL_BLOCKS],
}

/// What takes and gives change.
struct Busy {
    fresh: Atomic<u32>,
    free: Stack,
    taken: Counter,
}

/// Where a record is: the block, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    block: usize,
    offset: usize,
}

impl<T: Record> Pool<T> {
    const FIRST: u32 = {
        let first = FIRST_BYTES / size_of::<T>();
        if first == 0 || cfg!(all(test, loom)) { 1 } else { first as u32 }
    };

    fn place(index: Index) -> Place {
        let number = index.get() - 1;
        let block = (number / Self::FIRST + 1).ilog2();
        let before = Self::FIRST * ((1 << block) - 1);
        Place { block: block as usize, offset: (number - before) as usize }
    }

    fn layout(block: usize) -> Option<Layout> {
        let layout = Layout::array::<T>((Self::FIRST as usize).checked_shl(block as u32)?).ok()?;
        Some(layout.align_to(LINE).ok()?.pad_to_align())
    }

    /// The record named `index`, which was handed out at some time.
    #[inline]
    pub(crate) fn get(&self, index: Index) -> &T {
        // SAFETY: blocks live as long as the pool, and a record is made before its index is known to others.
        unsafe { self.address(index).as_ref() }
    }

    /// As [`get`](Self::get), with the whole record's provenance.
    #[inline]
    pub(crate) fn address(&self, index: Index) -> NonNull<T> {
        let Place { block, offset } = Self::place(index);
        // Relaxed: the block was installed, or seen with Acquire, by whoever took `index` first, and the index came
        // from there to here through Release and Acquire.
        let first = self.blocks[block].load(Ordering::Relaxed);
        // SAFETY: not null by the above.
        let first = unsafe { NonNull::new_unchecked(first) };
        // SAFETY: `offset` is below the block's length.
        unsafe { first.add(offset) }
    }

    /// A record for the caller to own; `None` when memory for more is not to be had.
    pub(crate) fn take<B: Backend>(&self, supply: Supply<'_, B>) -> Option<Index> {
        let index = match self.busy.free.pop(self).0 {
            Some(index) => index,
            None => self.make(supply)?,
        };
        self.busy.taken.add(1);
        Some(index)
    }

    /// Takes a record back from its owner.
    pub(crate) fn give(&self, index: Index) {
        self.busy.taken.sub(1);
        self.busy.free.push(self, index);
    }

    /// Hands out an index for the first time.
    fn make<B: Backend>(&self, supply: Supply<'_, B>) -> Option<Index> {
        // Relaxed: the exchange checks it, and the block is looked at by itself.
        let mut fresh = self.busy.fresh.load(Ordering::Relaxed);
        loop {
            let index = Index::new(fresh.checked_add(1)?)?;
            self.ensure(Self::place(index).block, supply)?;
            // Relaxed both: the index alone is taken; its record travels by the protocol of whoever takes it.
            match self.busy.fresh.compare_exchange_weak(fresh, index.get(), Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => {
                    // SAFETY: the block is there, and nobody else was given this index or ever will be before us.
                    unsafe { self.address(index).write(T::new(index)) };
                    return Some(index);
                }
                Err(now) => fresh = now,
            }
        }
    }

    /// Sees to it that the block is there.
    fn ensure<B: Backend>(&self, block: usize, supply: Supply<'_, B>) -> Option<()> {
        let slot = self.blocks.get(block)?;
        // Acquire: who installed the block did so with Release after acquiring it from the back-end.
        if !slot.load(Ordering::Acquire).is_null() {
            return Some(());
        }
        let layout = Self::layout(block)?;
        let memory = supply.acquire(METADATA, layout)?;
        // Release: the memory is ours to hand on. Acquire on failure: as the load above.
        let installed =
            slot.compare_exchange(ptr::null_mut(), memory.cast().as_ptr(), Ordering::Release, Ordering::Acquire);
        if installed.is_err() {
            // SAFETY: acquired above with this layout; another thread's block was installed in its place.
            unsafe { supply.release(METADATA, memory, layout) };
        }
        Some(())
    }

    /// Bytes of records that are owned or linked by somebody.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.busy.taken.get() * size_of::<T>()
    }

    /// Gives all memory back.
    ///
    /// # Safety
    /// Nobody uses the pool or any of its records any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        for (block, slot) in self.blocks.iter().enumerate() {
            // Relaxed: the caller alone is left.
            let memory = slot.load(Ordering::Relaxed);
            if let (Some(memory), Some(layout)) = (NonNull::new(memory), Self::layout(block)) {
                // SAFETY: acquired in `ensure` with this layout; unused, by the caller's promise.
                unsafe { supply.release(METADATA, memory.cast(), layout) };
            }
        }
    }
}

impl<T> Pool<T> {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                busy: CachePadded::new(Busy {
                    fresh: Atomic::new(0),
                    free: Stack::new(),
                    taken: Counter::new(),
                }),
                blocks: array![AtomicPtr::new(ptr::null_mut()); POOL_BLOCKS],
            }
        }
    }
}

impl<T: Record> Links for Pool<T> {
    fn next(&self, index: Index) -> &Atomic<u32> {
        self.get(index).next()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    struct Small(Atomic<u32>, #[expect(dead_code, reason = "gives it its size")] [u8; 1500]);

    impl Record for Small {
        fn new(_: Index) -> Self {
            Self(Atomic::new(0), [7; 1500])
        }
        fn next(&self) -> &Atomic<u32> {
            &self.0
        }
    }

    #[test]
    fn places_follow_each_other_without_gap() {
        assert_eq!(Pool::<Small>::FIRST, 2);
        let mut expected = Place { block: 0, offset: 0 };
        for number in 1..10_000 {
            let place = Pool::<Small>::place(Index::new(number).unwrap());
            assert_eq!(place, expected);
            expected.offset += 1;
            if expected.offset == 2 << expected.block {
                expected = Place { block: expected.block + 1, offset: 0 };
            }
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/pool.rs"]
mod loom_tests;
