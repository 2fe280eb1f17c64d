//! What knows better: every block that a heap has handed out, and what the heap must say about itself.
//!
//! Several threads may ask it to do something at a time. A block that one is at work on is in nobody's slot meanwhile, so none
//! waits for another inside of the heap.

use crate::block::{Block, Unchanged};
use crate::op::{HOARDS, Op, Order, Pause, Refusal, SLOTS, limits};
use crate::subject::Subject;
use bandolier::{Bounds, Limits, Reclaimed};
use core::alloc::Layout;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed, Ordering::SeqCst};
use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What was done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Operations.
    pub ops: u64,
    /// Blocks that were handed out.
    pub blocks: u64,
    /// Bytes in them, as they were asked for.
    pub bytes: u64,
    /// Allocations that were refused.
    pub refused: u64,
}

/// The oracle of one heap.
pub struct Oracle {
    slots: [Mutex<Option<Block>>; SLOTS],
    hoards: [Mutex<Vec<Block>>; HOARDS],
    /// From the start of each live block to its end; not where many threads would meet there all the time.
    map: Option<Mutex<BTreeMap<usize, usize>>>,
    /// Bytes in live blocks, as `stats` counts them.
    held: AtomicUsize,
    /// Of them, those of the back-end's own blocks.
    large: AtomicUsize,
    /// Bytes that may be held.
    budget: usize,
    stamps: AtomicU64,
    /// Odd while memory may be refused that there is; a change of it tells that there was such a time.
    constraint: AtomicU64,
    /// Held by who changes what may be refused, so that it is known in the same order.
    rules: Mutex<()>,
    hard: AtomicUsize,
    /// The hard limit, or what was held already when it was set.
    ceiling: AtomicUsize,
    ops: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Oracle {
    /// Of a heap that may hold so many bytes, and that nothing was taken from yet.
    #[must_use]
    pub fn new(budget: usize, with_map: bool) -> Self {
        Self {
            slots: [const { Mutex::new(None) }; SLOTS],
            hoards: [const { Mutex::new(Vec::new()) }; HOARDS],
            map: with_map.then(Mutex::default),
            held: AtomicUsize::new(0),
            large: AtomicUsize::new(0),
            budget,
            stamps: AtomicU64::new(1),
            constraint: AtomicU64::new(0),
            rules: Mutex::new(()),
            hard: AtomicUsize::new(usize::MAX),
            ceiling: AtomicUsize::new(usize::MAX),
            ops: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }
    }

    /// What was done so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        let [ops, bytes, refused] = [&self.ops, &self.bytes, &self.refused].map(|n| n.load(Relaxed));
        Tally { ops, blocks: self.stamps.load(Relaxed) - 1, bytes, refused }
    }

    /// Does what is asked for, and checks what can be checked while others are at work.
    ///
    /// # Panics
    /// When the heap breaks a promise.
    pub fn apply(&self, heap: &dyn Subject, op: Op) {
        self.ops.fetch_add(1, Relaxed);
        match op {
            Op::Alloc { slot, layout, zeroed } => self.put(heap, slot, |it| it.alloc(heap, layout, zeroed)),
            Op::Free { slot } => self.put(heap, slot, |_| None),
            Op::Resize { slot, size } => self.resize(heap, slot, |_| size),
            Op::Nudge { slot, by } => self.resize(heap, slot, |old| old.saturating_add_signed(by as isize).max(1)),
            Op::Check { slot } => lock(&self.slots[slot]).iter().for_each(Block::check),
            Op::Hoard { hoard, layout, count } => self.hoard(heap, hoard, layout, count),
            Op::Spend { hoard, count, order } => self.spend(heap, hoard, count, order),
            Op::Trim(bounds) => Self::plausible(heap.trim(bounds)),
            Op::Drain(bounds) => Self::plausible(heap.drain(bounds)),
            Op::DrainCaches(bounds) => Self::plausible(heap.drain_caches(bounds)),
            Op::Flush => heap.flush_thread(),
            Op::Limit { soft, hard } => self.limit(heap, soft, hard),
            Op::Lift => self.lift(heap),
            Op::Refuse(refusal) => self.refuse(heap, refusal),
            Op::Serve => self.serve(heap),
            Op::Look => _ = heap.stats(),
            Op::Tick(milliseconds) => heap.tick(milliseconds),
            Op::Pause(_) => {}
        }
    }

