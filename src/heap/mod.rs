//! The heap: caches over an arsenal over a back-end.
//!
//! | layout                                   | served by                      | freed into                |
//! |------------------------------------------|--------------------------------|---------------------------|
//! | up to 32 KiB (half a unit, if less)      | a chunk: cache, depot, slab    | the cache                 |
//! | up to a segment                          | a run of units                 | its segment               |
//! | more, or aligned to more than a unit     | the back-end                   | the back-end              |
//!
//! Which row a block belongs to follows from its layout alone, so `dealloc` looks nothing up before it has to.

mod blocks;
mod caches;
mod checks;
mod verbs;

use crate::arsenal::Arsenal;
use crate::backend::{Backend, Native};
use crate::cache::cpus::Cpus;
#[cfg(all(feature = "std", not(all(test, loom))))]
use crate::cache::holsters::Holsters;
use crate::cache::shared::Slots;
#[cfg(all(feature = "std", not(all(test, loom))))]
use crate::cache::thread;
use crate::geometry::{CHECKED, HARDENED, UNITS, WIPED};
use crate::home::Home;
use crate::magazine::Round;
use crate::passes::TRIES;
use crate::reclaim;
use crate::segment::guards;
use crate::size_class::SizeClass;
use crate::supply::{Drawn, METADATA, Supply};
use crate::surplus::{Budget, Scope};
use crate::sync::{AtomicPtr, Ordering, Witness, const_fn};
use crate::tell;
use core::alloc::{GlobalAlloc, Layout};
use core::fmt;
use core::mem::ManuallyDrop;
use core::ptr::{self, NonNull};

use caches::Caches;

/// Where the rounds of a heap wait: made at the first allocation, in memory of the back-end.
#[repr(C)]
struct Heap {
    /// First, so that a heap and its arsenal have one address, by which threads know it.
    arsenal: Arsenal,
    #[cfg(all(feature = "std", not(all(test, loom))))]
    holsters: Holsters,
    cpus: Cpus,
    slots: Slots,
    /// In the place of a hybrid.
    told: Caches,
    witness: Witness,
}

const _: () = assert!(core::mem::offset_of!(Heap, arsenal) == 0);

impl Heap {
    const_fn! {
        fn new() -> Self {
            Self {
                arsenal: Arsenal::new(),
                #[cfg(all(feature = "std", not(all(test, loom))))]
                holsters: Holsters::new(),
                cpus: Cpus::new(),
                slots: Slots::new(),
                told: Caches::Hybrid,
                witness: Witness::new(),
            }
        }
    }

    /// By what tools know it.
    fn address(&self) -> usize {
        ptr::from_ref(self).addr()
    }

    /// Makes a heap in place: it is too large for the stack of a small thread or of a kernel.
    ///
    /// # Safety
    /// The place is the caller's to write a heap to.
    unsafe fn write_new<B: Backend>(place: NonNull<Self>) {
        #[cfg(not(all(test, loom)))]
        {
            static NEW: Heap = Heap::new();
            // SAFETY: the caller's promise; a heap that was never used may be copied, since it refers to nothing of its own.
            unsafe { place.copy_from_nonoverlapping(NonNull::from(&NEW), 1) };
        }
        #[cfg(all(test, loom))]
        // SAFETY: the caller's promise.
        unsafe {
            place.write(Self::new());
        }
        // SAFETY: the caller's promise; the heap there was written just now, and nobody else knows it.
        let heap = unsafe { &mut *place.as_ptr() };
        heap.arsenal.tidy = reclaim::tidier::<B>();
        if HARDENED {
            heap.arsenal.slabs.dice.seed(checks::seed(place));
        }
        #[cfg(not(all(test, loom)))]
        if B::SOLE.is_some() {
            heap.told = Caches::of_environment();
        }
        #[cfg(all(feature = "std", not(all(test, loom))))]
        // SAFETY: as above; the place is where it stays.
        unsafe { place.as_ref() }.holsters.settle();
    }
}

/// What a block that is no chunk is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Use {
    Any,
    /// It must read as zero.
    Zeroed,
    /// To take over from a block that was too small, and so may be this one soon.
    Growing,
}

/// How a block of some layout is served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Chunk(SizeClass),
    Run,
    Large,
}

