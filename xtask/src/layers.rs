//! The order of the modules of `src/`, and the one door of each dangerous thing.
//!
//! ```text
//!   sync … stats ─ backend ─ treiber ─ pool ─ map ─ magazine … cache ─ reclaim ─ heap ─ lib
//!   ◀────────────── crate::x may only name what stands to the left ──────────────
//! ```
//!
//! A folder is one place in the order to itself: its files may name each other. What only tests
//! compile is free.

use std::path::Path;

use crate::source::{Function, NamePath, Source, rust_files};

/// Every module of `src/`, from low to high. The order is total, so there is no cycle to think about.
const ORDER: &[(&str, &[&str])] = &[
    ("L0", &["sync", "geometry", "home", "size_class", "stats", "tell", "tell::tools", "tell::nobody", "wipe"]),
    (
        "L1",
        &[
            "backend",
            "backend::native",
            "backend::os",
            "backend::os::barrier",
            "backend::os::elsewhere",
            "backend::os::exit",
            "backend::os::record",
            "backend::os::restart",
            "backend::os::process",
            "backend::os::unix",
            "backend::os::windows",
            "backend::global_alloc",
            "backend::arena",
            "backend::none",
            "breach",
            "process",
            "dice",
            "passes",
            "patience",
            "supply",
            "surplus",
            "treiber",
        ],
    ),
    ("L2", &["pool", "map"]),
    ("L3", &["magazine", "segment"]),
    ("L4", &["slab", "slab::record", "depot"]),
    ("L5", &["arsenal", "arsenal::holds", "arsenal::large", "arsenal::owner", "arsenal::runs"]),
    (
        "L6",
        &[
            "cache",
            "cache::pouch",
            "cache::fence",
            "cache::holster",
            "cache::holsters",
            "cache::thread",
            "cache::shared",
            "cache::cpu",
            "cache::cpus",
        ],
    ),
    ("L7", &["reclaim"]),
    (
        "L8",
        &[
            "heap",
            "heap::blocks",
            "heap::caches",
            "heap::checks",
            "heap::verbs",
            "allocator",
            "limits",
            "reclaimer",
            "reclaimer::running",
        ],
    ),
    ("L9", &["lib"]),
];

/// A thing and the only files, or folders, that may name it.
struct Door {
    what: &'static str,
    to: To,
    files: &'static [&'static str],
}

enum To {
    /// Any path that begins like this.
    Path(&'static [&'static str]),
    /// Any path with these two segments side by side.
    Pair(&'static str, &'static str),
    /// A macro by its last name.
    Macro(&'static str),
}

const SYNC: &[&str] = &["src/sync.rs"];
const OS: &[&str] = &["src/backend/os/"];
const THREAD: &[&str] = &["src/cache/thread.rs", "src/backend/os/record.rs"];
const ASM: &[&str] = &["src/cache/cpu.rs", "src/tell/tools.rs"];
const WITH_STD: &[&str] = &[
    "src/backend/os/",
    "src/cache/thread.rs",
    "src/breach.rs",
    "src/lib.rs",
    "src/reclaimer/running.rs",
    "src/limits.rs",
];

const DOORS: &[Door] = &[
    Door { what: "core::sync", to: To::Path(&["core", "sync"]), files: SYNC },
    Door { what: "std::sync", to: To::Path(&["std", "sync"]), files: &["src/sync.rs", "src/reclaimer/running.rs"] },
    Door { what: "sync::atomic", to: To::Pair("sync", "atomic"), files: SYNC },
    Door { what: "the crate atomic", to: To::Path(&["atomic"]), files: SYNC },
    Door { what: "loom", to: To::Path(&["loom"]), files: SYNC },
    Door { what: "critical_section", to: To::Path(&["critical_section"]), files: SYNC },
    Door { what: "crossbeam_utils", to: To::Path(&["crossbeam_utils"]), files: SYNC },
    Door { what: "libc", to: To::Path(&["libc"]), files: OS },
    Door { what: "windows_sys", to: To::Path(&["windows_sys"]), files: OS },
    Door { what: "thread_local!", to: To::Macro("thread_local"), files: THREAD },
    Door { what: "asm!", to: To::Macro("asm"), files: ASM },
    Door { what: "global_asm!", to: To::Macro("global_asm"), files: ASM },
    Door { what: "naked_asm!", to: To::Macro("naked_asm"), files: ASM },
    Door { what: "std", to: To::Path(&["std"]), files: WITH_STD },
];

