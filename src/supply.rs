//! The back-end as the layers above see it: every byte counted, every alignment checked.

use crate::backend::Backend;
use crate::breach::Breach;
use crate::process::{Tally, Turn};
use crate::stats::Counter;
use crate::sync::{Atomic, AtomicPtr, Ordering, const_fn};
use crate::tell;
use core::alloc::Layout;
use core::ptr::{self, NonNull};

/// Bytes drawn from a back-end and not yet returned, and how many there may be.
pub(crate) struct Drawn {
    pub(crate) segments: Counter,
    pub(crate) large: Counter,
    pub(crate) metadata: Counter,
    /// All of them together, exactly: counted before a block is asked for, and until it is given back.
    held: Atomic<usize>,
    hard: Atomic<usize>,
    soft: Atomic<usize>,
    /// Where the soft limit applies next, if that is above it: it was exceeded, though all was done to avoid that.
    raised: Atomic<usize>,
    /// Allocations that may exceed the soft limit just now, after all was given back for them.
    grants: Tally,
    /// Told when the soft limit is exceeded.
    notify: AtomicPtr<()>,
    notifying: Turn,
}

/// The right of an allocation to exceed the soft limit; others may do so meanwhile.
pub(crate) struct Grant<'a>(&'a Drawn);

impl Drop for Grant<'_> {
    fn drop(&mut self) {
        self.0.grants.leave();
    }
}

/// Models are of protocols, and there is none in these figures: each is decided by one exchange.
const UNLIMITED: bool = cfg!(all(test, loom));

impl Drawn {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                segments: Counter::new(),
                large: Counter::new(),
                metadata: Counter::new(),
                held: Atomic::new(0),
                hard: Atomic::new(usize::MAX),
                soft: Atomic::new(usize::MAX),
                raised: Atomic::new(0),
                grants: Tally::new(),
                notify: AtomicPtr::new(ptr::null_mut()),
                notifying: Turn::new(),
            }
        }
    }

    // Relaxed, all of them: numbers that decide what is allowed; no other memory hangs on them.

    pub(crate) fn total(&self) -> usize {
        self.held.load(Ordering::Relaxed)
    }

    /// Books a block that was acquired before there were books.
    pub(crate) fn adopt(&self, account: Account, bytes: usize) {
        account.of(self).add(bytes);
        self.held.fetch_add(bytes, Ordering::Relaxed);
    }

    /// From where on growth is refused that has no grant.
    fn soft_limit(&self) -> usize {
        self.soft.load(Ordering::Relaxed).max(self.raised.load(Ordering::Relaxed))
    }

    /// Counts `bytes` more, if they are allowed; the soft limit is no matter of the records by which memory comes back.
    fn admit(&self, bytes: usize, record: bool) -> bool {
        if UNLIMITED || bytes == 0 {
            return true;
        }
        let hard = self.hard.load(Ordering::Relaxed);
        let free = record || !self.grants.is_empty();
        let limit = if free { hard } else { hard.min(self.soft_limit()) };
        let mut held = self.held.load(Ordering::Relaxed);
        loop {
            let Some(new) = held.checked_add(bytes).filter(|&new| new <= limit) else { return false };
            match self.held.compare_exchange_weak(held, new, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => held = now,
            }
        }
    }

    /// Counts `bytes` less.
    fn dismiss(&self, bytes: usize) {
        if UNLIMITED || bytes == 0 {
            return;
        }
        let held = self.held.fetch_sub(bytes, Ordering::Relaxed) - bytes;
        let soft = self.soft.load(Ordering::Relaxed);
        if held <= soft - soft / 8 && self.raised.load(Ordering::Relaxed) != 0 {
            self.raised.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_limits(&self, soft: usize, hard: usize, notify: Option<fn(usize)>) {
        self.notify.store(notify.map_or(ptr::null_mut(), |notify| notify as *mut ()), Ordering::Relaxed);
        self.hard.store(hard, Ordering::Relaxed);
        self.soft.store(soft, Ordering::Relaxed);
        self.raised.store(0, Ordering::Relaxed);
    }

    /// Whether `bytes` more, which were refused, may be had once what is free has been given back: the back-end may be empty, but
    /// a limit is no back-end.
    pub(crate) fn may_have(&self, bytes: usize) -> bool {
        let (hard, soft) = (self.hard.load(Ordering::Relaxed), self.soft.load(Ordering::Relaxed));
        bytes <= self.total() || (bytes <= hard && hard.min(soft) != usize::MAX)
    }

    /// Whether it is the soft limit that refuses `bytes` more.
    pub(crate) fn is_soft(&self, bytes: usize) -> bool {
        let needed = self.total().saturating_add(bytes);
        needed > self.soft_limit() && needed <= self.hard.load(Ordering::Relaxed)
    }

    /// Lets an allocation exceed the soft limit.
    pub(crate) fn grant(&self) -> Grant<'_> {
        self.grants.enter();
        Grant(self)
    }

    /// After all has been given back that could be, lets `take` exceed the soft limit, which draws `least` bytes, and tells whoever
    /// wants to know if it has; `None` also when the hard limit refuses so much.
    ///
    /// Others may have freed so much meanwhile, or lifted the limit, that there is nothing to exceed: then there is no more to it
    /// than to ask again.
    pub(crate) fn exceed<R>(&self, least: usize, take: impl FnOnce() -> Option<R>) -> Option<R> {
        let fits = self.total().saturating_add(least) <= self.hard.load(Ordering::Relaxed);
        let grant = fits.then(|| self.grant())?;
        let taken = take()?;
        drop(grant);
        let held = self.total();
        if held > self.soft_limit() {
            let raised = self.raised.load(Ordering::Relaxed).max(held.saturating_add(held / 8));
            self.raised.store(raised, Ordering::Relaxed);
            self.tell(held);
        }
        Some(taken)
    }

    /// Tells that so many bytes are held; not who is being told.
    fn tell(&self, held: usize) {
        let notify = self.notify.load(Ordering::Relaxed);
        if !notify.is_null() {
            self.notifying.take(|| call_back(notify, held));
        }
    }
}

