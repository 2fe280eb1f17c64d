//! A forked child of a busy process: it allocates, frees, gives back, and leaves.

use crate::PROCESS;
use bandolier::Bounds;
use bandolier_proving::{Block, Subject as _};
use core::alloc::Layout;

/// What a child leaves with that found nothing amiss.
const WELL: i32 = 17;

/// Forks, and waits for the child.
///
/// # Panics
/// When it did not end well.
pub(crate) fn fork(seed: u64) {
    // SAFETY: the child allocates, and ends with `_exit`.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "no process: {}", std::io::Error::last_os_error());
    if child == 0 {
        // SAFETY: no conditions; ends a child that hangs.
        unsafe { libc::alarm(100) };
        work(seed);
        // SAFETY: no conditions.
        unsafe { libc::_exit(WELL) };
    }
    let mut status = 0;
    loop {
        // SAFETY: a child of ours, and a place for its status.
        let ended = unsafe { libc::waitpid(child, &raw mut status, 0) };
        if ended == child {
            break;
        }
        assert_eq!(std::io::Error::last_os_error().kind(), std::io::ErrorKind::Interrupted);
    }
    let well = libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == WELL;
    assert!(well, "the forked child {seed} ended with status {status:#x}");
}

/// What other threads had in their hands is theirs for ever, and so are the locks of all else: nothing but the heap is used.
fn work(seed: u64) {
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut held = [const { None::<Block> }; 64];
    for turn in 0..600 {
        let place = dice.usize(0..held.len());
        match held[place].take() {
            Some(block) if block.is_intact() => block.free(&PROCESS),
            // SAFETY: no conditions.
            Some(_) => unsafe { libc::_exit(1) },
            None => {
                let most = 1 << dice.u32(4..21);
                let size = dice.usize(1..=most);
                let layout = Layout::from_size_align(size, 1 << dice.u32(0..8)).unwrap_or(Layout::new::<u8>());
                held[place] = Block::new(&PROCESS, layout, dice.bool(), seed << 16 | turn);
            }
        }
    }
    let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    drop(words);
    held.into_iter().flatten().for_each(|block| block.free(&PROCESS));
    if dice.bool() {
        let _ = PROCESS.drain_caches(Bounds::NONE);
        PROCESS.flush_thread();
    }
    let _ = PROCESS.stats();
}
