//! What CPUs have, and how much of it can be reached. Where there are restartable sequences: elsewhere nobody has a post.

use super::*;
use crate::unit_support::{Camp, Paper};
use std::vec::Vec;

/// A camp whose CPUs are there, and where the test works; `None` where there are no sequences, or no fences.
fn camp() -> Option<(Camp, Cpus)> {
    let (camp, cpus) = (Camp::new(), Cpus::new());
    let posted = cpus.post(&camp.arsenal, &camp.paper).is_some() && cpu::may_fence();
    if !posted {
        done(&camp, &cpus);
    }
    posted.then_some((camp, cpus))
}

fn done(camp: &Camp, cpus: &Cpus) {
    // SAFETY: nobody uses it any more.
    unsafe { cpus.release(camp.supply()) };
}

/// Takes chunks and gives them back.
fn work(camp: &Camp, cpus: &Cpus, class: SizeClass, count: usize) {
    let post = || cpus.post_at_once().unwrap();
    let chunks: Vec<_> = (0..count).map(|_| cpus.alloc(post(), &camp.arsenal, &camp.paper, class).unwrap()).collect();
    chunks.into_iter().for_each(|chunk| assert!(cpus.dealloc(post(), &camp.arsenal, &camp.paper, class, chunk)));
}

fn rounds(cpus: &Cpus, class: SizeClass) -> usize {
    let mut sum = 0;
    cpus.each_rounds(|of, rounds| sum += if of == class { rounds } else { 0 });
    sum
}

fn fresh(camp: &Camp) -> NonNull<Places> {
    Cpus::make(camp.supply()).unwrap()
}

fn unmake(camp: &Camp, places: NonNull<Places>) {
    // SAFETY: made by `fresh` or `make_spare`, and not used any more.
    unsafe { camp.supply().release(METADATA, places.cast(), Layout::new::<Places>()) };
}

#[test]
fn each_class_has_two_places_of_its_own() {
    let mut places: Vec<_> = SizeClass::all().flat_map(|class| [loaded(class), previous(class)]).collect();
    places.sort_unstable();
    assert_eq!(places, (0..PLACES).collect::<Vec<_>>());
}

#[test]
fn there_are_so_many_spares_for_each_cpu() {
    let (camp, cpus) = (Camp::new(), Cpus::new());
    let some = [fresh(&camp), fresh(&camp)];
    let entry = |places: NonNull<Places>| AtomicPtr::new(places.as_ptr());
    let entries = [AtomicPtr::new(ptr::null_mut()), entry(some[0]), AtomicPtr::new(ptr::null_mut()), entry(some[1])];
    assert_eq!(Cpus::most_spares(&entries), 2 * SPARES);
    assert_eq!(Cpus::most_spares(&entries[..1]), 0);
    let spares: Vec<_> = (0..4).map_while(|_| cpus.make_spare(2, camp.supply())).collect();
    assert_eq!(spares.len(), 2);
    spares.into_iter().chain(some).for_each(|places| unmake(&camp, places));
}

#[test]
fn places_are_quiet_that_have_magazines_where_nobody_has_traded() {
    let camp = Camp::new();
    let made = fresh(&camp);
    // SAFETY: made just now.
    let places = unsafe { made.as_ref() };
    assert!(!places.is_quiet(), "there is nothing");
    let top = camp.arsenal.depot.arm(camp.supply(), Camp::class(256), Home::COMMON).unwrap();
    places.tops[PLACES - 1].store(top.to_raw(), Ordering::Relaxed);
    assert!(places.is_quiet() && places.is_quiet());
    places.stirs.store(true, Ordering::Relaxed);
    assert!(!places.is_quiet());
    assert!(places.is_quiet());
    places.empty(&camp.arsenal);
    assert!(!places.is_quiet());
    unmake(&camp, made);
}

