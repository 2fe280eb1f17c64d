//! Whose magazines a call works from: the thread's, the CPU's, or the slots that all share.

use super::{Bandolier, Heap};
use crate::backend::Backend;
use crate::cache::cpus::{Cpus, Post};
#[cfg(all(feature = "std", not(all(test, loom))))]
use crate::cache::thread;
use crate::home::Home;
use crate::magazine::Round;
use crate::size_class::SizeClass;
use crate::stats::{Locator, Reclaimed};

/// Whose magazines threads work from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Caches {
    /// The CPU's, and of classes in which a thread is busy, its own.
    Hybrid,
    Thread,
    Cpu,
    Shared,
}

impl Caches {
    /// What the environment says, for a program that cannot be built anew: instead of `Hybrid`, and nothing else.
    ///
    /// It is asked once, when the heap of the process is made.
    #[cfg(not(all(test, loom)))]
    pub(super) fn of_environment() -> Self {
        #[cfg(all(feature = "std", unix))]
        return crate::backend::os::variable(c"BANDOLIER_CACHES", |value| match value {
            b"per-thread" => Self::Thread,
            b"per-cpu" => Self::Cpu,
            _ => Self::Hybrid,
        });
        #[cfg(not(all(feature = "std", unix)))]
        Self::Hybrid
    }
}

/// Whose magazines one call looks at first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Whose {
    Thread,
    Cpu,
    Anybody,
}

impl<B: Backend> Bandolier<B> {
    /// How threads are served that come by this value.
    #[inline(always)]
    fn caches(&self, heap: &Heap) -> Caches {
        if self.caches == Caches::Hybrid { heap.told } else { self.caches }
    }

    /// Where the calling thread works for its CPU, if it is to in `class`, and that is to be seen at once; counts the call.
    #[inline(always)]
    pub(super) fn post_at_once(&self, heap: &Heap, class: SizeClass) -> Option<Post> {
        let caches = self.caches(heap);
        #[cfg(all(feature = "std", not(all(test, loom))))]
        let by_cpu = caches == Caches::Cpu || caches == Caches::Hybrid && Self::cache(|cache| cache.comes_by(class));
        #[cfg(not(all(feature = "std", not(all(test, loom)))))]
        let by_cpu = caches == Caches::Cpu || caches == Caches::Hybrid;
        let _ = class;
        by_cpu.then(|| heap.cpus.post_at_once()).flatten()
    }

    /// Whose magazines of `class` the calling thread is to use, as far as they are to be had.
    #[inline(always)]
    fn whose(&self, heap: &Heap, class: SizeClass) -> Whose {
        let _ = class;
        match self.caches(heap) {
            #[cfg(all(feature = "std", not(all(test, loom))))]
            Caches::Hybrid if Self::cache(|cache| cache.earns(class)) => Whose::Thread,
            Caches::Hybrid | Caches::Cpu => Whose::Cpu,
            Caches::Thread => Whose::Thread,
            Caches::Shared => Whose::Anybody,
        }
    }

