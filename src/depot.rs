//! The depot: full magazines of each class, and the supply of empty ones.
//!
//! ```text
//!              give(class, magazine with rounds)            take(class)
//!   a cache ───────────────────────────────────▶ │ stack │ ─────────────▶ a cache
//!   a cache ◀─── arm(class) ───  racks, else the pool  ◀──── discard(empty) ─── a cache
//! ```
//!
//! A trade moves a whole magazine with one exchange, tens of chunks at a time. Magazines that a thread leaves behind may
//! hold fewer rounds than fit in; they are traded like full ones.
//!
//! The depot has several corners, each with a shelf for every class and a rack for empty magazines. Threads trade with the
//! one at home as long as it has something, so magazines, and the
//! chunks in them, stay with the processor that has them in its caches; else they look at the others.
//!
//! Counts are approximate and decide policy only: when a class has enough, and when collisions ask for larger magazines.
//!
//! # Invariants
//! - A magazine on a stack is parked, and holds at least one round.

use crate::backend::Backend;
use crate::geometry::{
    CORNERS, DEPOT_BYTES, DEPOT_MAGAZINES, EMPTY_MAGAZINES, HARDENED, MAGAZINE_BYTES, MAGAZINE_BYTES_GROWN, MOST_ROUNDS,
};
use crate::home::Home;
use crate::magazine::{Magazine, Rounds, Top};
use crate::pool::Pool;
use crate::size_class::{PerClass, SizeClass};
use crate::supply::Supply;
use crate::sync::{Atomic, CachePadded, Ordering, array, const_fn};
use crate::treiber::{Collisions, Index, Links, Stack};

/// Magazines on stacks: each knows how much lies on its stack from itself down.
struct Piles<'a>(&'a Pool<Magazine>);

impl Links for Piles<'_> {
    fn next(&self, index: Index) -> &Atomic<u32> {
        self.0.next(index)
    }

    fn pile(&self, index: Index, below: Option<Index>) {
        self.0.get(index).pile_on(below.map(|below| self.0.get(below)));
    }
}

/// What those with one home trade with.
struct Corner {
    /// Full magazines.
    shelves: PerClass<Stack>,
    /// Empty ones.
    rack: Stack,
    /// Those that were freed last, in a hardened heap: they are not taken before there are [`QUARANTINE`] of them.
    quarantine: [Stack; QUARANTINES],
    /// How many there were when the interval began.
    waiting: [Atomic<u16>; QUARANTINES],
    /// The fewest magazines that were left on each shelf since the last [`begin_interval`](Depot::begin_interval).
    low: PerClass<Atomic<u8>>,
}

const QUARANTINES: usize = if HARDENED { SizeClass::COUNT } else { 0 };

/// Magazines of a class that have to be freed before the first of them is used again.
const QUARANTINE: usize = 4;

/// Collisions that double the capacity of a class's magazines.
const PATIENCE: u32 = 64;

/// The depot of a heap.
pub(crate) struct Depot {
    magazines: Pool<Magazine>,
    corners: [CachePadded<Corner>; CORNERS],
    /// Per class, doublings of the capacity that collisions have asked for, times `PATIENCE`.
    impatience: PerClass<Atomic<u32>>,
}

/// Doublings that collisions can ask for.
const DOUBLINGS: usize = (MAGAZINE_BYTES_GROWN / MAGAZINE_BYTES).ilog2() as usize;

/// The capacities of magazines by doublings and classes; to divide at every trade would take too long.
static CAPACITIES: [PerClass<Rounds>; DOUBLINGS + 1] = {
    let mut capacities = [PerClass([Rounds(0); SizeClass::COUNT]); DOUBLINGS + 1];
    let mut at = 0;
    while at < (DOUBLINGS + 1) * SizeClass::COUNT {
        let (doublings, class) = (at / SizeClass::COUNT, at % SizeClass::COUNT);
        capacities[doublings].0[class] = capacity(SizeClass::SIZES[class] as usize, doublings);
        at += 1;
    }
    capacities
};

const fn capacity(bytes: usize, doublings: usize) -> Rounds {
    let rounds = (MAGAZINE_BYTES << doublings) / bytes;
    let least = if rounds < 2 { 2 } else { rounds };
    Rounds(if least > MOST_ROUNDS { MOST_ROUNDS } else { least } as u16)
}

impl Depot {
    const_fn! {
        pub(crate) fn new() -> Self {
            Self {
                magazines: Pool::new(),
                corners: array![
                    CachePadded::new(Corner {
                        shelves: PerClass(array![Stack::new(); SizeClass::COUNT]),
                        rack: Stack::new(),
                        quarantine: array![Stack::new(); QUARANTINES],
                        waiting: array![Atomic::new(0); QUARANTINES],
                        low: PerClass(array![Atomic::new(0); SizeClass::COUNT]),
                    });
                    CORNERS
                ],
                impatience: PerClass(array![Atomic::new(0); SizeClass::COUNT]),
            }
        }
    }

