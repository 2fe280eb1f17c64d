//! What is looked at as blocks come and go: in debug builds the program's hold on each chunk; in a hardened heap also what
//! somebody has written where nobody may. Elsewhere nothing here is called.

use super::{Bandolier, Heap, Kind};
use crate::backend::Backend;
use crate::dice;
use crate::magazine::Round;
use crate::size_class::SizeClass;
use core::alloc::Layout;
use core::ptr::NonNull;

/// What nobody can guess, for the dice of a new heap.
pub(super) fn seed(heap: NonNull<Heap>) -> u64 {
    let here = 0_u8;
    heap.addr().get() as u64 ^ ((&raw const here).addr() as u64).rotate_left(32) ^ dice::entropy()
}

impl<B: Backend> Bandolier<B> {
    /// Notes that a chunk, if it is one, is handed out.
    #[inline(never)]
    pub(super) fn note_taken(&self, chunk: *mut u8, class: SizeClass, layout: Layout) {
        if let (Some(heap), Some(chunk)) = (self.made(), NonNull::new(chunk)) {
            heap.arsenal.note_taken(&*self.backend, chunk, class, layout);
        }
    }

    /// Notes that a chunk is freed.
    #[inline(never)]
    pub(super) fn note_given(&self, chunk: Round, class: SizeClass, layout: Layout) {
        if let Some(heap) = self.made() {
            heap.arsenal.note_given(&*self.backend, chunk, class, layout);
        }
    }

    /// Notes that a chunk is one of `new` bytes from now on.
    #[inline(never)]
    pub(super) fn note_kept(&self, chunk: *mut u8, class: SizeClass, old: Layout, new: usize) {
        if let (Some(heap), Some(chunk)) = (self.made(), NonNull::new(chunk)) {
            heap.arsenal.note_kept(&*self.backend, chunk, class, old, new);
        }
    }

    /// Looks whether a block is there to be copied from.
    pub(super) fn check_kept(&self, block: NonNull<u8>, layout: Layout) {
        let Some(heap) = self.made() else { return };
        match Self::kind(layout) {
            Kind::Chunk(class) => heap.arsenal.note_kept(&*self.backend, block, class, layout, layout.size()),
            kind => heap.arsenal.check_block(&*self.backend, block, layout, kind == Kind::Run),
        }
    }
}