/// A heap: a lock-free magazine allocator on the back-end `B`.
///
/// As a `static` with `#[global_allocator]` it replaces the program's allocator. It takes nothing from the back-end before
/// the first allocation, and gives back what it can when [`reclaim`](Self::reclaim) is called.
///
/// [`Bandolier::new`] is the heap of the process; [`with_backend`](Self::with_backend) makes others, each its own. A thread has
/// a cache for the first, and one for the first other heap whose small blocks it takes or frees; for the rest it uses slots
/// that all threads share, which costs an atomic exchange per operation. `Bandolier::with_backend(Os)` is a heap of its own on the
/// operating system's memory.
///
/// # Examples
///
/// ```
/// use bandolier::Bandolier;
///
/// #[global_allocator]
/// static HEAP: Bandolier = Bandolier::new();
///
/// let words: Vec<String> = (0..1000).map(|n| format!("word {n}")).collect();
/// assert!(HEAP.stats().in_use > 24_000);
/// drop(words);
/// let _ = HEAP.reclaim();
/// ```
///
/// # Dropping
///
/// The heap of the process stays when a name of it is dropped. Another
/// heap that is dropped gives everything back to its back-end; blocks still in use are then invalid, as those of any
/// allocator that is gone. One with thread caches can do that only when no thread keeps magazines of it any more;
/// otherwise its memory is leaked. A heap that is meant to be dropped is best made
/// [`without_thread_caches`](Self::without_thread_caches).
///
/// # Signals, forks, and libraries that are unloaded
///
/// A signal handler may take and free blocks of a heap of which threads have no magazines of their own, once the thread has used it:
/// one made [`without_thread_caches`](Self::without_thread_caches), or [`per_cpu`](Self::per_cpu) where
/// [`Stats::locator`](crate::Stats::locator) says so. Not of any other: the fast path of a thread's own magazines is no single
/// instruction, and a handler would come between two.
///
/// A child forked from a process with many threads goes on with all heaps as they are. What other threads had in their
/// magazines or hands at that moment is lost to it; it waits for none of them. A child that shares its parent's memory until it
/// executes another program (`vfork`) must not allocate.
///
/// A library that has a heap as its global allocator may be loaded and unloaded beside threads that have used it and live on.
/// What that heap holds stays with the process, for blocks of it may be in use: after [`reclaim`](Self::reclaim) that is what was
/// never freed, and some 200 KiB of addresses for records, of which some 50 KiB are resident.
pub struct Bandolier<B: Backend = Native> {
    heap: AtomicPtr<Heap>,
    caches: Caches,
    backend: ManuallyDrop<B>,
}

#[cfg(all(feature = "std", not(all(test, loom))))]
impl Bandolier {
    /// The heap of the process, on the operating system's memory. There is one: all values of this type are names of it,
    /// and none takes it away when it is dropped.
    ///
    /// [`with_backend`](Self::with_backend) makes other heaps.
    #[must_use]
    pub const fn new() -> Self {
        Self::with_backend(Native)
    }
}

#[cfg(all(feature = "std", not(all(test, loom))))]
impl Default for Bandolier {
    fn default() -> Self {
        Self::new()
    }
}

/// A block that has grown is put where it can grow to so many times its size.
const ROOM: usize = 16;

fn step_aside() {
    #[cfg(all(feature = "std", not(all(test, loom))))]
    crate::backend::os::step_aside();
    core::hint::spin_loop();
}

/// The heap of the process.
#[cfg(not(all(test, loom)))]
static SOLE: AtomicPtr<Heap> = AtomicPtr::new(ptr::null_mut());

impl<B: Backend> Bandolier<B> {
    /// Whether this is the heap of the process.
    const SOLE: bool = B::SOLE.is_some();

    /// The largest chunk that a slab is cut into, in bytes.
    const CHUNK_LIMIT: usize = if B::UNIT / 2 < SizeClass::MAX_BYTES { B::UNIT / 2 } else { SizeClass::MAX_BYTES };
    /// The largest run of units, in bytes: a whole segment, less what guards take.
    const RUN_LIMIT: usize = {
        let most = UNITS as usize * B::UNIT;
        let segment = if B::SEGMENT < most { B::SEGMENT } else { most };
        segment - 4 * guards::<B>() as usize * B::UNIT
    };

