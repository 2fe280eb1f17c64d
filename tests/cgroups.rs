//! A control group's limit under a load: null instead of the kernel's killer.
//!
//! The process needs the right to make a group. With cgroup v2 it takes one there; where the memory controller is one of v1 still, a
//! group there, whose limit the kernel enforces just so, and in a mount namespace of its own the files that v2 would have.

#![cfg(all(feature = "std", target_os = "linux", not(miri)))]

mod common;

use bandolier::{Bandolier, Os};
use common::{Block, child, layout, role, scaled};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

static HEAP: Bandolier<Os> = Bandolier::with_backend(Os);

const MIB: usize = 1 << 20;
const MOST: usize = scaled(192, 96, 0) * MIB;

/// A group for one child, which is removed with this.
struct Group(PathBuf);

impl Drop for Group {
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.0);
    }
}

fn named(root: &Path) -> PathBuf {
    root.join(format!("bandolier-test-{}", std::process::id()))
}

/// A group of cgroup v2, beside the one that this process is in, or below the root.
fn second_version() -> io::Result<Group> {
    let groups = fs::read_to_string("/proc/self/cgroup")?;
    let own = groups.lines().find_map(|line| line.strip_prefix("0::/")).ok_or(io::ErrorKind::NotFound)?;
    let root = Path::new("/sys/fs/cgroup");
    let own = root.join(own);
    let parent = if own.is_dir() && own != root { own.parent().unwrap_or(root) } else { root };
    let controllers = fs::read_to_string(parent.join("cgroup.subtree_control"))?;
    if !controllers.contains("memory") {
        fs::write(parent.join("cgroup.subtree_control"), "+memory")?;
    }
    let group = Group(named(parent));
    fs::create_dir(&group.0)?;
    fs::write(group.0.join("memory.max"), MOST.to_string())?;
    let _ = fs::write(group.0.join("memory.swap.max"), "0");
    Ok(group)
}

/// A group of the memory controller of v1.
fn first_version() -> io::Result<Group> {
    let group = Group(named(Path::new("/sys/fs/cgroup/memory")));
    fs::create_dir(&group.0)?;
    fs::write(group.0.join("memory.limit_in_bytes"), MOST.to_string())?;
    let _ = fs::write(group.0.join("memory.memsw.limit_in_bytes"), MOST.to_string());
    Ok(group)
}

/// Shows this process, and nobody else, the files of a group of v2 with such a limit.
fn pretend() -> io::Result<()> {
    let done = |result: libc::c_int| if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) };
    // SAFETY: the namespace becomes this process' own.
    done(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
    let (none, all, place, kind) = (c"none".as_ptr(), c"/".as_ptr(), c"/sys/fs/cgroup".as_ptr(), c"tmpfs".as_ptr());
    let nothing = core::ptr::null();
    // SAFETY: names that end with a zero; what is mounted here is seen nowhere else from here on.
    done(unsafe { libc::mount(none, all, nothing, libc::MS_REC | libc::MS_PRIVATE, nothing.cast()) })?;
    // SAFETY: as above.
    done(unsafe { libc::mount(none, place, kind, 0, nothing.cast()) })?;
    fs::write("/sys/fs/cgroup/memory.max", MOST.to_string())
}

/// Fills the heap on several threads, every page of it written, twice; how often there was no memory.
fn fill(size: usize) -> usize {
    let work = |seed: u64| {
        move || {
            let mut nulls = 0;
            for turn in 0..2 {
                // More than there is for one, so that the last one of a few has it, too.
                let mut held = Vec::with_capacity(MOST / size);
                while let Some(block) = Block::new(&HEAP, layout(size, 8), seed << 40 | turn << 32 | held.len() as u64)
                {
                    held.push(block);
                }
                nulls += 1;
                held.into_iter().for_each(|block| block.free(&HEAP));
            }
            nulls
        }
    };
    let threads: Vec<_> = (0..3).map(|seed| thread::spawn(work(seed))).collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).sum()
}

/// What the child does, in the group that it is told of.
fn load(role: &str) {
    let (version, group) = role.split_once(' ').unwrap();
    fs::write(Path::new(group).join("cgroup.procs"), "0").unwrap();
    if version == "1" {
        pretend().unwrap();
    }
    let limits = HEAP.adopt_cgroup_limits();
    assert!(limits.hard_bytes().is_some_and(|hard| hard < MOST && hard > MOST / 10 * 9), "{limits:?}");
    for size in [100_000, 3000, 5 * MIB] {
        assert!(fill(size) >= 6);
        assert_eq!(HEAP.stats().in_use, 0);
        assert!(HEAP.committed() <= MOST);
    }
    let _ = HEAP.reclaim();
    assert!(HEAP.committed() < 8 * MIB, "{}", HEAP.committed());
    println!("lived");
}

#[test]
fn a_groups_limit_means_null_and_not_the_killer() {
    if let Some(role) = role() {
        return load(&role);
    }
    let (version, group) = match second_version().map(|group| ("2", group)).or_else(|second| {
        first_version().map(|group| ("1", group)).map_err(|first| format!("v2: {second}; v1: {first}"))
    }) {
        Ok(found) => found,
        Err(why) => return println!("\n!!!! SKIPPED: no control group can be made here: {why}\n"),
    };
    println!("in a group of v{version}: {}", group.0.display());
    let output = child("a_groups_limit_means_null_and_not_the_killer", &format!("{version} {}", group.0.display()));
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if version == "1" && complained.contains("PermissionDenied") {
        return println!("\n!!!! SKIPPED: no mount namespace is to be had here\n");
    }
    assert!(output.status.success() && said.contains("lived"), "{}\n{said}\n{complained}", output.status);
    println!("{said}");
}
