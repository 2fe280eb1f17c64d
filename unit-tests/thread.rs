//! What a thread earns and gives up again, and how it leaves.

use super::*;
use crate::cache::fence;
use crate::surplus::{Budget, Scope};
use crate::unit_support::Camp;
use std::vec::Vec;

fn enter<'a>(camp: &Camp, cache: &'a ThreadCache) -> Turn<'a> {
    cache.enter(&camp.arsenal, &camp.holsters, camp.supply(), || true).unwrap()
}

/// Takes and gives chunks of a class, so that the thread has magazines: one, or two.
fn work(camp: &Camp, cache: &ThreadCache, class: SizeClass, count: usize) {
    let take = || cache.pop(class).or_else(|| enter(camp, cache).alloc(&camp.arsenal, &camp.paper, class)).unwrap();
    let chunks: Vec<_> = (0..count).map(|_| take()).collect();
    chunks.into_iter().for_each(|chunk| {
        if crate::geometry::HARDENED || !cache.push(class, chunk) {
            enter(camp, cache).dealloc(&camp.arsenal, &camp.paper, class, chunk);
        }
    });
}

/// How often the thread comes by until it gets magazines of its own; within 2000 times.
fn price(cache: &ThreadCache, class: SizeClass) -> Option<usize> {
    (1..2000).find(|_| !cache.comes_by(class) && cache.earns(class))
}

/// So many chunks that two magazines are full of them.
#[cfg(not(feature = "hardened"))]
fn enough(class: SizeClass) -> usize {
    2 * (crate::geometry::MAGAZINE_BYTES / class.bytes()).clamp(2, 125) + 1
}

/// Ends the work of a thread that never was.
fn gone(cache: &ThreadCache) {
    cache.leave();
    assert!(cache.pop(Camp::class(256)).is_none());
}

#[test]
fn the_first_magazines_are_earned_by_all_classes_together_and_the_rest_by_each() {
    let (cache, [a, b, c]) = (ThreadCache::new(), [64, 256, 1024].map(Camp::class));
    assert!(!cache.earns(a), "it has never come by");
    assert_eq!(price(&cache, a), Some(usize::from(EARNED)));
    assert!(!cache.comes_by(a) && cache.earns(a), "for good");
    assert!(!cache.earns(b), "it has never come by for that");
    assert_eq!(price(&cache, b), Some(usize::from(STEP)));
    let cache = ThreadCache::new();
    (0..EARNED - STEP).for_each(|_| _ = cache.comes_by(a));
    assert_eq!(price(&cache, c), Some(usize::from(STEP)));
    assert_eq!(price(&cache, a), Some(usize::from(STEP)));
}

#[test]
fn who_is_gone_earns_nothing() {
    let (cache, class) = (ThreadCache::new(), Camp::class(64));
    gone(&cache);
    assert_eq!(price(&cache, class), None);
    assert_eq!(price(&cache, Camp::class(256)), None);
}

#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "long")]
fn what_was_not_used_for_a_term_is_given_up() {
    let (camp, cache, [used, idle]) = (Camp::new(), ThreadCache::new(), [256, 512].map(Camp::class));
    assert!(price(&cache, used).is_some() && price(&cache, idle).is_some());
    [used, idle].into_iter().for_each(|class| work(&camp, &cache, class, 10));
    let rounds = || [used, idle].map(|class| camp.holsters.rounds(class));
    let settle = || cache.settle(&camp.arsenal, &enter(&camp, &cache));
    // Each has been used once.
    (2..TERM - 1).for_each(|_| assert!(cache.earns(used)));
    settle();
    assert_eq!(rounds(), [64, 32], "the term is not over");
    assert!(cache.earns(used));
    settle();
    assert_eq!(rounds(), [64, 32], "both were used in it");
    (1..TERM).for_each(|_| assert!(cache.earns(used)));
    settle();
    assert_eq!(rounds(), [64, 32]);
    assert!(cache.earns(used));
    settle();
    assert_eq!(rounds(), [64, 0]);
    assert_eq!(camp.stats(idle).cached, 32);
    assert!(cache.earns(used) && cache.comes_by(idle));
    assert_eq!(price(&cache, idle), Some(usize::from(STEP) - 1), "it is to be earned anew");
    cache.part(&camp.arsenal);
}

