//! What the integration tests share: dice, blocks that know their contents, back-ends that count and refuse, and a way
//! to run a test of this binary in a process of its own.

#![allow(dead_code, reason = "every test binary uses some of it")]

#[cfg(all(feature = "std", unix))]
pub(crate) mod court;
#[cfg(target_os = "linux")]
pub(crate) mod forbid;
pub(crate) mod hands;

use bandolier::{Backend, Bandolier, FromGlobal, SizeClass};
use core::alloc::{GlobalAlloc, Layout};
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use core::time::Duration;
use std::alloc::System;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

/// `release`, `debug` or `miri`, by how slowly this build runs.
pub(crate) const fn scaled(release: usize, debug: usize, miri: usize) -> usize {
    if cfg!(miri) {
        miri
    } else if cfg!(debug_assertions) {
        debug
    } else {
        release
    }
}

/// Whether a tool watches that is slow: `BANDOLIER_TURNS` at compile time is `few`.
const FEW: bool = option_env!("BANDOLIER_TURNS").is_some() && !cfg!(miri);

/// As [`scaled`], of turns: some of them where a slow tool watches.
pub(crate) const fn turns(release: usize, debug: usize, miri: usize) -> usize {
    scaled(release, debug, miri).div_ceil(if FEW { 20 } else { 1 })
}

/// As [`scaled`], of the way from one to the next of very many.
pub(crate) const fn stride(release: usize, debug: usize, miri: usize) -> usize {
    scaled(release, debug, miri) * if FEW { 20 } else { 1 }
}

/// The same heap with the caches that this build is for: `BANDOLIER_CACHES` at compile time is `hybrid`, `per-thread`, `per-cpu`,
/// or not there, and then they stay as they are.
pub(crate) const fn as_chosen<B: Backend>(heap: Bandolier<B>) -> Bandolier<B> {
    match option_env!("BANDOLIER_CACHES") {
        None => heap,
        Some(caches) => match caches.as_bytes() {
            b"hybrid" => heap.hybrid(),
            b"per-thread" => heap.per_thread(),
            b"per-cpu" => heap.per_cpu(),
            _ => panic!("BANDOLIER_CACHES is none of hybrid, per-thread, per-cpu"),
        },
    }
}

/// Whether the heap is hardened: blocks have guards around them, what is freed waits in quarantine, and large blocks are copied.
pub(crate) const HARDENED: bool = cfg!(feature = "hardened");

/// What quarantine may hold of all classes, in bytes.
pub(crate) const QUARANTINE: usize = if HARDENED { 12 << 20 } else { 0 };

/// Whether the long variants are wanted: `BANDOLIER_LONG=1` in the environment.
pub(crate) fn is_long() -> bool {
    std::env::var_os("BANDOLIER_LONG").is_some_and(|value| value == "1")
}

pub(crate) fn layout(size: usize, align: usize) -> Layout {
    Layout::from_size_align(size, align).unwrap()
}

// ---- dice ----------------------------------------------------------------------------------------------------------

/// Xorshift64*: deterministic, and good enough to mix operations.
pub(crate) struct Dice(u64);

