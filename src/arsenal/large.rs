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
    /// Where it is; 0: it has been freed.
    place: Atomic<usize>,
    size: Atomic<usize>,
    align: Atomic<usize>,
    /// Whether there is a guard before it.
    before: Atomic<bool>,
    /// And behind it.
    behind: Atomic<bool>,
}

impl Record for Entry {
    fn new(_: Index) -> Self {
        Self {
            next: Atomic::new(0),
            place: Atomic::new(0),
            size: Atomic::new(0),
            align: Atomic::new(0),
            before: Atomic::new(false),
            behind: Atomic::new(false),
        }
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

    /// The unit before a block of which this was asked for, where there are guards.
    fn before<B: Backend>(self, place: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: inside, since the lead is a unit at least.
        unsafe { place.add(self.lead - B::UNIT) }
    }

    /// The unit behind it.
    fn behind<B: Backend>(self, place: NonNull<u8>) -> NonNull<u8> {
        // SAFETY: inside, for the last unit was asked for to be this one.
        unsafe { place.add(self.layout.size() - B::UNIT) }
    }
}

/// Guards of a block, of which its entry says whether they are up.
impl Entry {
    /// Puts a guard up in a unit that is no part of the block, if there are guards, and if the back-end can.
    fn put_up<B: Backend>(is_up: &Atomic<bool>, backend: &B, unit: impl FnOnce() -> NonNull<u8>) {
        // SAFETY: a unit of ours that nobody uses.
        let up = guards::<B>() > 0 && unsafe { backend.guard(unit(), B::UNIT) };
        // Relaxed: as in `enter`.
        is_up.store(up, Ordering::Relaxed);
    }

    /// Takes it down, if it is up, before the unit goes back.
    fn take_down<B: Backend>(is_up: &Atomic<bool>, backend: &B, unit: impl FnOnce() -> NonNull<u8>) {
        // Relaxed: as in `enter`.
        if is_up.load(Ordering::Relaxed) {
            // SAFETY: ours, with a guard. If it stays, it goes with the unit.
            let _ = unsafe { backend.unguard(unit(), B::UNIT) };
        }
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
        let Some(index) = self.enter(backend, block, layout) else {
            // SAFETY: acquired just now with this layout.
            unsafe { supply.release(LARGE, place, outer.layout) };
            return None;
        };
        let entry = self.larges.get(index);
        Entry::put_up(&entry.before, backend, || outer.before::<B>(place));
        Entry::put_up(&entry.behind, backend, || outer.behind::<B>(place));
        if guards::<B>() > 0 {
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
            self.strike(backend, block, layout, outer);
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
        let entry = self.larges.get(self.entry(backend, block, old));
        self.check_large(backend, block, old);
        self.check_brink(backend, block, old.size(), old.align());
        // SAFETY: the lead lies before it.
        let place = unsafe { block.sub(to.lead) };
        if from.layout != to.layout {
            Entry::take_down(&entry.behind, backend, || from.behind::<B>(place));
            // SAFETY: acquired with this layout.
            let moved = unsafe { self.supply(backend).remap(LARGE, place, from.layout, to.layout) };
            let now = if moved.is_some() { to } else { from };
            Entry::put_up(&entry.behind, backend, || now.behind::<B>(place));
            match moved {
                None => return false,
                Some(moved) if moved != place => {
                    self.breach("the back-end moved a block that shrank", moved, new.size(), new.align(), None)
                }
                Some(_) => {}
            }
        }
        Self::clear_brink::<B>(block, new.size());
        // Relaxed: as in `enter`.
        entry.size.store(new.size().max(1), Ordering::Relaxed);
        true
    }

    fn enter<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout) -> Option<Index> {
        let supply = self.supply(backend);
        self.map.cover(supply, block, 1)?.ok()?;
        let index = self.larges.take(supply)?;
        let entry = self.larges.get(index);
        // Relaxed, all: whoever has the block got it in some way that orders memory.
        entry.align.store(layout.align(), Ordering::Relaxed);
        entry.size.store(layout.size().max(1), Ordering::Relaxed);
        entry.place.store(block.addr().get(), Ordering::Relaxed);
        self.map.set(backend, block, 1, Owner::Large(index).to_bits());
        Some(index)
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
    fn strike<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout, outer: Outer) {
        let (size, align, place) = (layout.size().max(1), layout.align(), block.addr().get());
        let index = self.entry(backend, block, layout);
        let entry = self.larges.get(index);
        // Relaxed: as in `enter`.
        if entry.size.load(Ordering::Relaxed) != size {
            self.breach("free with a layout that is not the block's", block, size, align, None);
        }
        // Relaxed both: as in `enter`; of two that free it one gets it, and the other none that is entered here next.
        if entry.place.compare_exchange(place, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            self.breach("double free", block, size, align, None);
        }
        if guards::<B>() > 0 {
            self.check_brink(backend, block, layout.size(), align);
            // SAFETY: the lead lies before it.
            let place = unsafe { block.sub(outer.lead) };
            Entry::take_down(&entry.before, backend, || outer.before::<B>(place));
            Entry::take_down(&entry.behind, backend, || outer.behind::<B>(place));
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