/// Calls a function that was stored by `set_limits`. It is an ABI that does not unwind: a panic there ends the process, for an
/// allocation must not unwind.
extern "C" fn call_back(notify: *mut (), held: usize) {
    // SAFETY: not null, so stored by `set_limits`, from a function of this type.
    let notify = unsafe { core::mem::transmute::<*mut (), fn(usize)>(notify) };
    notify(held);
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
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Account {
    Segments,
    Large,
    Metadata,
}

pub(crate) const SEGMENTS: Account = Account::Segments;
pub(crate) const LARGE: Account = Account::Large;
pub(crate) const METADATA: Account = Account::Metadata;

impl Account {
    fn of(self, drawn: &Drawn) -> &Counter {
        match self {
            Self::Segments => &drawn.segments,
            Self::Large => &drawn.large,
            Self::Metadata => &drawn.metadata,
        }
    }
}

impl<B: Backend> Supply<'_, B> {
    /// A block for `layout` that `acquire` gets, if so much is allowed.
    fn booked(
        &self,
        account: Account,
        layout: Layout,
        acquire: impl FnOnce() -> Option<NonNull<u8>>,
    ) -> Option<NonNull<u8>> {
        let record = account == METADATA;
        self.drawn.admit(layout.size(), record).then_some(())?;
        let Some(block) = acquire() else {
            self.drawn.dismiss(layout.size());
            return None;
        };
        self.check(block, layout);
        account.of(self.drawn).add(layout.size());
        if account == SEGMENTS {
            tell::taken(block.as_ptr(), layout.size());
        }
        Some(block)
    }

    fn check(&self, block: NonNull<u8>, layout: Layout) {
        if block.addr().get() & (layout.align() - 1) != 0 {
            let what = "the back-end gave a misaligned block";
            Breach { what, chunk: block.addr().get(), size: layout.size(), align: layout.align(), class: 0 }.abort();
        }
    }

    pub(crate) fn acquire(&self, account: Account, layout: Layout) -> Option<NonNull<u8>> {
        self.booked(account, layout, || self.backend.acquire(layout))
    }

    pub(crate) fn acquire_zeroed(&self, account: Account, layout: Layout) -> Option<NonNull<u8>> {
        self.booked(account, layout, || self.backend.acquire_zeroed(layout))
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
        if account == SEGMENTS {
            tell::returned(block.as_ptr(), layout.size());
        }
        // SAFETY: the caller's promise.
        unsafe { self.backend.release(block, layout) }
        account.of(self.drawn).sub(layout.size());
        self.drawn.dismiss(layout.size());
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
        let (more, less) = (new.size().saturating_sub(layout.size()), layout.size().saturating_sub(new.size()));
        self.drawn.admit(more, false).then_some(())?;
        // SAFETY: the caller's promise.
        let Some(moved) = (unsafe { self.backend.remap(block, layout, new.size()) }) else {
            self.drawn.dismiss(more);
            return None;
        };
        self.check(moved, new);
        account.of(self.drawn).add(more);
        account.of(self.drawn).sub(less);
        self.drawn.dismiss(less);
        if new.size() > layout.size() {
            // SAFETY: the block has this layout now.
            unsafe { self.backend.expect_dense(moved, new) };
        }
        Some(moved)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_soft_limit_holds_again_once_an_eighth_below_it_is_free() {
        let drawn = Drawn::new();
        drawn.set_limits(800, usize::MAX, None);
        assert!(drawn.admit(800, false) && !drawn.admit(1, false));
        assert!(drawn.exceed(80, || None::<()>).is_none() && !drawn.admit(1, false), "nothing was exceeded");
        assert!(drawn.exceed(80, || drawn.admit(80, false).then_some(())).is_some(), "it may be exceeded");
        drawn.dismiss(179);
        assert!(drawn.admit(179, false), "it holds again too early");
        drawn.dismiss(180);
        assert!(!drawn.admit(101, false), "it never holds again");
        assert!(drawn.admit(100, false));
    }
}
