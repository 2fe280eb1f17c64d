//! The record of every atomic operation, `docs/ORDERINGS.md`, and whether it is complete.
//!
//! ```text
//!   ## src/treiber.rs
//!   | site                       | partner       | weakening                  | caught by                            |
//!   |----------------------------|---------------|----------------------------|--------------------------------------|
//!   | `.swap(EMPTY, Acquire)`    | push, Release | `.swap(EMPTY, Relaxed)`    | `treiber::loom_tests::publication`   |
//!   | `.load(Relaxed)` #2        | none          | —                          | a hint; the exchange decides         |
//!   | `fence(SeqCst)`            | membarrier    | unmodelled                 | loom knows no membarrier; DESIGN 4.2 |
//! ```
//!
//! A site is found by its tokens: white space, line breaks and comments do not count, neither do tests.
//! It must stand in the file once, or the row says which one it is with `#n`; only a row with nothing to
//! weaken may stand for several. `⏎` is a line break, `\|` a pipe. `—` is for sites that are `Relaxed`
//! already. `unmodelled` is for stronger ones that no model can see; every run counts them aloud.
//! Every model must be named by a row: one that was never seen to fail proves nothing.

use core::ops::Range;
use std::collections::BTreeMap;
use std::path::Path;

use crate::source::{Kind, Source, rust_files};

pub(crate) const RECORD: &str = "docs/ORDERINGS.md";
/// Where the models are.
const MODELS: &str = "loom-tests";
/// The door itself performs nothing.
const EXEMPT: &str = "src/sync.rs";
const NAMES: &[&str] = &["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

/// One row of the record.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Row {
    /// Of the record.
    pub(crate) line: usize,
    pub(crate) file: String,
    pub(crate) site: String,
    /// From 1; `None` where the site must be the only one.
    pub(crate) occurrence: Option<usize>,
    pub(crate) proof: Proof,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Proof {
    /// With this text in place of the site, each of these models fails.
    Weakening { text: String, models: Vec<String> },
    /// The site is `Relaxed`.
    Weakest,
    /// The site is stronger, and the row says why no model shows it.
    Unmodelled,
}

/// The record and what it is about.
pub(crate) struct Record {
    pub(crate) rows: Vec<Row>,
    pub(crate) sources: BTreeMap<String, Source>,
}

pub(crate) fn run(root: &Path) -> Result<(), String> {
    check(root).map(drop)
}

/// Reads the record and compares it with the sources.
pub(crate) fn check(root: &Path) -> Result<Record, String> {
    let mut sources = BTreeMap::new();
    for path in rust_files(root, "src")? {
        sources.insert(path.clone(), Source::read(root, &path)?);
    }
    let text = match std::fs::read_to_string(root.join(RECORD)) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(), // then every site is uncovered
        Err(error) => return Err(format!("{RECORD}: {error}")),
    };
    let (rows, mut problems) = parse(&text);
    let coverage = compare(&rows, &sources);
    problems.extend(coverage.problems);
    for path in rust_files(root, MODELS)? {
        let text = std::fs::read_to_string(root.join(&path)).map_err(|error| format!("{path}: {error}"))?;
        problems.extend(
            unproved(&rows, &text).map(|model| format!("{path}: no weakening in {RECORD} makes `{model}` fail")),
        );
    }
    problems.iter().for_each(|p| println!("{p}"));
    if !problems.is_empty() {
        return Err(format!("orderings: {} problems", problems.len()));
    }
    let of = |proof: fn(&Proof) -> bool| rows.iter().filter(|r| proof(&r.proof)).count();
    println!(
        "orderings: {} sites covered by {} rows: {} with a weakening, {} relaxed, {} unmodelled",
        coverage.sites,
        rows.len(),
        of(|p| matches!(p, Proof::Weakening { .. })),
        of(|p| *p == Proof::Weakest),
        of(|p| *p == Proof::Unmodelled),
    );
    Ok(Record { rows, sources })
}

struct Coverage {
    sites: usize,
    problems: Vec<String>,
}

