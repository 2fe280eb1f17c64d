//! Blocks that the back-end serves itself.
//!
//! ```text
//!   plain      │ block │                                 as the back-end gave it
//!   hardened   │ … guard │ block, in whole units │ guard │   entered in a ledger, which the map points to; without guards where
//!                                                          the back-end has none
//! ```
//!
//! # Invariants
//! - Of a hardened heap, each block begins at a unit of its own, whose owner in the map is the block's entry.

use super::Arsenal;
use super::owner::Owner;
use crate::backend::Backend;
use crate::geometry::{HARDENED, WIPED};
use crate::pool::Record;
use crate::segment::guards;
use crate::supply::{LARGE, Supply};
use crate::sync::{Atomic, Ordering};
use crate::treiber::Index;
use crate::wipe::wipe;
use core::alloc::Layout;
use core::ptr::NonNull;

/// What a hardened heap knows of a block.
pub(super) struct Entry {
    next: Atomic<u32>,
    /// 0: it has been freed.
    size: Atomic<usize>,
    align: Atomic<usize>,
}

impl Record for Entry {
    fn new(_: Index) -> Self {
        Self { next: Atomic::new(0), size: Atomic::new(0), align: Atomic::new(0) }
    }

    unsafe fn renew(_: NonNull<Self>, _: Index) {
        // `enter` writes all of it.
    }

    fn next(&self) -> &Atomic<u32> {
        &self.next
    }
}

/// What is asked of the back-end for a block.
#[derive(Clone, Copy)]
pub(crate) struct Outer {
    pub(crate) layout: Layout,
    /// Bytes before the block.
    lead: usize,
}

impl Outer {
    /// `None` when there can be no such block.
    pub(crate) fn of<B: Backend>(layout: Layout) -> Option<Self> {
        let size = layout.size().max(1);
        if !HARDENED {
            return Some(Self { layout: Layout::from_size_align(size, layout.align()).ok()?, lead: 0 });
        }
        let align = layout.align().max(B::UNIT);
        if guards::<B>() == 0 {
            return Some(Self { layout: Layout::from_size_align(size, align).ok()?, lead: 0 });
        }
        let whole = size.checked_next_multiple_of(B::UNIT)?.checked_add(align)?.checked_add(B::UNIT)?;
        Some(Self { layout: Layout::from_size_align(whole, align).ok()?, lead: align })
    }
}

impl Arsenal {
    /// A block of the back-end's, which `acquire` gets.
    pub(crate) fn take_large<'a, B: Backend>(
        &'a self,
        backend: &'a B,
        layout: Layout,
        acquire: impl FnOnce(Supply<'a, B>, Layout) -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        let (supply, outer) = (self.supply(backend), Outer::of::<B>(layout)?);
        let place = acquire(supply, outer.layout)?;
        if !HARDENED {
            return Some(place);
        }
        // SAFETY: the lead is less than was asked for.
        let block = unsafe { place.add(outer.lead) };
        if self.enter(backend, block, layout).is_none() {
            // SAFETY: acquired just now with this layout.
            unsafe { supply.release(LARGE, place, outer.layout) };
            return None;
        }
        if guards::<B>() > 0 {
            // The lead is one unit at least.
            Self::guard_at(backend, place, outer.lead - B::UNIT);
            Self::guard_at(backend, place, outer.layout.size() - B::UNIT);
            Self::clear_brink::<B>(block, layout.size());
        }
        Some(block)
    }