    fn corner(&self, home: Home) -> &Corner {
        &self.corners[home.first(CORNERS as u32) as usize]
    }

    /// A magazine with rounds from the shelf at home, if there is one.
    pub(crate) fn take(&self, class: SizeClass, home: Home) -> Option<Top> {
        let corner = self.corner(home);
        self.take_from(class, corner).or_else(|| {
            (HARDENED && self.end_quarantine(class, corner)).then(|| self.take_from(class, corner)).flatten()
        })
    }

    /// Puts the magazines of a class that are in quarantine onto the shelf, the first to come on top, if there are enough of them;
    /// whether there were.
    fn end_quarantine(&self, class: SizeClass, corner: &Corner) -> bool {
        let Some(quarantine) = corner.quarantine.get(usize::from(class.number())) else { return false };
        let piles = Piles(&self.magazines);
        let waiting = self.pile(quarantine).0;
        let enough = waiting >= QUARANTINE;
        if enough {
            (0..waiting).map_while(|_| quarantine.pop(&piles).0).for_each(|index| {
                corner.shelves[class].push(&piles, index);
            });
        }
        enough
    }

    /// A magazine with rounds from another shelf, if there is one.
    pub(crate) fn take_abroad(&self, class: SizeClass, home: Home) -> Option<Top> {
        home.turns(CORNERS).skip(1).find_map(|corner| self.take_from(class, &self.corners[corner]))
    }

    /// Takes the magazines of `class` one after the other: as many rounds as lie here, and no fewer than shelves keep by
    /// themselves, for what a shelf says may be about another one by the time that it is read.
    pub(crate) fn drained(&self, class: SizeClass) -> impl Iterator<Item = Top> {
        let mut left = self.counts(class).1.max(CORNERS * DEPOT_MAGAZINES * MOST_ROUNDS);
        core::iter::from_fn(move || {
            let any = || self.corners.iter().find_map(|corner| self.take_any_from(class, corner));
            let top = (left > 0).then(any).flatten()?;
            left = left.saturating_sub(top.rounds().0.into());
            Some(top)
        })
    }

    /// Also of those in quarantine.
    fn take_any_from(&self, class: SizeClass, corner: &Corner) -> Option<Top> {
        self.take_from(class, corner).or_else(|| {
            let quarantine = corner.quarantine.get(usize::from(class.number()))?;
            self.take_off(class, corner, quarantine)
        })
    }

    fn take_from(&self, class: SizeClass, corner: &Corner) -> Option<Top> {
        self.take_off(class, corner, &corner.shelves[class])
    }

    fn take_off(&self, class: SizeClass, corner: &Corner, stack: &Stack) -> Option<Top> {
        let (index, collisions) = stack.pop(&Piles(&self.magazines));
        self.grow(class, collisions);
        let index = index?;
        // Models are of protocols, and of this there is none.
        if !cfg!(all(test, loom)) {
            let left = self.magazines.get(index).piled().0.saturating_sub(1).min(u8::MAX.into()) as u8;
            // Relaxed both: policy.
            if left < corner.low[class].load(Ordering::Relaxed) {
                corner.low[class].store(left, Ordering::Relaxed);
            }
        }
        // SAFETY: off the stack, so ours; parked by whoever gave it.
        Some(unsafe { Magazine::unpark(self.magazines.address(index)) })
    }

    /// Takes, one after the other, as many magazines of `class` as lay on each shelf all the time since the last
    /// [`begin_interval`](Self::begin_interval): what was not needed meanwhile. After J. Bonwick and J. Adams, "Magazines and
    /// Vmem" (2001), section 3.5.
    pub(crate) fn unused(&self, class: SizeClass) -> impl Iterator<Item = Top> {
        self.corners.iter().flat_map(move |corner| {
            // Relaxed: policy.
            let low = corner.low[class].load(Ordering::Relaxed);
            let unused = (0..low).map_while(move |_| self.take_from(class, corner));
            let waiting = self.unmoved(class, corner);
            unused.chain((0..waiting).map_while(move |_| self.take_any_from(class, corner)))
        })
    }

    /// How many magazines are in quarantine, if nothing was freed into it in this interval.
    fn unmoved(&self, class: SizeClass, corner: &Corner) -> u16 {
        let at = usize::from(class.number());
        let (Some(stack), Some(waiting)) = (corner.quarantine.get(at), corner.waiting.get(at)) else { return 0 };
        let now = self.pile(stack).0 as u16;
        // Relaxed: policy.
        if waiting.load(Ordering::Relaxed) == now { now } else { 0 }
    }

