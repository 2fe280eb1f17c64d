//! The surplus: memory that is held and not used, and when a heap gives it back without being asked.
//!
//! ```text
//!   bytes │ held ───────────╮
//!         │       used ╲    │ a pass: what is free has grown by all that is used still, and by `KEEP`,
//!         │             ╲   ╰─────╮   since it was least
//!         │              ╲        │
//!         │               ╲       ╰────
//!         └────────────────╲────────────▶ frees
//! ```
//!
//! A heap that keeps its size never comes here: what is freed is taken again, and what is free stays as it is. When it
//! shrinks, a pass is due each time that what is used has halved, so all passes of a decline together cost a small
//! multiple of the frees that made it; the last `KEEP` bytes stay. What a pass cannot give back (pages with survivors)
//! is not tried again until as much is free on top of it.
//!
//! A heap that swells and shrinks in quick turn would fault the same pages in again and again. So a pass is *regretted*
//! when within [`MEMORY`] half as many pages are drawn again as it gave back, and each regret doubles what is kept; each
//! time [`MEMORY`] goes by without one halves it again.
//!
//! Looks cost a sum over the classes, and are made every [`LOOK`] bytes. All of it is policy: nothing hangs on how
//! these numbers race.

use crate::geometry::{CORNERS, KEEP, LOOK};
use crate::home::Home;
use crate::stats::{Counter, Reclaimed};
use crate::sync::{Atomic, CachePadded, Ordering, array, const_fn};
use core::cell::Cell;
use core::time::Duration;

/// How long a pass can be regretted, and how long a regret lasts.
const MEMORY: Duration = Duration::from_secs(10);

/// Models are of protocols, and of this there is none: it is told nothing there.
const UNTOLD: bool = cfg!(all(test, loom));

/// Which of the free memory a pass gives back.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Scope {
    /// What is worth its while: nothing of slabs that are mostly in use.
    Worthwhile,
    /// What nobody has used since the last pass of this scope.
    Unused,
    All,
}

/// What a pass may give back: so many bytes, and nothing once it is `over`.
pub(crate) struct Budget<'a> {
    left: Cell<usize>,
    over: Option<&'a dyn Fn() -> bool>,
}

impl<'a> Budget<'a> {
    pub(crate) fn of(bytes: usize) -> Self {
        Self { left: Cell::new(bytes), over: None }
    }

    pub(crate) fn until(bytes: usize, over: &'a dyn Fn() -> bool) -> Self {
        Self { left: Cell::new(bytes), over: Some(over) }
    }

    pub(crate) fn is_left(&self) -> bool {
        self.left.get() > 0 && self.over.is_none_or(|over| !over())
    }

    /// Takes what has gone back off; a piece may be larger than what was left.
    pub(crate) fn spend(&self, bytes: usize) {
        self.left.set(self.left.get().saturating_sub(bytes));
    }
}

/// What those count who have one home.
struct Page {
    /// Bytes freed since the last look.
    freed: Counter,
    /// Bytes of runs taken, less those of runs given: perhaps at another home, so it wraps.
    runs: Atomic<usize>,
}

/// What a heap holds and does not use.
pub(crate) struct Surplus {
    /// What is counted often, apart for each corner.
    pages: [CachePadded<Page>; CORNERS],
    /// Bytes of pages drawn that were not there before.
    fresh: Atomic<usize>,
    /// That at the last closer look.
    looked: Atomic<usize>,
    /// The least that was free since the last pass.
    least: Atomic<usize>,
    /// Parts of a pass are made, and more are to come.
    begun: Atomic<bool>,
    /// What the last pass gave back, until it is judged.
    returned: Atomic<usize>,
    /// `fresh` at its end, and the time, in ms.
    ended_fresh: Atomic<usize>,
    ended: Atomic<usize>,
    /// Doublings of `KEEP`.
    regrets: Atomic<u32>,
}