/// A class that was used twice is as used as one that was used once.
#[test]
#[cfg(not(feature = "hardened"))]
fn what_was_used_at_all_is_kept() {
    let (camp, cache, [a, b]) = (Camp::new(), ThreadCache::new(), [256, 512].map(Camp::class));
    assert!(price(&cache, a).is_some() && price(&cache, b).is_some());
    [a, b].into_iter().for_each(|class| work(&camp, &cache, class, 10));
    assert!(cache.earns(b));
    (3..TERM).for_each(|_| assert!(cache.earns(a)));
    cache.settle(&camp.arsenal, &enter(&camp, &cache));
    assert_eq!([a, b].map(|class| camp.holsters.rounds(class)), [64, 32]);
    cache.part(&camp.arsenal);
}

#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "thousands of chunks")]
fn of_too_many_those_with_the_largest_chunks_are_given_up() {
    let (camp, cache) = (Camp::new(), ThreadCache::new());
    for class in SizeClass::all() {
        assert!(price(&cache, class).is_some());
        assert_eq!(cache.visits.get(), u16::from(class.number()) + 1, "there is room for more");
        if class.bytes() < 1024 {
            work(&camp, &cache, class, 10);
        }
    }
    SizeClass::all().for_each(|class| work(&camp, &cache, class, enough(class)));
    let capacities: Vec<_> = SizeClass::all().map(|class| cache.holster().capacity(class)).collect();
    assert_eq!(capacities[usize::from(Camp::class(256).number())], 2 * 64 * 256);
    assert_eq!(capacities[39], 2 * 2 * (32 << 10));
    assert!(capacities.iter().sum::<usize>() > WORN_BYTES);
    // The next class that it earns makes it look; here one that it has given up.
    cache.heat[Camp::class(16)].set(0);
    assert!(price(&cache, Camp::class(16)).is_some());
    assert_eq!(cache.visits.get(), TERM + 1);
    cache.settle(&camp.arsenal, &enter(&camp, &cache));
    let mut worn = 0;
    for (class, capacity) in SizeClass::all().zip(capacities) {
        let fits = worn + capacity <= WORN_BYTES;
        worn += if fits { capacity } else { 0 };
        assert_eq!(cache.holster().capacity(class), if fits { capacity } else { 0 }, "{}", class.bytes());
        assert_eq!(cache.heat[class].get() == OWN, fits);
    }
    assert_eq!(cache.visits.get(), 0);
    cache.part(&camp.arsenal);
}

#[test]
#[cfg(not(feature = "hardened"))]
#[cfg_attr(miri, ignore = "long")]
fn who_has_just_as_much_as_he_may_keeps_it() {
    let (camp, cache) = (Camp::new(), ThreadCache::new());
    // A mebibyte altogether: of these classes both magazines, of the rest one.
    let both = [16, 32, 48, 64, 512, 1024, 2048, 2560, 3072, 3584, 4096, 5120, 6144, 7168, 8192];
    let large = [10, 12, 14, 16, 20, 24, 28, 32].map(|kib| kib << 10);
    let both = both.into_iter().chain(large).map(|bytes| (Camp::class(bytes), enough(Camp::class(bytes))));
    let all: Vec<_> = both.chain([(Camp::class(160), 1), (Camp::class(1280), 1)]).collect();
    for &(class, count) in &all {
        assert!(price(&cache, class).is_some());
        work(&camp, &cache, class, count);
    }
    let worn = || SizeClass::all().map(|class| cache.holster().capacity(class)).sum::<usize>();
    assert_eq!(worn(), WORN_BYTES);
    // What goes for another reason does not count.
    work(&camp, &cache, Camp::class(80), 1);
    assert!(worn() > WORN_BYTES);
    cache.visits.set(TERM);
    cache.settle(&camp.arsenal, &enter(&camp, &cache));
    assert_eq!(worn(), WORN_BYTES);
    // It is enough for a look when it earns more.
    assert!(price(&cache, Camp::class(96)).is_some());
    assert_eq!(cache.visits.get(), TERM + 1);
    cache.part(&camp.arsenal);
}

