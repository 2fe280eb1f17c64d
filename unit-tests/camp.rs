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

/// Each part stays at its place.
pub(crate) struct Camp {
    pub(crate) arsenal: Box<Arsenal>,
    pub(crate) paper: Paper,
    #[cfg(feature = "std")]
    pub(crate) holsters: Box<Holsters>,
}

impl Camp {
    pub(crate) fn new() -> Self {
        #[cfg(feature = "std")]
        let holsters = Box::new(Holsters::new());
        #[cfg(feature = "std")]
        holsters.settle();
        Self {
            arsenal: Box::new(Arsenal::new()),
            paper: Paper::new(),
            #[cfg(feature = "std")]
            holsters,
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
