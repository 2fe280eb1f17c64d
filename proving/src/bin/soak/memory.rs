//! What the system says of this process's memory.

/// Bytes resident now.
pub(crate) fn resident() -> usize {
    field("VmRSS:")
}

/// The most that ever were.
pub(crate) fn peak() -> usize {
    field("VmHWM:")
}

/// Has glibc keep one heap for all threads. Some heaps are built on it, and of its others it gives the ends of none back, however much
/// lies free there: up to 100 MiB of a process that has 3 in use, which would hide what is lost.
pub(crate) fn simplify_system() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no conditions.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Has glibc give back what it keeps, which is nothing of the heaps that are built on it.
pub(crate) fn trim_system() {
    #[cfg(target_env = "gnu")]
    // SAFETY: no conditions.
    unsafe {
        libc::malloc_trim(0);
    }
}

fn field(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok()).unwrap_or(0) << 10
}
