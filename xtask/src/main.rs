//! The project's commands; `cargo xtask` lists them.

mod arm64;
mod asm;
mod bench;
mod callgrind;
mod cargo;
mod fast_path;
mod layers;
mod loom;
mod mutants;
mod nightly;
mod orderings;
mod paths;
mod progress;
mod prove;
mod source;
mod test;

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
        go: arm64::run,
    },
    Task { name: "miri", args: "[filter]", what: "the tests under Miri (nightly)", go: nightly::miri },
    Task {
        name: "tsan",
        args: "",
        what: "the tests under ThreadSanitizer (nightly)",
        go: |root, _| nightly::sanitizer(root, "thread"),
    },
    Task {
        name: "asan",
        args: "",
        what: "the tests under AddressSanitizer (nightly)",
        go: |root, _| nightly::sanitizer(root, "address"),
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
