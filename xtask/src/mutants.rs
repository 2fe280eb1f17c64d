//! Mutants of the library: small changes of its source, each of which some test must notice.
//!
//! ```text
//!   cargo-mutants ─▶ unit tests, and paths with stopped threads
//!                      │ missed
//!                      ├─▶ models ─▶ small integration tests ─▶ a hardened heap's ─▶ a target without sequences ─▶ ThreadSanitizer
//!                      │                                                                                             │ missed
//!                      ▼ caught                                                                                      ▼
//!                    by tests                                                            in docs/MUTANTS.md, or a failure
//! ```
//!
//! The cheapest come first, and each asks only about what those before have missed (`--iterate`). A change that makes no difference is
//! listed in `docs/MUTANTS.md` with the reason, by the line that it is made in and what it does, so that a new survivor is a failure.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::cargo::{self, Call};
use crate::nightly::{self, NIGHTLY};
use crate::orderings::{code_span, split_cells};
use crate::targets;

/// Where exceptions are listed.
pub(crate) const RECORD: &str = "docs/MUTANTS.md";

/// Integration tests that take a few seconds.
const SMALL: [&str; 9] = [
    "--test=drops",
    "--test=frusa",
    "--test=limits",
    "--test=oom",
    "--test=ebb",
    "--test=reclaim",
    "--test=cpus",
    "--test=threads",
    "--test=calls",
];

/// What only a hardened heap does.
const HARDENED: [&str; 4] = ["--lib", "--features=hardened", "--test=hardened", "--test=misuse"];

/// Files that have models.
const MODELS: &str = "loom-tests";

/// Where there are no restartable sequences, and addresses have 32 bits.
const ELSEWHERE: &str = "i686-unknown-linux-gnu";

/// A change, as people know it: where, whatever the line's number, and what.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Mutant {
    file: String,
    /// The line, without what is around it.
    line: String,
    what: String,
}

impl Mutant {
    /// `src/a.rs:12:5: replace < with <= in f`
    fn of(root: &Path, name: &str) -> Option<Self> {
        let (place, what) = name.split_once(": ")?;
        let mut place = place.split(':');
        let (file, number) = (place.next()?, place.next()?.parse::<usize>().ok()?);
        let text = fs::read_to_string(root.join(file)).ok()?;
        let line = text.lines().nth(number.checked_sub(1)?)?.trim().to_string();
        Some(Self { file: file.into(), line, what: what.into() })
    }
}

/// What became of the mutants of a run.
#[derive(Default)]
struct Found {
    made: BTreeSet<String>,
    /// By all who were asked so far, and not listed.
    missed: BTreeSet<String>,
    listed: BTreeSet<String>,
    late: BTreeSet<String>,
    unviable: BTreeSet<String>,
}

impl Found {
    /// Adds what a stage has told.
    fn add(&mut self, told: Told, is_listed: impl Fn(&str) -> bool) {
        for name in told.caught.iter().chain(&told.late).chain(&told.unviable) {
            self.missed.remove(name);
        }
        let (listed, missed): (BTreeSet<_>, _) = told.missed.into_iter().partition(|name| is_listed(name));
        self.made.extend(told.caught);
        self.missed.extend(missed);
        self.listed.extend(listed);
        self.late.extend(told.late);
        self.unviable.extend(told.unviable);
        for names in [&self.missed, &self.listed, &self.late, &self.unviable] {
            self.made.extend(names.iter().cloned());
        }
    }
}

/// What a stage has told of those that it was asked about.
#[derive(Default)]
struct Told {
    caught: Vec<String>,
    missed: Vec<String>,
    late: Vec<String>,
    unviable: Vec<String>,
}

/// Who judges.
struct Stage<'a> {
    toolchain: Option<&'a str>,
    /// What is built.
    cargo: &'a [&'a str],
    /// Which of its tests.
    test: &'a [&'a str],
    env: &'a [(&'a str, &'a str)],
    /// Seconds.
    limit: &'a str,
}

/// One run of cargo-mutants after the other, in one place.
struct Bench<'a> {
    root: &'a Path,
    folder: PathBuf,
    chosen: Vec<String>,
    /// Those that are known to survive.
    listed: BTreeMap<Mutant, String>,
}

