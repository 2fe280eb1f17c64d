//! Every recorded weakening must turn its models red.
//!
//! ```text
//!   repository ──copy──▶ target/prove/tree ── all models named ──▶ green, or stop
//!                          │
//!                          ├─ weaken ─▶ compile ─▶ run each model named ─▶ red   caught
//!                          │              └─ error: the record is wrong   ├─ green  MISSED
//!                          └─ restore ◀───────────────────────────────────┴─ late   MISSED
//! ```
//!
//! One row is one exact replacement, compiled on its own; the repository itself is never touched.

use core::ops::Range;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use crate::cargo::{self, Built, Call};
use crate::loom::{Models, Outcome, short};
use crate::orderings::{self, Proof, Record, Row};
use crate::source::Source;

/// What to run of the record.
#[derive(PartialEq, Eq, Debug)]
pub(crate) struct Options {
    /// Every `of`-th row from the `nth`, both from 1.
    pub(crate) shard: Option<(usize, usize)>,
    /// A part of the file's or a model's name.
    pub(crate) filter: String,
    /// For each model.
    pub(crate) limit: Duration,
}

impl Options {
    pub(crate) fn parse(args: &[String]) -> Result<Self, String> {
        let mut options = Self { shard: None, filter: String::new(), limit: Duration::from_secs(300) };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            if arg == "--timeout" {
                let seconds = args.next().and_then(|s| s.parse().ok());
                options.limit = Duration::from_secs(seconds.ok_or("--timeout wants seconds")?);
            } else if let Some((n, of)) = arg.split_once('/') {
                let numbers = n.parse().ok().zip(of.parse().ok());
                let shard = numbers.filter(|(n, of)| (1..=*of).contains(n));
                options.shard = Some(shard.ok_or_else(|| format!("`{arg}` is no shard; 2/5 is"))?);
            } else if arg.starts_with('-') {
                return Err(format!("`{arg}` is no option of --prove"));
            } else {
                options.filter.clone_from(arg);
            }
        }
        Ok(options)
    }

    fn chosen(&self, rows: &[Weakening]) -> Vec<Weakening> {
        let wanted = |w: &Weakening| w.file.contains(&self.filter) || w.models.iter().any(|m| m.contains(&self.filter));
        let (first, step) = self.shard.map_or((0, 1), |(n, of)| (n - 1, of));
        rows.iter().filter(|w| wanted(w)).skip(first).step_by(step).cloned().collect()
    }

    /// Shards may run beside each other, so each has its own folder.
    fn folder(&self, root: &Path) -> PathBuf {
        let home = cargo::target(root, "prove");
        self.shard.map_or(home.clone(), |(n, of)| home.join(format!("{n}-of-{of}")))
    }
}

/// A row that replaces something.
#[derive(Clone, Debug)]
struct Weakening {
    record_line: usize,
    file: String,
    place: Range<usize>,
    text: String,
    models: Vec<String>,
    /// `treiber.rs:88 push Release→Relaxed`
    title: String,
}

impl Weakening {
    fn of(row: &Row, source: &Source) -> Result<Option<Self>, String> {
        let Proof::Weakening { text, models } = &row.proof else {
            return Ok(None);
        };
        let place = orderings::places(row, source)?.remove(0);
        let line = orderings::line_of(source, &place);
        let function = source.function_around(line).map_or(String::new(), |f| format!("{f} "));
        let title = format!("{}:{line} {function}{}", row.file.trim_start_matches("src/"), change(&row.site, text));
        let (text, models) = (text.clone(), models.clone());
        Ok(Some(Self { record_line: row.line, file: row.file.clone(), place, text, models, title }))
    }
}

/// `Release→Relaxed`, or what else a row does.
fn change(site: &str, text: &str) -> String {
    let (before, after) = (orderings::names_in(site), orderings::names_in(text));
    let pairs: Vec<_> = before.iter().zip(&after).filter(|(a, b)| a != b).map(|(a, b)| format!("{a}→{b}")).collect();
    if before.len() == after.len() && !pairs.is_empty() {
        return pairs.join(", ");
    }
    // The words between what both begin and both end with.
    let (before, after): (Vec<_>, Vec<_>) = (site.split_whitespace().collect(), text.split_whitespace().collect());
    let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
    let (before, after) = (&before[same..], &after[same..]);
    let same = before.iter().rev().zip(after.iter().rev()).take_while(|(a, b)| a == b).count();
    let inner = |words: &[&str]| words[..words.len() - same].join(" ");
    format!("`{}`→`{}`", inner(before), inner(after))
}

