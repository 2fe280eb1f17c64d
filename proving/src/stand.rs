//! A heap that is put together for a case: one of the back-ends, one of the kinds of caches.

use crate::books::Books;
use crate::common::{Account, Metered, Pages, is_large, rounded};
use crate::odd::Odd;
use crate::subject::{Subject, verbs_of_heap};
use bandolier::{Arena, Backend, Bandolier, FromGlobal, Os, SizeClass};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::alloc::System;
use std::sync::{Arc, Mutex, PoisonError};

/// Whose magazines the threads of a heap work from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caches {
    /// Their own.
    PerThread,
    /// Those of the CPU that they run on.
    PerCpu,
    /// Both.
    Hybrid,
    /// Slots that all share.
    Shared,
}

impl Caches {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::PerThread, Self::PerCpu, Self::Hybrid, Self::Shared];

    fn of<B: Backend>(self, heap: Bandolier<B>) -> Bandolier<B> {
        match self {
            Self::PerThread => heap.per_thread(),
            Self::PerCpu => heap.per_cpu(),
            Self::Hybrid => heap.hybrid(),
            Self::Shared => heap.without_thread_caches(),
        }
    }
}

/// A heap, and what is known of its back-end.
struct Stand<B: Backend> {
    heap: Bandolier<B>,
    account: Option<Arc<Account>>,
    clock: Arc<AtomicU64>,
    ample: bool,
    /// What ends after the heap does.
    #[expect(dead_code, reason = "it is dropped")]
    lease: Option<Box<dyn Send + Sync>>,
}

/// A back-end with its name, and how a heap is made on it.
pub struct Bed {
    /// As it is called in reports.
    pub name: &'static str,
    make: fn(Caches) -> Box<dyn Subject>,
}

impl Bed {
    /// A fresh heap.
    #[must_use]
    pub fn heap(&self, caches: Caches) -> Box<dyn Subject> {
        (self.make)(caches)
    }
}

/// Every back-end. Each keeps books, but for the one that must be of no size to be called when a thread exits.
pub static BEDS: [Bed; 8] = [
    Bed { name: "Os", make: |caches| metered(Os, caches, true) },
    Bed { name: "Os, without books", make: bare },
    Bed { name: "GlobalAlloc", make: |caches| metered(FromGlobal::new(&System), caches, true) },
    Bed { name: "Arena of 8 MiB", make: |caches| arena(&LARGE, caches) },
    Bed { name: "Arena of 1 MiB", make: |caches| arena(&SMALL, caches) },
    Bed { name: "Arena of 300 KiB", make: |caches| arena(&TINY, caches) },
    Bed { name: "units of 4 KiB", make: |caches| metered(Pages(FromGlobal::new(&System)), caches, true) },
    Bed { name: "a user's own", make: odd },
];

fn stand<B: Backend>(backend: B, account: Option<Arc<Account>>, caches: Caches, ample: bool) -> Stand<B> {
    Stand { heap: caches.of(Bandolier::with_backend(backend)), account, clock: Arc::default(), ample, lease: None }
}

fn metered<B: Backend>(inner: B, caches: Caches, ample: bool) -> Box<dyn Subject> {
    let (backend, account) = Metered::with_ledger(inner);
    Box::new(stand(backend, Some(account), caches, ample))
}

fn bare(caches: Caches) -> Box<dyn Subject> {
    Box::new(stand(Os, None, caches, true))
}

fn odd(caches: Caches) -> Box<dyn Subject> {
    let clock = Arc::<AtomicU64>::default();
    let (backend, account) = Metered::with_ledger(Odd::new(clock.clone()));
    Box::new(Stand { clock, ..stand(backend, Some(account), caches, true) })
}

/// Arenas to be used one case after the other: nothing stays taken in one when a heap on it is dropped.
struct Arenas<const N: usize>(Mutex<Vec<&'static Arena<N>>>);

static LARGE: Arenas<{ 8 << 20 }> = Arenas(Mutex::new(Vec::new()));
static SMALL: Arenas<{ 1 << 20 }> = Arenas(Mutex::new(Vec::new()));
static TINY: Arenas<{ 300 << 10 }> = Arenas(Mutex::new(Vec::new()));

impl<const N: usize> Arenas<N> {
    fn take(&self) -> &'static Arena<N> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_else(|| {
            // SAFETY: the layout has a size.
            let place = unsafe { System.alloc_zeroed(Layout::new::<Arena<N>>()) }.cast::<Arena<N>>();
            assert!(!place.is_null());
            // SAFETY: zeros are an arena with nothing taken, and this one is given back by nobody.
            unsafe { &*place }
        })
    }

    fn give(&self, arena: &'static Arena<N>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(arena);
    }

    fn clear(&self) {
        for arena in self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            // SAFETY: from `take`, with this layout; whoever gave it had ended with it, and the list was the last to know of it.
            unsafe { System.dealloc(ptr::from_ref(arena).cast_mut().cast(), Layout::new::<Arena<N>>()) };
        }
    }
}

/// Returns the arenas that no heap is on to the system, with all pages that heaps have touched there.
pub fn clear_arenas() {
    LARGE.clear();
    SMALL.clear();
    TINY.clear();
}

/// The use of an arena, which ends after that of the heap on it.
struct Lease<const N: usize> {
    account: Arc<Account>,
    arena: &'static Arena<N>,
    arenas: &'static Arenas<N>,
}

impl<const N: usize> Drop for Lease<N> {
    fn drop(&mut self) {
        // One that is not empty is used by nobody any more: a thread may have stayed with its heap.
        if self.account.outstanding() == 0 {
            self.arenas.give(self.arena);
        }
    }
}

fn arena<const N: usize>(arenas: &'static Arenas<N>, caches: Caches) -> Box<dyn Subject> {
    let arena = arenas.take();
    let (backend, account) = Metered::with_ledger(arena);
    let lease = Box::new(Lease { account: account.clone(), arena, arenas });
    Box::new(Stand { lease: Some(lease), ..stand(backend, Some(account), caches, false) })
}

// SAFETY: every call is the heap's.
unsafe impl<B: Backend> GlobalAlloc for Stand<B> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.heap.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.heap.dealloc(block, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.heap.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        unsafe { self.heap.realloc(block, layout, size) }
    }
}

impl<B: Backend> Subject for Stand<B> {
    fn rounded(&self, layout: Layout) -> usize {
        rounded::<B>(layout)
    }

    fn is_chunk(&self, layout: Layout) -> bool {
        SizeClass::of(layout).is_some_and(|class| class.bytes() <= B::UNIT / 2)
    }

    fn is_large(&self, layout: Layout) -> bool {
        is_large::<B>(layout)
    }

    fn is_ample(&self) -> bool {
        self.ample
    }

    fn in_use(&self, held: usize) -> usize {
        held
    }

    fn is_alone(&self) -> bool {
        true
    }

    fn books(&self) -> Option<Books> {
        self.account.clone().map(Books)
    }

    fn tick(&self, milliseconds: u64) {
        self.clock.fetch_add(milliseconds, Relaxed);
    }

    verbs_of_heap!();
}