    /// Takes it back.
    ///
    /// # Safety
    /// It was taken with this layout, and nothing uses it any more. (Where it was not, a hardened heap aborts.)
    pub(crate) unsafe fn give_large<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) {
        let Some(outer) = Outer::of::<B>(layout) else { return };
        if HARDENED {
            self.strike(backend, block, layout);
            if WIPED && !B::PURGES {
                // SAFETY: the block was the program's until now. Whoever gets the memory next is not to read it.
                unsafe { wipe(block, layout.size()) };
            }
        }
        // SAFETY: the lead lies before it.
        let place = unsafe { block.sub(outer.lead) };
        // SAFETY: acquired with this layout; unused, by the caller's promise.
        unsafe { self.supply(backend).release(LARGE, place, outer.layout) };
    }

    /// Makes a block of a hardened heap smaller, in its place; whether it could. (Guards are not moved along, so none grows.)
    ///
    /// # Safety
    /// As for [`give_large`](Self::give_large); when it could, the block has the layout `new`.
    pub(crate) unsafe fn shrink_large<B: Backend>(
        &self,
        backend: &B,
        block: NonNull<u8>,
        old: Layout,
        new: Layout,
    ) -> bool {
        let (Some(from), Some(to)) = (Outer::of::<B>(old), Outer::of::<B>(new)) else { return false };
        if guards::<B>() == 0 || new.size() > old.size() || from.lead != to.lead {
            return false;
        }
        let index = self.entry(backend, block, old);
        self.check_large(backend, block, old);
        self.check_brink(backend, block, old.size(), old.align());
        // SAFETY: the lead lies before it.
        let place = unsafe { block.sub(to.lead) };
        if from.layout != to.layout {
            // SAFETY: acquired with this layout; the guard behind it is nothing that has to be kept.
            match unsafe { self.supply(backend).remap(LARGE, place, from.layout, to.layout) } {
                None => return false,
                Some(moved) if moved != place => {
                    self.breach("the back-end moved a block that shrank", moved, new.size(), new.align(), None)
                }
                Some(_) => {}
            }
            Self::guard_at(backend, place, to.layout.size() - B::UNIT);
        }
        Self::clear_brink::<B>(block, new.size());
        // Relaxed: as in `enter`.
        self.larges.get(index).size.store(new.size().max(1), Ordering::Relaxed);
        true
    }

    /// Guards the unit that is so many bytes inside of what was asked for a block, and no part of the block.
    fn guard_at<B: Backend>(backend: &B, place: NonNull<u8>, offset: usize) {
        // SAFETY: inside, by the caller's word.
        let unit = unsafe { place.add(offset) };
        // SAFETY: a unit of ours that nobody uses. It fails where the system has no more guards.
        let _ = unsafe { backend.guard(unit, B::UNIT) };
    }

    fn enter<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) -> Option<()> {
        let supply = self.supply(backend);
        self.map.cover(supply, block, 1)?.ok()?;
        let index = self.larges.take(supply)?;
        let entry = self.larges.get(index);
        // Relaxed both: whoever has the block got it in some way that orders memory.
        entry.align.store(layout.align(), Ordering::Relaxed);
        entry.size.store(layout.size().max(1), Ordering::Relaxed);
        self.map.set(backend, block, 1, Owner::Large(index).to_bits());
        Some(())
    }

    /// The entry of a block; aborts if there is no such block.
    fn entry<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) -> Index {
        let (size, align) = (layout.size(), layout.align());
        let index = match self.owner(backend, block) {
            Owner::Large(index) if block.addr().get() % B::UNIT == 0 => index,
            Owner::Slab(id) => self.breach("free with a layout that is not the block's", block, size, align, Some(id)),
            _ => self.breach("free of an address that is no block", block, size, align, None),
        };
        // Relaxed: as in `enter`.
        if self.larges.get(index).align.load(Ordering::Relaxed) != align {
            self.breach("free with a layout that is not the block's", block, size, align, None);
        }
        index
    }

    /// Strikes a block out, which is freed.
    fn strike<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) {
        let (size, align) = (layout.size().max(1), layout.align());
        let index = self.entry(backend, block, layout);
        // Relaxed both: as in `enter`; of two that free it, one gets the size.
        match self.larges.get(index).size.compare_exchange(size, 0, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => {}
            Err(0) => self.breach("double free", block, size, align, None),
            Err(_) => self.breach("free with a layout that is not the block's", block, size, align, None),
        }
        if guards::<B>() > 0 {
            self.check_brink(backend, block, layout.size(), align);
        }
        self.map.set(backend, block, 1, Owner::Nobody.to_bits());
        self.larges.give(index);
    }

    /// Aborts unless a block of that layout is in use.
    pub(super) fn check_large<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) {
        let index = self.entry(backend, block, layout);
        // Relaxed: as in `enter`.
        if self.larges.get(index).size.load(Ordering::Relaxed) != layout.size().max(1) {
            self.breach("realloc with a layout that is not the block's", block, layout.size(), layout.align(), None);
        }
    }
}
