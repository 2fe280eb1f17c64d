//! The back-end as the layers above see it: every byte counted, every alignment checked.

use crate::backend::Backend;
use crate::breach::Breach;
use crate::stats::Counter;
use crate::sync::const_fn;
use core::alloc::Layout;
use core::ptr::NonNull;

/// Bytes drawn from a back-end and not yet returned.
pub(crate) struct Drawn {
    pub(crate) segments: Counter,
    pub(crate) large: Counter,
    pub(crate) metadata: Counter,
}

impl Drawn {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self { segments: Counter::new(), large: Counter::new(), metadata: Counter::new() }
        }
    }

    pub(crate) fn total(&self) -> usize {
        self.segments.get() + self.large.get() + self.metadata.get()
    }
}

/// A back-end, and the account that its bytes are booked on.
pub(crate) struct Supply<'a, B> {
    pub(crate) backend: &'a B,
    pub(crate) drawn: &'a Drawn,
}

impl<B> Clone for Supply<'_, B> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<B> Copy for Supply<'_, B> {}

/// Which of the accounts a block is booked on.
pub(crate) type Account = fn(&Drawn) -> &Counter;

pub(crate) const SEGMENTS: Account = |drawn| &drawn.segments;
pub(crate) const LARGE: Account = |drawn| &drawn.large;
pub(crate) const METADATA: Account = |drawn| &drawn.metadata;

impl<B: Backend> Supply<'_, B> {
    fn booked(&self, account: Account, block: Option<NonNull<u8>>, layout: Layout) -> Option<NonNull<u8>> {
        let block = block?;
        if block.addr().get() & (layout.align() - 1) != 0 {
            let what = "the back-end gave a misaligned block";
            Breach { what, chunk: block.addr().get(), size: layout.size(), align: layout.align(), class: 0 }.abort();
        }
        account(self.drawn).add(layout.size());
        Some(block)
    }

    pub(crate) fn acquire(&self, account: Account, layout: Layout) -> Option<NonNull<u8>> {
        self.booked(account, self.backend.acquire(layout), layout)
    }

    pub(crate) fn acquire_zeroed(&self, account: Account, layout: Layout) -> Option<NonNull<u8>> {
        self.booked(account, self.backend.acquire_zeroed(layout), layout)
    }

    /// A block for `layout` that takes over from a smaller one: it will be filled from its start on.
    pub(crate) fn acquire_dense(&self, account: Account, layout: Layout) -> Option<NonNull<u8>> {
        let block = self.acquire(account, layout)?;
        // SAFETY: acquired just now with this layout.
        unsafe { self.backend.expect_dense(block, layout) };
        Some(block)
    }

    /// # Safety
    /// As [`Backend::release`], with the account that the block was booked on.
    pub(crate) unsafe fn release(&self, account: Account, block: NonNull<u8>, layout: Layout) {
        account(self.drawn).sub(layout.size());
        // SAFETY: the caller's promise.
        unsafe { self.backend.release(block, layout) }
    }

    /// # Safety
    /// As [`Backend::remap`], with the account that the block was booked on; a layout of `bytes` is valid.
    pub(crate) unsafe fn remap(
        &self,
        account: Account,
        block: NonNull<u8>,
        layout: Layout,
        new: Layout,
    ) -> Option<NonNull<u8>> {
        // SAFETY: the caller's promise.
        let moved = unsafe { self.backend.remap(block, layout, new.size()) };
        let moved = self.booked(account, moved, new)?;
        account(self.drawn).sub(layout.size());
        if new.size() > layout.size() {
            // SAFETY: the block has this layout now.
            unsafe { self.backend.expect_dense(moved, new) };
        }
        Some(moved)
    }
}
