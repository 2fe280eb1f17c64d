//! Reclaim: the way back, from the depot down to the back-end.
//!
//! ```text
//!   depot ──spill──▶ slabs ──retire idle──▶ units ──release free──▶ back-end
//!               │                             └────purge dirty────▶ back-end keeps the addresses
//!               └─────────────────────────purge free pages────────▶ the same
//! ```
//!
//! Survivors of a burst keep their slabs, so what lies between them goes back page by page: the party that has popped a
//! slab off its stack is the only one that can take its free chunks, and may do with them as it likes.
//!
//! Every step is a protocol of the layer it works on, so a pass may run beside allocation, beside frees and beside itself.
//! It takes nothing from anybody that is in use, and hides one magazine, one slab or one run at a time from those who look for
//! one meanwhile (and of a few threads that it searches, what they have): a thread that finds none left draws anew from the back-end.

use crate::arsenal::Arsenal;
use crate::backend::Backend;
use crate::geometry::STRIDE;
use crate::home::Home;
use crate::size_class::SizeClass;
use crate::stats::Reclaimed;
use crate::surplus::{Budget, Scope};
use core::ptr::NonNull;

/// Spills the magazines that the depot has, one at a time, so that others always find the rest: all, or those that nobody has
/// used.
pub(crate) fn drain<B: Backend>(arsenal: &Arsenal, backend: &B, scope: Scope, budget: &Budget<'_>) {
    let spill = |full| {
        // SAFETY: taken from the depot, so ours, and discarded empty.
        arsenal.depot.discard(unsafe { arsenal.spill(backend, full) }, Home::COMMON);
    };
    for class in SizeClass::all().take_while(|_| budget.is_left()) {
        if scope == Scope::Unused {
            arsenal.depot.unused(class).for_each(spill);
        } else {
            arsenal.depot.drained(class).for_each(spill);
        }
    }
    if scope != Scope::Unused {
        arsenal.depot.clear_racks();
    }
}

/// Returns what no block and no magazine lies in, in that scope and as the budget allows: slabs to segments, segments to the
/// back-end, and pages.
pub(crate) fn give_back<B: Backend>(arsenal: &Arsenal, backend: &B, scope: Scope, budget: &Budget<'_>) -> Reclaimed {
    // To look for slabs and segments that have become free altogether is worth it whatever the reason to look.
    let wholly = if scope == Scope::Worthwhile { Scope::All } else { scope };
    let mut released = arsenal.release_free(backend, wholly, budget);
    if budget.is_left() {
        arsenal.retire_idle(backend, wholly);
        released += arsenal.release_free(backend, wholly, budget);
    }
    let purges = B::PURGES && budget.is_left();
    let purged = if purges { arsenal.purge(backend, scope, budget) } else { Reclaimed::default() };
    Reclaimed { released, ..purged }
}

/// Gives back what was not used since the last call, as the budget allows, and begins a new interval if it is through.
pub(crate) fn trim<B: Backend>(arsenal: &Arsenal, backend: &B, budget: &Budget<'_>) -> Reclaimed {
    drain(arsenal, backend, Scope::Unused, budget);
    let gone = give_back(arsenal, backend, Scope::Unused, budget);
    if budget.is_left() {
        arsenal.depot.begin_interval();
        arsenal.segments.begin_interval();
    }
    gone
}

/// Makes a part of a pass without being asked, if the heap has shrunk and has a clock.
pub(crate) fn ebb<B: Backend>(arsenal: &Arsenal, backend: &B, home: Home) {
    let free = arsenal.drawn.segments.get().saturating_sub(arsenal.run_bytes());
    let Some(now) = arsenal.surplus.glance(free, home).then(|| backend.uptime()).flatten() else { return };
    let before = arsenal.holds();
    if arsenal.surplus.begin(before, now) {
        let _pass = arsenal.passes.begin();
        let budget = Budget::of(STRIDE);
        drain(arsenal, backend, Scope::All, &budget);
        let gone = give_back(arsenal, backend, Scope::Worthwhile, &budget);
        arsenal.surplus.end(before, gone, budget.is_left(), now);
    }
}

/// What a thread that has left does about what it has handed in, where that can be done: an exit hook knows neither the type
/// nor the place of the back-end, and only one without a place can be had from its type alone.
pub(crate) fn tidier<B: Backend>() -> Option<fn(&Arsenal, Home)> {
    const { size_of::<B>() == 0 }.then_some(|arsenal, home| {
        // SAFETY: a reference to a value of no size needs an aligned address only. The heap has such a value, or has been
        // forgotten with it; no method of it can tell the two apart.
        let backend = unsafe { NonNull::<B>::dangling().as_ref() };
        if arsenal.surplus.is_due(home) {
            ebb(arsenal, backend, home);
        }
    })
}

#[cfg(all(test, not(loom)))]
#[path = "../unit-tests/reclaim.rs"]
mod tests;

#[cfg(all(test, loom))]
#[path = "../loom-tests/reclaim.rs"]
mod loom_tests;
