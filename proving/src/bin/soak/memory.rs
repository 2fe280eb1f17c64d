//! What the system says of this process's memory.

/// Bytes resident now.
pub(crate) fn resident() -> usize {
    field("VmRSS:")
}

/// The most that ever were.
pub(crate) fn peak() -> usize {
    field("VmHWM:")
}

/// Has glibc give back what it keeps: some heaps are built on it, and what it keeps is nothing of theirs.
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