    /// No pass gives back more than any machine has.
    fn plausible(gone: Reclaimed) {
        assert!(gone.total() < 1 << 46, "{gone:?}");
    }

    // ---- single blocks -----------------------------------------------------------------------------------------------

    fn put(&self, heap: &dyn Subject, slot: usize, make: impl FnOnce(&Self) -> Option<Block>) {
        let old = lock(&self.slots[slot]).take();
        old.into_iter().for_each(|block| self.free(heap, block));
        if let Some(block) = make(self) {
            self.place(heap, slot, block);
        }
    }

    /// Puts a block into a slot that another lane may have filled meanwhile.
    fn place(&self, heap: &dyn Subject, slot: usize, block: Block) {
        let displaced = lock(&self.slots[slot]).replace(block);
        displaced.into_iter().for_each(|block| self.free(heap, block));
    }

    fn resize(&self, heap: &dyn Subject, slot: usize, size: impl FnOnce(usize) -> usize) {
        let Some(block) = lock(&self.slots[slot]).take() else { return };
        let size = size(block.layout().size());
        let fits = Layout::from_size_align(size, block.layout().align()).is_ok() && self.has_room(size);
        let block = if fits { self.resized(heap, block, size) } else { block };
        self.place(heap, slot, block);
    }

    fn resized(&self, heap: &dyn Subject, block: Block, size: usize) -> Block {
        let stamp = self.stamps.fetch_add(1, Relaxed);
        self.forget(heap, &block);
        let before = self.constraint.load(SeqCst);
        let smaller = size <= block.layout().size();
        let block = match block.resize(heap, size, stamp) {
            Ok(block) => {
                self.bytes.fetch_add(size as u64, Relaxed);
                block
            }
            Err(Unchanged(block)) => {
                self.may_refuse(heap, before, block.layout(), if smaller { "shrink" } else { "growth" });
                block
            }
        };
        self.learn(heap, &block);
        block
    }

    fn alloc(&self, heap: &dyn Subject, layout: Layout, zeroed: bool) -> Option<Block> {
        if !self.has_room(layout.size()) {
            return None;
        }
        let stamp = self.stamps.fetch_add(1, Relaxed);
        let before = self.constraint.load(SeqCst);
        let block = Block::new(heap, layout, zeroed, stamp.wrapping_mul(0xff51_afd7_ed55_8ccd));
        match &block {
            Some(block) => {
                self.bytes.fetch_add(layout.size() as u64, Relaxed);
                self.learn(heap, block);
            }
            None => self.may_refuse(heap, before, layout, "allocation"),
        }
        block
    }

    fn free(&self, heap: &dyn Subject, block: Block) {
        self.forget(heap, &block);
        block.free(heap);
    }

    fn has_room(&self, size: usize) -> bool {
        self.held.load(Relaxed) + size <= self.budget
    }

    /// Whether it may be that there was no memory, as it was found at a time when the constraint was `before`.
    #[track_caller]
    fn may_refuse(&self, heap: &dyn Subject, before: u64, layout: Layout, what: &str) {
        self.refused.fetch_add(1, Relaxed);
        let constrained = before % 2 == 1 || self.constraint.load(SeqCst) != before;
        assert!(
            constrained || !heap.is_ample(),
            "{what} refused without a reason: {layout:?}, committed {}, {:?}",
            heap.committed(),
            heap.stats()
        );
    }

    /// Takes a live block into the books; no other may lie there.
    fn learn(&self, heap: &dyn Subject, block: &Block) {
        let (start, layout) = (block.start().addr().get(), block.layout());
        let rounded = heap.rounded(layout);
        self.held.fetch_add(rounded, Relaxed);
        if heap.is_large(layout) {
            self.large.fetch_add(rounded, Relaxed);
        }
        let Some(map) = &self.map else { return };
        let (end, mut map) = (start + layout.size(), lock(map));
        let before = map.range(..end).next_back().filter(|&(_, &other)| other > start);
        assert_eq!(before, None, "{block:?} overlaps a live block");
        map.insert(start, end);
    }