    const_fn! {
        /// A heap on `backend`.
        #[must_use]
        pub fn with_backend(backend: B) -> Self {
            const {
                assert!(B::UNIT.is_power_of_two() && 4096 <= B::UNIT && B::UNIT <= 64 << 10);
                let units = B::SEGMENT / B::UNIT;
                assert!(B::SEGMENT % B::UNIT == 0 && UNITS as usize / 8 <= units && units <= UNITS as usize);
                assert!(B::ADDRESS_BITS <= usize::BITS);
            }
            Self {
                heap: AtomicPtr::new(ptr::null_mut()),
                caches: if Self::SOLE { Caches::Hybrid } else { Caches::Thread },
                backend: ManuallyDrop::new(backend),
            }
        }
    }

    /// The same heap, in which every thread works from magazines of its own from its first block on: the least time, and the
    /// most memory where threads are many.
    #[must_use]
    pub const fn per_thread(mut self) -> Self {
        self.caches = Caches::Thread;
        self
    }

    /// The same heap, in which threads work from the magazines of the CPU that they run on, and of those classes in which they
    /// are busy, from magazines of their own. Where the first is not possible, from their own only.
    #[must_use]
    pub const fn hybrid(mut self) -> Self {
        self.caches = Caches::Hybrid;
        self
    }

    /// The same heap, in which threads work from the magazines of the CPU that they run on, and have none of their own: the
    /// least memory where threads are many. Where that is not possible, each has its own.
    #[must_use]
    pub const fn per_cpu(mut self) -> Self {
        self.caches = Caches::Cpu;
        self
    }

    /// The same heap, for which no thread gets a cache by this value: for heaps that come and go. A thread that has one already,
    /// through another name of the heap of the process, works from it all the same.
    #[must_use]
    pub const fn without_thread_caches(mut self) -> Self {
        self.caches = Caches::Shared;
        self
    }

    /// The back-end.
    #[must_use]
    pub fn backend(&self) -> &B {
        &self.backend
    }

    // ---- the fast paths ----------------------------------------------------------------------------------------------

    #[inline(always)]
    const fn kind(layout: Layout) -> Kind {
        match SizeClass::within(layout, Self::CHUNK_LIMIT) {
            Some(class) => Kind::Chunk(class),
            None if layout.size() <= Self::RUN_LIMIT && layout.align() <= B::UNIT => Kind::Run,
            None => Kind::Large,
        }
    }

    /// Where the heap is to be found.
    #[inline(always)]
    fn place(&self) -> &AtomicPtr<Heap> {
        #[cfg(not(all(test, loom)))]
        if Self::SOLE {
            return &SOLE;
        }
        &self.heap
    }

    /// By what threads know this heap: equal to their cache's owner only if that is this heap.
    #[inline(always)]
    fn identity(&self) -> *const Arsenal {
        // Relaxed: the address alone is compared, and it is set once. A thread that made it its owner acquired it.
        self.place().load(Ordering::Relaxed).cast()
    }

    /// Works on the calling thread's cache for such heaps.
    #[cfg(all(feature = "std", not(all(test, loom))))]
    #[inline(always)]
    fn cache<R>(work: impl FnOnce(&thread::ThreadCache) -> R) -> R {
        thread::with(Self::SOLE, work)
    }

    /// A chunk from the calling thread's loaded magazine.
    #[inline(always)]
    fn pop(&self, class: SizeClass) -> Option<Round> {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        return Self::cache(|cache| {
            (Self::SOLE || cache.works_for(self.identity())).then(|| cache.pop(class)).flatten()
        });
        #[cfg(not(all(feature = "std", not(all(test, loom)))))]
        return {
            let _ = (class, self.identity());
            None
        };
    }

    /// Puts a chunk into the calling thread's loaded magazine.
    #[inline(always)]
    fn push(&self, class: SizeClass, chunk: Round) -> bool {
        #[cfg(all(feature = "std", not(all(test, loom))))]
        return Self::cache(|cache| (Self::SOLE || cache.works_for(self.identity())) && cache.push(class, chunk));
        #[cfg(not(all(feature = "std", not(all(test, loom)))))]
        return {
            let _ = (class, chunk);
            false
        };
    }

    #[inline(always)]
    fn alloc_chunk(&self, class: SizeClass, layout: Layout) -> *mut u8 {
        let chunk = match self.pop(class) {
            Some(chunk) => chunk.as_ptr(),
            None => Self::alloc_slow(class, self),
        };
        tell::allocated(|| self.identity().addr(), chunk, layout.size(), false);
        if CHECKED {
            self.note_taken(chunk, class, layout);
        }
        chunk
    }

