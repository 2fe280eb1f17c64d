//! What the models share: a small back-end that watches who uses its memory, and the way models are run.

use crate::backend::Backend;
use crate::geometry::CPUS;
use crate::supply::{Drawn, Supply};
use crate::sync::Witness;
use core::alloc::Layout;
use core::ptr::NonNull;
use std::cell::RefCell;
use std::sync::{Arc, Mutex};
use std::vec::Vec;

/// Bytes of a unit of the model's back-end.
pub(crate) const UNIT: usize = 4096;
/// Units of all segments together.
const UNITS: usize = 16;
/// Watched places in a unit: its first chunks of 16 bytes.
const PLACES: usize = 4;

struct Region(Layout, NonNull<u8>);

/// Memory for a model: segments from one region, in which every chunk is watched; metadata from the system.
///
/// Its own bookkeeping is behind a lock that loom does not see, so it orders nothing for the code under test.
pub(crate) struct Memory {
    region: Region,
    watched: Vec<Witness>,
    books: Mutex<Books>,
}

struct Books {
    /// Segment units handed out, as bits.
    units: u32,
    /// Units that were ever handed out: none is handed out again, since this back-end orders nothing.
    ever: u32,
    /// Blocks of metadata handed out, each with its witness.
    blocks: Vec<(NonNull<u8>, Layout, Witness)>,
    /// Acquisitions that still succeed.
    left: usize,
}

// SAFETY: the region is plain memory, used as the code under test decides; the books are behind a lock.
unsafe impl Sync for Memory {}
// SAFETY: as above.
unsafe impl Send for Memory {}

/// A shared [`Memory`] as a back-end.
#[derive(Clone)]
pub(crate) struct Shared(pub(crate) Arc<Memory>);

impl Memory {
    pub(crate) fn new() -> Shared {
        Self::limited(usize::MAX)
    }

    /// Memory whose acquisitions fail after `left`.
    pub(crate) fn limited(left: usize) -> Shared {
        let layout = Layout::from_size_align(UNITS * UNIT, UNITS * UNIT).unwrap();
        // SAFETY: the size is not zero.
        let start = NonNull::new(unsafe { std::alloc::alloc(layout) }).unwrap();
        Shared(Arc::new(Self {
            region: Region(layout, start),
            watched: (0..UNITS * PLACES).map(|_| Witness::new()).collect(),
            books: Mutex::new(Books { units: 0, ever: 0, blocks: Vec::new(), left }),
        }))
    }

    fn place(&self, address: usize) -> usize {
        let offset = address - self.region.1.addr().get();
        offset / UNIT * PLACES + (offset % UNIT / 16).min(PLACES - 1)
    }

    fn watch(&self, start: NonNull<u8>, bytes: usize) {
        let (first, last) = (self.place(start.addr().get()), self.place(start.addr().get() + bytes - 1));
        for witness in &self.watched[first..=last] {
            witness.touch();
        }
    }

    /// Uses a chunk or a run, as its only owner.
    pub(crate) fn touch(&self, chunk: NonNull<u8>) {
        self.watched[self.place(chunk.addr().get())].touch();
    }

    /// Uses the block of metadata that begins at `block`, perhaps with others.
    pub(crate) fn look(&self, block: NonNull<u8>) {
        let books = self.books.lock().unwrap();
        let found = books.blocks.iter().find(|(start, ..)| *start == block);
        found.expect("no such block").2.look();
    }

    /// Has the next acquisition succeed, if there is memory.
    pub(crate) fn allow_one(&self) {
        self.books.lock().unwrap().left = 1;
    }

    /// Bytes of segments handed out.
    pub(crate) fn segment_bytes(&self) -> usize {
        self.books.lock().unwrap().units.count_ones() as usize * UNIT
    }

    /// Blocks of metadata handed out.
    pub(crate) fn metadata_blocks(&self) -> usize {
        self.books.lock().unwrap().blocks.len()
    }

    fn take_units(&self, books: &mut Books, units: usize) -> Option<NonNull<u8>> {
        let run = (1_u32 << units) - 1;
        let first = (0..=UNITS - units).find(|first| books.ever & run << first == 0)?;
        books.units |= run << first;
        books.ever |= run << first;
        // SAFETY: inside the region.
        Some(unsafe { self.region.1.add(first * UNIT) })
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        for (block, layout, _) in self.books.get_mut().unwrap().blocks.drain(..) {
            // SAFETY: allocated in `acquire` with this layout; the model is over.
            unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
        }
        // SAFETY: allocated in `limited` with this layout; the model is over.
        unsafe { std::alloc::dealloc(self.region.1.as_ptr(), self.region.0) };
    }
}

// SAFETY: segments are disjoint runs of one region, metadata blocks are the system allocator's, which is not the heap
// under test; the bookkeeping panics only when a model is wrong.
unsafe impl Backend for Shared {
    const UNIT: usize = UNIT;
    const SEGMENT: usize = 4 * UNIT;
    const PURGES: bool = true;
    const ADDRESS_BITS: u32 = (UNITS * UNIT).ilog2();

    fn base(&self) -> usize {
        self.0.region.1.addr().get()
    }