/// Counted from `fn` to the closing brace.
const LONGEST_FUNCTION: usize = 60;

pub(crate) fn run(root: &Path) -> Result<(), String> {
    let mut files = 0;
    let mut violations = Vec::new();
    for path in rust_files(root, "src")? {
        files += 1;
        match Source::read(root, &path) {
            Ok(source) => violations.extend(check(&source)),
            Err(error) => violations.push(error),
        }
    }
    violations.iter().for_each(|v| println!("{v}"));
    match violations.len() {
        0 => {
            println!("layers: {files} files in order");
            Ok(())
        }
        n => Err(format!("layers: {n} violations in {files} files")),
    }
}

/// What is wrong with one file, each as `path:line: message`.
fn check(source: &Source) -> Vec<String> {
    let paths: Vec<NamePath> = source.paths().into_iter().filter(|p| !source.tokens[p.at].test).collect();
    let mut found = order_violations(source, &paths);
    found.extend(door_violations(source, &paths));
    found.extend(long_functions(source));
    found.sort();
    found.dedup();
    found.into_iter().map(|(line, message)| format!("{}:{line}: {message}", source.path)).collect()
}

type Violation = (usize, String);

fn rank(module: &str) -> Option<(usize, &'static str)> {
    let all = ORDER.iter().flat_map(|(layer, modules)| modules.iter().map(|m| (*layer, *m)));
    all.enumerate().find(|(_, (_, m))| *m == module).map(|(i, (layer, _))| (i, layer))
}

/// `src/cache/mod.rs` is `["cache"]`, `src/cache/cpu.rs` is `["cache", "cpu"]`, `src/lib.rs` is `[]`.
fn module_of(path: &str) -> Vec<String> {
    let stem = path.trim_start_matches("src/").trim_end_matches(".rs");
    let stem = stem.strip_suffix("/mod").unwrap_or(stem);
    if stem == "lib" { Vec::new() } else { stem.split('/').map(String::from).collect() }
}

fn order_violations(source: &Source, paths: &[NamePath]) -> Vec<Violation> {
    let here = module_of(&source.path);
    if here.is_empty() {
        return Vec::new(); // lib.rs stands above all
    }
    let name = here.join("::");
    let Some((own, layer)) = rank(&name) else {
        return vec![(1, format!("module `{name}` has no place in the order: add it to ORDER in xtask/src/layers.rs"))];
    };
    let up = |path: &NamePath| {
        let target = resolve(source, &here, path)?;
        let message = match upward(&here, own, &target)? {
            Up::Root => format!("`crate::{}` is not a module, so it is lib.rs that is named", target.join("::")),
            Up::Module(module, above) => {
                format!("`{module}` ({above}) stands above `{name}` ({layer})")
            }
        };
        Some((source.tokens[path.at].line, message))
    };
    paths.iter().filter_map(up).collect()
}

