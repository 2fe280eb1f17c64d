//! The project's commands; `cargo xtask` lists them.

mod asm;
mod bench;
mod callgrind;
mod cargo;
mod fast_path;
mod fuzz;
mod layers;
mod loom;
mod machines;
mod mutants;
mod nightly;
mod orderings;
mod paths;
mod progress;
mod prove;
mod soak;
mod source;
mod targets;
mod test;
mod valgrind;

use std::path::Path;
use std::process::ExitCode;

struct Task {
    name: &'static str,
    args: &'static str,
    what: &'static str,
    go: fn(&Path, &[String]) -> Result<(), String>,
}

const TASKS: &[Task] = &[
    Task { name: "test", args: "[--list | step..]", what: "everything, or only some steps", go: test::run },
    Task { name: "layers", args: "", what: "the order of the modules and the doors", go: |root, _| layers::run(root) },
    Task {
        name: "orderings",
        args: "",
        what: "every atomic operation is in docs/ORDERINGS.md",
        go: |root, _| orderings::run(root),
    },
    Task {
        name: "loom",
        args: "[--prove [n/m] [--timeout s]] [filter]",
        what: "the models; --prove: every recorded weakening turns them red",
        go: loom,
    },
    Task {
        name: "mutants",
        args: "[n/m] [file..]",
        what: "small changes of the source, each of which a test must notice, but for those in docs/MUTANTS.md",
        go: mutants::run,
    },
    Task {
        name: "progress",
        args: "[part]",
        what: "stops a thread before each step of each slow path, and sees that others go on; the paths with that name alone",
        go: progress::run,
    },
    Task {
        name: "bench",
        args: "[--quick | --full] [filter..]",
        what: "the comparison with other allocators; a whole one goes into docs/BENCHMARKS.md",
        go: bench::run,
    },
    Task { name: "asm", args: "", what: "the fast path as machine code", go: |root, _| asm::run(root) },
    Task {
        name: "paths",
        args: "[--write]",
        what: "the instructions of the fast path, against docs/DESIGN.md; --write: records them there",
        go: paths::run,
    },
    Task {
        name: "arm64",
        args: "[test..]",
        what: "tests, or that of the CPUs' caches, in an emulated machine on two kernels (Debian, qemu)",
        go: machines::arm64_kernels,
    },
    Task {
        name: "pages",
        args: "[test..]",
        what: "tests with pages of 16 and 64 KiB, in emulated machines (Debian, qemu)",
        go: machines::pages,
    },
    Task {
        name: "targets",
        args: "[--list | --short | target..]",
        what: "builds or runs the tests for every target, or the named ones",
        go: targets::run,
    },
    Task {
        name: "fuzz",
        args: "[--minutes n] [--minimise] [target..] | --replay target (file | seed)..",
        what: "looks for sequences of operations that break a heap (nightly); or runs one again",
        go: fuzz::run,
    },
    Task {
        name: "soak",
        args: "(--hours n | --minutes n) [--seed n] [--mode m] [--epoch n]",
        what: "the heap under mixed loads in all its modes, and a report",
        go: soak::run,
    },
    Task {
        name: "miri",
        args: "[--seeds n] [--target t] [filter]",
        what: "unit tests under Miri, and those in which threads meet with n seeds (nightly)",
        go: nightly::miri,
    },
    Task {
        name: "tsan",
        args: "",
        what: "tests under ThreadSanitizer (nightly)",
        go: |root, _| nightly::sanitizer(root, &nightly::THREAD),
    },
    Task {
        name: "asan",
        args: "",
        what: "tests under AddressSanitizer, which is told what is free (nightly)",
        go: |root, _| nightly::sanitizer(root, &nightly::ADDRESS),
    },
    Task {
        name: "valgrind",
        args: "",
        what: "tests under valgrind, which is told what is free",
        go: |root, _| valgrind::run(root),
    },
];

fn loom(root: &Path, args: &[String]) -> Result<(), String> {
    match args {
        [first, rest @ ..] if first == "--prove" => prove::run(root, &prove::Options::parse(rest)?),
        [] => loom::run(root, ""),
        [filter] if !filter.starts_with('-') => loom::run(root, filter),
        _ => Err("loom takes --prove first, or one filter".into()),
    }
}

fn usage() -> String {
    let line = |t: &Task| format!("  cargo xtask {:48} {}", format!("{} {}", t.name, t.args), t.what);
    TASKS.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn run(args: &[String]) -> Result<(), String> {
    let (name, rest) = args.split_first().ok_or_else(usage)?;
    let task = TASKS.iter().find(|t| t.name == name).ok_or_else(|| format!("there is no `{name}`\n{}", usage()))?;
    if task.args.is_empty() && !rest.is_empty() {
        return Err(format!("`{name}` takes nothing behind it"));
    }
    (task.go)(&cargo::root(), rest)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}