    /// Begins to count anew what is not needed.
    pub(crate) fn begin_interval(&self) {
        for corner in &self.corners {
            for (class, low) in corner.low.iter() {
                // Relaxed: policy.
                low.store(self.pile(&corner.shelves[class]).0.min(u8::MAX.into()) as u8, Ordering::Relaxed);
            }
            for (stack, waiting) in corner.quarantine.iter().zip(&corner.waiting) {
                // Relaxed: policy.
                waiting.store(self.pile(stack).0 as u16, Ordering::Relaxed);
            }
        }
    }

    /// Takes a magazine over, with the rounds in it, onto the shelf at home; one without is kept as an empty one.
    pub(crate) fn give(&self, class: SizeClass, top: Top, home: Home) {
        if top.rounds() == Rounds(0) {
            return self.discard(top, home);
        }
        let Some(index) = top.park() else { return };
        let corner = self.corner(home);
        let stack = corner.quarantine.get(usize::from(class.number())).unwrap_or(&corner.shelves[class]);
        let collisions = stack.push(&Piles(&self.magazines), index);
        self.grow(class, collisions);
    }

    /// Magazines and rounds on a stack: exact while nobody else comes by.
    fn pile(&self, stack: &Stack) -> (usize, usize) {
        stack.top().map_or((0, 0), |top| {
            let (magazines, rounds) = self.magazines.get(top).piled();
            (usize::from(magazines), rounds as usize)
        })
    }

    /// The same of a class, with those in quarantine.
    fn piles(&self, class: SizeClass, corner: &Corner) -> (usize, usize) {
        let (magazines, rounds) = self.pile(&corner.shelves[class]);
        let quarantine = corner.quarantine.get(usize::from(class.number()));
        let (more_magazines, more_rounds) = quarantine.map_or((0, 0), |stack| self.pile(stack));
        (magazines + more_magazines, rounds + more_rounds)
    }

    /// Whether the shelf at home has as many rounds as it is allowed to keep.
    pub(crate) fn has_enough(&self, class: SizeClass, home: Home) -> bool {
        let (magazines, rounds) = self.piles(class, self.corner(home));
        rounds.saturating_mul(class.bytes()) >= DEPOT_BYTES || magazines >= DEPOT_MAGAZINES
    }

    /// An empty magazine for `class`; `None` when there is no memory for one.
    pub(crate) fn arm<B: Backend>(&self, supply: Supply<'_, B>, class: SizeClass, home: Home) -> Option<Top> {
        let others = || self.corners.iter().find_map(|corner| self.take_empty(&corner.rack));
        let home = self.take_empty(&self.corner(home).rack);
        let index = home.or_else(|| self.magazines.take(supply)).or_else(others)?;
        // SAFETY: taken off a stack of empty ones, so ours, and empty: `discard` takes no other.
        Some(unsafe { Magazine::arm(self.magazines.address(index), self.capacity(class)) })
    }

    fn take_empty(&self, rack: &Stack) -> Option<Index> {
        rack.pop(&Piles(&self.magazines)).0
    }

    /// Gives an empty magazine the capacity that `class` has now.
    ///
    /// # Safety
    /// The caller owns the magazine, which holds no rounds, and goes on with the `Top` returned.
    pub(crate) unsafe fn rearm(&self, class: SizeClass, empty: Top) -> Top {
        let capacity = self.capacity(class);
        match empty.index() {
            // SAFETY: the caller's promise.
            Some(index) if empty.capacity() != capacity => unsafe {
                Magazine::arm(self.magazines.address(index), capacity)
            },
            _ => empty,
        }
    }

    /// Gives a magazine that was [stripped](Top::strip) the capacity that `class` has now.
    ///
    /// # Safety
    /// The caller owns the magazine, and goes on with the `Top` returned.
    #[cfg_attr(not(feature = "std"), expect(dead_code, reason = "there are no thread caches"))]
    pub(crate) unsafe fn restack(&self, class: SizeClass, top: Top) -> Top {
        if top == Top::NONE || top.capacity() >= self.capacity(class) {
            return top;
        }
        // SAFETY: the caller's promise; the rounds are put back below, where they do not reach: they move down, one by one.
        let (rounds, empty) = unsafe { top.take_all() };
        // SAFETY: as above.
        let mut top = unsafe { self.rearm(class, empty) };
        for &round in rounds.iter() {
            // SAFETY: as above.
            top = unsafe { top.push(round) }.unwrap_or(top);
        }
        top
    }