/// Every site has a row, every row has a site.
fn compare(rows: &[Row], sources: &BTreeMap<String, Source>) -> Coverage {
    let mut problems = Vec::new();
    let mut covered: BTreeMap<&str, Vec<(Range<usize>, bool)>> = BTreeMap::new();
    for row in rows {
        let found = sources.get(&row.file).ok_or_else(|| "there is no such file".to_string()).and_then(|s| {
            let places = places(row, s)?;
            Ok(places.into_iter().map(|place| lines_of(s, &place)).collect::<Vec<_>>())
        });
        match found {
            Ok(lines) => {
                let strong = row.proof != Proof::Weakest;
                covered.entry(&row.file).or_default().extend(lines.into_iter().map(|l| (l, strong)));
            }
            Err(error) => problems.push(format!("{RECORD}:{}: {}: {error}", row.line, row.file)),
        }
    }
    let mut count = 0;
    for (file, source) in sources.iter().filter(|(file, _)| *file != EXEMPT) {
        let empty = Vec::new();
        let rows = covered.get(file.as_str()).unwrap_or(&empty);
        for site in sites(source) {
            count += 1;
            let here = |lines: &Range<usize>| (lines.start..=lines.end).contains(&site.line);
            let text = source.text.lines().nth(site.line - 1).unwrap_or_default().trim();
            let strong = site.strong && rows.iter().any(|(lines, strong)| here(lines) && *strong);
            if !rows.iter().any(|(lines, _)| here(lines)) {
                problems.push(format!("{file}:{}: no row in {RECORD} covers `{text}`", site.line));
            } else if site.strong && !strong {
                problems.push(format!("{file}:{}: only `—` rows cover `{text}`, which can be weakened", site.line));
            }
        }
    }
    Coverage { sites: count, problems }
}

/// The models in `text` that no row names.
fn unproved<'a>(rows: &'a [Row], text: &'a str) -> impl Iterator<Item = &'a str> {
    let models = text.split("#[test]").skip(1).filter_map(|after| after.split_once("fn ")?.1.split('(').next());
    let named = |model: &str| {
        rows.iter().any(|row| match &row.proof {
            Proof::Weakening { models, .. } => models.iter().any(|named| named.rsplit("::").next() == Some(model)),
            Proof::Weakest | Proof::Unmodelled => false,
        })
    };
    models.filter(move |model| !named(model))
}

/// A line that names an ordering.
#[derive(PartialEq, Eq, Debug)]
struct Site {
    line: usize,
    /// Names one that is more than `Relaxed`.
    strong: bool,
}

fn sites(source: &Source) -> Vec<Site> {
    let mut lines: BTreeMap<usize, bool> = BTreeMap::new();
    let in_use = source.in_use();
    for (token, _) in source.tokens.iter().zip(in_use).filter(|(t, in_use)| !t.test && !in_use) {
        if token.kind == Kind::Word && NAMES.contains(&token.text.as_str()) {
            *lines.entry(token.line).or_default() |= token.text != "Relaxed";
        }
    }
    lines.into_iter().map(|(line, strong)| Site { line, strong }).collect()
}

/// The byte ranges of the source that a row is about: one, or several for a row that weakens nothing.
pub(crate) fn places(row: &Row, source: &Source) -> Result<Vec<Range<usize>>, String> {
    let all = find(&row.site, source);
    let lines = || all.iter().map(|r| lines_of(source, r).start.to_string()).collect::<Vec<_>>().join(", ");
    match (row.occurrence, all.as_slice()) {
        (_, []) => Err(format!("`{}` stands nowhere in the code", row.site)),
        (Some(n), all) => match n.checked_sub(1).and_then(|i| all.get(i)) {
            Some(place) => Ok(vec![place.clone()]),
            None => Err(format!("there is no #{n}: `{}` stands {} times, in lines {}", row.site, all.len(), lines())),
        },
        (None, [_]) => Ok(all),
        (None, _) if row.proof == Proof::Weakest => Ok(all),
        (None, all) => {
            Err(format!("`{}` stands {} times, in lines {}: say which with #n", row.site, all.len(), lines()))
        }
    }
}

/// Where the site's text stands in the shipped code, with all white space and comments taken out.
fn find(site: &str, source: &Source) -> Vec<Range<usize>> {
    let mut squeezed = String::new();
    let mut origin = Vec::new(); // of every byte
    for token in source.tokens.iter().filter(|t| !t.test) {
        for (at, c) in token.text.char_indices().filter(|(_, c)| !c.is_whitespace()) {
            squeezed.push(c);
            origin.extend((0..c.len_utf8()).map(|i| token.range.start + at + i));
        }
    }
    let site: String = site.chars().filter(|c| !c.is_whitespace()).collect();
    let place = |start: usize| origin[start]..origin[start + site.len() - 1] + 1;
    squeezed.match_indices(&site).map(|(start, _)| place(start)).collect()
}

fn lines_of(source: &Source, place: &Range<usize>) -> Range<usize> {
    let line = |at: usize| source.text[..at].matches('\n').count() + 1;
    line(place.start)..line(place.end)
}

/// The line a place begins in.
pub(crate) fn line_of(source: &Source, place: &Range<usize>) -> usize {
    lines_of(source, place).start
}