    fn granule(&self) -> usize {
        16
    }

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        let memory = &*self.0;
        let mut books = memory.books.lock().unwrap();
        books.left = books.left.checked_sub(1)?;
        if layout.align() == UNIT && layout.size() % UNIT == 0 {
            let start = memory.take_units(&mut books, layout.size() / UNIT)?;
            drop(books);
            memory.watch(start, layout.size());
            return Some(start);
        }
        // SAFETY: the size is not zero.
        let block = NonNull::new(unsafe { std::alloc::alloc(layout) })?;
        let witness = Witness::new();
        witness.touch();
        books.blocks.push((block, layout, witness));
        Some(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        let memory = &*self.0;
        if layout.align() == UNIT && layout.size() % UNIT == 0 {
            memory.watch(block, layout.size());
            let first = (block.addr().get() - self.base()) / UNIT;
            memory.books.lock().unwrap().units &= !(((1 << (layout.size() / UNIT)) - 1) << first);
            return;
        }
        let mut books = memory.books.lock().unwrap();
        let at = books.blocks.iter().position(|(start, ..)| *start == block).expect("no such block");
        let (block, layout, witness) = books.blocks.swap_remove(at);
        witness.touch();
        // SAFETY: allocated in `acquire` with this layout, and given back.
        unsafe { std::alloc::dealloc(block.as_ptr(), layout) };
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        let memory = &*self.0;
        if start.addr().get().wrapping_sub(self.base()) < UNITS * UNIT {
            memory.watch(start, bytes);
            return true;
        }
        let books = memory.books.lock().unwrap();
        let found = books.blocks.iter().find(|(first, layout, _)| {
            (first.addr().get()..first.addr().get() + layout.size()).contains(&start.addr().get())
        });
        found.expect("no such block").2.touch();
        true
    }
}

/// A [`Memory`] with an account.
pub(crate) struct Source {
    pub(crate) memory: Shared,
    drawn: Drawn,
}

impl Source {
    pub(crate) fn new() -> Self {
        Self { memory: Memory::new(), drawn: Drawn::new() }
    }

    pub(crate) fn supply(&self) -> Supply<'_, Shared> {
        Supply { backend: &self.memory, drawn: &self.drawn }
    }

    pub(crate) fn memory(&self) -> &Memory {
        &self.memory.0
    }
}

/// The CPUs of a model, and how often each was given to another.
///
/// Who is seated on one takes its steps there, and a fence of all comes between two steps of everybody: what was done before it
/// is seen after it.
pub(crate) struct Machine([loom::sync::Mutex<usize>; CPUS]);

loom::thread_local! {
    static SEATED: RefCell<Option<(Arc<Machine>, usize)>> = RefCell::new(None);
}

impl Machine {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(core::array::from_fn(|_| loom::sync::Mutex::new(0))))
    }

    /// Lets the calling thread run on a CPU.
    pub(crate) fn seat(machine: &Arc<Self>, cpu: usize) {
        SEATED.with(|seated| *seated.borrow_mut() = Some((machine.clone(), cpu)));
    }

    /// Where the calling thread runs.
    pub(crate) fn seated() -> Option<(Arc<Self>, usize)> {
        SEATED.with(|seated| seated.borrow().clone())
    }

    /// A CPU for the caller alone, and how often it was given away.
    pub(crate) fn hold(&self, cpu: usize) -> loom::sync::MutexGuard<'_, usize> {
        self.0[cpu].lock().unwrap()
    }

    /// Takes a step on the CPU where the calling thread runs, if there is one.
    pub(crate) fn step<R>(access: impl FnOnce() -> R) -> R {
        let seated = Self::seated();
        let held = seated.as_ref().map(|(machine, cpu)| machine.hold(*cpu));
        let result = access();
        drop(held);
        result
    }

    /// Comes between two steps of everybody; whether there are CPUs.
    pub(crate) fn fence_all() -> bool {
        let Some((machine, _)) = Self::seated() else { return false };
        (0..CPUS).for_each(|cpu| drop(machine.hold(cpu)));
        true
    }
}

/// Which of the two parties of a race is the thread that loom runs first.
///
/// loom remembers only the last access to a location, so a thread that loads and then exchanges hides the load before it,
/// and the order in which its exchange comes before that load is never tried. Every model is therefore explored twice,
/// with the parties changing places.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Side {
    Left,
    Right,
}

impl Side {
    /// Runs both parties at once, each on a thread of its own; what they return.
    pub(crate) fn race<W: 'static, L: 'static, R: 'static>(
        self,
        world: &Arc<W>,
        left: impl FnOnce(&W) -> L + 'static,
        right: impl FnOnce(&W) -> R + 'static,
    ) -> (L, R) {
        let there = Arc::clone(world);
        if self == Self::Left {
            let other = loom::thread::spawn(move || right(&there));
            let mine = left(world);
            (mine, other.join().unwrap())
        } else {
            let other = loom::thread::spawn(move || left(&there));
            let mine = right(world);
            (other.join().unwrap(), mine)
        }
    }
}

/// Explores `model` from both sides, with the bounds from the environment, two preemptions if it says nothing.
pub(crate) fn explore(model: impl Fn(Side) + Copy + Send + Sync + 'static) {
    for side in [Side::Left, Side::Right] {
        let mut builder = loom::model::Builder::new();
        builder.max_branches = 100_000;
        builder.preemption_bound = builder.preemption_bound.or(Some(2));
        builder.check(move || model(side));
    }
}