    /// Takes an empty magazine back: onto the rack at home, as long as there are not enough.
    pub(crate) fn discard(&self, empty: Top, home: Home) {
        debug_assert!(empty.rounds() == Rounds(0));
        let Some(index) = empty.park() else { return };
        let rack = &self.corner(home).rack;
        if self.pile(rack).0 >= EMPTY_MAGAZINES {
            return self.magazines.give(index);
        }
        rack.push(&Piles(&self.magazines), index);
    }

    /// Gives the empty magazines of all racks up.
    pub(crate) fn clear_racks(&self) {
        for Corner { rack, .. } in self.corners.iter().map(|corner| &**corner) {
            let most = self.pile(rack).0.max(EMPTY_MAGAZINES);
            (0..most).map_while(|_| self.take_empty(rack)).for_each(|index| self.magazines.give(index));
        }
    }

    fn capacity(&self, class: SizeClass) -> Rounds {
        // Relaxed: policy.
        let impatience = self.impatience[class].load(Ordering::Relaxed);
        CAPACITIES[DOUBLINGS.min((impatience / PATIENCE) as usize)][class]
    }

    /// Larger magazines for a class whose trades collide.
    fn grow(&self, class: SizeClass, collisions: Collisions) {
        if collisions.0 > 0 && self.capacity(class) < CAPACITIES[DOUBLINGS][class] {
            // Relaxed: policy.
            self.impatience[class].fetch_add(collisions.0, Ordering::Relaxed);
        }
    }

    /// Magazines and rounds of `class` here.
    pub(crate) fn counts(&self, class: SizeClass) -> (usize, usize) {
        self.corners.iter().fold((0, 0), |(magazines, rounds), corner| {
            let (more_magazines, more_rounds) = self.piles(class, corner);
            (magazines + more_magazines, rounds + more_rounds)
        })
    }

    /// Gives the pages of magazines back that are not in use; the bytes of them.
    pub(crate) fn trim<B: Backend>(&self, supply: Supply<'_, B>) -> usize {
        self.magazines.trim(supply)
    }

    /// Bytes of records in use.
    pub(crate) fn bytes_in_use(&self) -> usize {
        self.magazines.bytes_in_use()
    }

    /// Gives all records back.
    ///
    /// # Safety
    /// Nobody uses the heap any more.
    pub(crate) unsafe fn release<B: Backend>(&self, supply: Supply<'_, B>) {
        // SAFETY: the caller's promise.
        unsafe { self.magazines.release(supply, false) };
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::backend::Arena;
    use crate::supply::Drawn;
    use core::alloc::Layout;
    use core::ptr::NonNull;

    /// With rounds that nobody looks into.
    #[test]
    fn a_shelf_has_enough_by_bytes_or_by_magazines() {
        static ARENA: Arena<{ 4 << 20 }> = Arena::new();
        for class in SizeClass::all().step_by(if cfg!(miri) { 13 } else { 1 }) {
            let (depot, drawn) = (Depot::new(), Drawn::new());
            let supply = Supply { backend: &&ARENA, drawn: &drawn };
            let (mut given, mut bytes) = (0, 0);
            let is_enough = |given, bytes| given == DEPOT_MAGAZINES || bytes >= DEPOT_BYTES;
            while !depot.has_enough(class, Home::COMMON) {
                assert!(!is_enough(given, bytes), "{given} magazines and {bytes} bytes of {class:?} are not enough");
                let mut top = depot.arm(supply, class, Home::COMMON).unwrap();
                // SAFETY: armed just now, and so ours.
                while let Some(more) = unsafe { top.push(NonNull::dangling()) } {
                    (top, bytes) = (more, bytes + class.bytes());
                }
                depot.give(class, top, Home::COMMON);
                given += 1;
            }
            assert!(is_enough(given, bytes), "{given} magazines and {bytes} bytes of {class:?} are enough");
            // SAFETY: nobody uses the depot any more.
            unsafe { depot.release(supply) };
        }
    }

    #[test]
    fn capacities_are_bounded_in_rounds_and_in_bytes() {
        for class in SizeClass::all() {
            for capacities in &CAPACITIES {
                let rounds = usize::from(capacities[class].0);
                assert!((2..=MOST_ROUNDS).contains(&rounds));
                assert!(rounds == 2 || rounds * class.bytes() <= MAGAZINE_BYTES_GROWN);
            }
        }
        let capacity = |bytes, doublings: usize| {
            CAPACITIES[doublings][SizeClass::of(Layout::array::<u8>(bytes).unwrap()).unwrap()]
        };
        assert_eq!(capacity(16, 0), Rounds(125));
        assert_eq!(capacity(256, 0), Rounds(64));
        assert_eq!(capacity(256, 1), Rounds(125));
        assert_eq!(capacity(32 << 10, DOUBLINGS), Rounds(2));
    }
}

#[cfg(all(test, loom))]
#[path = "../loom-tests/depot.rs"]
mod loom_tests;
