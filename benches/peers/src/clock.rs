//! What a thread, or the process, has cost so far.

use core::mem::MaybeUninit;
use core::time::Duration;
use std::io::Read;

/// CPU time of the calling thread: what it ran, not what it waited while others ran.
///
/// # Panics
///
/// When the system has no such clock.
pub fn thread_cpu() -> Duration {
    cpu(libc::CLOCK_THREAD_CPUTIME_ID)
}

/// CPU time of all threads of this process, those that have ended too.
///
/// # Panics
///
/// When the system has no such clock.
pub fn process_cpu() -> Duration {
    cpu(libc::CLOCK_PROCESS_CPUTIME_ID)
}

fn cpu(clock: libc::clockid_t) -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write.
    let failed = unsafe { libc::clock_gettime(clock, &raw mut now) };
    assert_eq!(failed, 0, "no such CPU clock");
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("below 10^9"))
}

/// Page faults of this process that needed no disk: pages that it touched first, or anew; `None` when the system does not tell.
pub fn minor_faults() -> Option<u64> {
    let mut usage = MaybeUninit::<libc::rusage>::uninit();
    // SAFETY: `usage` has room for what the call writes.
    let failed = unsafe { libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr()) };
    // SAFETY: the call that did not fail has written it.
    (failed == 0).then(|| unsafe { usage.assume_init() }.ru_minflt.unsigned_abs())
}

/// The most memory this process ever had resident, in KiB; `None` where `/proc` does not tell.
///
/// Not `getrusage`: its `ru_maxrss` starts at what the parent had before `exec`. Allocates nothing.
pub fn peak_rss_kib() -> Option<u64> {
    let mut lines = [0; 2048];
    kib_behind("VmHWM:", head("/proc/self/status", &mut lines)?)
}

/// What this process has resident now, in KiB, give or take some dozen pages that the kernel has not summed up yet;
/// `None` where `/proc` does not tell. Allocates nothing.
pub fn rss_kib() -> Option<u64> {
    let mut line = [0; 128];
    let pages: u64 = head("/proc/self/statm", &mut line)?.split(' ').nth(1)?.parse().ok()?;
    // SAFETY: it reads a constant of the system.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    Some(pages * page.unsigned_abs() / 1024)
}

/// The same exactly, by a walk through the page tables. Allocates nothing.
pub fn exact_rss_kib() -> Option<u64> {
    let mut lines = [0; 256];
    kib_behind("Rss:", head("/proc/self/smaps_rollup", &mut lines)?)
}

fn kib_behind(key: &str, text: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key))?.trim().strip_suffix(" kB")?.parse().ok()
}

/// As much of a file as fits.
fn head<'a>(file: &str, place: &'a mut [u8]) -> Option<&'a str> {
    let read = std::fs::File::open(file).ok()?.read(place).ok()?;
    core::str::from_utf8(&place[..read]).ok()
}

#[cfg(test)]
mod tests {
    use super::{exact_rss_kib, minor_faults, peak_rss_kib, process_cpu, rss_kib, thread_cpu};
    use core::hint::black_box;
    use core::time::Duration;

    #[test]
    fn the_clock_of_a_busy_thread_goes_on() {
        let before = thread_cpu();
        while thread_cpu() == before {
            core::hint::spin_loop();
        }
    }

    #[test]
    fn the_clock_of_a_process_knows_what_other_threads_ran() {
        let before = process_cpu();
        let ran = std::thread::spawn(|| {
            while thread_cpu() < Duration::from_millis(5) {
                core::hint::spin_loop();
            }
            thread_cpu()
        });
        let ran = ran.join().unwrap();
        assert!(process_cpu() - before >= ran);
    }

    #[test]
    fn pages_that_are_touched_first_are_faults() {
        let before = minor_faults().unwrap();
        drop(black_box(vec![1_u8; 4 << 20]));
        assert!(minor_faults().unwrap() > before);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_resident() {
        assert!(peak_rss_kib().is_some_and(|kib| kib > 0));
        let block = vec![1_u8; 64 << 20];
        let (roughly, exactly) = (rss_kib().unwrap(), exact_rss_kib().unwrap());
        assert!(exactly > 64 << 10 && roughly.abs_diff(exactly) < 16 << 10, "{roughly} {exactly}");
        drop(block);
    }
}
