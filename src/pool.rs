//! Immortal records, named by index.
//!
//! ```text
//!   block 0  ─▶ │ 1 │ 2 │ … │ F │              F records, about a page of them
//!   block 1  ─▶ │ F+1 │ …        │ 3F │        twice as many; and so on, each block twice the last
//!               └── fresh: how many of the block were handed out ──┘        free: a stack of those that came back
//!
//!   take()   free ─▶ Owned, or fresh+1 ─▶ Owned, after it is made
//!   give(i)  Owned ─▶ free
//!   trim()   free ─▶ Owned, all of them; a block that is Owned as a whole: fresh = LOCKED, purged, fresh = 0;
//!            the rest ─▶ free
//! ```
//!
//! # Invariants
//! - Blocks are never given back while the pool lives, and a link is only ever accessed atomically once it is made: an
//!   index once handed out can be looked up for ever, so a stale reader reads a stale link, or zero where the page was
//!   purged, and never freed memory. So it is with what else is atomic in a record.
//! - A record is made, or made anew, by whoever takes its index from `fresh`, before anybody else knows the index.

use crate::backend::Backend;
use crate::geometry::POOL_BLOCKS;
use crate::stats::Counter;
use crate::supply::{METADATA, Supply};
use crate::sync::{Atomic, AtomicPtr, CachePadded, Ordering, array, const_fn};
use crate::treiber::{Index, Links, Stack};
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// What a pool is made of. `Sync`, because a pool hands out references to whoever knows the index.
pub(crate) trait Record: Sync + Sized {
    /// How many the first block has: about a page of them. The others have twice as many each.
    const FIRST: u32 = {
        let first = FIRST_BYTES / size_of::<Self>();
        if first == 0 || cfg!(all(test, loom)) { 1 } else { first as u32 }
    };

    /// A record in its first state.
    fn new(index: Index) -> Self;

    /// Makes a record anew that has come back, and whose bytes are zero or what they were; all but its link.
    ///
    /// # Safety
    /// The record was made at some time, is the caller's, and nobody reads more of it than its link and other atomics.
    unsafe fn renew(record: NonNull<Self>, index: Index);

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
    blocks: [Block<T>; POOL_BLOCKS],
}

/// What takes and gives change.
struct Busy {
    free: Stack,
    taken: Counter,
}

/// Records that were acquired together.
struct Block<T> {
    memory: AtomicPtr<T>,
    /// How many of them, from the first, are handed out; or `LOCKED`.
    fresh: Atomic<u32>,
    /// How many of them, from the first, were made before they were last all handed out from the first again.
    made: Atomic<u32>,
}

/// More than a block has: nothing is handed out.
const LOCKED: u32 = u32::MAX;

/// Where a record is: the block, and the place in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Place {
    block: usize,
    offset: usize,
}

impl<T: Record> Pool<T> {
    /// How many records a block has.
    fn length(block: usize) -> u32 {
        T::FIRST << block
    }

    /// The name of the record at `offset` in a block.
    fn index(block: usize, offset: u32) -> Option<Index> {
        let before = T::FIRST.checked_mul((1_u32 << block) - 1)?;
        Index::new(before.checked_add(offset)?.checked_add(1)?)
    }

    fn place(index: Index) -> Place {
        let number = index.get() - 1;
        let block = (number / T::FIRST + 1).ilog2();
        let before = T::FIRST * ((1 << block) - 1);
        Place { block: block as usize, offset: (number - before) as usize }
    }

