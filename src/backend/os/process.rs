//! Which process this is: a number that is another one after a fork, and only then.
//!
//! The kernel's number of a process is not that: a process that is number 1 of its container may have a child that is number 1 of
//! another. So the number lies in a page that the kernel wipes in each child (Linux 4.14), who then takes the next one; no process
//! shares memory with another of the same number, and to look it up takes no call.

use super::imp;
use crate::sync::{Atomic, AtomicPtr, Ordering};
use core::ptr;

const MADV_WIPEONFORK: i32 = 18;

/// The number of this process, in a page of its own: null before the first look, and [`refused`] where there is no such page.
static PAGE: AtomicPtr<Atomic<u32>> = AtomicPtr::new(ptr::null_mut());

/// The last number that a process took, this one or one that it is a fork of.
static LAST: Atomic<u32> = Atomic::new(0);

fn refused() -> *mut Atomic<u32> {
    ptr::dangling_mut()
}

pub(super) fn number() -> u32 {
    // Acquire: the page, from who made it.
    let known = PAGE.load(Ordering::Acquire);
    let page = if known.is_null() { make() } else { known };
    if page == refused() {
        return imp::process();
    }
    // SAFETY: a page that was made for it, and stays.
    let number = unsafe { &*page };
    // Relaxed: the number alone is needed.
    let known = number.load(Ordering::Relaxed);
    if known == 0 { take(number) } else { known }
}

/// Takes the next number for this process, unless another thread of it does.
#[cold]
fn take(number: &Atomic<u32>) -> u32 {
    // Relaxed, all: the number alone is needed.
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match number.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(other) => other,
    }
}

#[cold]
fn make() -> *mut Atomic<u32> {
    let bytes = imp::page_size();
    let made = imp::map(bytes, bytes);
    let wiped = made.filter(|&page| imp::is_advised(page, bytes, MADV_WIPEONFORK));
    let page = wiped.map_or(refused(), |page| {
        let number = page.cast::<Atomic<u32>>();
        // SAFETY: a page of ours. What the kernel leaves in a child is the same value.
        unsafe { number.write(Atomic::new(0)) };
        number.as_ptr()
    });
    // Release: the page. Acquire: another thread's.
    let first = PAGE.compare_exchange(ptr::null_mut(), page, Ordering::Release, Ordering::Acquire);
    if let Some(unused) = made.filter(|made| first.is_err() || page != made.as_ptr().cast()) {
        // SAFETY: mapped above, and known to nobody.
        unsafe { imp::unmap(unused, bytes, bytes) };
    }
    first.map_or_else(|other| other, |_| page)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_number_stays_the_same() {
        let one = number();
        assert_ne!(one, 0);
        assert_eq!(std::thread::spawn(number).join().unwrap(), one);
        assert_eq!(number(), one);
    }

    #[test]
    fn a_child_and_its_child_have_others() {
        /// What a child says.
        fn of_child(body: impl FnOnce() -> i32) -> i32 {
            // SAFETY: the child calls nothing that another thread may be in the middle of.
            let child = unsafe { libc::fork() };
            if child == 0 {
                // SAFETY: no conditions.
                unsafe { libc::_exit(body()) };
            }
            let mut status = 0;
            // SAFETY: a child of ours.
            unsafe { libc::waitpid(child, &raw mut status, 0) };
            libc::WEXITSTATUS(status)
        }
        let here = number();
        let there = of_child(|| {
            let child = number();
            let grandchild = of_child(|| i32::from(![here, child].contains(&number())));
            i32::from(child != here && child == number()) + grandchild
        });
        assert_eq!(there, 2);
        assert_eq!(number(), here);
    }
}