    /// Takes a block out of the books that is about to be freed.
    fn forget(&self, heap: &dyn Subject, block: &Block) {
        let rounded = heap.rounded(block.layout());
        self.held.fetch_sub(rounded, Relaxed);
        if heap.is_large(block.layout()) {
            self.large.fetch_sub(rounded, Relaxed);
        }
        if let Some(map) = &self.map {
            lock(map).remove(&block.start().addr().get());
        }
    }

    // ---- many blocks -------------------------------------------------------------------------------------------------

    fn hoard(&self, heap: &dyn Subject, hoard: usize, layout: Layout, count: usize) {
        // Many small ones are what it is for.
        let count = count.min((2 << 20) / layout.size().max(layout.align())).max(1);
        let blocks: Vec<_> = (0..count).map_while(|_| self.alloc(heap, layout, false)).collect();
        lock(&self.hoards[hoard]).extend(blocks);
    }

    fn spend(&self, heap: &dyn Subject, hoard: usize, count: usize, order: Order) {
        let mut blocks = core::mem::take(&mut *lock(&self.hoards[hoard]));
        let count = count.min(blocks.len());
        let spent = match order {
            Order::Front => blocks.drain(..count).collect(),
            Order::Back => blocks.split_off(blocks.len() - count),
            Order::Each(step) => {
                let mut n = 0;
                blocks
                    .extract_if(.., |_| {
                        n += 1;
                        n % step == 0
                    })
                    .collect::<Vec<_>>()
            }
        };
        spent.into_iter().for_each(|block| self.free(heap, block));
        lock(&self.hoards[hoard]).append(&mut blocks);
    }

    // ---- what may be refused -----------------------------------------------------------------------------------------

    fn constrain(&self) {
        let _ = self.constraint.fetch_update(SeqCst, SeqCst, |n| (n % 2 == 0).then_some(n + 1));
    }

    /// Nothing is to be refused any more that there is memory for.
    fn release(&self) {
        let _ = self.constraint.fetch_update(SeqCst, SeqCst, |n| (n % 2 == 1).then_some(n + 1));
    }

    fn limit(&self, heap: &dyn Subject, soft: Option<usize>, hard: Option<usize>) {
        let _rules = lock(&self.rules);
        if hard.is_some() {
            self.constrain();
        }
        let held = heap.committed();
        self.ceiling.store(usize::MAX, Relaxed);
        // A limit may itself be refused, by a back-end that has no memory for a heap.
        if heap.set_limits(limits(held, soft, hard)) {
            self.hard.store(hard.map_or(usize::MAX, |above| held + above), Relaxed);
        }
    }

    /// Has nothing refused any more that there is memory for.
    pub fn lift(&self, heap: &dyn Subject) {
        let _rules = lock(&self.rules);
        // The back-end first: it may refuse the memory of a heap for limits to be set in.
        if let Some(books) = heap.books() {
            books.refuse(None);
        }
        self.hard.store(usize::MAX, Relaxed);
        self.ceiling.store(usize::MAX, Relaxed);
        if heap.set_limits(Limits::NONE) {
            self.release();
        }
    }

    fn refuse(&self, heap: &dyn Subject, refusal: Refusal) {
        let _rules = lock(&self.rules);
        if let Some(books) = heap.books() {
            self.constrain();
            books.refuse(Some(refusal));
        }
    }

    fn serve(&self, heap: &dyn Subject) {
        let _rules = lock(&self.rules);
        if let Some(books) = heap.books() {
            books.refuse(None);
        }
        if self.hard.load(Relaxed) == usize::MAX {
            self.release();
        }
    }

    // ---- when nobody works -------------------------------------------------------------------------------------------

    /// Checks what holds between any two operations of one thread that is alone.
    ///
    /// # Panics
    /// When the heap has more than it may, or says anything else than its back-end.
    pub fn check_bytes(&self, heap: &dyn Subject) {
        Self::check_books(heap);
        if !heap.is_alone() {
            return;
        }
        let (committed, hard, ceiling) = (heap.committed(), self.hard.load(Relaxed), self.ceiling.load(Relaxed));
        assert!(committed <= ceiling, "{committed} bytes, and the limit is {ceiling}");
        self.ceiling.store(if hard == usize::MAX { hard } else { hard.max(committed) }, Relaxed);
    }

