//! Which slab or segment an address belongs to: a radix tree over unit numbers.
//!
//! ```text
//!   (address - base) / UNIT  =  │ high bits │ middle bits │ low bits │
//!                                    │           │            │
//!            root ──▶ node ─────────[·]──▶ node ─[·]──▶ leaf ─[·]──▶ entry: u32, 0 = nobody's
//! ```
//!
//! As many levels as the back-end's addresses need: three for 48 bits and units of 64 KiB, one for a small arena. Nodes
//! are made when a segment is (which may fail), and stay until the heap goes; looking up and setting entries never fails.
//!
//! The tree is out of band on purpose: a header inside the segment would be one load less, but it would be metadata
//! beside the user's bytes, and reading it through a user's pointer is undefined behaviour under strict provenance.
//!
//! # Invariants
//! - An entry is written by the owner of its unit only. Whoever looks up an address holds a live block there, and got
//!   it, in some way that orders memory, from the thread that allocated it after writing the entry.

use crate::backend::Backend;
use crate::geometry::NODE_BITS;
use crate::stats::Counter;
use crate::supply::{METADATA, Supply};
use crate::sync::{Atomic, AtomicPtr, Ordering, Witness, const_fn};
use core::alloc::Layout;
use core::marker::PhantomData;
use core::ptr::{self, NonNull};

/// The map of one heap.
pub(crate) struct Map {
    root: AtomicPtr<u8>,
    bytes: Counter,
}

/// An address outside of what the back-end said it would hand out.
pub(crate) struct OutOfRange;

/// How the map of a heap on the back-end `B` is laid out.
struct Tree<B>(PhantomData<B>);

impl<B: Backend> Tree<B> {
    const KEY_BITS: u32 = B::ADDRESS_BITS.saturating_sub(B::UNIT.ilog2());
    const LEVELS: u32 = if Self::KEY_BITS == 0 { 1 } else { Self::KEY_BITS.div_ceil(NODE_BITS) };
    /// Bits of the key that one level decides.
    const STEP: u32 = Self::KEY_BITS.div_ceil(Self::LEVELS);

    fn key(backend: &B, address: usize) -> usize {
        address.wrapping_sub(backend.base()) / B::UNIT
    }

    /// The place in the node of `level` (0 = leaf) that decides `key`.
    fn place(key: usize, level: u32) -> usize {
        (key >> (level * Self::STEP)) & ((1 << Self::STEP) - 1)
    }

    /// Bytes of what a node of `level` has, but for the witness.
    fn bytes(level: u32) -> usize {
        (if level == 0 { size_of::<Atomic<u32>>() } else { size_of::<AtomicPtr<u8>>() }) << Self::STEP
    }

    fn layout(level: u32) -> Layout {
        let bytes = Self::bytes(level) + size_of::<Witness>();
        // SAFETY: at most 2^NODE_BITS small entries, and a cache line is a power of two.
        unsafe { Layout::from_size_align_unchecked(bytes, 64).pad_to_align() }
    }

    /// The witness behind the entries of a node.
    ///
    /// # Safety
    /// `node` is a node of `level`.
    unsafe fn witness<'a>(node: NonNull<u8>, level: u32) -> &'a Witness {
        // SAFETY: the layout has room for it there, and every entry's size is a multiple of its alignment.
        unsafe { &*Self::witness_place(node, level) }
    }

    fn witness_place(node: NonNull<u8>, level: u32) -> *mut Witness {
        node.as_ptr().wrapping_add(Self::bytes(level)).cast()
    }

    /// The slots of an inner node.
    ///
    /// # Safety
    /// `node` is a node of a level which is not the leaves'.
    unsafe fn slots<'a>(node: NonNull<u8>) -> &'a [AtomicPtr<u8>] {
        // SAFETY: an inner node is an array of 2^STEP slots, which lives as long as the map.
        unsafe { NonNull::slice_from_raw_parts(node.cast(), 1 << Self::STEP).as_ref() }
    }

    /// The entries of a leaf.
    ///
    /// # Safety
    /// `node` is a leaf.
    unsafe fn entries<'a>(node: NonNull<u8>) -> &'a [Atomic<u32>] {
        // SAFETY: a leaf is an array of 2^STEP entries, which lives as long as the map.
        unsafe { NonNull::slice_from_raw_parts(node.cast(), 1 << Self::STEP).as_ref() }
    }