    /// Works on the calling thread's magazines, if the thread works for this heap.
    #[cfg(all(feature = "std", not(all(test, loom))))]
    #[inline(always)]
    fn own<R>(&self, heap: &Heap, work: impl FnOnce(&thread::Turn<'_>) -> R) -> Option<R> {
        let supply = heap.arsenal.supply(&*self.backend);
        Self::cache(|cache| {
            cache.enter(&heap.arsenal, &heap.holsters, supply, thread::register).map(|turn| {
                if self.caches(heap) == Caches::Hybrid {
                    cache.settle(&heap.arsenal, &turn);
                }
                work(&turn)
            })
        })
    }

    /// Where a thread works for its CPU that was to work from its own magazines, and cannot.
    fn post_of_hybrid(&self, heap: &Heap) -> Option<Post> {
        (self.caches(heap) == Caches::Hybrid).then(|| heap.cpus.post(&heap.arsenal, &*self.backend)).flatten()
    }

    /// Takes a chunk, after who was to be asked at once had none.
    #[inline(always)]
    pub(super) fn take(&self, heap: &Heap, class: SizeClass) -> Option<Round> {
        let (arsenal, backend, whose) = (&heap.arsenal, &*self.backend, self.whose(heap, class));
        if whose == Whose::Anybody {
            return heap.slots.alloc(arsenal, backend, class);
        }
        let of_cpu = |post| heap.cpus.alloc(post, arsenal, backend, class);
        let mut post = (whose == Whose::Cpu).then(|| heap.cpus.post(arsenal, backend)).flatten();
        #[cfg(all(feature = "std", not(all(test, loom))))]
        if post.is_none() {
            if let Some(chunk) = self.own(heap, |turn| turn.alloc(arsenal, backend, class)) {
                return chunk;
            }
        }
        // Without a turn: the thread is being searched, works for another heap, or its cache is gone.
        post = post.or_else(|| self.post_of_hybrid(heap));
        post.and_then(of_cpu).or_else(|| heap.slots.alloc(arsenal, backend, class))
    }

    /// Gives a chunk, after who was to be asked at once had no room; the home that what was freed is noted for.
    #[inline(always)]
    pub(super) fn give(&self, heap: &Heap, class: SizeClass, chunk: Round) -> Home {
        let (arsenal, backend, whose) = (&heap.arsenal, &*self.backend, self.whose(heap, class));
        if whose == Whose::Anybody {
            return heap.slots.dealloc(arsenal, backend, class, chunk);
        }
        let mut post = (whose == Whose::Cpu).then(|| heap.cpus.post(arsenal, backend)).flatten();
        #[cfg(all(feature = "std", not(all(test, loom))))]
        if post.is_none() {
            if let Some(home) = self.own(heap, |turn| turn.dealloc(arsenal, backend, class, chunk)) {
                return home;
            }
        }
        // As in `take`.
        post = post.or_else(|| self.post_of_hybrid(heap));
        match post {
            Some(post) if heap.cpus.dealloc(post, arsenal, backend, class, chunk) => post.home(),
            _ => heap.slots.dealloc(arsenal, backend, class, chunk),
        }
    }

    /// Where the calling thread looks first.
    pub(super) fn home(&self, heap: &Heap) -> Home {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        {
            let by_cpu = matches!(self.caches(heap), Caches::Hybrid | Caches::Cpu);
            let cpu = by_cpu.then(|| heap.cpus.post_at_once()).flatten();
            // A thread begins to work for another heap only when it has chunks of it to keep: the heap then waits for it.
            let home = match cpu {
                Some(post) => Some(post.home()),
                None if Self::SOLE && self.caches != Caches::Shared => self.own(heap, |turn| turn.home()),
                None => Self::cache(|cache| cache.turn(&heap.arsenal).map(|turn| turn.home())),
            };
            if let Some(home) = home {
                return home;
            }
        }
        let _ = heap;
        Home::of_stack()
    }

    /// Hands in all magazines that are in caches: the calling thread's, those of the shared slots, of all CPUs and of all other
    /// threads; what of the last two it could not reach.
    pub(super) fn hand_in(&self, heap: &Heap) -> Reclaimed {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        let missed_threads = Self::cache(|cache| {
            let own = cache.flush(&heap.arsenal);
            heap.holsters.search(&heap.arsenal, &*self.backend, own).0
        });
        #[cfg(not(all(feature = "std", not(all(test, loom)))))]
        let missed_threads = 0;
        if missed_threads > 0 {
            heap.arsenal.recall();
        }
        heap.slots.hand_in(&heap.arsenal);
        let missed_cpus = heap.cpus.hand_in(&heap.arsenal, &*self.backend);
        Reclaimed { missed_threads, missed_cpus, ..Reclaimed::default() }
    }

    /// Where threads find their magazines, and why it is not where they were told to.
    pub(super) fn locator(&self, heap: &Heap) -> (Locator, Option<&'static str>) {
        let own = if cfg!(feature = "std") { Locator::PerThread } else { Locator::Shared };
        let why = Cpus::why_not();
        match self.caches(heap) {
            Caches::Hybrid if why.is_none() => (Locator::Hybrid, None),
            Caches::Cpu if why.is_none() => (Locator::PerCpu, None),
            Caches::Hybrid | Caches::Cpu => (own, why),
            Caches::Thread if own == Locator::Shared => (own, Some("without `std` threads have no caches")),
            #[cfg(all(feature = "std", not(all(test, loom))))]
            Caches::Thread if thread::why_not().is_some() => (Locator::Shared, thread::why_not()),
            Caches::Thread => (own, None),
            Caches::Shared => (Locator::Shared, None),
        }
    }
}

#[cfg(all(test, feature = "std", any(unix, windows), not(loom), not(miri)))]
mod tests {
    use super::*;
    use crate::backend::Arena;
    use crate::backend::os::refusals::refuse;
    use core::alloc::{GlobalAlloc, Layout};
    use std::vec::Vec;