#[test]
fn kept_places_hang_together() {
    let camp = Camp::new();
    let kept = AtomicPtr::new(ptr::null_mut());
    let [a, b, c] = [(); 3].map(|()| fresh(&camp));
    assert!(take_all(&kept).is_none());
    // SAFETY: the test's own.
    unsafe { a.as_ref() }.set_next(Some(b));
    keep_all(&kept, a, b);
    keep_all(&kept, c, c);
    let all = take_all(&kept).unwrap();
    assert_eq!(chain(all).collect::<Vec<_>>(), [c, a, b]);
    assert!(take_all(&kept).is_none());
    [a, b, c].into_iter().for_each(|places| unmake(&camp, places));
}

/// By the fast paths alone. The thread may be moved to another CPU meanwhile, but not each time.
#[test]
fn what_is_put_at_a_post_is_taken_there() {
    let Some((camp, cpus)) = camp() else { return };
    let class = Camp::class(256);
    let goes_and_comes = || {
        let post = cpus.post_at_once().unwrap();
        let chunk = cpus.alloc(post, &camp.arsenal, &camp.paper, class).unwrap();
        // There is room where it was.
        let put = post.push(class, chunk);
        let back = if put { post.pop(class) } else { Some(chunk) };
        back.into_iter().for_each(|back| assert!(cpus.dealloc(post, &camp.arsenal, &camp.paper, class, back)));
        put && back == Some(chunk)
    };
    assert!((0..100).any(|_| goes_and_comes()));
    done(&camp, &cpus);
}

#[test]
fn what_cpus_have_is_counted_and_handed_in() {
    let Some((camp, cpus)) = camp() else { return };
    let class = Camp::class(256);
    work(&camp, &cpus, class, 10);
    let cached = || (rounds(&cpus, class) + camp.stats(class).cached, rounds(&cpus, Camp::class(512)));
    assert_eq!(cached(), (camp.stats(class).taken, 0));
    assert!(rounds(&cpus, class) > 0);
    assert_eq!(cpus.hand_in(&camp.arsenal, &camp.paper), 0);
    assert_eq!((rounds(&cpus, class), camp.stats(class).cached), (0, camp.stats(class).taken));
    assert_eq!(cpus.hand_in(&camp.arsenal, &camp.paper), 0);
    done(&camp, &cpus);
}

#[test]
fn a_cpu_that_traded_since_the_last_look_keeps_what_it_has() {
    let Some((camp, cpus)) = camp() else { return };
    let class = Camp::class(256);
    work(&camp, &cpus, class, 10);
    let has = rounds(&cpus, class);
    cpus.hand_in_quiet(&camp.arsenal, &camp.paper);
    assert_eq!(rounds(&cpus, class), has);
    cpus.hand_in_quiet(&camp.arsenal, &camp.paper);
    assert_eq!(rounds(&cpus, class), 0);
    done(&camp, &cpus);
}

/// There is no memory for places to put where the magazines were.
#[test]
fn a_cpu_that_cannot_be_given_other_places_is_missed() {
    let Some((camp, cpus)) = camp() else { return };
    let class = Camp::class(256);
    work(&camp, &cpus, class, 10);
    let cpus_with_places = cpus.table().unwrap().iter().filter_map(Places::at).count();
    camp.paper.leave(0);
    assert_eq!(cpus.hand_in(&camp.arsenal, &camp.paper), cpus_with_places);
    assert!(rounds(&cpus, class) > 0);
    camp.paper.leave(usize::MAX);
    assert_eq!((cpus.hand_in(&camp.arsenal, &camp.paper), rounds(&cpus, class)), (0, 0));
    // Where the kernel does not let us fence, as many.
    work(&camp, &cpus, class, 10);
    cpus.fences.store(false, Ordering::Relaxed);
    assert!(cpus.hand_in(&camp.arsenal, &camp.paper) >= 1);
    assert!(rounds(&cpus, class) > 0);
    done(&camp, &cpus);
}

#[test]
fn why_there_is_no_post_is_told_where_there_is_none() {
    let camp = Camp::new();
    let cpus = Cpus::new();
    assert!(cpus.post_at_once().is_none(), "there is no table");
    let posted = cpus.post::<Paper>(&camp.arsenal, &camp.paper).is_some();
    assert_eq!((Cpus::why_not().is_none(), cpus.post_at_once().is_some()), (posted, posted));
    assert!(Cpus::why_not().is_none_or(|why| why.contains(' ')));
    done(&camp, &cpus);
}
