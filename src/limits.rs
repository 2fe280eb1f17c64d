//! How much a heap may hold, and where that is written down.

use crate::backend::Backend;
use crate::heap::Bandolier;

/// How many bytes a heap may take from its back-end.
///
/// Before a heap exceeds its soft limit it gives back all that it can, as [`drain_caches`](Bandolier::drain_caches) does; where
/// that is not enough it tells whom it was told to, and does so again for each eighth that it grows beyond. What would exceed the hard limit is
/// refused: the allocation returns null, with nothing lost, after the same attempt.
///
/// Both are of all that [`committed`](Bandolier::committed) counts: segments, large blocks and the allocator's records.
///
/// # Examples
///
/// ```
/// use bandolier::{Bandolier, Limits};
///
/// static HEAP: Bandolier = Bandolier::new();
///
/// fn shed_load(held: usize) {
///     // Runs inside an allocation: it should do no more than set a flag.
///     let _ = held;
/// }
///
/// let limits = Limits::NONE.soft(768 << 20).hard(1 << 30).notify(shed_load);
/// assert!(HEAP.set_limits(limits));
/// assert!(HEAP.committed() < 1 << 30);
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    soft: usize,
    hard: usize,
    notify: Option<fn(usize)>,
}

impl Limits {
    /// None.
    pub const NONE: Self = Self { soft: usize::MAX, hard: usize::MAX, notify: None };

    /// Bytes that the heap shall not exceed without having given back what it can.
    #[must_use]
    pub const fn soft(self, bytes: usize) -> Self {
        Self { soft: bytes, ..self }
    }

    /// Bytes that it does not exceed.
    #[must_use]
    pub const fn hard(self, bytes: usize) -> Self {
        Self { hard: bytes, ..self }
    }

    /// What to call when the soft limit was exceeded nevertheless, with the bytes held. It is called inside an
    /// allocation, by whichever thread makes it. It may allocate, but should not: it must not wait for anything that the
    /// allocating code may hold. A panic in it ends the process.
    #[must_use]
    pub const fn notify(self, notify: fn(usize)) -> Self {
        Self { notify: Some(notify), ..self }
    }

    /// The soft limit in bytes; `None` when there is none.
    #[must_use]
    pub const fn soft_bytes(self) -> Option<usize> {
        if self.soft == usize::MAX { None } else { Some(self.soft) }
    }

    /// The hard limit in bytes; `None` when there is none.
    #[must_use]
    pub const fn hard_bytes(self) -> Option<usize> {
        if self.hard == usize::MAX { None } else { Some(self.hard) }
    }

    /// The limits of the process's control group (cgroup v2) and of those that it is in: the least `memory.high` is the soft
    /// one, the least `memory.max` the hard one. None, where there are none, or no such groups.
    #[cfg(all(feature = "std", target_os = "linux"))]
    #[must_use]
    pub fn of_cgroup() -> Self {
        let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        cgroup::limits(std::path::Path::new("/sys/fs/cgroup"), &groups)
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
impl Limits {
    /// Less a sixteenth, where there are any.
    const fn with_room(self) -> Self {
        const fn less(bytes: usize) -> usize {
            if bytes == usize::MAX { bytes } else { bytes - bytes / 16 }
        }
        Self { soft: less(self.soft), hard: less(self.hard), notify: self.notify }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self::NONE
    }
}

impl<B: Backend> Bandolier<B> {
    /// Sets the limits, in the place of those that were set before; whether that was done, which it is not when there is no
    /// memory for a heap that was never used. What the heap holds already it keeps, until it is freed or given back.
    pub fn set_limits(&self, limits: Limits) -> bool {
        let Some(arsenal) = self.arsenal_to_be() else { return false };
        arsenal.drawn.set_limits(limits.soft, limits.hard, limits.notify);
        true
    }

    /// Bytes taken from the back-end and not given back, exactly: what limits are limits of.
    #[must_use]
    pub fn committed(&self) -> usize {
        self.arsenal().map_or(0, |arsenal| arsenal.drawn.total())
    }

    /// Sets [the limits of the process's control group](Limits::of_cgroup), less a sixteenth of each, and returns what it has set.
    ///
    /// They are the group's, in which there is more than this heap: stacks, tables of pages, what else the process maps. With all
    /// of it for the heap the kernel would end the process before an allocation is refused. A program that has much more beside
    /// its heap sets less by itself.
    #[cfg(all(feature = "std", target_os = "linux"))]
    pub fn adopt_cgroup_limits(&self) -> Limits {
        let limits = Limits::of_cgroup().with_room();
        self.set_limits(limits);
        limits
    }
}

#[cfg(all(feature = "std", target_os = "linux"))]
mod cgroup {
    use super::Limits;
    use std::path::Path;

    /// The limits of the group that `groups` (`/proc/self/cgroup`) names below `root`, and of all above it.
    pub(super) fn limits(root: &Path, groups: &str) -> Limits {
        let name = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
        let group = root.join(name.trim_start_matches('/'));
        // In a namespace of its own the group's name may be one that is not seen here; the root is then the group.
        let group = if group.is_dir() { group.as_path() } else { root };
        let least = |file: &str| {
            let above = group.ancestors().take_while(|group| group.starts_with(root));
            above.filter_map(|group| bytes(&group.join(file))).min().unwrap_or(usize::MAX)
        };
        Limits { soft: least("memory.high"), hard: least("memory.max"), notify: None }
    }

    /// A number; `None` for `max`.
    fn bytes(file: &Path) -> Option<usize> {
        std::fs::read_to_string(file).ok()?.trim().parse().ok()
    }

    #[cfg(all(test, not(loom)))]
    mod tests {
        use super::limits;
        use std::fs;

        #[test]
        #[cfg_attr(miri, ignore = "Miri has no folders")]
        fn the_least_of_all_groups_above_counts() {
            let root = std::env::temp_dir().join(std::format!("bandolier-cgroup-{}", std::process::id()));
            let group = root.join("a/b");
            fs::create_dir_all(&group).unwrap();
            let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
            write("a/memory.max", "1000\n");
            write("a/b/memory.max", "max\n");
            write("a/b/memory.high", "500\n");
            write("a/memory.high", "700\n");
            let found = limits(&root, "12:cpu:/x\n0::/a/b\n");
            assert_eq!((found.soft_bytes(), found.hard_bytes()), (Some(500), Some(1000)));
            let above = limits(&root, "0::/a\n");
            assert_eq!((above.soft_bytes(), above.hard_bytes()), (Some(700), Some(1000)));
            for nowhere in ["0::/../../elsewhere\n", "", "0::/\n"] {
                let none = limits(&root, nowhere);
                assert_eq!((none.soft_bytes(), none.hard_bytes()), (None, None), "{nowhere}");
            }
            fs::remove_dir_all(&root).unwrap();
        }
    }
}