#[test]
fn what_a_holster_may_hold_is_counted_in_bytes() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    let turn = enter(&camp, &cache);
    assert_eq!(turn.0.capacity(class), 0);
    let chunk = turn.alloc(&camp.arsenal, &camp.paper, class).unwrap();
    assert_eq!((turn.0.capacity(class), turn.0.rounds(class)), (64 * 256, 63));
    turn.dealloc(&camp.arsenal, &camp.paper, class, chunk);
    drop(turn);
    cache.part(&camp.arsenal);
    assert_eq!((camp.arsenal.threads(), camp.stats(class).cached), (0, 64));
}

#[test]
#[cfg(not(feature = "hardened"))]
fn what_a_thread_gives_it_takes_again() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    let chunk = enter(&camp, &cache).alloc(&camp.arsenal, &camp.paper, class).unwrap();
    assert!(cache.push(class, chunk));
    assert_eq!(cache.pop(class), Some(chunk));
    assert!(cache.push(class, chunk));
    cache.part(&camp.arsenal);
    assert!(cache.pop(class).is_none() && !cache.push(class, chunk));
}

/// It lies in the heap.
#[test]
fn the_first_holster_needs_no_memory() {
    let (camp, cache) = (Camp::new(), ThreadCache::new());
    camp.paper.leave(0);
    drop(enter(&camp, &cache));
    let holster = cache.flush(&camp.arsenal).unwrap();
    assert!(holster.is_worn());
    cache.part(&camp.arsenal);
    assert!(!holster.is_worn());
}

#[test]
fn each_thread_has_a_home_of_its_own() {
    let (camp, first, second) = (Camp::new(), ThreadCache::new(), ThreadCache::new());
    assert_eq!(enter(&camp, &first).home(), Home::nth(0));
    assert_eq!(enter(&camp, &second).home(), Home::nth(1));
    assert_eq!((camp.arsenal.threads(), camp.holsters.bytes_in_use()), (2, 2 * Holsters::OWN));
    first.part(&camp.arsenal);
    second.part(&camp.arsenal);
    assert_eq!((camp.arsenal.threads(), camp.holsters.bytes_in_use()), (0, 0));
    // Who has parted may come back, and finds a holster that was worn.
    drop(enter(&camp, &first));
    assert_eq!(camp.holsters.bytes_in_use(), Holsters::OWN);
    first.part(&camp.arsenal);
}

#[test]
fn who_has_no_exit_hook_has_no_magazines_and_is_not_asked_again() {
    let (camp, cache) = (Camp::new(), ThreadCache::new());
    assert!(cache.enter(&camp.arsenal, &camp.holsters, camp.supply(), || false).is_none());
    assert!(cache.enter(&camp.arsenal, &camp.holsters, camp.supply(), || true).is_none());
    assert_eq!(camp.arsenal.threads(), 0);
}

#[test]
fn who_found_no_memory_may_come_again() {
    let (camp, first, second) = (Camp::new(), ThreadCache::new(), ThreadCache::new());
    drop(enter(&camp, &first));
    camp.paper.leave(0);
    assert!(second.enter(&camp.arsenal, &camp.holsters, camp.supply(), || true).is_none());
    camp.paper.leave(usize::MAX);
    drop(enter(&camp, &second));
    [first, second].iter().for_each(|cache| cache.part(&camp.arsenal));
}