/// The orderings a text names, in order.
pub(crate) fn names_in(text: &str) -> Vec<&str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| NAMES.contains(w)).collect()
}

/// The rows of the record, and what is wrong with those that cannot be read.
fn parse(text: &str) -> (Vec<Row>, Vec<String>) {
    let (mut rows, mut problems) = (Vec::new(), Vec::new());
    let (mut file, mut table, mut fenced) = (None, Table::Outside, false);
    for (line, text) in text.lines().enumerate().map(|(i, l)| (i + 1, l.trim())) {
        fenced ^= text.starts_with("```");
        if fenced {
            continue;
        }
        if text.starts_with('#') {
            let name = text.trim_start_matches('#').trim().trim_matches('`');
            file = name.ends_with(".rs").then(|| name.to_string());
        }
        let (Some(file), true) = (&file, text.starts_with('|')) else {
            table = Table::Outside;
            continue;
        };
        let cells = split_cells(text);
        let result = match table {
            Table::Outside => is_head(&cells).map(|()| None),
            Table::Head => is_rule(&cells).map(|()| None),
            Table::Body => parse_row(line, file, &cells).map(Some),
        };
        table = if table == Table::Outside { Table::Head } else { Table::Body };
        match result {
            Ok(row) => rows.extend(row),
            Err(error) => problems.push(format!("{RECORD}:{line}: {error}")),
        }
    }
    (rows, problems)
}

/// What the line before was.
#[derive(PartialEq, Eq)]
enum Table {
    Outside,
    Head,
    Body,
}

fn is_head(cells: &[String]) -> Result<(), String> {
    let wanted = ["site", "partner", "weakening", "caught by"];
    let same =
        cells.len() == wanted.len() && cells.iter().zip(wanted).all(|(cell, name)| cell.eq_ignore_ascii_case(name));
    same.then_some(()).ok_or_else(|| "a table begins with | site | partner | weakening | caught by |".into())
}

fn is_rule(cells: &[String]) -> Result<(), String> {
    let rule = cells.iter().all(|c| !c.is_empty() && c.chars().all(|c| c == '-' || c == ':'));
    rule.then_some(()).ok_or_else(|| "the second line of a table is |---|---|---|---|".into())
}

pub(crate) fn split_cells(line: &str) -> Vec<String> {
    let inner = line.strip_prefix('|').unwrap_or(line);
    let inner = if inner.ends_with("\\|") { inner } else { inner.strip_suffix('|').unwrap_or(inner) };
    let cells = inner.replace("\\|", "\0"); // no document has a NUL
    cells.split('|').map(|cell| cell.replace('\0', "|").trim().to_string()).collect()
}

fn parse_row(line: usize, file: &str, cells: &[String]) -> Result<Row, String> {
    let [site, _, weakening, caught_by] = cells else {
        return Err(format!("a row has 4 cells, this has {} (a pipe in a code span is written \\|)", cells.len()));
    };
    let (site, suffix) = code_span(site).ok_or("the site is no code span")?;
    if site.trim().is_empty() {
        return Err("the site is empty".into());
    }
    let occurrence = match suffix.trim() {
        "" => None,
        number => Some(occurrence(number)?),
    };
    let site = with_line_breaks(site.trim());
    let proof = parse_proof(&site, weakening, caught_by)?;
    Ok(Row { line, file: file.into(), site, occurrence, proof })
}

fn occurrence(suffix: &str) -> Result<usize, String> {
    let number = suffix.strip_prefix('#').and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    number.ok_or_else(|| format!("`{suffix}` stands behind the site; only #1, #2 and so on may"))
}

fn parse_proof(site: &str, weakening: &str, caught_by: &str) -> Result<Proof, String> {
    let reason = |proof| match caught_by {
        "" => Err("the last cell gives the reason where there is no weakening".to_string()),
        _ => Ok(proof),
    };
    let strongest = names_in(site).into_iter().find(|n| *n != "Relaxed");
    match (weakening, strongest) {
        ("—", Some(name)) => {
            Err(format!("`—` is for Relaxed, but the site says {name}: weaken it, or write unmodelled"))
        }
        ("—", None) => reason(Proof::Weakest),
        ("unmodelled", _) => reason(Proof::Unmodelled),
        (span, _) => match code_span(span) {
            Some((text, "")) if text.trim() == site => Err("the weakening changes nothing".into()),
            Some((text, "")) => {
                Ok(Proof::Weakening { text: with_line_breaks(text.trim()), models: parse_models(caught_by)? })
            }
            _ => Err("the weakening is neither one code span nor `—` nor `unmodelled`".into()),
        },
    }
}