impl Dice {
    pub(crate) fn new(seed: u64) -> Self {
        Self(mixed(seed) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `end`.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        ((u128::from(self.next()) * end as u128) >> 64) as usize
    }

    /// A size: mostly a small chunk's, sometimes a larger one's, rarely a run's or a large block's up to `most`.
    pub(crate) fn size(&mut self, most: usize) -> usize {
        let limit = match self.below(100) {
            0..75 => 600,
            75..94 => 33 << 10,
            94..99 => 500 << 10,
            _ => 3 << 20,
        };
        1 + self.below(limit.min(most))
    }

    /// A layout with such a size; one in eight is aligned to more than a word.
    pub(crate) fn layout(&mut self, most: usize) -> Layout {
        let align = if self.below(8) == 0 { 1 << self.below(17) } else { 1 << self.below(4) };
        layout(self.size(most), align)
    }
}

/// Splitmix64's finisher.
pub(crate) fn mixed(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

// ---- blocks --------------------------------------------------------------------------------------------------------

const WORD: usize = size_of::<u64>();
/// Blocks up to this size are filled and read back whole, larger ones at both ends and at every page.
const DENSE: usize = scaled(16 << 10, 4 << 10, 256);
const EDGE: usize = scaled(512, 256, 32);
const PAGE: usize = scaled(4096, 4096, 32 << 10);

/// A live block filled with a pattern that no other block has.
#[derive(Debug)]
#[must_use = "a block is freed by `free`"]
pub(crate) struct Block {
    start: NonNull<u8>,
    layout: Layout,
    stamp: u64,
}

// SAFETY: the block is this value's alone, wherever that is.
unsafe impl Send for Block {}

/// The offsets of the words that are filled in a block of `size` bytes; the last word may be cut.
fn words(size: usize) -> impl Iterator<Item = usize> {
    let dense = if size <= DENSE { size } else { EDGE };
    let tail = if size <= DENSE { size } else { (size - EDGE) & !(WORD - 1) };
    (0..dense).step_by(WORD).chain((dense..tail).step_by(PAGE)).chain((tail..size).step_by(WORD))
}

impl Block {
    /// A new block, filled; `None` when the heap has no memory.
    pub(crate) fn new(heap: &impl GlobalAlloc, layout: Layout, stamp: u64) -> Option<Self> {
        // SAFETY: no test asks for a size of zero.
        Self::adopt(unsafe { heap.alloc(layout) }, layout, stamp)
    }

    /// A new block that was all zeros, filled.
    pub(crate) fn zeroed(heap: &impl GlobalAlloc, layout: Layout, stamp: u64) -> Option<Self> {
        // SAFETY: no test asks for a size of zero.
        let start = NonNull::new(unsafe { heap.alloc_zeroed(layout) })?;
        for at in words(layout.size()) {
            let count = (layout.size() - at).min(WORD);
            // SAFETY: `at + count` is at most the size.
            assert!(unsafe { read(start, at, count) } == [0; WORD], "{layout:?} is not zero at {at}");
        }
        Self::adopt(start.as_ptr(), layout, stamp)
    }

    /// Takes over what an allocator returned.
    pub(crate) fn adopt(start: *mut u8, layout: Layout, stamp: u64) -> Option<Self> {
        let start = NonNull::new(start)?;
        assert_eq!(start.addr().get() & (layout.align() - 1), 0, "{start:?} is misaligned for {layout:?}");
        let block = Self { start, layout, stamp };
        block.fill();
        Some(block)
    }

    fn word(&self, at: usize) -> [u8; WORD] {
        mixed(self.stamp ^ (at as u64) << 20).to_ne_bytes()
    }

    fn fill(&self) {
        for at in words(self.layout.size()) {
            let count = (self.layout.size() - at).min(WORD);
            // SAFETY: `at` is inside the block.
            let place = unsafe { self.start.add(at) };
            // SAFETY: `count` bytes from there are inside the block, which is ours.
            unsafe { place.as_ptr().copy_from_nonoverlapping(self.word(at).as_ptr(), count) };
        }
    }

    /// Reads the first `bytes` bytes of the pattern back.
    fn check_first(&self, start: NonNull<u8>, bytes: usize) {
        for at in words(self.layout.size()).take_while(|&at| at < bytes) {
            let count = (bytes - at).min(WORD);
            // SAFETY: the caller's block has that many bytes.
            let found = unsafe { read(start, at, count) };
            assert_eq!(found[..count], self.word(at)[..count], "{self:?} is damaged at {at}");
        }
    }

    /// Reads the whole pattern back.
    pub(crate) fn check(&self) {
        self.check_first(self.start, self.layout.size());
    }

    /// Checks the contents, and frees the block.
    pub(crate) fn free(self, heap: &impl GlobalAlloc) {
        self.check();
        // SAFETY: live, of this layout, and given up.
        unsafe { heap.dealloc(self.start.as_ptr(), self.layout) };
    }

    /// Gives the block another size, checks that its contents were kept, and fills it anew; the old block when the heap
    /// has no memory.
    pub(crate) fn resize(self, heap: &impl GlobalAlloc, size: usize) -> Result<Self, Self> {
        self.check();
        // SAFETY: live and of this layout; tests ask for sizes only that are a layout with its alignment.
        let start = unsafe { heap.realloc(self.start.as_ptr(), self.layout, size) };
        let Some(start) = NonNull::new(start) else {
            self.check();
            return Err(self);
        };
        self.check_first(start, self.layout.size().min(size));
        let resized = Self::adopt(start.as_ptr(), layout(size, self.layout.align()), self.stamp ^ 1);
        Ok(resized.unwrap_or_else(|| unreachable!()))
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }
}

/// # Safety
/// `at + count` bytes from `start` are readable, `count` is at most a word.
unsafe fn read(start: NonNull<u8>, at: usize, count: usize) -> [u8; WORD] {
    let mut bytes = [0; WORD];
    // SAFETY: the caller's promise.
    let place = unsafe { start.add(at) };
    // SAFETY: the caller's promise; `bytes` has a word.
    unsafe { place.as_ptr().copy_to_nonoverlapping(bytes.as_mut_ptr(), count) };
    bytes
}

/// Bytes of the guards around a run.
const fn guards<B: Backend>() -> usize {
    if HARDENED && B::GUARDS { 2 * B::UNIT } else { 0 }
}

/// Whether a block of `layout`, if it is no chunk, is the back-end's own in a heap on `B`.
pub(crate) fn is_large<B: Backend>(layout: Layout) -> bool {
    layout.size() > B::SEGMENT - 2 * guards::<B>() || layout.align() > B::UNIT
}

/// Bytes that a block of `layout` takes in a heap on `B`.
pub(crate) fn rounded<B: Backend>(layout: Layout) -> usize {
    let class = SizeClass::of(layout).map(SizeClass::bytes).filter(|&bytes| bytes <= B::UNIT / 2);
    let guards = guards::<B>();
    let units = layout.size().next_multiple_of(B::UNIT);
    match class {
        Some(bytes) => bytes,
        None if !is_large::<B>(layout) => units + guards,
        None if guards > 0 => units + layout.align().max(B::UNIT) + B::UNIT,
        None => layout.size(),
    }
}

// ---- back-ends -----------------------------------------------------------------------------------------------------

/// When a metered back-end says no.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refuse {
    Never,
    Always,
    /// The n-th call from when the rule was set, counted from 1, and no other.
    Nth(u32),
    /// The n-th call and all that follow.
    From(u32),
    /// One call in so many, by dice.
    OneIn(u32),
    /// What would bring the bytes outstanding above so many pages of 4 KiB.
    Above(u32),
}

impl Refuse {
    fn to_bits(self) -> u64 {
        let (kind, n) = match self {
            Self::Never => (0, 0),
            Self::Always => (1, 0),
            Self::Nth(n) => (2, n),
            Self::From(n) => (3, n),
            Self::OneIn(n) => (4, n),
            Self::Above(pages) => (5, pages),
        };
        kind << 32 | u64::from(n)
    }