enum Up {
    Root,
    Module(String, &'static str),
}

/// How `target` stands above the module `here`, if it does.
fn upward(here: &[String], own: usize, target: &[String]) -> Option<Up> {
    let top = target.first();
    if top.is_some_and(|t| *t == here[0]) {
        return None;
    }
    let longest = target.iter().take(2).cloned().collect::<Vec<_>>().join("::");
    let known = [longest, top.cloned().unwrap_or_default()].into_iter().find_map(|m| rank(&m).map(|r| (m, r)));
    match known {
        Some((module, (there, layer))) => (there > own).then_some(Up::Module(module, layer)),
        None => Some(Up::Root),
    }
}

/// A path as segments from the crate's root; `None` where it does not begin with `crate`, `self` or `super`.
fn resolve(source: &Source, here: &[String], path: &NamePath) -> Option<Vec<String>> {
    if is_visibility(source, path.start) {
        return None;
    }
    let mut rest = path.segments.as_slice();
    let mut base = match rest.first()?.as_str() {
        "crate" => Vec::new(),
        "self" | "super" => [here.to_vec(), source.modules_around(path.start)].concat(),
        _ => return None,
    };
    if rest.len() == 1 && !preceded_by_use(source, path.start) {
        return None; // a method's `self`, or the `crate` of `pub(crate)`
    }
    while let [first, tail @ ..] = rest {
        match first.as_str() {
            "super" => drop(base.pop()),
            "crate" | "self" => {}
            _ => break,
        }
        rest = tail;
    }
    base.extend(rest.iter().filter(|s| *s != "self").cloned());
    Some(base)
}

/// `pub(in crate::x)` widens, it does not import.
fn is_visibility(source: &Source, start: usize) -> bool {
    start >= 3 && ["pub", "(", "in"].iter().zip(&source.tokens[start - 3..]).all(|(text, token)| token.is(text))
}

fn preceded_by_use(source: &Source, start: usize) -> bool {
    start >= 1 && source.tokens[start - 1].is("use")
}

fn door_violations(source: &Source, paths: &[NamePath]) -> Vec<Violation> {
    let inside = |place: &str| if place.ends_with('/') { source.path.starts_with(place) } else { source.path == place };
    let closed = DOORS.iter().filter(|door| !door.files.iter().any(|place| inside(place)));
    let through =
        closed.flat_map(|door| paths.iter().filter(|p| goes_through(source, p, door)).map(move |p| (door, p)));
    let message = |door: &Door| format!("`{}` belongs in {} alone", door.what, door.files.join(", "));
    through.map(|(door, path)| (source.tokens[path.at].line, message(door))).collect()
}

fn goes_through(source: &Source, path: &NamePath, door: &Door) -> bool {
    let segments = &path.segments;
    let next_is = |text| source.tokens.get(path.at + 1).is_some_and(|t| t.is(text));
    // A variable may be called `atomic`; a crate is followed by `::` or named by `use` or `extern crate`.
    let names_crate = || segments.len() > 1 || next_is("::") || begins_import(source, path.start);
    match door.to {
        To::Path(begin) => {
            segments.len() >= begin.len() && segments.iter().zip(begin).all(|(a, b)| a == b) && names_crate()
        }
        To::Pair(a, b) => segments.windows(2).any(|w| w[0] == a && w[1] == b),
        To::Macro(name) => {
            segments.last().is_some_and(|s| s == name) && (next_is("!") || begins_import(source, path.start))
        }
    }
}

fn begins_import(source: &Source, start: usize) -> bool {
    let before = |n: usize| start.checked_sub(n).map_or("", |i| source.tokens[i].text.as_str());
    match before(1) {
        "use" => true,
        "::" => before(2) == "use",
        "crate" => before(2) == "extern",
        _ => false,
    }
}

fn long_functions(source: &Source) -> Vec<Violation> {
    let length = |f: &Function| f.lines.end - f.lines.start + 1;
    let long = source.functions().into_iter().filter(|f| !f.test && length(f) > LONGEST_FUNCTION);
    let message = |f: &Function| format!("`{}` is {} lines long, {LONGEST_FUNCTION} are allowed", f.name, length(f));
    long.map(|f| (f.lines.start, message(&f))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn violations(path: &str, text: &str) -> Vec<String> {
        check(&Source::lex(path, text.into()).unwrap())
    }

    #[track_caller]
    fn clean(path: &str, text: &str) {
        assert_eq!(violations(path, text), [""; 0], "{text}");
    }

    #[track_caller]
    fn caught(path: &str, text: &str, with: &str) {
        let found = violations(path, text);
        assert!(found.iter().any(|v| v.contains(with)), "{text}: {found:?}");
    }

    #[test]
    fn down_is_fine() {
        clean("src/slab.rs", "use crate::{segment, sync::{self, Atomic}, pool::*};\nfn f() { crate::map::g() }");
        clean("src/slab.rs", "pub(crate) struct S; impl S { fn f(self) { self.x } } pub(in crate::heap) fn g() {}");
        clean("src/heap.rs", "use super::cache::{Slot, thread::Local}; use self::imp::X; mod imp { use super::Y; }");
        clean("src/lib.rs", "mod heap; pub use heap::Bandolier; pub use crate::heap::X;");
    }

    #[test]
    fn up_is_caught_in_every_spelling() {
        caught("src/slab.rs", "\nuse crate::depot::D;", "src/slab.rs:2: `depot` (L4) stands above `slab` (L4)");
        caught("src/slab.rs", "use crate::{sync, map::{A, B},\n heap};", "src/slab.rs:2: `heap` (L8)");
        caught("src/slab.rs", "fn f() { crate::heap::g::<u8>() }", "`heap`");
        caught("src/slab.rs", "use super::heap::X;", "`heap`");
        caught("src/slab.rs", "use super::{sync, heap};", "`heap`");
        caught("src/slab.rs", "mod imp { use super::super::heap::X; }", "`heap`");
        caught("src/slab.rs", "macro_rules! m { () => { $crate::heap::X } }", "`heap`");
        caught("src/backend/arena.rs", "use super::super::heap::X;", "`heap`");
        caught("src/pool.rs", "use crate::cache::thread::X;", "`cache::thread` (L6)");
    }

    #[test]
    fn the_root_is_up() {
        caught("src/slab.rs", "use crate::Bandolier;", "`crate::Bandolier` is not a module");
        caught("src/slab.rs", "use crate::*;", "lib.rs");
        caught("src/slab.rs", "use crate as c;", "lib.rs");
        caught("src/slab.rs", "use super::*;", "lib.rs");
    }

    #[test]
    fn a_folder_is_free_inside() {
        clean("src/cache/mod.rs", "use self::thread::X; use crate::cache::shared::Y; mod thread;");
        clean("src/cache/thread.rs", "use super::Slot; use crate::cache::shared::Y;");
        caught("src/cache/thread.rs", "use crate::heap::X;", "`heap` (L8) stands above `cache::thread`");
    }

    #[test]
    fn an_unknown_module_must_be_added() {
        caught("src/extra.rs", "", "add it to ORDER");
        caught("src/cache/numa.rs", "", "module `cache::numa` has no place");
    }

    #[test]
    fn doors_are_closed() {
        for (text, what) in [
            ("use core::sync::atomic::AtomicU32;", "core::sync"),
            ("use core::{mem, sync::atomic};", "core::sync"),
            ("use core as c; type A = c::sync::atomic::AtomicU8;", "sync::atomic"),
            ("type A = std::sync::atomic::AtomicU8;", "std::sync"),
            ("use atomic::Atomic;", "the crate atomic"),
            ("use ::atomic::Atomic;", "the crate atomic"),
            ("use atomic;", "the crate atomic"),
            ("use loom;", "loom"),
            ("fn f() { loom::skip() }", "loom"),
            ("use crossbeam_utils::CachePadded;", "crossbeam_utils"),
            ("fn f() { unsafe { libc::abort() } }", "libc"),
            ("extern crate libc as c;", "libc"),
            ("use windows_sys::Win32;", "windows_sys"),
            ("thread_local! { static A: u8 = 0; }", "thread_local!"),
            ("use std::thread_local as tl;", "thread_local!"),
            ("fn f() { unsafe { core::arch::asm!(\"\") } }", "asm!"),
            ("use core::arch::asm;", "asm!"),
            ("core::arch::global_asm!(\"\");", "global_asm!"),
            ("fn f() { std::process::abort() }", "std"),
            ("extern crate std;", "std"),
            ("fn f() { <std::string::String as Default>::default(); }", "std"),
        ] {
            caught("src/slab.rs", text, &format!("`{what}` belongs in"));
        }
    }

    #[test]
    fn doors_open_for_their_own_file() {
        clean("src/sync.rs", "use atomic::Atomic; use core::sync::atomic::AtomicU8; use crossbeam_utils::Backoff;");
        clean("src/backend/os/unix.rs", "use libc::mmap; use std::ptr; use windows_sys::Win32;");
        caught("src/backend/osprey.rs", "use libc::mmap;", "libc");
        clean("src/cache/thread.rs", "std::thread_local! { static A: u8 = const { 0 }; }");
        clean("src/cache/cpu.rs", "core::arch::asm!(\"\");");
        clean("src/breach.rs", "fn f() { std::process::abort() }");
        caught("src/breach.rs", "use std::sync::atomic::AtomicU8;", "std::sync");
    }

    #[test]
    fn words_that_only_look_like_doors() {
        clean(
            "src/slab.rs",
            "// std::sync::atomic\n/// libc::mmap\nfn f(atomic: u8, loom: u8) -> u8 { g(\"std::x\", atomic) }",
        );
        clean("src/slab.rs", "#[cfg(feature = \"std\")] use crate::sync::thread_local_slot; fn asm(std: u8) {}");
        clean("src/slab.rs", "#[cfg(test)] mod tests { use std::sync::atomic::AtomicU8; use crate::heap::X; }");
        clean("src/slab.rs", "#[cfg(all(test, loom))] #[path = \"../loom-tests/slab.rs\"] mod loom_tests;");
        caught("src/slab.rs", "#[cfg(not(test))] use std::vec::Vec;", "std");
    }

    #[test]
    fn a_long_function_is_caught() {
        let body = |lines: usize| format!("fn f() {{\n{}}}", "g();\n".repeat(lines - 2));
        clean("src/slab.rs", &body(60));
        caught("src/slab.rs", &body(61), "src/slab.rs:1: `f` is 61 lines long");
        clean("src/slab.rs", &format!("#[cfg(test)] mod tests {{ {} }}", body(61)));
    }
}
