//! A process's memory: what the kernel counts, and what the heap counts.

use serde::{Deserialize, Serialize};

use crate::allocator::Allocator;

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

/// What an allocator did when it was asked for all that it could spare.
#[derive(Serialize, Deserialize)]
pub(crate) struct Reclaimed {
    /// As it is called in a program.
    pub(crate) call: String,
    /// Only Bandolier tells.
    pub(crate) bytes: Option<Bytes>,
}

/// `bandolier::Reclaimed`, in bytes.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Bytes {
    pub(crate) released: usize,
    pub(crate) purged: usize,
}

impl Memory {
    pub(crate) fn now(allocator: &dyn Allocator) -> Self {
        let status = status("self");
        Self { resident: field(&status, RESIDENT), peak: field(&status, "VmHWM:"), heap: allocator.heap() }
    }
}

const RESIDENT: &str = "VmRSS:";

/// What the process `pid` has resident, in bytes.
pub(crate) fn resident(pid: u32) -> Option<u64> {
    field(&status(&pid.to_string()), RESIDENT)
}

fn status(process: &str) -> String {
    std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default()
}

/// `VmRSS:     1234 kB`, in bytes.
fn field(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}