    fn from_bits(bits: u64) -> Self {
        let n = bits as u32;
        match bits >> 32 {
            0 => Self::Never,
            1 => Self::Always,
            2 => Self::Nth(n),
            3 => Self::From(n),
            4 => Self::OneIn(n),
            _ => Self::Above(n),
        }
    }
}

/// What went through a [`Metered`] back-end.
#[derive(Debug, Default)]
pub(crate) struct Account {
    rule: AtomicU64,
    calls: AtomicUsize,
    refused: AtomicUsize,
    outstanding: AtomicUsize,
    peak: AtomicUsize,
    purged: AtomicUsize,
    dense: AtomicUsize,
    /// Whether the back-end's clock is hidden.
    timeless: bool,
    /// Purges are calls that may be refused, too, and the clock goes on by a millisecond each time that it is looked at.
    strict: bool,
    ticks: AtomicU64,
    /// Every block by its address, to check that it comes back as it was handed out; only where that is asked.
    ledger: Option<Mutex<HashMap<usize, Layout>>>,
}

impl Account {
    pub(crate) fn set(&self, rule: Refuse) {
        self.calls.store(0, Relaxed);
        self.rule.store(rule.to_bits(), Relaxed);
    }

    /// Calls for memory since the rule was set.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Relaxed)
    }