pub(crate) fn run(root: &Path, options: &Options) -> Result<(), String> {
    let Record { rows, sources } = orderings::check(root)?;
    let mut weakenings = Vec::new();
    for row in &rows {
        weakenings.extend(Weakening::of(row, &sources[&row.file])?);
    }
    let chosen = options.chosen(&weakenings);
    if chosen.is_empty() {
        return Err(format!("prove: none of {} weakenings was chosen", weakenings.len()));
    }
    let started = Instant::now();
    let bench = Bench::set_up(root, options)?;
    let names = bench.baseline(&chosen)?;
    let mut missed = Vec::new();
    for (i, weakening) in chosen.iter().enumerate() {
        print!("{}/{} {} … ", i + 1, chosen.len(), weakening.title);
        std::io::stdout().flush().map_err(|e| e.to_string())?;
        match bench.judge(weakening, &sources[&weakening.file], &names)? {
            Ok(by) => println!("caught by {by}"),
            Err(why) => {
                println!("MISSED: {why}");
                let why = why.lines().next().unwrap_or_default();
                missed.push(format!("{}:{}: {}: {why}", orderings::RECORD, weakening.record_line, weakening.title));
            }
        }
    }
    let all = format!("{} of {} weakenings caught", chosen.len() - missed.len(), chosen.len());
    let all = format!("prove: {all}, {} in the record ({})", weakenings.len(), cargo::seconds(started.elapsed()));
    if missed.is_empty() {
        println!("{all}");
        return Ok(());
    }
    println!("\nnot caught:\n{}", missed.join("\n"));
    Err(all)
}

/// The copy in which things are weakened.
struct Bench {
    tree: PathBuf,
    target: PathBuf,
    log: PathBuf,
    limit: Duration,
}

impl Bench {
    fn set_up(root: &Path, options: &Options) -> Result<Self, String> {
        let folder = options.folder(root);
        let (tree, target, log) = (folder.join("tree"), folder.join("target"), folder.join("last.log"));
        copy_tree(root, &tree)?;
        Ok(Self { tree, target, log, limit: options.limit })
    }

    /// A target directory of its own: cargo takes the same package in two places for one and the same.
    fn models(&self) -> Models<'_> {
        Models { tree: &self.tree, target: self.target.clone(), quiet: true }
    }

    /// Runs every model once as it is; returns the full name behind each name in the record.
    fn baseline(&self, chosen: &[Weakening]) -> Result<BTreeMap<String, String>, String> {
        let built = self.models().build()?;
        let listed = self.models().list(&built)?;
        let mut names = BTreeMap::new();
        for (weakening, name) in chosen.iter().flat_map(|w| w.models.iter().map(move |m| (w, m))) {
            let full = listed.iter().find(|full| *full == name || short(full) == *name);
            let full = full
                .ok_or_else(|| format!("{}:{}: there is no model {name}", orderings::RECORD, weakening.record_line))?;
            names.insert(name.clone(), full.clone());
        }
        let distinct: BTreeSet<&String> = names.values().collect();
        println!("prove: {} models as they are", distinct.len());
        for name in distinct {
            let verdict = self.models().run_one(&built, name, self.limit, &self.log)?;
            if verdict.outcome != Outcome::Green {
                return Err(format!(
                    "prove: {name} must hold before anything is weakened, but: {:?}\n{}",
                    verdict.outcome,
                    self.last_words()
                ));
            }
            println!("  {} holds ({})", short(name), cargo::seconds(verdict.time));
        }
        Ok(names)
    }

    /// `Ok` tells who caught it, the inner `Err` why it counts as missed; the outer one stops everything.
    fn judge(
        &self,
        weakening: &Weakening,
        source: &Source,
        names: &BTreeMap<String, String>,
    ) -> Result<Result<String, String>, String> {
        let path = self.tree.join(&weakening.file);
        let mut weakened = source.text.clone();
        weakened.replace_range(weakening.place.clone(), &weakening.text);
        write(&path, &weakened)?;
        let verdict = match self.models().build() {
            Err(error) => Ok(Err(format!("it does not compile, so the record is wrong\n{error}"))),
            Ok(built) if built.fresh => Err("cargo did not compile the weakened file".into()),
            Ok(built) => self.run_models(&built, weakening, names),
        };
        write(&path, &source.text)?;
        verdict
    }

    fn run_models(
        &self,
        built: &Built,
        weakening: &Weakening,
        names: &BTreeMap<String, String>,
    ) -> Result<Result<String, String>, String> {
        let mut caught = Vec::new();
        for name in weakening.models.iter().map(|m| &names[m]) {
            let verdict = self.models().run_one(built, name, self.limit, &self.log)?;
            let (name, time) = (short(name), cargo::seconds(verdict.time));
            match verdict.outcome {
                Outcome::Red => caught.push(format!("{name} ({time})")),
                Outcome::Green => return Ok(Err(format!("{name} stays green ({time})"))),
                Outcome::Late => return Ok(Err(format!("{name} did not end within {time}"))),
                Outcome::NotRun => {
                    return Err(format!("prove: {name} did not run\n{}", self.last_words()));
                }
            }
        }
        Ok(Ok(caught.join(", ")))
    }

    fn last_words(&self) -> String {
        fs::read(&self.log).map(|log| String::from_utf8_lossy(&log).into_owned()).unwrap_or_default()
    }
}

