//! What a thread has cost so far.

use core::time::Duration;

/// CPU time of the calling thread: what it ran, not what it waited while others ran.
///
/// # Panics
///
/// When the system has no such clock.
pub fn thread_cpu() -> Duration {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a timespec that the call may write.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    assert_eq!(failed, 0, "no CPU clock for threads");
    Duration::new(now.tv_sec.unsigned_abs(), u32::try_from(now.tv_nsec).expect("below 10^9"))
}

/// The most memory this process ever had resident, in KiB; `None` where `/proc` does not tell.
///
/// Not `getrusage`: its `ru_maxrss` starts at what the parent had before `exec`.
pub fn peak_rss_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::{peak_rss_kib, thread_cpu};

    #[test]
    fn the_clock_of_a_busy_thread_goes_on() {
        let before = thread_cpu();
        while thread_cpu() == before {
            core::hint::spin_loop();
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_process_is_resident() {
        assert!(peak_rss_kib().is_some_and(|kib| kib > 0));
    }
}