fn parse_models(cell: &str) -> Result<Vec<String>, String> {
    let mut rest = cell;
    let mut models = Vec::new();
    loop {
        let (name, behind) = code_span(rest.trim()).ok_or("caught by must be code spans with commas between")?;
        if !name.contains("::") || name.contains(char::is_whitespace) {
            return Err(format!("`{name}` is no module::test_name"));
        }
        models.push(name.to_string());
        rest = behind.trim();
        match rest.strip_prefix(',') {
            Some(more) => rest = more,
            None if rest.is_empty() => return Ok(models),
            None => return Err(format!("`{rest}` stands behind `{name}` without a comma")),
        }
    }
}

/// The inside of the code span that `cell` begins with, and what stands behind it.
pub(crate) fn code_span(cell: &str) -> Option<(&str, &str)> {
    let inner = cell.trim_start_matches('`');
    let ticks = &cell[..cell.len() - inner.len()];
    if ticks.is_empty() {
        return None;
    }
    let (text, behind) = inner.split_once(ticks)?;
    (!behind.starts_with('`')).then_some((text, behind))
}

fn with_line_breaks(text: &str) -> String {
    text.split('⏎').map(str::trim).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "## src/x.rs\n\n| site | partner | weakening | caught by |\n|---|---|---|---|\n";

    fn rows(body: &str) -> Vec<Row> {
        let (rows, problems) = parse(&format!("{HEAD}{body}"));
        assert_eq!(problems, [""; 0]);
        rows
    }

    #[track_caller]
    fn malformed(body: &str, with: &str) {
        let (_, problems) = parse(&format!("{HEAD}{body}"));
        let first = problems.first().unwrap_or_else(|| panic!("{body} was accepted"));
        assert!(first.starts_with("docs/ORDERINGS.md:5: ") && first.contains(with), "{first}");
    }

    /// What is wrong between the rows and this code, without the places.
    fn problems(body: &str, code: &str) -> Vec<String> {
        let source = Source::lex("src/x.rs", code.into()).unwrap();
        compare(&rows(body), &BTreeMap::from([("src/x.rs".to_string(), source)])).problems
    }

    #[track_caller]
    fn complains(body: &str, code: &str, with: &str) {
        let found = problems(body, code);
        assert!(found.len() == 1 && found[0].contains(with), "{found:?}");
    }

    const MODEL: &str = "`x::loom_tests::m`";

    #[test]
    fn a_row_is_read() {
        let body =
            format!("| `a.swap(b \\| c, ⏎ AcqRel)` #2 | the \\| pipe | `a.swap(b \\| c,⏎Relaxed)` | {MODEL}, `x::n` |");
        let wanted = Row {
            line: 5,
            file: "src/x.rs".into(),
            site: "a.swap(b | c,\nAcqRel)".into(),
            occurrence: Some(2),
            proof: Proof::Weakening {
                text: "a.swap(b | c,\nRelaxed)".into(),
                models: vec!["x::loom_tests::m".into(), "x::n".into()],
            },
        };
        assert_eq!(rows(&body), [wanted]);
    }

    #[test]
    fn the_other_proofs_are_read() {
        let body = "| `l(Relaxed)` | - | — | a hint |\n| ``f(`S`)`` | - | unmodelled | why |\n| `tag + 1` | - | ` ` | `x::m` |";
        let rows = rows(body);
        assert_eq!([&rows[0].proof, &rows[1].proof], [&Proof::Weakest, &Proof::Unmodelled]);
        assert_eq!(rows[1].site, "f(`S`)");
        assert!(matches!(&rows[2].proof, Proof::Weakening { text, .. } if text.is_empty()));
    }

    #[test]
    fn other_headings_and_fences_hold_no_rows() {
        let text = "| a |\n## How to read\n| b | c |\n```\n## src/x.rs\n| d |\n```\n## `src/x.rs`\nprose\n";
        assert_eq!(parse(text), (vec![], vec![]));
    }

    #[test]
    fn malformed_rows_are_named_by_line() {
        malformed("| `a` | b | `c` |", "4 cells, this has 3");
        malformed("| `a | b` | - | `c` | `x::m` |", "this has 5");
        malformed("| a | b | `c` | `x::m` |", "site is no code span");
        malformed("| ` ` | b | `c` | `x::m` |", "site is empty");
        malformed("| `a` x2 | b | `c` | `x::m` |", "only #1");
        malformed("| `a` #0 | b | `c` | `x::m` |", "only #1");
        malformed("| `a` | b | c | `x::m` |", "neither one code span");
        malformed("| `a` | b | `a` | `x::m` |", "changes nothing");
        malformed("| `a` | b | `c` | x::m |", "caught by must be");
        malformed("| `a` | b | `c` |  |", "caught by must be");
        malformed("| `a` | b | `c` | `m` |", "no module::test_name");
        malformed("| `a` | b | `c` | `x::m` `x::n` |", "without a comma");
        malformed("| `a(Relaxed)` | b | — |  |", "gives the reason");
        malformed("| `a(Acquire)` | b | — | because |", "the site says Acquire");
    }

    #[test]
    fn a_table_needs_its_head() {
        let (_, problems) = parse("## src/x.rs\n| site | weakening |\n| `a` | b | `c` | `x::m` |\n");
        assert!(problems[0].contains(":2: a table begins with") && problems[1].contains(":3: the second line"));
    }

    #[test]
    fn every_site_needs_a_row() {
        let code = "use core::sync::atomic::Ordering::{self,\n Acquire};\n// Release\nfn f() { a.load(Acquire); }\n#[cfg(test)] mod t { fn g() { b(SeqCst) } }";
        complains("", code, "src/x.rs:4: no row in docs/ORDERINGS.md covers");
        assert!(problems(&format!("| `a.load(Acquire)` | - | `a.load(Relaxed)` | {MODEL} |"), code).is_empty());
    }

    #[test]
    fn a_row_covers_the_lines_it_spans() {
        let code = "fn f() { h.cas(\n old, // why\n new,\n Release,\n Relaxed\n) }";
        assert!(problems(&format!("| `h.cas(old, ⏎ new,Release, Relaxed)` | - | `x` | {MODEL} |"), code).is_empty());
        complains(&format!("| `new, Release` | - | `x` | {MODEL} |"), code, "src/x.rs:5: no row");
    }

    #[test]
    fn twins_need_a_number_each_unless_relaxed() {
        let code = "fn f() { a(Acquire);\n a(Acquire); b(Relaxed);\n b(Relaxed) }";
        let both =
            |b: &str| format!("| `a(Acquire)` #1 | - | `x` | {MODEL} |\n| `a(Acquire)` #2 | - | `x` | {MODEL} |\n{b}");
        assert!(problems(&both("| `b(Relaxed)` | - | — | a hint |"), code).is_empty());
        complains(&both("| `b(Relaxed)` #1 | - | — | a hint |"), code, "src/x.rs:3: no row");
        let ambiguous = problems(&both(&format!("| `a(Acquire)` | - | `x` | {MODEL} |")), code);
        assert!(ambiguous[0].contains(":7: src/x.rs: `a(Acquire)` stands 2 times, in lines 1, 2"), "{ambiguous:?}");
        assert!(problems(&format!("| `a(Acquire)` #3 | - | `x` | {MODEL} |"), code)[0].contains("no #3"));
    }

    #[test]
    fn a_stale_row_is_a_problem() {
        complains(&format!("| `gone(Acquire)` | - | `x` | {MODEL} |"), "fn f() {}", "stands nowhere");
        complains(
            &format!("| `a(Acquire)` | - | `x` | {MODEL} |"),
            "// a(Acquire)\n#[cfg(test)] fn f() { a(Acquire) }",
            "nowhere",
        );
        let (mut rows, sources) = (rows("| `a` | - | — | b |"), BTreeMap::new());
        rows[0].file = "src/gone.rs".into();
        assert!(compare(&rows, &sources).problems[0].contains("no such file"));
    }

    #[test]
    fn a_relaxed_row_does_not_cover_a_stronger_line() {
        complains("| `Relaxed)` | - | — | a hint |", "fn f() { h.cas(a, b, Release, Relaxed) }", "can be weakened");
        assert!(problems("| `f(SeqCst)` | - | unmodelled | why |", "fn g() { f(SeqCst) }").is_empty());
    }

    #[test]
    fn every_model_has_a_weakening() {
        let rows = rows("| `a(Acquire)` | - | `a(Relaxed)` | `cache::loom_tests::named` |");
        let text = "#[test]\nfn named() {}\nfn helper() {}\n#[test]\n#[ignore]\nfn forgotten() {}";
        assert_eq!(unproved(&rows, text).collect::<Vec<_>>(), ["forgotten"]);
    }

    #[test]
    fn the_door_is_exempt() {
        let source = Source::lex("src/sync.rs", "fn f() { a(SeqCst) }".into()).unwrap();
        assert_eq!(compare(&[], &BTreeMap::from([("src/sync.rs".to_string(), source)])).sites, 0);
    }
}