    fn check_books(heap: &dyn Subject) {
        if let Some(books) = heap.books() {
            assert_eq!(heap.committed(), books.outstanding(), "what the heap and its back-end say");
        }
    }

    /// Checks the figures.
    ///
    /// # Panics
    /// When they are not what they must be while nobody works.
    pub fn check_figures(&self, heap: &dyn Subject) {
        let (stats, held) = (heap.stats(), heap.in_use(self.held.load(Relaxed)));
        assert_eq!(stats.in_use, held, "bytes in use, of which the oracle knows: {stats:?}");
        assert_eq!(stats.from_backend, heap.committed());
        if heap.is_alone() {
            assert_eq!(stats.large, self.large.load(Relaxed), "bytes in large blocks: {stats:?}");
            assert!(stats.from_backend >= stats.in_use + stats.cached + stats.metadata, "{stats:?}");
            assert!(stats.metadata_in_use <= stats.metadata, "{stats:?}");
        }
        for class in &stats.classes {
            assert!(class.cached <= class.taken && (class.taken == 0 || class.slabs > 0), "{class:?}");
        }
    }

    /// Reads every live block back.
    ///
    /// # Panics
    /// When one is damaged.
    pub fn check_contents(&self) {
        self.slots.iter().for_each(|slot| lock(slot).iter().for_each(Block::check));
        self.hoards.iter().for_each(|hoard| lock(hoard).iter().for_each(Block::check));
    }

    /// Does what a pause is for; whether the heap is to be made anew.
    ///
    /// # Panics
    /// When the heap breaks a promise.
    pub fn pause(&self, heap: &dyn Subject, pause: Pause) -> bool {
        Self::check_books(heap);
        self.check_figures(heap);
        match pause {
            Pause::Look => self.check_contents(),
            Pause::Empty | Pause::Anew => self.empty(heap),
            Pause::Abandon => {
                self.check_contents();
                self.abandon(heap);
            }
        }
        matches!(pause, Pause::Anew | Pause::Abandon)
    }

    fn live(&self) -> Vec<Block> {
        let slots = self.slots.iter().filter_map(|slot| lock(slot).take());
        slots.chain(self.hoards.iter().flat_map(|hoard| core::mem::take(&mut *lock(hoard)))).collect()
    }

    /// Frees all, has all given back, and wants nothing left but records.
    ///
    /// # Panics
    /// When there is more.
    pub fn empty(&self, heap: &dyn Subject) {
        self.lift(heap);
        self.live().into_iter().for_each(|block| self.free(heap, block));
        self.check_figures(heap);
        // What was missed for want of memory, another call may find: the first one has made some.
        let tries: Vec<_> = (0..3).map(|_| heap.drain_caches(Bounds::NONE)).collect();
        let gone = tries[2];
        if !heap.is_alone() || (!gone.is_complete() && !heap.is_ample()) {
            return;
        }
        let stats = heap.stats();
        assert!(gone.is_complete(), "{tries:?}");
        assert_eq!((stats.in_use, stats.cached, stats.large), (0, 0, 0), "{gone:?}, {stats:?}");
        assert_eq!(stats.from_backend, stats.metadata, "segments stay without a block in them: {gone:?}, {stats:?}");
        assert!(stats.classes.iter().all(|class| class.slabs == 0 && class.taken == 0), "{stats:?}");
    }

    /// Lets all blocks go with the heap, but for those that nobody else knows of.
    fn abandon(&self, heap: &dyn Subject) {
        self.lift(heap);
        let (large, rest): (Vec<_>, Vec<_>) = self.live().into_iter().partition(|block| heap.is_large(block.layout()));
        large.into_iter().for_each(|block| self.free(heap, block));
        rest.iter().for_each(|block| self.forget(heap, block));
    }

    /// Somebody's block, for a test of what must be caught.
    pub(crate) fn lend(&self, slot: usize) -> Option<(core::ptr::NonNull<u8>, Layout)> {
        lock(&self.slots[slot]).as_ref().map(|block| (block.start(), block.layout()))
    }
}