    pub(crate) fn refused(&self) -> usize {
        self.refused.load(Relaxed)
    }

    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.load(Relaxed)
    }

    pub(crate) fn peak(&self) -> usize {
        self.peak.load(Relaxed)
    }

    /// Blocks that were said to be dense.
    pub(crate) fn dense(&self) -> usize {
        self.dense.load(Relaxed)
    }

    /// Bytes, each as often as it was purged.
    pub(crate) fn purged(&self) -> usize {
        self.purged.load(Relaxed)
    }

    /// Whether this call is refused.
    fn refuses(&self, layout: Layout) -> bool {
        let call = self.calls.fetch_add(1, Relaxed) + 1;
        let refused = match Refuse::from_bits(self.rule.load(Relaxed)) {
            Refuse::Never => false,
            Refuse::Always => true,
            Refuse::Nth(n) => call == n as usize,
            Refuse::From(n) => call >= n as usize,
            Refuse::OneIn(n) => mixed(call as u64) % u64::from(n) == 0,
            Refuse::Above(pages) => self.outstanding() + layout.size() > pages as usize * 4096,
        };
        self.refused.fetch_add(usize::from(refused), Relaxed);
        refused
    }

    fn book(&self, block: NonNull<u8>, layout: Layout) {
        let now = self.outstanding.fetch_add(layout.size(), Relaxed) + layout.size();
        self.peak.fetch_max(now, Relaxed);
        if let Some(ledger) = &self.ledger {
            let known = ledger.lock().unwrap_or_else(PoisonError::into_inner).insert(block.addr().get(), layout);
            assert_eq!(known, None, "a block was handed out twice");
        }
    }

    fn unbook(&self, block: NonNull<u8>, layout: Layout) {
        if let Some(ledger) = &self.ledger {
            let known = ledger.lock().unwrap_or_else(PoisonError::into_inner).remove(&block.addr().get());
            assert_eq!(known, Some(layout), "a block came back that was not handed out so");
        }
        self.outstanding.fetch_sub(layout.size(), Relaxed);
    }
}

/// A back-end that counts, and refuses at times.
#[derive(Debug)]
pub(crate) struct Metered<B> {
    inner: B,
    account: Arc<Account>,
}

impl<B: Backend> Metered<B> {
    pub(crate) fn new(inner: B) -> (Self, Arc<Account>) {
        let account = Arc::new(Account::default());
        (Self { inner, account: account.clone() }, account)
    }

    /// One without a clock.
    pub(crate) fn timeless(inner: B) -> (Self, Arc<Account>) {
        let account = Arc::new(Account { timeless: true, ..Account::default() });
        (Self { inner, account: account.clone() }, account)
    }

    /// One that refuses to purge, too, has a clock that is the same in each run, and a ledger.
    pub(crate) fn strict(inner: B) -> (Self, Arc<Account>) {
        let account = Arc::new(Account { strict: true, ledger: Some(Mutex::default()), ..Account::default() });
        (Self { inner, account: account.clone() }, account)
    }

    /// One that also checks that every block comes back with the layout it was handed out for.
    pub(crate) fn with_ledger(inner: B) -> (Self, Arc<Account>) {
        let account = Arc::new(Account { ledger: Some(Mutex::default()), ..Account::default() });
        (Self { inner, account: account.clone() }, account)
    }
}

/// What fresh memory that need not be zero is filled with, at places, so that nothing relies on its being zero.
const JUNK: u8 = 0xa5;

// SAFETY: the memory is the inner back-end's, handed on as it is; a panic here is a failed test.
unsafe impl<B: Backend> Backend for Metered<B> {
    const UNIT: usize = B::UNIT;
    const SEGMENT: usize = B::SEGMENT;
    const ADDRESS_BITS: u32 = B::ADDRESS_BITS;
    const ZEROED: bool = B::ZEROED;
    const PURGES: bool = B::PURGES;
    const GUARDS: bool = B::GUARDS;