    #[inline(always)]
    fn dealloc_chunk(&self, chunk: Round, class: SizeClass, layout: Layout) {
        tell::freed(|| self.identity().addr(), chunk.as_ptr(), layout.size());
        if CHECKED {
            self.note_given(chunk, class, layout);
        }
        // What a hardened heap gets back is not handed out again soon.
        if HARDENED || !self.push(class, chunk) {
            Self::dealloc_slow(chunk, class, self);
        }
    }

    #[inline(always)]
    fn alloc_zeroed_chunk(&self, class: SizeClass, layout: Layout) -> *mut u8 {
        let chunk = self.alloc_chunk(class, layout);
        // What is free in a hardened heap is zero.
        if !WIPED && !chunk.is_null() {
            // SAFETY: the chunk is ours and has at least the size of the layout.
            unsafe { chunk.write_bytes(0, layout.size()) };
        }
        chunk
    }

    /// Moves a block to a chunk of another class: what most growing vectors and strings do.
    ///
    /// # Safety
    /// As [`GlobalAlloc::realloc`], with the classes of both layouts.
    #[inline(never)]
    unsafe fn move_chunk(&self, block: *mut u8, from: SizeClass, to: SizeClass, old: Layout, new: usize) -> *mut u8 {
        // SAFETY: the new size fits the alignment, by the caller's promise.
        let wanted = unsafe { Layout::from_size_align_unchecked(new, old.align()) };
        let moved = self.alloc_chunk(to, wanted);
        if !moved.is_null() {
            // SAFETY: both blocks have that many bytes, and the new one is disjoint from the old.
            unsafe { ptr::copy_nonoverlapping(block, moved, old.size().min(new)) };
            // SAFETY: a block that was allocated is not null.
            let chunk = unsafe { NonNull::new_unchecked(block) };
            self.dealloc_chunk(chunk, from, old);
        }
        moved
    }

    /// For layouts that are not the usual ones: larger chunks, larger alignments, runs and large blocks.
    #[inline(never)]
    fn alloc_other(layout: Layout, purpose: Use, this: &Self) -> *mut u8 {
        match Self::kind(layout) {
            Kind::Chunk(class) if purpose == Use::Zeroed => this.alloc_zeroed_chunk(class, layout),
            Kind::Chunk(class) => this.alloc_chunk(class, layout),
            Kind::Run | Kind::Large => this.alloc_block(layout, purpose),
        }
    }

    /// # Safety
    /// As [`GlobalAlloc::dealloc`].
    #[inline(never)]
    unsafe fn dealloc_other(block: NonNull<u8>, layout: Layout, this: &Self) {
        match Self::kind(layout) {
            Kind::Chunk(class) => this.dealloc_chunk(block, class, layout),
            // SAFETY: the caller's promise.
            Kind::Run | Kind::Large => unsafe { this.dealloc_block(block, layout) },
        }
    }

    // ---- the slow paths ----------------------------------------------------------------------------------------------

    /// The heap, if it is there already.
    fn made(&self) -> Option<&Heap> {
        // Acquire: the heap, made before the Release in `make`.
        let heap = self.place().load(Ordering::Acquire);
        // SAFETY: null, or a heap that lives as long as this value: only `drop` takes it away, and never that of the process.
        let heap = unsafe { heap.as_ref() }?;
        heap.witness.look();
        Some(heap)
    }

    /// The heap, made at the first call; `None` when the back-end has no memory for it.
    fn heap(&self) -> Option<&Heap> {
        self.made().or_else(|| self.make())
    }