    fn layout(block: usize) -> Option<Layout> {
        let layout = Layout::array::<T>((T::FIRST as usize).checked_shl(block as u32)?).ok()?;
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
        let first = self.blocks[block].memory.load(Ordering::Relaxed);
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

    /// Hands out an index from the first block that has one.
    fn make<B: Backend>(&self, supply: Supply<'_, B>) -> Option<Index> {
        (0..POOL_BLOCKS).find_map(|block| {
            // Relaxed: the exchange checks it.
            let mut fresh = self.blocks[block].fresh.load(Ordering::Relaxed);
            while fresh < Self::length(block) {
                let Some(index) = Self::index(block, fresh) else { return Some(None) };
                if self.ensure(block, supply).is_none() {
                    return Some(None);
                }
                // Acquire: the block's last trim is over, by the Release that ended it.
                match self.blocks[block].fresh.compare_exchange_weak(
                    fresh,
                    fresh + 1,
                    Ordering::Acquire,
                    Ordering::Relaxed,
                ) {
                    Ok(_) => return Some(Some(self.write(index, fresh))),
                    Err(now) => fresh = now,
                }
            }
            None
        })?
    }

    /// Makes the record named `index`, `offset` into its block, which the caller has just taken from `fresh`.
    fn write(&self, index: Index, offset: u32) -> Index {
        let record = self.address(index);
        // Relaxed: written by a trim, which the exchange of `fresh` acquired.
        if offset < self.blocks[Self::place(index).block].made.load(Ordering::Relaxed) {
            // SAFETY: made before; ours, and all who knew it have given it back.
            unsafe { T::renew(record, index) };
        } else {
            // SAFETY: the block is there, and nobody else was ever given this index.
            unsafe { record.write(T::new(index)) };
        }
        index
    }

    /// Lends the pool its first block, before it is used: memory that lives as long as the pool.
    #[cfg_attr(any(not(feature = "std"), all(test, loom)), allow(dead_code, reason = "there are no thread caches"))]
    pub(crate) fn lend(&self, block: NonNull<T>) {
        // Relaxed: nobody else has the pool yet.
        self.blocks[0].memory.store(block.as_ptr(), Ordering::Relaxed);
    }

    /// Sees to it that the block is there.
    fn ensure<B: Backend>(&self, block: usize, supply: Supply<'_, B>) -> Option<()> {
        let slot = &self.blocks.get(block)?.memory;
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

    /// Gives the pages of blocks back of which no record is in use; the bytes of them.
    pub(crate) fn trim<B: Backend>(&self, supply: Supply<'_, B>) -> usize {
        let (mut chain, mut free) = (None, [0; POOL_BLOCKS]);
        while let Some(index) = self.busy.free.pop(self).0 {
            // Relaxed, here and below: the record is ours.
            self.get(index).next().store(chain.map_or(0, Index::get), Ordering::Relaxed);
            chain = Some(index);
            free[Self::place(index).block] += 1;
        }
        let locked: [bool; POOL_BLOCKS] =
            core::array::from_fn(|block| free[block] > 0 && self.lock(block, free[block]));
        while let Some(index) = chain {
            chain = Index::new(self.get(index).next().load(Ordering::Relaxed));
            if !locked[Self::place(index).block] {
                self.busy.free.push(self, index);
            }
        }
        let bytes = |block| self.purge(supply, block, free[block]);
        (0..POOL_BLOCKS).filter(|&block| locked[block]).map(bytes).sum()
    }

    /// Stops handing out records of a block, if `free` are all that ever were.
    fn lock(&self, block: usize, free: u32) -> bool {
        let fresh = &self.blocks[block].fresh;
        // Relaxed both: the records were acquired with the stack; this only keeps others from taking new ones.
        fresh.compare_exchange(free, LOCKED, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Purges a locked block, all of whose `made` records are the caller's, and hands it out from the first again.
    fn purge<B: Backend>(&self, supply: Supply<'_, B>, block: usize, made: u32) -> usize {
        let Block { memory, fresh, made: before } = &self.blocks[block];
        // Relaxed all: the block is ours; published by the Release below.
        let start = memory.load(Ordering::Relaxed).cast::<u8>();
        before.store(made.max(before.load(Ordering::Relaxed)), Ordering::Relaxed);
        let granule = supply.backend.granule();
        let front = start.addr().wrapping_neg() & (granule - 1);
        let used = made as usize * size_of::<T>();
        let whole = used.saturating_sub(front) & !(granule - 1);
        let purged = match NonNull::new(start.wrapping_add(front)) {
            // SAFETY: whole granules inside the block, of records that are ours; their links are atomic, and may be read
            // as zero.
            Some(first) if whole > 0 => unsafe { supply.backend.purge(first, whole) },
            _ => false,
        };
        // Release: what we and the last owners did with the records comes before their next making.
        fresh.store(0, Ordering::Release);
        if purged { whole } else { 0 }
    }

    /// Bytes of records that are owned or linked by somebody.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.busy.taken.get() * size_of::<T>()
    }

    /// Gives all memory back, but for the first block if it is `lent`.
    ///
    /// # Safety
    /// Nobody uses the pool or any of its records any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>, lent: bool) {
        for (block, slot) in self.blocks.iter().enumerate().skip(usize::from(lent)) {
            // Relaxed: the caller alone is left.
            let memory = slot.memory.load(Ordering::Relaxed);
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
                busy: CachePadded::new(Busy { free: Stack::new(), taken: Counter::new() }),
                blocks: array![
                    Block { memory: AtomicPtr::new(ptr::null_mut()), fresh: Atomic::new(0), made: Atomic::new(0) };
                    POOL_BLOCKS
                ],
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
    use crate::unit_support::{Bench, PAGE};
    use std::vec::Vec;

    struct Small(Atomic<u32>, #[expect(dead_code, reason = "gives it its size")] [u8; 1500]);

    impl Record for Small {
        fn new(_: Index) -> Self {
            Self(Atomic::new(0), [7; 1500])
        }
        unsafe fn renew(_: NonNull<Self>, _: Index) {}
        fn next(&self) -> &Atomic<u32> {
            &self.0
        }
    }

    /// Records of a block are made when they are taken first, and made anew after that.
    struct Marked(Atomic<u32>, core::cell::Cell<u8>, #[expect(dead_code, reason = "gives it its size")] [u8; 1500]);

    // SAFETY: one thread has it.
    unsafe impl Sync for Marked {}

    impl Record for Marked {
        fn new(_: Index) -> Self {
            Self(Atomic::new(0), core::cell::Cell::new(1), [7; 1500])
        }
        unsafe fn renew(record: NonNull<Self>, _: Index) {
            // SAFETY: the caller's.
            unsafe { record.as_ref() }.1.set(2);
        }
        fn next(&self) -> &Atomic<u32> {
            &self.0
        }
    }

    /// Whole granules inside the first `made` records of a block, as the naive search finds them.
    fn granules(pool: &Pool<Marked>, block: usize, made: usize, granule: usize) -> Vec<(usize, usize)> {
        let start = pool.blocks[block].memory.load(Ordering::Relaxed).addr();
        let end = start + made * size_of::<Marked>();
        let whole = (start.next_multiple_of(granule)..).step_by(granule).take_while(|at| at + granule <= end);
        let bytes = whole.count() * granule;
        if bytes > 0 { std::vec![(start.next_multiple_of(granule), bytes)] } else { Vec::new() }
    }

    #[test]
    fn blocks_that_are_free_as_a_whole_are_purged_and_used_again() {
        for granule in [PAGE, 2 * PAGE] {
            let (bench, pool) = (Bench::new(), Pool::<Marked>::new());
            bench.paper.set_granule(granule);
            let take = || pool.take(bench.supply()).unwrap();
            let taken: Vec<_> = (0..14).map(|_| take()).collect();
            assert!(taken.iter().all(|&index| pool.get(index).1.get() == 1));
            assert_eq!(pool.bytes_in_use(), 14 * size_of::<Marked>());
            taken[1..].iter().for_each(|&index| pool.give(index));
            // Of the first block one is in use.
            let mut expected = [granules(&pool, 1, 4, granule), granules(&pool, 2, 8, granule)].concat();
            expected.sort_unstable();
            let bytes = expected.iter().map(|(_, bytes)| bytes).sum::<usize>();
            assert_eq!((pool.trim(bench.supply()), bench.paper.purged()), (bytes, expected));
            assert_eq!(pool.bytes_in_use(), size_of::<Marked>());
            // The rest of the first block comes first, then the second anew; of the third fewer are made anew than were before.
            let again: Vec<_> = (0..6).map(|_| take()).collect();
            assert_eq!(again.iter().map(|index| index.get()).collect::<Vec<_>>(), [2, 3, 4, 5, 6, 7]);
            assert_eq!(again.iter().map(|&index| pool.get(index).1.get()).collect::<Vec<_>>(), [1, 2, 2, 2, 2, 2]);
            again.into_iter().for_each(|index| pool.give(index));
            bench.paper.refuse(true);
            assert_eq!(pool.trim(bench.supply()), 0);
            assert_eq!(bench.paper.purged(), granules(&pool, 1, 4, granule));
            let again: Vec<_> = (0..13).map(|_| take()).collect();
            assert!(again[1..].iter().all(|&index| pool.get(index).1.get() == 2));
            // SAFETY: nobody uses it any more.
            unsafe { pool.release(bench.supply(), false) };
        }
    }

    #[test]
    fn what_was_never_made_is_not_made_anew() {
        let (bench, pool) = (Bench::new(), Pool::<Marked>::new());
        let marks = |count| {
            let taken: Vec<_> = (0..count).map(|_| pool.take(bench.supply()).unwrap()).collect();
            let marks: Vec<_> = taken.iter().map(|&index| pool.get(index).1.get()).collect();
            taken.into_iter().for_each(|index| pool.give(index));
            let _ = pool.trim(bench.supply());
            marks
        };
        assert_eq!(marks(4), [1, 1, 1, 1]);
        assert_eq!(marks(3), [2, 2, 2]);
        assert_eq!(marks(6), [2, 2, 2, 2, 1, 1]);
        // SAFETY: nobody uses it any more.
        unsafe { pool.release(bench.supply(), false) };
    }

    #[test]
    fn places_follow_each_other_without_gap() {
        assert_eq!(Small::FIRST, 2);
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