#[test]
fn who_leaves_hands_in_and_tidies_up() {
    static TIDIED: core::sync::atomic::AtomicUsize = core::sync::atomic::AtomicUsize::new(0);
    let (mut camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    camp.arsenal.tidy = Some(|_, _| _ = TIDIED.fetch_add(1, core::sync::atomic::Ordering::Relaxed));
    work(&camp, &cache, class, 3);
    cache.leave();
    assert_eq!(TIDIED.load(core::sync::atomic::Ordering::Relaxed), 1);
    assert_eq!((camp.arsenal.threads(), camp.stats(class).cached, camp.stats(class).taken), (0, 64, 64));
    assert_eq!(camp.holsters.bytes_in_use(), 0);
    assert!(cache.enter(&camp.arsenal, &camp.holsters, camp.supply(), || true).is_none());
}

#[test]
fn who_flushes_has_nothing_and_earns_anew() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    assert!(cache.flush(&camp.arsenal).is_none());
    assert!(price(&cache, class).is_some());
    work(&camp, &cache, class, 3);
    assert!(cache.flush(&camp.arsenal).is_some());
    assert_eq!((camp.holsters.rounds(class), camp.stats(class).cached), (0, 64));
    assert_eq!(price(&cache, class), Some(usize::from(EARNED)));
    cache.part(&camp.arsenal);
}

#[test]
fn who_is_recalled_hands_in_when_he_comes_by() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    work(&camp, &cache, class, 3);
    drop(enter(&camp, &cache));
    assert_eq!(camp.holsters.rounds(class), 64);
    camp.arsenal.recall();
    assert_eq!(camp.holsters.rounds(class), 64);
    drop(enter(&camp, &cache));
    assert_eq!((camp.holsters.rounds(class), camp.stats(class).cached), (0, 64));
    cache.part(&camp.arsenal);
}

/// Stopped by a searcher who never comes back, a thread goes on without magazines for so long, and then takes another holster.
#[test]
#[cfg_attr(miri, ignore = "many turns")]
fn who_is_searched_for_very_long_takes_another_holster() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    work(&camp, &cache, class, 3);
    let holster = cache.flush(&camp.arsenal).unwrap();
    work(&camp, &cache, class, 3);
    let unworn = Unworn::new();
    assert!(holster.stop(unworn.bare()) && !holster.stop(unworn.bare()));
    assert!(cache.pop(class).is_none());
    let come = || cache.enter(&camp.arsenal, &camp.holsters, camp.supply(), || true).is_some();
    assert!((0..PATIENCE).all(|_| !come()));
    assert!(come(), "there is another one");
    assert_eq!((camp.arsenal.threads(), camp.holsters.bytes_in_use()), (2, 2 * Holsters::OWN));
    // The searcher does what is left to do.
    holster.let_go(&camp.arsenal);
    assert_eq!((camp.arsenal.threads(), camp.holsters.bytes_in_use()), (1, Holsters::OWN));
    assert_eq!(camp.stats(class).cached, camp.stats(class).taken);
    cache.part(&camp.arsenal);
}

#[test]
#[cfg_attr(miri, ignore = "many turns")]
fn refusals_are_counted_in_a_row() {
    let (camp, cache) = (Camp::new(), ThreadCache::new());
    drop(enter(&camp, &cache));
    let (holster, unworn) = (cache.flush(&camp.arsenal).unwrap(), Unworn::new());
    for _ in 0..2 {
        assert!(holster.stop(unworn.bare()));
        assert!((1..PATIENCE).all(|_| cache.turn(&camp.arsenal).is_none()));
        holster.let_go(&camp.arsenal);
        assert!(cache.turn(&camp.arsenal).is_some(), "it has its holster still");
    }
    assert_eq!(camp.arsenal.threads(), 1);
    cache.part(&camp.arsenal);
}