fn write(path: &Path, text: &str) -> Result<(), String> {
    fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}

/// Copies what git tracks or would track.
fn copy_tree(root: &Path, tree: &Path) -> Result<(), String> {
    let describe = |e: std::io::Error| format!("cannot copy the tree to {}: {e}", tree.display());
    let files = Call::new(root, "git", &["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).output()?;
    if tree.exists() {
        fs::remove_dir_all(tree).map_err(describe)?;
    }
    for file in files.split('\0').filter(|f| !f.is_empty()) {
        let (from, to) = (root.join(file), tree.join(file));
        if from.is_file() {
            fs::create_dir_all(to.parent().expect("a file lies in a folder")).map_err(describe)?;
            fs::copy(from, to).map_err(describe)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    fn weakening(file: &str, model: &str) -> Weakening {
        let (file, title) = (file.to_string(), String::new());
        Weakening { record_line: 1, file, place: 0..0, text: String::new(), models: vec![model.into()], title }
    }

    #[test]
    fn options_are_read() {
        let all = options(&["2/5", "slab", "--timeout", "9"]).unwrap();
        assert_eq!(all, Options { shard: Some((2, 5)), filter: "slab".into(), limit: Duration::from_secs(9) });
        for bad in [&["0/5"][..], &["6/5"], &["a/b"], &["--timeout"], &["--what"]] {
            assert!(options(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn shards_share_out_all_rows() {
        let rows: Vec<_> = ["a", "b", "c", "d", "e"].map(|f| weakening(f, "x::m")).into();
        let files =
            |shard: &str| options(&[shard]).unwrap().chosen(&rows).into_iter().map(|w| w.file).collect::<String>();
        assert_eq!([files("1/2"), files("2/2"), files("1/1")], ["ace", "bd", "abcde"]);
        assert_eq!(options(&["c"]).unwrap().chosen(&rows).len(), 1);
        assert_eq!(options(&["x::m"]).unwrap().chosen(&rows).len(), 5);
    }

    #[test]
    fn a_title_says_what_changes_where() {
        let source = Source::lex("src/treiber.rs", "fn push() {\n h.cas(a, b, Release, Relaxed)\n}".into()).unwrap();
        let proof = Proof::Weakening { text: "h.cas(a, b, Relaxed, Relaxed)".into(), models: vec![] };
        let site = "h.cas(a, b, Release, Relaxed)".to_string();
        let row = Row { line: 1, file: "src/treiber.rs".into(), site, occurrence: None, proof };
        let made = Weakening::of(&row, &source).unwrap().unwrap();
        assert_eq!(made.title, "treiber.rs:2 push Release→Relaxed");
        assert_eq!(&source.text[made.place], row.site);
        assert_eq!(change("f(tag,\ntag + 1, x)", "f(tag, tag + 0, x)"), "`1,`→`0,`");
        assert_eq!(change("a b", "a a b"), "``→`a`");
    }
}