impl Bench<'_> {
    /// Tries what was not caught before, if all goes well with what is not changed: else it would all seem to be caught.
    fn run(&self, files: &[String], stage: &Stage<'_>, found: &mut Found) -> Result<(), String> {
        let folder = self.folder.to_string_lossy();
        let mut args = vec!["mutants", "-p", "bandolier", "--no-shuffle", "--iterate", "-o", &folder];
        args.extend(["--timeout", stage.limit, "--build-timeout", "600"]);
        args.extend(self.chosen.iter().map(String::as_str));
        // By the beginning of their names: `--file` would add to the files of the configuration, not choose among them.
        let files: Vec<_> = files.iter().map(|file| format!("--re=^src/[^:]*{file}[^:]*:")).collect();
        args.extend(files.iter().map(String::as_str));
        let cargo: Vec<_> = stage.cargo.iter().map(|arg| format!("-C={arg}")).collect();
        args.extend(cargo.iter().map(String::as_str));
        args.extend([&["--", "--"], stage.test].concat());
        let call = match stage.toolchain {
            Some(name) => Call::cargo_of(name, self.root, &args),
            None => Call::cargo(self.root, &args),
        };
        let call = stage.env.iter().fold(call, |call, (key, value)| call.env(key, value));
        // It fails when something is missed or late, which is ours to judge.
        let failed = !call.run_either_way()?;
        if failed && self.names("missed.txt").is_empty() && self.names("timeout.txt").is_empty() {
            return Err("cargo-mutants did not run, or tests fail without any change".into());
        }
        self.note(found)
    }

    /// What this run has told. The next stage need not try what was late, for that was noticed, nor what is listed.
    fn note(&self, found: &mut Found) -> Result<(), String> {
        let names = |list| self.names(list);
        let told = Told {
            caught: names("caught.txt"),
            missed: names("missed.txt"),
            late: names("timeout.txt"),
            unviable: names("unviable.txt"),
        };
        let over = told.caught.iter().chain(&told.late).chain(told.missed.iter().filter(|name| self.is_listed(name)));
        let over: String = over.map(|name| format!("{name}\n")).collect();
        fs::write(self.folder.join("mutants.out/caught.txt"), over).map_err(|e| e.to_string())?;
        found.add(told, |name| self.is_listed(name));
        Ok(())
    }

    fn is_listed(&self, name: &str) -> bool {
        Mutant::of(self.root, name).is_some_and(|mutant| self.listed.contains_key(&mutant))
    }

    fn names(&self, list: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.join("mutants.out").join(list)).unwrap_or_default();
        text.lines().map(String::from).collect()
    }
}

pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    need_cargo_mutants(root)?;
    let (shard, files) = parse(args)?;
    let (folder, listed) = (cargo::target(root, "mutants"), exceptions(root)?);
    let bench = Bench { root, folder, chosen: shard.into_iter().collect(), listed };
    fs::create_dir_all(&bench.folder).map_err(|e| e.to_string())?;
    let found = hunt(&bench, &files)?;
    judge(&found)
}

/// `2/5`, and parts of files' names.
fn parse(args: &[String]) -> Result<(Option<String>, Vec<String>), String> {
    let (mut shard, mut files) = (None, Vec::new());
    for arg in args {
        if let Some((n, of)) =
            arg.split_once('/').and_then(|(n, of)| Some((n.parse::<u32>().ok()?, of.parse::<u32>().ok()?)))
        {
            (1..=of).contains(&n).then_some(()).ok_or_else(|| format!("`{arg}` is no shard; 2/5 is"))?;
            shard = Some(format!("--shard={}/{of}", n - 1));
        } else if arg.starts_with('-') {
            return Err(format!("`{arg}` is no option of mutants"));
        } else {
            files.push(arg.clone());
        }
    }
    Ok((shard, files))
}

fn need_cargo_mutants(root: &Path) -> Result<(), String> {
    if Call::cargo(root, &["mutants", "--version"]).succeeds() {
        return Ok(());
    }
    Call::cargo(root, &["install", "--locked", "cargo-mutants"]).run()
}

/// Tries all chosen mutants, cheapest test first.
fn hunt(bench: &Bench<'_>, files: &[String]) -> Result<Found, String> {
    let _ = fs::remove_dir_all(bench.folder.join("mutants.out"));
    let mut found = Found::default();
    // Quick to build, and quick enough to run.
    let quick = [("CARGO_PROFILE_DEV_DEBUG", "0"), ("CARGO_PROFILE_DEV_OPT_LEVEL", "1"), ("RUST_BACKTRACE", "0")];
    let steps = [("RUSTFLAGS", "--cfg steps"), ("STEPS_EVERY", "97"), ("STEPS_PAIRS", "20")];
    // Without what only examples and benches depend on.
    let lean = [&quick[..], &[("RUSTFLAGS", "--cfg lean")]].concat();
    let plain = Stage { toolchain: None, cargo: &["--lib"], test: &[], env: &lean, limit: "60" };
    let paths = Stage { test: &["--skip", "a_pass_that"], env: &[&quick[..], &steps].concat(), ..plain };
    bench.run(files, &paths, &mut found)?;
    let told = |what: &str, found: &Found| {
        println!("mutants: {} of {} are missed by {what}", found.missed.len(), found.made.len());
        !found.missed.is_empty()
    };
    told("unit tests and paths", &found);
    models(bench, &mut found)?;
    if told("models", &found) {
        bench.run(files, &Stage { cargo: &SMALL, limit: "180", ..plain }, &mut found)?;
    }
    if told("small integration tests", &found) {
        bench.run(files, &Stage { cargo: &HARDENED, limit: "120", ..plain }, &mut found)?;
    }
    if told("tests of a hardened heap", &found) {
        elsewhere(bench, files, &mut found)?;
    }
    if told("unit tests of another target", &found) {
        sanitized(bench, files, &mut found)?;
    }
    Ok(found)
}

