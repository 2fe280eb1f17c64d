//! What the program does with its blocks, where that is noted: it takes, gives and keeps chunks, and a hardened heap looks
//! whether anybody has written where nobody may.

use super::Arsenal;
use super::owner::Owner;
use crate::backend::Backend;
use crate::geometry::WIPED;
use crate::magazine::Round;
use crate::size_class::SizeClass;
use crate::slab::{Hold, SlabId};
use crate::wipe::{is_wiped, wipe};
use core::alloc::Layout;
use core::ptr::NonNull;

impl Arsenal {
    /// Notes that a chunk is handed out for `layout`; aborts if it may not be, or if a hardened heap finds something in it.
    pub(crate) fn note_taken<B: Backend>(&self, backend: &B, chunk: Round, class: SizeClass, layout: Layout) {
        let id = self.note(backend, chunk, class, layout, Hold::Taken);
        // SAFETY: the caller's own, and wiped when it became free.
        if WIPED && !unsafe { is_wiped(chunk, class.bytes()) } {
            self.breach("write after free", chunk, layout.size(), layout.align(), Some(id));
        }
    }

    /// Notes that a chunk of `layout` is freed, and wipes it in a hardened heap; aborts if that cannot be.
    pub(crate) fn note_given<B: Backend>(&self, backend: &B, chunk: Round, class: SizeClass, layout: Layout) {
        let id = self.note(backend, chunk, class, layout, Hold::Given);
        if WIPED {
            self.check_rest(chunk, class, layout, id);
            // SAFETY: the caller's own.
            unsafe { wipe(chunk, layout.size()) };
        }
    }

    /// Notes that a chunk of `old` bytes is one of `new` bytes from now on; aborts if it is not in use.
    pub(crate) fn note_kept<B: Backend>(&self, backend: &B, chunk: Round, class: SizeClass, old: Layout, new: usize) {
        let id = self.note(backend, chunk, class, old, Hold::Kept);
        if WIPED {
            self.check_rest(chunk, class, old, id);
            let kept = new.min(old.size());
            // SAFETY: inside the chunk, or its end.
            let gone = unsafe { chunk.add(kept) };
            // SAFETY: a part of the chunk, which is the caller's.
            unsafe { wipe(gone, old.size() - kept) };
        }
    }

    /// Aborts if somebody has written behind the bytes of a chunk that are in use.
    fn check_rest(&self, chunk: Round, class: SizeClass, layout: Layout, id: SlabId) {
        // SAFETY: inside the chunk, or its end.
        let rest = unsafe { chunk.add(layout.size()) };
        // SAFETY: a part of the chunk, which was wiped, and is not the program's to write to.
        if !unsafe { is_wiped(rest, class.bytes() - layout.size()) } {
            self.breach("write past the end of a block", chunk, layout.size(), layout.align(), Some(id));
        }
    }

    /// Notes what the program does with a chunk; aborts if it may not.
    fn note<B: Backend>(&self, backend: &B, chunk: Round, class: SizeClass, layout: Layout, hold: Hold) -> SlabId {
        let (size, align) = (layout.size(), layout.align());
        let Owner::Slab(id) = self.owner(backend, chunk) else {
            self.breach("free of an address that is no chunk", chunk, size, align, None)
        };
        if self.slabs.class_of(id) != Some(class) {
            self.breach("free with a layout that is not the chunk's", chunk, size, align, Some(id));
        }
        if let Err(what) = self.slabs.note(id, chunk.addr().get(), hold) {
            self.breach(what, chunk, size, align, Some(id));
        }
        id
    }

    /// Aborts unless a block that is no chunk is in use, with this layout.
    pub(crate) fn check_block<B: Backend>(&self, backend: &B, block: NonNull<u8>, layout: Layout, is_run: bool) {
        if is_run {
            let _ = self.locate(backend, block, layout.size().max(1), layout.align());
        } else {
            self.check_large(backend, block, layout);
        }
    }
}
