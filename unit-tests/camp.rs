//! Memory for tests of caches: an arsenal, and the holsters of its threads.

use super::Paper;
use crate::arsenal::Arsenal;
use crate::magazine::Round;
use crate::size_class::SizeClass;
use crate::stats::ClassStats;
use crate::supply::Supply;
use core::alloc::Layout;
use std::boxed::Box;
use std::vec::Vec;

#[cfg(feature = "std")]
use crate::cache::holsters::Holsters;
#[cfg(feature = "std")]
use core::{ops::Deref, ptr::NonNull};

/// Holsters that stay where they are, for they refer to each other; a box may not be moved then.
#[cfg(feature = "std")]
pub(crate) struct Settled(NonNull<Holsters>);

#[cfg(feature = "std")]
impl Settled {
    fn new() -> Self {
        let settled = Self(NonNull::from(Box::leak(Box::new(Holsters::new()))));
        settled.settle();
        settled
    }
}

#[cfg(feature = "std")]
impl Deref for Settled {
    type Target = Holsters;

    fn deref(&self) -> &Holsters {
        // SAFETY: made in `new`, and there until this is dropped.
        unsafe { self.0.as_ref() }
    }
}

#[cfg(feature = "std")]
impl Drop for Settled {
    fn drop(&mut self) {
        // SAFETY: a box's, from `new`; nobody uses it any more.
        drop(unsafe { Box::from_raw(self.0.as_ptr()) });
    }
}

/// Each part stays at its place.
pub(crate) struct Camp {
    pub(crate) arsenal: Box<Arsenal>,
    pub(crate) paper: Paper,
    #[cfg(feature = "std")]
    pub(crate) holsters: Settled,
}

impl Camp {
    pub(crate) fn new() -> Self {
        Self {
            arsenal: Box::new(Arsenal::new()),
            paper: Paper::new(),
            #[cfg(feature = "std")]
            holsters: Settled::new(),
        }
    }

    pub(crate) fn class(bytes: usize) -> SizeClass {
        SizeClass::of(Layout::array::<u8>(bytes).unwrap()).unwrap()
    }

    pub(crate) fn supply(&self) -> Supply<'_, Paper> {
        self.arsenal.supply(&self.paper)
    }

    pub(crate) fn stats(&self, class: SizeClass) -> ClassStats {
        self.arsenal.class_stats(class)
    }

    /// Chunks from slabs.
    pub(crate) fn chunks(&self, class: SizeClass, count: usize) -> Vec<Round> {
        (0..count).map(|_| self.arsenal.take_one(&self.paper, class).unwrap()).collect()
    }
}

impl Drop for Camp {
    fn drop(&mut self) {
        #[cfg(feature = "std")]
        // SAFETY: nobody uses any of it any more.
        unsafe {
            self.holsters.release(self.supply());
        }
        // SAFETY: as above.
        unsafe { self.arsenal.release(&self.paper) };
    }
}