#[test]
#[cfg(not(feature = "hardened"))]
fn a_search_leaves_a_round_and_notes_the_rest() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    work(&camp, &cache, class, 3);
    if !fence::is_allowed() {
        cache.part(&camp.arsenal);
        return;
    }
    // All that goes back is noted, but for one byte too few.
    let bytes = 63 * 256;
    camp.arsenal.surplus.note(crate::geometry::LOOK - bytes - 1, Home::nth(0));
    assert_eq!(camp.holsters.search(&camp.arsenal, &camp.paper, None).0, 0);
    assert_eq!((camp.holsters.rounds(class), camp.stats(class).taken), (1, 1));
    assert!(!camp.arsenal.surplus.is_due(Home::nth(0)));
    camp.arsenal.surplus.note(1, Home::nth(0));
    assert!(camp.arsenal.surplus.is_due(Home::nth(0)));
    // It goes on, and hands in the rest.
    assert!(cache.pop(class).is_none());
    drop(enter(&camp, &cache));
    assert_eq!((camp.holsters.rounds(class), camp.stats(class).cached), (0, 1));
    work(&camp, &cache, class, 3);
    assert!(camp.holsters.rounds(class) > 0);
    cache.part(&camp.arsenal);
}

#[test]
fn who_searches_spares_himself_and_those_at_work() {
    let (camp, [own, other, busy]) = (Camp::new(), [(); 3].map(|()| ThreadCache::new()));
    let class = Camp::class(256);
    [&own, &other, &busy].into_iter().for_each(|cache| work(&camp, cache, class, 3));
    if fence::is_allowed() {
        let turn = enter(&camp, &busy);
        let holster = own.holster();
        let rounds = camp.holsters.rounds(class);
        assert_eq!(camp.holsters.search(&camp.arsenal, &camp.paper, Some(holster)).0, 1);
        assert!(camp.holsters.rounds(class) < rounds);
        assert_eq!((holster.rounds(class), turn.0.rounds(class)), (64, 64));
        drop(turn);
    }
    [own, other, busy].iter().for_each(|cache| cache.part(&camp.arsenal));
    assert_eq!((camp.holsters.rounds(class), camp.arsenal.threads()), (0, 0));
}

#[test]
fn those_who_were_in_no_slow_path_are_quiet() {
    let (camp, cache, class) = (Camp::new(), ThreadCache::new(), Camp::class(256));
    work(&camp, &cache, class, 3);
    if fence::is_allowed() {
        let search = || {
            assert_eq!(camp.holsters.search_quiet(&camp.arsenal, &camp.paper).0, 0);
            camp.holsters.rounds(class)
        };
        let most = camp.holsters.rounds(class);
        assert_eq!(search(), most, "it has just been in one");
        assert!(search() <= 1);
        assert!(!cache.holster().is_quiet(), "it has nothing");
        work(&camp, &cache, class, 3);
        let most = camp.holsters.rounds(class);
        assert_eq!(search(), most);
    }
    cache.part(&camp.arsenal);
}

#[test]
fn of_many_threads_all_are_searched() {
    let (camp, class) = (Camp::new(), Camp::class(256));
    let many = if cfg!(miri) { 3 } else { 70 };
    let caches: Vec<_> = (0..many).map(|_| ThreadCache::new()).collect();
    caches.iter().for_each(|cache| work(&camp, cache, class, 3));
    assert_eq!(camp.holsters.rounds(class), many * 64);
    if fence::is_allowed() {
        assert_eq!(camp.holsters.search(&camp.arsenal, &camp.paper, None).0, 0);
        assert!(camp.holsters.rounds(class) <= many);
    }
    caches.iter().for_each(|cache| cache.part(&camp.arsenal));
    assert_eq!((camp.holsters.rounds(class), camp.arsenal.threads()), (0, 0));
    crate::reclaim::drain(&camp.arsenal, &camp.paper, Scope::All, &Budget::of(usize::MAX));
    assert_eq!(camp.stats(class).taken, 0);
}