    #[cold]
    fn make(&self) -> Option<&Heap> {
        let drawn = Drawn::new();
        let supply = Supply { backend: &*self.backend, drawn: &drawn };
        let memory = supply.acquire(METADATA, Layout::new::<Heap>())?;
        let made = memory.cast::<Heap>();
        // SAFETY: just acquired with the layout of a `Heap`.
        unsafe { Heap::write_new::<B>(made) };
        // SAFETY: made just now, and it lives as long as this value, unless another thread's is taken instead.
        let heap = unsafe { made.as_ref() };
        heap.arsenal.drawn.adopt(METADATA, size_of::<Heap>());
        tell::begun(made.addr().get());
        heap.witness.touch();
        // Release: the heap. Acquire on failure: the other thread's heap.
        match self.place().compare_exchange(ptr::null_mut(), made.as_ptr(), Ordering::Release, Ordering::Acquire) {
            Ok(_) => Some(heap),
            Err(other) => {
                tell::ended(made.addr().get());
                // SAFETY: acquired above, never published; a `Heap` owns nothing before its first use.
                unsafe { supply.release(METADATA, memory, Layout::new::<Heap>()) };
                // SAFETY: as in `made`.
                let heap = unsafe { other.as_ref() }?;
                heap.witness.look();
                Some(heap)
            }
        }
    }

    /// With its arguments where the fast path has them: it would otherwise move them on every call, for this one's sake.
    ///
    /// It does no more than a CPU's magazine takes, since that is all that a thread without magazines of its own mostly needs.
    #[cold]
    #[inline(never)]
    fn alloc_slow(class: SizeClass, this: &Self) -> *mut u8 {
        match this.made().and_then(|heap| this.post_at_once(heap, class)).and_then(|post| post.pop(class)) {
            Some(chunk) => chunk.as_ptr(),
            None => Self::alloc_slower(class, this),
        }
    }

    #[cold]
    #[inline(never)]
    fn alloc_slower(class: SizeClass, this: &Self) -> *mut u8 {
        let Some(heap) = this.heap() else { return ptr::null_mut() };
        let chunk = this.take(heap, class).or_else(|| this.take_rescued(heap, class));
        chunk.map_or(ptr::null_mut(), NonNull::as_ptr)
    }

    #[cold]
    #[inline(never)]
    fn take_rescued(&self, heap: &Heap, class: SizeClass) -> Option<Round> {
        self.rescued(heap, B::UNIT, || self.take(heap, class))
    }

    /// As [`alloc_slow`](Self::alloc_slow).
    #[cold]
    #[inline(never)]
    fn dealloc_slow(chunk: Round, class: SizeClass, this: &Self) {
        let post = if HARDENED { None } else { this.made().and_then(|heap| this.post_at_once(heap, class)) };
        if !post.is_some_and(|post| post.push(class, chunk)) {
            Self::dealloc_slower(chunk, class, this);
        }
    }

    #[cold]
    #[inline(never)]
    fn dealloc_slower(chunk: Round, class: SizeClass, this: &Self) {
        // A chunk that is freed came from the heap, so the heap is there.
        let Some(heap) = this.made() else { return };
        let home = this.give(heap, class, chunk);
        this.ebb(heap, home);
    }

    /// Gives back what the heap holds too much of, if what was freed with that home says that it is time to look.
    fn ebb(&self, heap: &Heap, home: Home) {
        if heap.arsenal.surplus.is_due(home) {
            reclaim::ebb(&heap.arsenal, &*self.backend, home);
        }
    }

    /// Before saying that there is no memory for a block, for which so many bytes would have to be drawn at least: does what can be
    /// done, and asks again after each.
    fn rescued<R>(&self, heap: &Heap, need: usize, take: impl Fn() -> Option<R>) -> Option<R> {
        let passes = &heap.arsenal.passes;
        let before = passes.before();
        self.rescue(heap);
        let rescued = take().or_else(|| {
            heap.arsenal.release_free(&*self.backend, Scope::All, &Budget::of(usize::MAX));
            take()
        });
        let granted = rescued.or_else(|| heap.arsenal.drawn.exceed(need, &take));
        if granted.is_some() || !passes.were_since(before) {
            return granted;
        }
        // Others have in their hands what there is, or had.
        let then = passes.before();
        for _ in 0..TRIES {
            let before = passes.before();
            step_aside();
            let taken = take().or_else(|| heap.arsenal.drawn.exceed(need, &take));
            if taken.is_some() || !passes.were_since(before) {
                return taken;
            }
        }
        passes.write_off(then);
        None
    }

    /// Brings home all that lies idle in this thread's reach.
    fn rescue(&self, heap: &Heap) {
        let _ = self.hand_in(heap);
        reclaim::drain(&heap.arsenal, &*self.backend, Scope::All, &Budget::of(usize::MAX));
        heap.arsenal.retire_idle(&*self.backend, Scope::All);
    }

    // ---- runs and large blocks ---------------------------------------------------------------------------------------