    fn base(&self) -> usize {
        self.inner.base()
    }

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        if self.account.refuses(layout) {
            return None;
        }
        let block = self.inner.acquire(layout)?;
        if !B::ZEROED {
            // SAFETY: just acquired, with at least so many bytes.
            unsafe { block.write_bytes(JUNK, layout.size().min(64 << 10)) };
        }
        self.account.book(block, layout);
        Some(block)
    }

    fn acquire_zeroed(&self, layout: Layout) -> Option<NonNull<u8>> {
        if self.account.refuses(layout) {
            return None;
        }
        let block = self.inner.acquire_zeroed(layout)?;
        self.account.book(block, layout);
        Some(block)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        self.account.unbook(block, layout);
        // SAFETY: the caller's promise.
        unsafe { self.inner.release(block, layout) }
    }

    fn granule(&self) -> usize {
        self.inner.granule()
    }

    unsafe fn purge(&self, start: NonNull<u8>, bytes: usize) -> bool {
        assert_eq!(
            (start.addr().get() | bytes) & (self.granule() - 1),
            0,
            "{bytes} bytes at {start:?} are no granules"
        );
        if self.account.strict && self.account.refuses(layout(bytes, 1)) {
            return false;
        }
        // SAFETY: the caller's promise.
        let purged = unsafe { self.inner.purge(start, bytes) };
        self.account.purged.fetch_add(if purged { bytes } else { 0 }, Relaxed);
        purged
    }

    unsafe fn guard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.inner.guard(start, bytes) }
    }

    unsafe fn unguard(&self, start: NonNull<u8>, bytes: usize) -> bool {
        // SAFETY: the caller's promise.
        unsafe { self.inner.unguard(start, bytes) }
    }

    unsafe fn expect_dense(&self, block: NonNull<u8>, layout: Layout) {
        self.account.dense.fetch_add(1, Relaxed);
        // SAFETY: the caller's promise.
        unsafe { self.inner.expect_dense(block, layout) }
    }

    fn uptime(&self) -> Option<Duration> {
        let account = &self.account;
        match (account.timeless, account.strict) {
            (true, _) => None,
            (_, true) => Some(Duration::from_millis(account.ticks.fetch_add(1, Relaxed))),
            _ => self.inner.uptime(),
        }
    }

    unsafe fn remap(&self, block: NonNull<u8>, old: Layout, bytes: usize) -> Option<NonNull<u8>> {
        if self.account.refuses(layout(bytes, old.align())) {
            return None;
        }
        // Off the books first: another thread may be handed the same address before this returns.
        self.account.unbook(block, old);
        // SAFETY: the caller's promise.
        let moved = unsafe { self.inner.remap(block, old, bytes) };
        match moved {
            Some(moved) => self.account.book(moved, layout(bytes, old.align())),
            None => self.account.book(block, old),
        }
        moved
    }
}

/// Another allocator's memory in the units and segments of a very small arena.
#[derive(Debug)]
pub(crate) struct Pages(pub(crate) FromGlobal<System>);

// SAFETY: the inner back-end's promises; the two sizes are as the trait wants them.
unsafe impl Backend for Pages {
    const UNIT: usize = 4096;
    const SEGMENT: usize = 16 * 4096;

    fn acquire(&self, layout: Layout) -> Option<NonNull<u8>> {
        self.0.acquire(layout)
    }

    unsafe fn release(&self, block: NonNull<u8>, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.release(block, layout) }
    }
}

/// A heap on a metered back-end, without thread caches.
pub(crate) fn shared<B: Backend>(inner: B) -> (Bandolier<Metered<B>>, Arc<Account>) {
    let (backend, account) = Metered::with_ledger(inner);
    (Bandolier::with_backend(backend).without_thread_caches(), account)
}

/// A heap on a metered back-end, with thread caches.
pub(crate) fn threaded<B: Backend>(inner: B) -> (Bandolier<Metered<B>>, Arc<Account>) {
    let (backend, account) = Metered::with_ledger(inner);
    (Bandolier::with_backend(backend), account)
}

// ---- processes -----------------------------------------------------------------------------------------------------

/// What a child process of this binary finds in its environment.
const ROLE: &str = "BANDOLIER_TEST_ROLE";

/// The role that this process was started for, if it is a child.
pub(crate) fn role() -> Option<String> {
    std::env::var(ROLE).ok()
}

/// What runs this binary, if the machine cannot by itself: a command and its arguments, set by `cargo xtask targets`.
const RUNNER: &str = "BANDOLIER_TEST_RUNNER";

/// A command that is this binary.
pub(crate) fn itself() -> std::process::Command {
    let own = std::env::current_exe().unwrap();
    let runner = std::env::var(RUNNER).unwrap_or_default();
    let mut words = runner.split_whitespace();
    let Some(program) = words.next() else { return std::process::Command::new(own) };
    let mut command = std::process::Command::new(program);
    command.args(words).arg(own);
    command
}

/// Runs the test named `test` of this binary in a process of its own, for `role`.
pub(crate) fn child(test: &str, role: &str) -> std::process::Output {
    child_with(test, role, ROLE, role)
}

/// As [`child`], with one more variable in the environment.
pub(crate) fn child_with(test: &str, role: &str, name: &str, value: &str) -> std::process::Output {
    itself()
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ROLE, role)
        .env(name, value)
        .output()
        .unwrap()
}

/// Runs `body` in a process in which nothing else goes on; `test` is the name of the test that calls this.
pub(crate) fn isolated(test: &str, body: impl FnOnce()) {
    if role().is_some() {
        return body();
    }
    let output = child(test, "isolated");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{}\n{said}\n{complained}", output.status);
}
