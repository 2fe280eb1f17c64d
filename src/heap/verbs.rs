//! What a program can ask of a heap beside memory: to give some back, and what there is.

use super::{Bandolier, Heap};
use crate::backend::Backend;
#[cfg(all(feature = "std", not(all(test, loom))))]
use crate::cache::holsters::Holsters;
use crate::reclaim;
use crate::size_class::{PerClass, SizeClass};
use crate::stats::{Bounds, ClassStats, Reclaimed, Stats};
use crate::surplus::{Budget, Scope};

impl<B: Backend> Bandolier<B> {
    /// Does `work` with a budget that keeps within `bounds`.
    pub(super) fn within(&self, bounds: Bounds, work: impl FnOnce(&Heap, &Budget<'_>) -> Reclaimed) -> Reclaimed {
        let Some(heap) = self.made() else { return Reclaimed::default() };
        let end = bounds.time.and_then(|time| self.backend.uptime()?.checked_add(time));
        let over = || end.is_some_and(|end| self.backend.uptime().is_some_and(|now| now >= end));
        let _pass = heap.arsenal.passes.begin();
        work(heap, &Budget::until(bounds.bytes, &over))
    }

    /// Gives back what was not needed since the last `trim`: magazines that lay in the depot all the time, slabs and units that
    /// nobody took anything from, and the magazines of threads and CPUs that were in no slow path of the allocator.
    ///
    /// The first call only begins to look. Call it every so often (every half second, say, or let a
    /// `Reclaimer` do it): what a working set needs stays, and after a burst all that it has left goes back
    /// within two or three calls. May be called at any time, from any thread, several at once; allocation goes on meanwhile.
    pub fn trim(&self) -> Reclaimed {
        self.trim_within(Bounds::NONE)
    }

    /// As [`trim`](Self::trim), as far as the bounds allow; a later call goes on.
    pub fn trim_within(&self, bounds: Bounds) -> Reclaimed {
        self.within(bounds, |heap, budget| self.trim_of(heap, budget))
    }

    fn trim_of(&self, heap: &Heap, budget: &Budget<'_>) -> Reclaimed {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        let _ = heap.holsters.search_quiet(&heap.arsenal, &*self.backend);
        heap.cpus.hand_in_quiet(&heap.arsenal, &*self.backend);
        reclaim::trim(&heap.arsenal, &*self.backend, budget)
    }

    /// As [`trim_within`](Self::trim_within), unless what that gives back is needed again each time: then ever more seldom.
    pub(crate) fn step_within(&self, bounds: Bounds) -> Reclaimed {
        self.within(bounds, |heap, budget| {
            let arsenal = &heap.arsenal;
            if !arsenal.patience.is_due(arsenal.holds().free(), arsenal.surplus.drawn()) {
                return Reclaimed::default();
            }
            let gone = self.trim_of(heap, budget);
            arsenal.patience.note(arsenal.holds().free(), gone.total(), arsenal.surplus.drawn(), budget.is_left());
            gone
        })
    }

    /// Gives back all that lies in the depot, every slab and every segment in which nothing is in use, and the pages of what is
    /// free. What threads and CPUs have in their magazines stays with them.
    ///
    /// May be called at any time, from any thread, several at once; allocation goes on meanwhile.
    pub fn drain(&self) -> Reclaimed {
        self.drain_within(Bounds::NONE)
    }

    /// As [`drain`](Self::drain), as far as the bounds allow; a later call goes on.
    pub fn drain_within(&self, bounds: Bounds) -> Reclaimed {
        self.within(bounds, |heap, budget| {
            reclaim::drain(&heap.arsenal, &*self.backend, Scope::All, budget);
            reclaim::give_back(&heap.arsenal, &*self.backend, Scope::All, budget)
        })
    }

    /// Gives back all that is not in use: takes the magazines of all CPUs and of all threads, asleep or not, and then does what
    /// [`drain`](Self::drain) does.
    ///
    /// May be called at any time, from any thread, several at once; allocation goes on meanwhile. What could not be reached is
    /// counted in the answer. Of a thread's own magazines the last round of each class may stay, for the thread may be just
    /// about to take it.
    ///
    /// It stops every thread for an instant, with `membarrier` on Linux and `FlushProcessWriteBuffers` on Windows. (The first
    /// call registers the process for that, which takes Linux some 10 ms once there are threads.) Elsewhere other threads hand
    /// in what they have when they next run empty or full.
    pub fn drain_caches(&self) -> Reclaimed {
        self.drain_caches_within(Bounds::NONE)
    }

    /// As [`drain_caches`](Self::drain_caches), as far as the bounds allow; a later call goes on. The magazines of threads and
    /// CPUs are taken in any case.
    pub fn drain_caches_within(&self, bounds: Bounds) -> Reclaimed {
        self.within(bounds, |heap, budget| {
            let Reclaimed { missed_threads, missed_cpus, .. } = self.hand_in(heap);
            reclaim::drain(&heap.arsenal, &*self.backend, Scope::All, budget);
            let gone = reclaim::give_back(&heap.arsenal, &*self.backend, Scope::All, budget);
            Reclaimed { missed_threads, missed_cpus, ..gone }
        })
    }

    /// Gives all memory back that is not in use: [`drain_caches`](Self::drain_caches) by its short name.
    pub fn reclaim(&self) -> Reclaimed {
        self.drain_caches()
    }

    /// Hands the calling thread's magazines in at the depot, for a thread that will sleep: other threads can use the
    /// chunks, and the next [`reclaim`](Self::reclaim) can give them back.
    pub fn flush_thread(&self) {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        if let Some(heap) = self.made() {
            Self::cache(|cache| _ = cache.flush(&heap.arsenal));
        }
    }

    /// What the heap holds, in bytes and by class.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Some(heap) = self.made() else { return Stats::default() };
        let arsenal = &heap.arsenal;
        let mut classes = PerClass([ClassStats::default(); SizeClass::COUNT]);
        for (class, stats) in SizeClass::all().zip(&mut classes.0) {
            *stats = arsenal.class_stats(class);
            stats.cached += heap.slots.rounds(class);
            #[cfg(all(feature = "std", not(all(test, loom))))]
            {
                stats.cached += heap.holsters.rounds(class);
            }
        }
        heap.cpus.each_rounds(|class, rounds| classes.0[usize::from(class.number())].cached += rounds);
        let mut stats = Stats::of_classes(classes);
        stats.large = arsenal.drawn.large.get();
        stats.in_use += stats.large + arsenal.run_bytes();
        stats.from_backend = arsenal.drawn.total();
        stats.metadata = arsenal.drawn.metadata.get();
        stats.metadata_in_use = size_of::<Heap>() + arsenal.metadata_in_use();
        #[cfg(all(feature = "std", not(all(test, loom))))]
        {
            // The first lies in the heap.
            stats.metadata_in_use += heap.holsters.bytes_in_use().saturating_sub(Holsters::OWN);
        }
        stats.threads = arsenal.threads();
        (stats.locator, stats.why) = self.locator(heap);
        stats
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::Arena;
    use core::alloc::{GlobalAlloc, Layout};

    /// Whoever finds no memory meanwhile asks again.
    #[test]
    fn a_pass_is_under_way_as_long_as_a_verb_works() {
        static ARENA: Arena<{ 4 << 20 }> = Arena::new();
        let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
        // SAFETY: the size is not zero.
        assert!(!unsafe { heap.alloc(Layout::new::<u64>()) }.is_null());
        let is_under_way = || heap.arsenal().unwrap().passes.is_under_way();
        let mut meanwhile = false;
        let _ = heap.within(Bounds::NONE, |_, _| {
            meanwhile = is_under_way();
            Reclaimed::default()
        });
        assert_eq!((meanwhile, is_under_way()), (true, false));
    }

    /// Who has waited for a pass in vain says so, and nobody waits for that one again.
    #[test]
    #[cfg_attr(miri, ignore = "thousands of tries")]
    fn a_pass_that_does_not_end_is_waited_for_once() {
        static ARENA: Arena<{ 512 << 10 }> = Arena::new();
        let heap = Bandolier::with_backend(&ARENA).without_thread_caches();
        // SAFETY: the size is not zero.
        let is_full = || unsafe { heap.alloc(Layout::new::<[u64; 512]>()) }.is_null();
        assert!(!is_full());
        let mut after = true;
        let _ = heap.within(Bounds::NONE, |heap, _| {
            while !is_full() {}
            after = heap.arsenal.passes.is_under_way();
            Reclaimed::default()
        });
        assert!(!after);
    }
}
