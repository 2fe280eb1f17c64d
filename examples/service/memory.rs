//! A process's memory: what the kernel counts, what the heap counts, and how to ask for it back.

use serde::{Deserialize, Serialize};

use crate::either::{BANDOLIER, Side};

/// In bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Memory {
    /// VmRSS; only Linux tells.
    pub(crate) resident: Option<u64>,
    /// VmHWM, the most there ever was of it; only Linux tells.
    pub(crate) peak: Option<u64>,
    /// Only Bandolier tells.
    pub(crate) heap: Option<Heap>,
}

/// Some of `bandolier::Stats`, in bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Heap {
    pub(crate) from_backend: usize,
    pub(crate) in_use: usize,
}

/// `bandolier::Reclaimed`, in bytes; `malloc_trim` does not say how much it gave back.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Reclaimed {
    pub(crate) released: usize,
    pub(crate) purged: usize,
}

impl Memory {
    pub(crate) fn now(side: Side) -> Self {
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        Self {
            resident: field(&status, "VmRSS:"),
            peak: field(&status, "VmHWM:"),
            heap: (side == Side::Bandolier).then(Heap::now),
        }
    }
}

impl Heap {
    fn now() -> Self {
        let stats = BANDOLIER.stats();
        Self { from_backend: stats.from_backend, in_use: stats.in_use }
    }
}

/// Asks this process's allocator for all that it can spare.
pub(crate) fn reclaim(side: Side) -> Option<Reclaimed> {
    match side {
        Side::Bandolier => Some(drain()),
        Side::System => trim(),
    }
}

/// What [`reclaim`] calls.
pub(crate) const fn verb(side: Side) -> &'static str {
    match side {
        Side::Bandolier => "Bandolier::reclaim()",
        Side::System if cfg!(all(target_os = "linux", target_env = "gnu")) => "malloc_trim(0)",
        Side::System => "nothing: this system's allocator has no such call",
    }
}

fn drain() -> Reclaimed {
    let reclaimed = BANDOLIER.reclaim();
    Reclaimed { released: reclaimed.released, purged: reclaimed.purged() }
}

fn trim() -> Option<Reclaimed> {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
    None
}

/// `VmRSS:     1234 kB`, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
