//! Blocks that are no chunks: runs of units, and what the back-end serves itself.

use super::{Bandolier, Heap, Kind, ROOM, Use};
use crate::arsenal::Outer;
use crate::backend::Backend;
use crate::geometry::{CHECKED, HARDENED};
use crate::segment::Contents;
use crate::supply::LARGE;
use crate::surplus::{Budget, Scope};
use crate::tell;
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::{self, NonNull};

impl<B: Backend> Bandolier<B> {
    /// A block that is no chunk.
    #[cold]
    #[inline(never)]
    pub(super) fn alloc_block(&self, layout: Layout, purpose: Use) -> *mut u8 {
        let Some(heap) = self.heap() else { return ptr::null_mut() };
        let take = || self.take_block(heap, layout, purpose);
        let block = take().or_else(|| {
            // More than the heap has could not be freed up here, unless it is a limit that refuses it.
            let drawn = &heap.arsenal.drawn;
            if drawn.may_have(layout.size()) {
                self.rescued(heap, Self::need(layout), take)
            } else {
                // A soft limit that refused it may have been lifted just now.
                let _grant = drawn.grant();
                take()
            }
        });
        block.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    /// Bytes that a block makes the heap draw at least, where it has no room for it.
    fn need(layout: Layout) -> usize {
        match Self::kind(layout) {
            Kind::Large => Outer::of::<B>(layout).map_or(layout.size(), |outer| outer.layout.size()),
            _ => layout.size().max(B::UNIT),
        }
    }

    pub(super) fn take_block(&self, heap: &Heap, layout: Layout, purpose: Use) -> Option<NonNull<u8>> {
        if Self::kind(layout) == Kind::Large {
            let block = heap.arsenal.take_large(&*self.backend, layout, |supply, layout| match purpose {
                Use::Any => supply.acquire(LARGE, layout),
                Use::Zeroed => supply.acquire_zeroed(LARGE, layout),
                Use::Growing => supply.acquire_dense(LARGE, layout),
            })?;
            tell::allocated(|| heap.address(), block.as_ptr(), layout.size(), purpose == Use::Zeroed);
            return Some(block);
        }
        let bytes = layout.size().max(1);
        let room = if purpose == Use::Growing { bytes * ROOM } else { bytes };
        let (block, contents) = heap.arsenal.take_run(&*self.backend, bytes, room, self.home(heap))?;
        tell::allocated(|| heap.address(), block.as_ptr(), layout.size(), purpose == Use::Zeroed);
        if purpose == Use::Zeroed && !(B::ZEROED && contents == Contents::Untouched) {
            // SAFETY: the run is ours and has at least the size of the layout.
            unsafe { block.write_bytes(0, layout.size()) };
        }
        Some(block)
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`], for a block that is no chunk.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn dealloc_block(&self, block: NonNull<u8>, layout: Layout) {
        let Some(heap) = self.made() else { return };
        tell::freed(|| heap.address(), block.as_ptr(), layout.size());
        if Self::kind(layout) == Kind::Run {
            let home = self.home(heap);
            heap.arsenal.give_run(&*self.backend, block, layout.size().max(1), layout.align(), home);
            return self.ebb(heap, home);
        }
        tell::returned(block.as_ptr(), layout.size());
        // SAFETY: taken in `take_block` with this layout; unused, by the caller's promise.
        unsafe { heap.arsenal.give_large(&*self.backend, block, layout) };
    }

    /// Gives a block its new size without copying, if that can be done.
    ///
    /// # Safety
    /// As [`GlobalAlloc::realloc`].
    pub(super) unsafe fn resize_block(&self, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        let heap = self.made()?;
        if old.size() == new.size() {
            return Some(block);
        }
        match (Self::kind(old), Self::kind(new)) {
            (Kind::Run, Kind::Run) => {
                let (from, to, home) = (old.size().max(1), new.size().max(1), self.home(heap));
                // What is cut off may be somebody else's before this returns.
                let shrinks = to < from;
                shrinks.then(|| Self::resized(heap, block, old, new));
                let fits = heap.arsenal.resize_run(&*self.backend, block, from, to, old.align(), home);
                self.ebb(heap, home);
                fits.then(|| if shrinks { block } else { Self::resized(heap, block, old, new) })
            }
            (Kind::Chunk(from), Kind::Chunk(to)) => {
                if CHECKED && from == to {
                    self.note_kept(block.as_ptr(), from, old, new.size());
                }
                (from == to).then(|| Self::resized(heap, block, old, new))
            }
            // SAFETY: the caller's promise.
            (Kind::Large, Kind::Large) if HARDENED => unsafe {
                let shrunk = heap.arsenal.shrink_large(&*self.backend, block, old, new);
                shrunk.then(|| Self::resized(heap, block, old, new))
            },
            (Kind::Large, Kind::Large) => {
                let (old, new) = (Outer::of::<B>(old)?.layout, Outer::of::<B>(new)?.layout);
                // SAFETY: acquired with this layout; the caller goes on with the answer only.
                let remap = || unsafe { self.remap(heap, block, old, new) };
                remap().or_else(|| {
                    let (drawn, more) = (&heap.arsenal.drawn, new.size().checked_sub(old.size())?);
                    drawn.is_soft(more).then(|| self.rescue(heap))?;
                    heap.arsenal.release_free(&*self.backend, Scope::All, &Budget::of(usize::MAX));
                    remap().or_else(|| drawn.exceed(more, remap))
                })
            }
            _ => None,
        }
    }

    /// Says that a block has its new size in its old place; the block.
    fn resized(heap: &Heap, block: NonNull<u8>, old: Layout, new: Layout) -> NonNull<u8> {
        tell::resized(|| heap.address(), block.as_ptr(), old.size(), new.size());
        block
    }

    /// Has the back-end give a large block another size.
    ///
    /// # Safety
    /// As [`Backend::remap`].
    unsafe fn remap(&self, heap: &Heap, block: NonNull<u8>, old: Layout, new: Layout) -> Option<NonNull<u8>> {
        // Before it moves: somebody else may get the old place before this returns.
        tell::freed(|| heap.address(), block.as_ptr(), old.size());
        tell::returned(block.as_ptr(), old.size());
        // SAFETY: the caller's promise.
        let moved = unsafe { heap.arsenal.supply(&*self.backend).remap(LARGE, block, old, new) };
        let (place, bytes) = moved.map_or((block, old.size()), |moved| (moved, new.size()));
        tell::allocated(|| heap.address(), place.as_ptr(), bytes, true);
        moved
    }

    /// # Safety
    /// As [`GlobalAlloc::realloc`], with `new` the layout of the new size.
    #[cold]
    #[inline(never)]
    pub(super) unsafe fn realloc_slow(&self, block: *mut u8, old: Layout, new: Layout) -> *mut u8 {
        if let Some(block) = NonNull::new(block) {
            if HARDENED {
                self.check_kept(block, old);
            }
            // SAFETY: the caller's promise.
            if let Some(resized) = unsafe { self.resize_block(block, old, new) } {
                return resized.as_ptr();
            }
        }
        let purpose = if new.size() > old.size() { Use::Growing } else { Use::Any };
        let moved = Self::alloc_other(new, purpose, self);
        if !moved.is_null() {
            // SAFETY: both blocks have that many bytes, and the new one is disjoint from the old.
            unsafe { ptr::copy_nonoverlapping(block, moved, old.size().min(new.size())) };
            // SAFETY: the caller's promise; the contents are in the new block.
            unsafe { self.dealloc(block, old) };
        }
        moved
    }
}