/// Asks models about what tests have missed, of each file those that see it.
fn models(bench: &Bench<'_>, found: &mut Found) -> Result<(), String> {
    for (file, filter) in modelled(bench.root, &found.missed) {
        let stage = Stage {
            toolchain: None,
            cargo: &["--lib", "--profile=loom"],
            test: &[&filter],
            env: &[("RUSTFLAGS", "--cfg loom"), ("LOOM_MAX_PREEMPTIONS", "2")],
            limit: "400",
        };
        bench.run(&[file.trim_start_matches("src/").into()], &stage, found)?;
    }
    Ok(())
}

/// Asks unit tests where code is compiled that this machine's target has no use for.
fn elsewhere(bench: &Bench<'_>, files: &[String], found: &mut Found) -> Result<(), String> {
    let env = targets::ready(bench.root, ELSEWHERE)?;
    let env: Vec<_> = env.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let target = format!("--target={ELSEWHERE}");
    let cargo = ["--lib", "--profile=targets", &target];
    bench.run(files, &Stage { toolchain: None, cargo: &cargo, test: &[], env: &env, limit: "60" }, found)
}

/// Asks ThreadSanitizer, which sees what is written without an order even where the processor keeps one.
fn sanitized(bench: &Bench<'_>, files: &[String], found: &mut Found) -> Result<(), String> {
    nightly::need_sanitizer(bench.root)?;
    let (cargo, env) = nightly::share_of_races();
    bench.run(files, &Stage { toolchain: Some(NIGHTLY), cargo: &cargo, test: &[], env: &env, limit: "400" }, found)
}

/// The files of mutants, with the models that judge them: a file's own, else those of its folder, else all.
fn modelled(root: &Path, missed: &BTreeSet<String>) -> Vec<(String, String)> {
    let files: BTreeSet<&str> = missed.iter().map(|name| file_of(name)).collect();
    files.into_iter().map(|file| (file.to_string(), models_of(root, file))).collect()
}

fn models_of(root: &Path, file: &str) -> String {
    let text = fs::read_to_string(root.join(file)).unwrap_or_default();
    if text.contains(&format!("{MODELS}/")) && text.contains("mod loom_tests;") {
        return format!("{}::loom_tests", module(file));
    }
    module(file).rsplit_once("::").map_or("loom_tests".into(), |(folder, _)| format!("{folder}::"))
}

/// `src/slab/mod.rs` is `slab`.
fn module(file: &str) -> String {
    let inner = file.trim_start_matches("src/").trim_end_matches(".rs");
    inner.trim_end_matches("/mod").replace('/', "::")
}

/// Says what became of all mutants, by file; fails when there is a survivor that is not listed.
fn judge(found: &Found) -> Result<(), String> {
    let files: BTreeSet<&str> = found.made.iter().map(|name| file_of(name)).collect();
    println!("\n| file | mutants | caught | by its time | unviable | listed | new |\n|---|--:|--:|--:|--:|--:|--:|");
    for file in files {
        let [made, late, unviable, listed, new] =
            [&found.made, &found.late, &found.unviable, &found.listed, &found.missed].map(|names| count(names, file));
        let caught = made - unviable - listed - new;
        println!("| {file} | {made} | {caught} | {late} | {unviable} | {listed} | {new} |");
    }
    if found.missed.is_empty() {
        return Ok(());
    }
    found.missed.iter().for_each(|name| println!("{name}"));
    Err(format!(
        "mutants: {} survive that are not in {RECORD}: write a test that notices, or say there why none can",
        found.missed.len()
    ))
}

fn file_of(name: &str) -> &str {
    name.split_once(':').map_or(name, |(file, _)| file)
}

fn count(names: &BTreeSet<String>, file: &str) -> usize {
    names.iter().filter(|name| file_of(name) == file).count()
}