    /// All that the heap shares, if it is there already.
    pub(crate) fn arsenal(&self) -> Option<&Arsenal> {
        self.made().map(|heap| &heap.arsenal)
    }

    /// The same, made at the first call; `None` when the back-end has no memory for it.
    pub(crate) fn arsenal_to_be(&self) -> Option<&Arsenal> {
        self.heap().map(|heap| &heap.arsenal)
    }

    // ---- verbs -------------------------------------------------------------------------------------------------------
}

impl<B: Backend> Drop for Bandolier<B> {
    fn drop(&mut self) {
        if Self::SOLE {
            return;
        }
        if let Some(heap) = self.made() {
            #[cfg(all(feature = "std", not(all(test, loom))))]
            Self::cache(|cache| cache.part(&heap.arsenal));
            if heap.arsenal.threads() > 0 {
                // A thread that has not exited yet will hand its magazines in: they, and the back-end, stay.
                return;
            }
            tell::ended(heap.address());
            #[cfg(all(feature = "std", not(all(test, loom))))]
            // SAFETY: no thread is counted, and no call is under way, for there is no other reference to this value.
            unsafe {
                heap.holsters.release(heap.arsenal.supply(&*self.backend));
            }
            // SAFETY: as above.
            unsafe { heap.cpus.release(heap.arsenal.supply(&*self.backend)) };
            // SAFETY: as above.
            unsafe { heap.arsenal.release(&*self.backend) };
            // Relaxed: nobody else has this value. The pointer, and not `heap`, has the right to the memory.
            if let Some(memory) = NonNull::new(self.heap.load(Ordering::Relaxed)) {
                // SAFETY: acquired in `make` with this layout; nothing refers to the heap any more.
                unsafe { self.backend.release(memory.cast(), Layout::new::<Heap>()) };
            }
        }
        // SAFETY: not used after this, and dropped once.
        unsafe { ManuallyDrop::drop(&mut self.backend) };
    }
}

impl<B: Backend> fmt::Debug for Bandolier<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stats = self.stats();
        f.debug_struct("Bandolier")
            .field("from_backend", &stats.from_backend)
            .field("in_use", &stats.in_use)
            .field("caches", &self.caches)
            .finish_non_exhaustive()
    }
}

// SAFETY: blocks are chunks, runs or blocks of the back-end, each handed out to one party until it is freed, with at
// least the size and alignment of its layout (`SizeClass::within`, `take_run`, `Backend::acquire`); nothing unwinds.
unsafe impl<B: Backend> GlobalAlloc for Bandolier<B> {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match SizeClass::usual(layout, Self::CHUNK_LIMIT) {
            Some(class) => self.alloc_chunk(class, layout),
            None => Self::alloc_other(layout, Use::Any, self),
        }
    }

    #[inline]
    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        // SAFETY: a block that was allocated is not null.
        let block = unsafe { NonNull::new_unchecked(ptr) };
        match SizeClass::usual(layout, Self::CHUNK_LIMIT) {
            Some(class) => self.dealloc_chunk(block, class, layout),
            // SAFETY: the caller's promise.
            None => unsafe { Self::dealloc_other(block, layout, self) },
        }
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        match SizeClass::usual(layout, Self::CHUNK_LIMIT) {
            Some(class) => self.alloc_zeroed_chunk(class, layout),
            None => Self::alloc_other(layout, Use::Zeroed, self),
        }
    }

    #[inline]
    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // SAFETY: the new size fits the alignment, by the caller's promise.
        let new = unsafe { Layout::from_size_align_unchecked(new_size, layout.align()) };
        let class = |layout| SizeClass::usual(layout, Self::CHUNK_LIMIT);
        match (class(layout), class(new)) {
            (Some(from), Some(to)) if from == to => {
                if CHECKED {
                    self.note_kept(ptr, from, layout, new_size);
                }
                tell::resized(|| self.identity().addr(), ptr, layout.size(), new_size)
            }
            // SAFETY: the caller's promise.
            (Some(from), Some(to)) => unsafe { self.move_chunk(ptr, from, to, layout, new_size) },
            // SAFETY: the caller's promise.
            _ => unsafe { self.realloc_slow(ptr, layout, new) },
        }
    }
}

#[cfg(all(test, loom))]
#[path = "../../loom-tests/heap.rs"]
mod loom_tests;
