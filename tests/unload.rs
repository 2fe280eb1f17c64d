//! A library with a heap of its own that is loaded and unloaded, again and again, beside threads that have used it and live on.
//!
//! What works: all of it. What stays: the memory that the library's heap holds when it goes, for nobody tells a heap that its
//! program is to go on without it. `reclaim` before that leaves the records, and what was never freed.

#![cfg(all(feature = "std", target_os = "linux", target_env = "gnu", not(miri)))]

mod common;

use common::{is_long, isolated, scaled};
use core::ffi::{CStr, c_void};
use std::ffi::CString;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Mutex;
use std::sync::mpsc::channel;
use std::thread;

/// The library, built if it is not there yet: by the cargo that has built this, into a folder of its own.
fn library() -> CString {
    static BUILT: Mutex<Option<PathBuf>> = Mutex::new(None);
    let mut built = BUILT.lock().unwrap();
    let path = built.get_or_insert_with(|| {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("plugin");
        let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/plugin/Cargo.toml");
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--release", "--manifest-path", manifest, "--target-dir"]).arg(&folder);
        // What was set for this build, flags of a sanitizer for instance, is not for that one.
        ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_TARGET"]
            .iter()
            .for_each(|name| _ = cargo.env_remove(name));
        assert!(cargo.status().unwrap().success(), "the plugin could not be built");
        folder.join("release/libbandolier_plugin.so")
    });
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// The library, loaded.
struct Loaded(*mut c_void);

impl Loaded {
    fn new(path: &CStr) -> Self {
        // SAFETY: a library whose initialisers do nothing but set up the standard library.
        let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        assert!(!handle.is_null(), "{path:?} cannot be loaded");
        Self(handle)
    }

    fn symbol(&self, name: &CStr) -> *mut c_void {
        // SAFETY: the library is loaded.
        let place = unsafe { libc::dlsym(self.0, name.as_ptr()) };
        assert!(!place.is_null(), "{name:?} is not there");
        place
    }

    fn call(&self, name: &CStr, argument: usize) -> usize {
        let place = self.symbol(name);
        // SAFETY: all functions of the plugin have such a signature, or look at no argument.
        let function = unsafe { core::mem::transmute::<*mut c_void, extern "C" fn(usize) -> usize>(place) };
        function(argument)
    }

    /// Unloads the library; whether it is gone.
    fn unload(self, path: &CStr) -> bool {
        // SAFETY: loaded once, and no code of it runs any more.
        assert_eq!(unsafe { libc::dlclose(self.0) }, 0);
        // SAFETY: loads nothing.
        let still = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW | libc::RTLD_NOLOAD) };
        still.is_null()
    }
}

/// Of `/proc/self/statm`, in bytes: addresses, and what is resident.
fn memory() -> [usize; 2] {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap();
    let mut pages = text.split(' ').map(|pages| pages.parse::<usize>().unwrap());
    // SAFETY: no conditions.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    [(); 2].map(|()| pages.next().unwrap() * page)
}

fn rounds() -> usize {
    if is_long() { 1000 } else { scaled(200, 100, 0) }
}

/// What one loading leaves behind, at most: records, and the table of addresses.
const ADDRESSES: usize = 1 << 20;
const RESIDENT: usize = 384 << 10;

#[test]
fn a_library_comes_and_goes() {
    isolated("a_library_comes_and_goes", || {
        let path = library();
        let round = |n: usize| {
            let library = Loaded::new(&path);
            assert_eq!(library.call(c"plugin_work", n), 0);
            assert!(library.call(c"plugin_threads", 0) >= 1);
            let left = library.call(c"plugin_leave", 0);
            assert!(library.unload(&path), "the library stays loaded");
            left
        };
        let left = (0..5).map(round).max().unwrap();
        let before = memory();
        (0..rounds()).for_each(|n| _ = round(n));
        let after = memory();
        let each = [0, 1].map(|n| after[n].saturating_sub(before[n]) / rounds());
        println!(
            "each of {} loadings leaves {} bytes of addresses, {} resident; {left} by its books",
            rounds(),
            each[0],
            each[1]
        );
        assert!(left < ADDRESSES && each[0] < left + ADDRESSES && each[1] < RESIDENT, "{each:?} and {left}");
    });
}

/// Threads that had magazines of a library that is gone, and whose exit hook would lie in it, end as others do; and those that
/// have worked for several such libraries, one after the other.
#[test]
fn threads_outlive_the_library_that_they_used() {
    isolated("threads_outlive_the_library_that_they_used", || {
        let path = library();
        let workers: Vec<_> = (0..4)
            .map(|_| {
                let (send, receive) = channel::<(usize, std::sync::mpsc::Sender<usize>)>();
                let thread = thread::spawn(move || {
                    for (function, answer) in receive {
                        // SAFETY: `plugin_work` of a library that stays loaded until the answer.
                        let work = unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> usize>(function) };
                        answer.send(work(function)).unwrap();
                    }
                });
                (send, thread)
            })
            .collect();
        let mut workers = workers.into_iter();
        let first: Vec<_> = workers.by_ref().take(2).collect();
        let rest: Vec<_> = workers.collect();
        for n in 0..rounds() / 2 {
            let library = Loaded::new(&path);
            let work = library.symbol(c"plugin_work").addr();
            for (send, _) in first.iter().chain(&rest) {
                let (answer, answered) = channel();
                send.send((work, answer)).unwrap();
                assert_eq!(answered.recv().unwrap(), 0);
            }
            // One that ends while the library is there.
            let ended = thread::spawn(move || {
                // SAFETY: as above.
                let work = unsafe { core::mem::transmute::<usize, extern "C" fn(usize) -> usize>(work) };
                work(n)
            });
            assert_eq!(ended.join().unwrap(), 0);
            assert_eq!(library.call(c"plugin_threads", 0), 4);
            library.call(c"plugin_leave", 0);
            assert!(library.unload(&path), "the library stays loaded");
        }
        // Their hooks lay in libraries that are gone.
        for (send, thread) in first {
            drop(send);
            thread.join().unwrap();
        }
        let library = Loaded::new(&path);
        assert_eq!(library.call(c"plugin_work", 1), 0);
        for (send, thread) in rest {
            drop(send);
            thread.join().unwrap();
        }
        assert!(library.unload(&path));
    });
}

/// What a library that is gone has handed out stays as it was.
#[test]
fn blocks_outlive_the_library_that_they_came_from() {
    isolated("blocks_outlive_the_library_that_they_came_from", || {
        let path = library();
        let library = Loaded::new(&path);
        let sizes = [64, 5000, 200_000, 9 << 20];
        let blocks = sizes.map(|size| library.call(c"plugin_take", size));
        let view = |(address, size): (usize, usize)| {
            // SAFETY: zeroed, of that size, and never freed.
            unsafe { core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut::<u8>(address), size) }
        };
        blocks.into_iter().zip(sizes).for_each(|block| view(block).fill(7));
        library.call(c"plugin_leave", 0);
        assert!(library.unload(&path));
        let again = Loaded::new(&path);
        assert_eq!(again.call(c"plugin_work", 3), 0);
        for block in blocks.into_iter().zip(sizes) {
            assert!(view(block).iter().all(|&byte| byte == 7));
        }
        assert!(again.unload(&path));
    });
}