impl Surplus {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                pages: array![CachePadded::new(Page { freed: Counter::new(), runs: Atomic::new(0) }); CORNERS],
                fresh: Atomic::new(0),
                looked: Atomic::new(0),
                least: Atomic::new(0),
                begun: Atomic::new(false),
                returned: Atomic::new(0),
                ended_fresh: Atomic::new(0),
                ended: Atomic::new(0),
                regrets: Atomic::new(0),
            }
        }
    }

    fn page(&self, home: Home) -> &Page {
        &self.pages[home.first(CORNERS as u32) as usize]
    }

    /// Counts bytes of runs that are taken.
    pub(crate) fn take_run(&self, bytes: usize, home: Home) {
        // Relaxed: a statistic; no other memory hangs on it.
        self.page(home).runs.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts bytes of runs that are given back, at whichever home they were taken.
    pub(crate) fn give_run(&self, bytes: usize, home: Home) {
        // Relaxed: as in `take_run`.
        self.page(home).runs.fetch_sub(bytes, Ordering::Relaxed);
    }

    /// Bytes of runs in use; 0 while one is given back before it is counted as taken. With 32-bit addresses more than half of what
    /// an integer holds may well be in use, but never nearly all.
    pub(crate) fn run_bytes(&self) -> usize {
        // Relaxed: as in `take_run`.
        let sum = |sum: usize, page: &CachePadded<Page>| sum.wrapping_add(page.runs.load(Ordering::Relaxed));
        let bytes = self.pages.iter().fold(0, sum);
        if bytes > usize::MAX / 8 * 7 { 0 } else { bytes }
    }

    /// Notes that `bytes` were freed.
    pub(crate) fn note(&self, bytes: usize, home: Home) {
        if UNTOLD {
            return;
        }
        self.page(home).freed.add(bytes);
    }

    /// Notes that `bytes` of pages were drawn that were not there before.
    pub(crate) fn draw(&self, bytes: usize) {
        if UNTOLD || bytes == 0 {
            return;
        }
        self.fresh.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Bytes of pages drawn since the heap began; wraps.
    pub(crate) fn drawn(&self) -> usize {
        self.fresh.load(Ordering::Relaxed)
    }

    /// Bytes of pages drawn since there were `before`.
    fn drawn_since(&self, before: &Atomic<usize>) -> usize {
        self.drawn().wrapping_sub(before.load(Ordering::Relaxed))
    }

    /// Whether it is time for a look.
    pub(crate) fn is_due(&self, home: Home) -> bool {
        !UNTOLD && self.page(home).freed.get() >= LOOK
    }

    /// Begins a look, and says whether it is worth a closer one at a heap of which `free` bytes at most are free: if that is
    /// much more than was free at least, or if so much was drawn meanwhile that less may have been.
    pub(crate) fn glance(&self, free: usize, home: Home) -> bool {
        self.page(home).freed.reset();
        // Relaxed all: policy, as everything here.
        let least = self.least.load(Ordering::Relaxed).min(free);
        self.least.store(least, Ordering::Relaxed);
        self.begun.load(Ordering::Relaxed) || free - least >= KEEP || self.drawn_since(&self.looked) >= KEEP
    }

    /// Looks at what a heap holds; whether the caller shall make a part of a pass, and end it.
    pub(crate) fn begin(&self, heap: Holds, now: Duration) -> bool {
        self.looked.store(self.drawn(), Ordering::Relaxed);
        let least = self.least.load(Ordering::Relaxed).min(heap.free());
        self.least.store(least, Ordering::Relaxed);
        let gain = heap.free() - least;
        if self.begun.load(Ordering::Relaxed) {
            return true;
        }
        gain >= heap.used.max(KEEP) && {
            self.judge(now);
            gain >= self.keep()
        }
    }

    /// What stays though nobody uses it.
    fn keep(&self) -> usize {
        KEEP.saturating_mul(1 << self.regrets.load(Ordering::Relaxed))
    }

    /// Judges the last pass, once.
    fn judge(&self, now: Duration) {
        let drawn = self.drawn_since(&self.ended_fresh);
        let ago = (now.as_millis() as usize).wrapping_sub(self.ended.load(Ordering::Relaxed));
        // Another party's pass may have begun after this look, and be over.
        let ago = if ago > usize::MAX / 2 { 0 } else { ago };
        let memory = MEMORY.as_millis() as usize;
        let regrets = self.regrets.load(Ordering::Relaxed);
        let returned = self.returned.load(Ordering::Relaxed);
        // Of several who look at once, one judges.
        let judges = self.returned.compare_exchange(returned, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if judges && ago < memory && returned > 0 && drawn >= returned / 2 {
            self.regrets.store((regrets + 1).min(usize::BITS / 2), Ordering::Relaxed);
        } else if judges && ago >= memory {
            let forgotten = u32::try_from(ago / memory).unwrap_or(u32::MAX);
            self.regrets.store(regrets.saturating_sub(forgotten), Ordering::Relaxed);
            self.ended.store(now.as_millis() as usize, Ordering::Relaxed);
        }
    }

    /// Ends a part of a pass, begun when the heap held so much; with it the pass, if it was `complete`.
    ///
    /// What was free when it began and is still held cannot be given back; what became free meanwhile perhaps can.
    pub(crate) fn end(&self, before: Holds, gone: Reclaimed, complete: bool, now: Duration) {
        self.returned.fetch_add(gone.total(), Ordering::Relaxed);
        self.begun.store(!complete, Ordering::Relaxed);
        self.ended.store(now.as_millis() as usize, Ordering::Relaxed);
        self.ended_fresh.store(self.drawn(), Ordering::Relaxed);
        if complete {
            self.least.store(before.free().saturating_sub(gone.released), Ordering::Relaxed);
        }
    }
}

/// Bytes that a heap holds, and those that are used of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Holds {
    pub(crate) held: usize,
    pub(crate) used: usize,
}

impl Holds {
    pub(crate) fn free(self) -> usize {
        self.held.saturating_sub(self.used)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;
    const SECOND: Duration = Duration::from_secs(1);

    fn heap(held: usize, used: usize) -> Holds {
        Holds { held: held * MIB, used: used * MIB }
    }

    fn gone(released: usize, purged: usize) -> Reclaimed {
        Reclaimed { released: released * MIB, purged_units: purged * MIB, ..Reclaimed::default() }
    }

    /// A process of 32-bit addresses may well have that much.
    #[test]
    fn runs_count_though_they_are_more_than_half_of_all_addresses() {
        let (surplus, here, there) = (Surplus::new(), Home::nth(0), Home::nth(1));
        surplus.take_run(usize::MAX / 4 * 3, here);
        assert_eq!(surplus.run_bytes(), usize::MAX / 4 * 3);
        surplus.give_run(usize::MAX / 4 * 3, there);
        surplus.give_run(64 * MIB, there);
        assert_eq!(surplus.run_bytes(), 0, "given, and not yet counted as taken");
    }

    #[test]
    fn a_look_is_due_after_so_many_bytes() {
        let surplus = Surplus::new();
        surplus.note(LOOK - 1, Home::COMMON);
        assert!(!surplus.is_due(Home::COMMON));
        surplus.note(1, Home::COMMON);
        assert!(surplus.is_due(Home::COMMON));
        assert!(!surplus.glance(KEEP - 1, Home::COMMON));
        assert!(!surplus.is_due(Home::COMMON));
    }

    #[test]
    fn a_heap_that_keeps_its_size_keeps_its_memory() {
        let surplus = Surplus::new();
        // Nearly half empty, as it may be by the way it grew; then up and down.
        for used in [510, 510, 700, 520, 800, 505, 1000] {
            assert!(!surplus.begin(heap(1000, used), SECOND), "{used}");
        }
    }

    #[test]
    fn a_small_heap_keeps_its_memory() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(KEEP / MIB, KEEP / MIB), SECOND));
        assert!(!surplus.begin(heap(KEEP / MIB, 1), SECOND));
    }

    #[test]
    fn a_pass_is_due_when_half_is_freed_and_not_again_before_half_of_that() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(!surplus.begin(heap(1000, 510), SECOND));
        assert!(surplus.begin(heap(1000, 490), SECOND));
        // Survivors everywhere: hardly a segment went back.
        surplus.end(heap(1000, 490), gone(10, 390), true, SECOND);
        assert!(!surplus.begin(heap(990, 260), SECOND));
        assert!(surplus.begin(heap(990, 240), SECOND));
    }

    #[test]
    fn what_is_freed_beside_a_pass_is_not_forgotten() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(surplus.begin(heap(1000, 490), SECOND));
        // Meanwhile another thread has freed the other half.
        surplus.end(heap(1000, 490), gone(510, 0), true, SECOND);
        assert!(surplus.begin(heap(490, 0), SECOND));
    }

    /// Nearly all was free after the last pass, without its pages, and could not be released.
    #[test]
    fn what_is_used_again_between_survivors_is_looked_at() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(surplus.begin(heap(1000, 4), SECOND));
        surplus.end(heap(1000, 4), gone(0, 990), true, SECOND);
        surplus.draw(990 * MIB);
        assert!(surplus.glance(1000 * MIB, Home::COMMON));
        assert!(!surplus.begin(heap(1000, 994), 3 * MEMORY));
        assert!(surplus.glance(1000 * MIB, Home::COMMON));
        assert!(surplus.begin(heap(1000, 4), 3 * MEMORY));
    }

    #[test]
    fn a_glance_sees_that_less_is_free() {
        let surplus = Surplus::new();
        surplus.end(heap(1000, 4), gone(0, 990), true, SECOND);
        assert!(!surplus.glance(0, Home::COMMON));
        assert!(surplus.glance(996 * MIB, Home::COMMON));
    }

    #[test]
    fn a_look_that_began_before_the_last_pass_ended_forgets_nothing() {
        let surplus = Surplus::new();
        (0..100).for_each(|breath| _ = breathe(&surplus, Duration::from_millis(10 * breath)));
        assert!(!breathe(&surplus, SECOND / 100));
        assert!(!breathe(&surplus, SECOND));
    }

    #[test]
    fn a_pass_goes_on_until_it_is_complete() {
        let surplus = Surplus::new();
        assert!(!surplus.begin(heap(1000, 1000), SECOND));
        assert!(surplus.begin(heap(1000, 490), SECOND));
        surplus.end(heap(1000, 490), gone(32, 0), false, SECOND);
        assert!(surplus.begin(heap(968, 489), SECOND));
        surplus.end(heap(968, 489), gone(32, 0), true, SECOND);
        assert!(!surplus.begin(heap(936, 488), SECOND));
    }

    /// Fills and empties a heap of 1,000 MiB; whether it gave that back.
    fn breathe(surplus: &Surplus, now: Duration) -> bool {
        breathe_out(surplus, gone(1000, 0), now)
    }

    /// The same, of a heap that gives so much back.
    fn breathe_out(surplus: &Surplus, gone: Reclaimed, now: Duration) -> bool {
        surplus.draw(1000 * MIB);
        assert!(!surplus.begin(heap(1000, 1000), now));
        let shrinks = surplus.begin(heap(1000, 0), now);
        if shrinks {
            surplus.end(heap(1000, 0), gone, true, now);
        }
        shrinks
    }

    #[test]
    fn who_swells_and_shrinks_in_quick_turn_keeps_its_memory() {
        let surplus = Surplus::new();
        let breaths = (0..100).filter(|breath| breathe(&surplus, Duration::from_millis(10 * breath)));
        assert!((1..=9).contains(&breaths.count()));
        assert!(!breathe(&surplus, SECOND + MEMORY / 2));
    }

    /// A block in every segment: none is released, and all of their pages are.
    #[test]
    fn who_does_so_between_survivors_keeps_its_memory_too() {
        let surplus = Surplus::new();
        let breaths =
            (0..100).filter(|breath| breathe_out(&surplus, gone(0, 1000), Duration::from_millis(10 * breath)));
        assert!((1..=9).contains(&breaths.count()));
    }

    #[test]
    fn who_does_so_slowly_does_not() {
        let surplus = Surplus::new();
        assert!((1..100).all(|breath| breathe(&surplus, 2 * MEMORY * breath)));
    }

    #[test]
    fn regrets_pass() {
        let surplus = Surplus::new();
        (0..100).for_each(|breath| _ = breathe(&surplus, Duration::from_millis(10 * breath)));
        assert!(!breathe(&surplus, SECOND + MEMORY / 2));
        assert!(breathe(&surplus, SECOND + 3 * MEMORY));
    }
}