/// The mutants that are known to survive, with the reason.
fn exceptions(root: &Path) -> Result<BTreeMap<Mutant, String>, String> {
    let text = fs::read_to_string(root.join(RECORD)).map_err(|e| format!("{RECORD}: {e}"))?;
    let listed = read(&text)?;
    for mutant in listed.keys() {
        let source = fs::read_to_string(root.join(&mutant.file)).unwrap_or_default();
        if !source.lines().any(|line| line.trim() == mutant.line) {
            return Err(format!("{RECORD}: `{}` stands nowhere in {}", mutant.line, mutant.file));
        }
    }
    Ok(listed)
}

fn read(text: &str) -> Result<BTreeMap<Mutant, String>, String> {
    let (mut file, mut listed) = ("", BTreeMap::new());
    for (number, line) in (1..).zip(text.lines()) {
        file = line.strip_prefix("## ").unwrap_or(file);
        if !line.starts_with("| `") {
            continue;
        }
        let cells = split_cells(line);
        let spans: Vec<_> = cells.iter().map(|cell| code_span(cell)).collect();
        let ([Some((line, _)), Some((what, _)), _], [_, _, why]) = (&spans[..], &cells[..]) else {
            return Err(format!("{RECORD}:{number}: a row is | `line` | `change` | why |"));
        };
        let mutant = Mutant { file: file.into(), line: line.trim().into(), what: (*what).into() };
        listed.insert(mutant, why.clone());
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_of_lines_that_are_there() {
        assert!(!exceptions(&cargo::root()).unwrap().is_empty());
    }

    /// Models are asked file by file: what they say of one is nothing about the others.
    #[test]
    fn a_mutant_is_missed_until_somebody_notices() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (is_listed, mut found) = (|name: &str| name == "listed", Found::default());
        let missed = names(&["a", "b", "c", "d", "listed"]);
        found.add(Told { caught: names(&["e"]), missed, ..Told::default() }, is_listed);
        assert_eq!((found.made.len(), found.missed.len(), found.listed.len()), (6, 4, 1));
        found.add(Told { caught: names(&["b"]), missed: names(&["c"]), ..Told::default() }, is_listed);
        found.add(Told { late: names(&["c"]), unviable: names(&["d"]), ..Told::default() }, is_listed);
        assert_eq!(found.missed.into_iter().collect::<Vec<_>>(), ["a"]);
        assert_eq!((found.made.len(), found.late.len(), found.unviable.len()), (6, 1, 1));
    }

    #[test]
    fn a_row_is_read() {
        let text = "## src/a.rs\n\n| line | change | why |\n|---|---|---|\n| `a \\|\\| b` | `replace < with <= in f` | policy |\n";
        let listed = read(text).unwrap();
        let mutant = Mutant { file: "src/a.rs".into(), line: "a || b".into(), what: "replace < with <= in f".into() };
        assert_eq!(listed.get(&mutant).map(String::as_str), Some("policy"));
        assert!(read("| `a` | b |").is_err());
    }

    #[test]
    fn a_mutant_is_known_by_its_line() {
        let root = std::env::temp_dir().join(format!("xtask-mutants-{}", std::process::id()));
        fs::create_dir_all(root.join("src")).unwrap();
        fs::write(root.join("src/a.rs"), "fn f() {\n    a < b\n}\n").unwrap();
        let mutant = Mutant::of(&root, "src/a.rs:2:7: replace < with <= in f").unwrap();
        fs::remove_dir_all(&root).unwrap();
        assert_eq!((mutant.line.as_str(), mutant.what.as_str()), ("a < b", "replace < with <= in f"));
    }

    #[test]
    fn arguments_are_shards_and_files() {
        let parse = |args: &[&str]| parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>());
        let all = parse(&["2/5", "slab"]).unwrap();
        assert_eq!(all, (Some("--shard=1/5".into()), vec!["slab".into()]));
        assert!(["6/5", "0/5", "--x"].iter().all(|bad| parse(&[bad]).is_err()));
        assert_eq!(module("src/slab/mod.rs"), "slab");
        assert_eq!(module("src/cache/cpus.rs"), "cache::cpus");
    }

    #[test]
    fn a_file_without_models_is_judged_by_others() {
        let files = ["cache/cpus", "cache/fence", "cache/mod", "slab/mod", "slab/record", "size_class"];
        let models = files.map(|file| models_of(&cargo::root(), &format!("src/{file}.rs")));
        assert_eq!(
            models,
            ["cache::cpus::loom_tests", "cache::", "loom_tests", "slab::loom_tests", "slab::", "loom_tests"]
        );
    }
}