    type Memory = &'static Arena<{ 4 << 20 }>;

    /// Takes blocks and frees them, so that whoever works here has magazines.
    fn work(heap: &Bandolier<Memory>) {
        let layout = Layout::new::<[u64; 9]>();
        // SAFETY: the size is not zero.
        let blocks: Vec<_> = (0..300).map(|_| unsafe { heap.alloc(layout) }).collect();
        // SAFETY: allocated just now, with this layout.
        blocks.into_iter().for_each(|block| unsafe { heap.dealloc(block, layout) });
    }

    fn is_empty(heap: &Bandolier<Memory>) -> bool {
        let stats = heap.stats();
        (stats.in_use, stats.cached) == (0, 0) && stats.from_backend == stats.metadata
    }

    /// A drain fences twice: before it begins, and before it touches what it has taken out of the table.
    #[test]
    fn what_the_second_fence_is_refused_for_waits_for_the_next() {
        static ARENA: Arena<{ 4 << 20 }> = Arena::new();
        let heap = Bandolier::with_backend(&ARENA).per_cpu();
        work(&heap);
        if heap.stats().locator != Locator::PerCpu {
            return;
        }
        let has = heap.stats().cached;
        refuse(0b1);
        assert!(heap.drain_caches().missed_cpus > 0 && has > 0);
        assert!(heap.stats().cached > 0, "a drain without a fence has taken something");
        // Twice, so that what waits is kept again, with more.
        for _ in 0..2 {
            refuse(0b10);
            assert!(heap.drain_caches().missed_cpus > 0);
            assert_eq!(heap.stats().cached, 0, "what was taken out of the table is in nobody's hands");
            assert!(heap.stats().in_use > 0, "what nobody was fenced off from was touched");
            work(&heap);
        }
        assert_eq!(heap.drain_caches().missed_cpus, 0);
        assert!(is_empty(&heap));
        // And with limits on what can be had: all places are used again.
        let records = heap.stats().metadata;
        work(&heap);
        assert_eq!((heap.drain_caches().missed_cpus, heap.stats().metadata), (0, records));
    }

    #[test]
    fn a_thread_that_cannot_be_fenced_keeps_what_it_has() {
        static ARENA: Arena<{ 4 << 20 }> = Arena::new();
        let heap = Bandolier::with_backend(&ARENA).per_thread();
        if !crate::backend::os::barrier::is_allowed() {
            return;
        }
        let (worked, seen) = (std::sync::Barrier::new(2), std::sync::Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                work(&heap);
                worked.wait();
                seen.wait();
                work(&heap);
            });
            worked.wait();
            refuse(0b1);
            let refused = heap.drain_caches();
            let (kept, reached, left) = (heap.stats().cached, heap.drain_caches(), heap.stats().in_use);
            // Before anything is said, for who waits would do so for ever.
            seen.wait();
            assert_eq!(refused.missed_threads, 1);
            assert!(kept > 0, "a search without a fence has taken something");
            assert!(reached.is_complete() && left == 0);
        });
    }
}