    /// All zeros is a node of nothing already; a model's atomics have to be made.
    ///
    /// # Safety
    /// `node` is a block of zeros of the layout of `level`, known to the caller alone.
    unsafe fn make_entries(node: NonNull<u8>, level: u32) {
        if cfg!(not(all(test, loom))) {
            return;
        }
        for place in 0..1 << Self::STEP {
            if level == 0 {
                let entry = node.as_ptr().cast::<Atomic<u32>>().wrapping_add(place);
                // SAFETY: inside the block, by the layout; ours, by the caller's promise.
                unsafe { entry.write(Atomic::new(0)) };
            } else {
                let slot = node.as_ptr().cast::<AtomicPtr<u8>>().wrapping_add(place);
                // SAFETY: as above.
                unsafe { slot.write(AtomicPtr::new(ptr::null_mut())) };
            }
        }
        // SAFETY: as above.
        unsafe { Self::witness_place(node, level).write(Witness::new()) };
        // SAFETY: made just now.
        unsafe { Self::witness(node, level) }.touch();
    }
}

impl Map {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { root: AtomicPtr::new(ptr::null_mut()), bytes: Counter::new() }
        }
    }

    /// Bytes of nodes.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.get()
    }

    fn entry<B: Backend>(&self, key: usize) -> Option<&Atomic<u32>> {
        let mut slot = &self.root;
        for level in (0..Tree::<B>::LEVELS).rev() {
            // Acquire: the node's entries, made before the Release in `ensure`. For a live block the way the block took
            // to the caller orders that already; an address that is nobody's may meet a node in the making.
            let node = NonNull::new(slot.load(Ordering::Acquire))?;
            // SAFETY: a slot of this level holds a node of this level.
            unsafe { Tree::<B>::witness(node, level) }.look();
            let place = Tree::<B>::place(key, level);
            if level == 0 {
                // SAFETY: the lowest level is the leaves'.
                return unsafe { Tree::<B>::entries(node) }.get(place);
            }
            // SAFETY: this level is not the leaves'.
            slot = unsafe { Tree::<B>::slots(node) }.get(place)?;
        }
        None
    }

    /// What was set for the unit that `address` lies in; 0 when nothing was.
    pub(crate) fn get<B: Backend>(&self, backend: &B, address: usize) -> u32 {
        let key = Tree::<B>::key(backend, address);
        if key >> Tree::<B>::KEY_BITS != 0 {
            return 0;
        }
        // Relaxed: see the invariant.
        self.entry::<B>(key).map_or(0, |entry| entry.load(Ordering::Relaxed))
    }

    /// Sets the entries of `units` units from `start`, which the caller owns and [`cover`](Self::cover)s.
    pub(crate) fn set<B: Backend>(&self, backend: &B, start: NonNull<u8>, units: u32, value: u32) {
        let key = Tree::<B>::key(backend, start.addr().get());
        for unit in 0..units as usize {
            if let Some(entry) = self.entry::<B>(key + unit) {
                // Relaxed: see the invariant.
                entry.store(value, Ordering::Relaxed);
            }
        }
    }

    /// Makes the nodes for `units` units from `start`; `None` when memory for one is not to be had.
    pub(crate) fn cover<B: Backend>(
        &self,
        supply: Supply<'_, B>,
        start: NonNull<u8>,
        units: u32,
    ) -> Option<Result<(), OutOfRange>> {
        let first = Tree::<B>::key(supply.backend, start.addr().get());
        let last = first + (units as usize - 1);
        if last >> Tree::<B>::KEY_BITS != 0 {
            return Some(Err(OutOfRange));
        }
        let mut key = first;
        while key <= last {
            self.cover_one(supply, key)?;
            key = (key | ((1 << Tree::<B>::STEP) - 1)) + 1;
        }
        Some(Ok(()))
    }

    fn cover_one<B: Backend>(&self, supply: Supply<'_, B>, key: usize) -> Option<()> {
        let mut slot = &self.root;
        for level in (0..Tree::<B>::LEVELS).rev() {
            let node = self.ensure(supply, slot, level)?;
            // SAFETY: a slot of this level holds a node of this level.
            unsafe { Tree::<B>::witness(node, level) }.look();
            if level > 0 {
                // SAFETY: this level is not the leaves'.
                slot = unsafe { Tree::<B>::slots(node) }.get(Tree::<B>::place(key, level))?;
            }
        }
        Some(())
    }

    fn ensure<B: Backend>(&self, supply: Supply<'_, B>, slot: &AtomicPtr<u8>, level: u32) -> Option<NonNull<u8>> {
        // Acquire: the node's entries, made before the Release below.
        if let Some(node) = NonNull::new(slot.load(Ordering::Acquire)) {
            return Some(node);
        }
        let layout = Tree::<B>::layout(level);
        let node = supply.acquire_zeroed(METADATA, layout)?;
        // SAFETY: a fresh block of this level's layout, which nobody else knows.
        unsafe { Tree::<B>::make_entries(node, level) };
        // Release: the entries. Acquire on failure: as the load above.
        match slot.compare_exchange(ptr::null_mut(), node.as_ptr(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => {
                self.bytes.add(layout.size());
                Some(node)
            }
            Err(other) => {
                // SAFETY: acquired above with this layout, and never published.
                unsafe { supply.release(METADATA, node, layout) };
                NonNull::new(other)
            }
        }
    }

    /// Gives all nodes back.
    ///
    /// # Safety
    /// Nobody uses the map any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        // SAFETY: the caller's promise.
        unsafe { Self::release_below::<B>(supply, &self.root, Tree::<B>::LEVELS - 1) };
    }

    /// # Safety
    /// As [`release`](Self::release); `slot` holds a node of `level` or nothing.
    unsafe fn release_below<B: Backend>(supply: Supply<'_, B>, slot: &AtomicPtr<u8>, level: u32) {
        // Relaxed: the caller alone is left.
        let Some(node) = NonNull::new(slot.load(Ordering::Relaxed)) else {
            return;
        };
        if level > 0 {
            // SAFETY: this level is not the leaves'.
            for below in unsafe { Tree::<B>::slots(node) } {
                // SAFETY: the slots of an inner node hold nodes of the next level.
                unsafe { Self::release_below::<B>(supply, below, level - 1) };
            }
        }
        // SAFETY: acquired in `ensure` with the layout of this level; its nodes below are gone.
        unsafe { supply.release(METADATA, node, Tree::<B>::layout(level)) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::supply::Drawn;

    /// A back-end with the addresses of whichever half; nothing is drawn from it but records.
    struct Anywhere;

    // SAFETY: blocks are the system allocator's.
    unsafe impl Backend for Anywhere {
        fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
            // SAFETY: the size is not zero.
            NonNull::new(unsafe { std::alloc::alloc(layout) })
        }

        unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
            // SAFETY: the caller's promise.
            unsafe { std::alloc::dealloc(block.as_ptr(), layout) }
        }
    }

    /// User space, and the upper half, where kernels live.
    #[test]
    #[cfg(target_pointer_width = "64")]
    fn addresses_of_both_halves_have_entries() {
        let (map, drawn) = (Map::new(), Drawn::new());
        let supply = Supply { backend: &Anywhere, drawn: &drawn };
        let addresses =
            [0x1_0000, 0x7fff_ffff_0000, 0xffff_0000_0010_0000, 0xffff_8880_0010_0000, 0xffff_ffff_ffff_0000];
        for (value, address) in (1..).zip(addresses) {
            let start = NonNull::new(ptr::without_provenance_mut(address)).unwrap();
            assert!(matches!(map.cover(supply, start, 1), Some(Ok(()))), "{address:#x}");
            map.set(&Anywhere, start, 1, value);
        }
        for (value, address) in (1..).zip(addresses) {
            assert_eq!((map.get(&Anywhere, address), map.get(&Anywhere, address + 0xffff)), (value, value));
        }
        assert_eq!(map.get(&Anywhere, 0x100_0000_0000_0000), 0);
        // SAFETY: nobody uses the map any more.
        unsafe { map.release(supply) };
        assert_eq!(drawn.total(), 0);
    }

    #[test]
    #[cfg(target_pointer_width = "64")]
    fn what_lies_beyond_the_last_unit_is_out_of_range() {
        let (map, drawn) = (Map::new(), Drawn::new());
        let supply = Supply { backend: &Anywhere, drawn: &drawn };
        assert_eq!(map.bytes(), 0);
        let end = 1_usize << (Anywhere::ADDRESS_BITS - 1);
        let last = NonNull::new(ptr::without_provenance_mut(end - Anywhere::UNIT)).unwrap();
        assert!(matches!(map.cover(supply, last, 2), Some(Err(OutOfRange))));
        assert!(matches!(map.cover(supply, last, 1), Some(Ok(()))));
        assert_eq!((map.bytes(), drawn.total() > 0), (drawn.total(), true));
        // As many nodes again, for units of two leaves.
        let first = map.bytes();
        let nodes =
            |levels: core::ops::Range<u32>| levels.map(|level| Tree::<Anywhere>::layout(level).size()).sum::<usize>();
        let leaf = Anywhere::UNIT << Tree::<Anywhere>::STEP;
        let start = NonNull::new(ptr::without_provenance_mut(3 * leaf - Anywhere::UNIT)).unwrap();
        assert!(matches!(map.cover(supply, start, 2), Some(Ok(()))));
        assert_eq!((first, map.bytes() - first), (nodes(0..3), nodes(0..2) + nodes(0..1)));
        // SAFETY: nobody uses the map any more.
        unsafe { map.release(supply) };
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/map.rs"]
mod loom_tests;
