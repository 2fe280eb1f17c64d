//! How many instructions the fast paths take, against what `docs/DESIGN.md` says.
//!
//! Callgrind runs the example twice per batch, the second time with more pairs: the difference holds neither the first
//! calls nor the start of the process. One block at a time gives the paths themselves, a whole number or a fault;
//! batches give pairs with all that they called now and then.

use core::fmt::{self, Display};
use core::str::FromStr;
use std::fs;
use std::path::Path;

use crate::callgrind::{self, Cost};
use crate::cargo::{self, Call};
use crate::fast_path::{self, SYMBOLS};

const RECORD: &str = "docs/DESIGN.md";
const OPEN: &str = "<!-- paths -->\n";
const CLOSE: &str = "<!-- /paths -->";

/// Pairs of the two runs; whole batches of 32 and of 1,000.
const PAIRS: [u64; 2] = [32_000, 1_032_000];
const BATCHES: [u64; 2] = [32, 1000];

pub(crate) fn run(root: &Path, args: &[String]) -> Result<(), String> {
    let write = match args {
        [] => false,
        [option] if option == "--write" => true,
        _ => return Err("paths takes --write or nothing".into()),
    };
    if !Call::new(root, "valgrind", &["--version"]).succeeds() {
        return Err("paths: valgrind does not run; on Debian or Ubuntu, `apt-get install valgrind`".into());
    }
    let compiler = compiler(root)?;
    let rows = count(root, &fast_path::build(root)?)?;
    println!("\n{}", table(&rows, &compiler));
    match (cfg!(target_arch = "x86_64"), write) {
        (true, false) => check(root, &rows, &compiler),
        (true, true) => record(root, &table(&rows, &compiler)),
        (false, false) => Ok(()),
        (false, true) => Err(format!("paths: {RECORD} has the figures of x86-64")),
    }
}

/// Instructions, in tenths.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Count(u64);

impl Count {
    /// That of one call of a function which takes always the same path.
    fn exact(symbol: &str, cost: Cost) -> Result<Self, String> {
        match cost.own.checked_rem(cost.calls) {
            Some(0) => Ok(Self(cost.own / cost.calls * 10)),
            _ => Err(format!("paths: {symbol} took {} instructions in {} calls", cost.own, cost.calls)),
        }
    }

    /// That of a pair, with all that it called.
    fn pair(alloc: Cost, dealloc: Cost) -> Result<Self, String> {
        let pairs = if alloc.calls == dealloc.calls { alloc.calls } else { 0 };
        let tenths = ((alloc.whole + dealloc.whole) * 10 + pairs / 2).checked_div(pairs);
        tenths.map(Self).ok_or_else(|| format!("paths: {} calls do not pair with {}", alloc.calls, dealloc.calls))
    }
}

impl Display for Count {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0 / 10, self.0 % 10) {
            (whole, 0) => write!(out, "{whole}"),
            (whole, tenth) => write!(out, "{whole}.{tenth}"),
        }
    }
}

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (whole, tenth) = text.split_once('.').unwrap_or((text, "0"));
        let digits = if tenth.len() == 1 { format!("{whole}{tenth}").parse().ok() } else { None };
        digits.map(Self).ok_or_else(|| format!("{text}: not a number of instructions"))
    }
}

/// A line of the table.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Row {
    name: String,
    /// With a constant layout, and with one known at run time.
    counts: [Count; 2],
}

fn count(root: &Path, binary: &str) -> Result<Vec<Row>, String> {
    let of = |batch| difference(|pairs| profile(root, binary, batch, pairs));
    let costs = of(1)?;
    let exact = |i: usize| Count::exact(SYMBOLS[i], costs[i]);
    let mut rows = vec![
        Row { name: "`alloc`".into(), counts: [exact(0)?, exact(2)?] },
        Row { name: "`dealloc`".into(), counts: [exact(1)?, exact(3)?] },
    ];
    for batch in BATCHES {
        let [alloc, dealloc, alloc_var, dealloc_var] = of(batch)?;
        let counts = [Count::pair(alloc, dealloc)?, Count::pair(alloc_var, dealloc_var)?];
        rows.push(Row { name: format!("a pair, in batches of {batch}, slow paths included"), counts });
    }
    Ok(rows)
}

/// What each symbol cost in the second run beyond the first.
fn difference(profile: impl Fn(u64) -> Result<String, String>) -> Result<[Cost; 4], String> {
    let (short, long) = (profile(PAIRS[0])?, profile(PAIRS[1])?);
    let mut costs = [Cost::default(); 4];
    for (symbol, cost) in SYMBOLS.iter().zip(&mut costs) {
        let beyond = Cost::of(symbol, &long)?.beyond(Cost::of(symbol, &short)?);
        *cost = beyond.ok_or_else(|| format!("paths: {symbol} cost less in the longer run"))?;
    }
    Ok(costs)
}

fn profile(root: &Path, binary: &str, batch: u64, pairs: u64) -> Result<String, String> {
    let file = cargo::target(root, "paths.callgrind");
    let out = format!("--callgrind-out-file={}", file.display());
    let numbers = [batch.to_string(), pairs.to_string()];
    let args = [&["--tool=callgrind", &out], &callgrind::FORMAT[..], &[binary, &numbers[0], &numbers[1]]].concat();
    Call::new(root, "valgrind", &args).output_alone()?;
    fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))
}

/// `rustc 1.95.0`, whose code it is.
fn compiler(root: &Path) -> Result<String, String> {
    let version = Call::new(root, "rustc", &["--version"]).output()?;
    Ok(version.split_whitespace().take(2).collect::<Vec<_>>().join(" "))
}

fn table(rows: &[Row], compiler: &str) -> String {
    let head = "| instructions for 64 B | constant layout | layout known at run time |\n|---|--:|--:|\n";
    let line = |Row { name, counts: [constant, varied] }: &Row| format!("| {name} | {constant} | {varied} |\n");
    let lines: String = rows.iter().map(line).collect();
    format!("{head}{lines}\nCounted by callgrind: x86-64, profile `fat`, {compiler}.\n")
}

/// The rows of [`table`].
fn read(table: &str) -> Result<Vec<Row>, String> {
    let row = |line: &str| {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        match cells[..] {
            [_, name, constant, varied, _] => {
                Ok(Row { name: name.to_owned(), counts: [constant.parse()?, varied.parse()?] })
            }
            _ => Err(format!("not a row of three cells: {line}")),
        }
    };
    table.lines().filter(|line| line.starts_with('|')).skip(2).map(row).collect()
}

/// The text between the marks, with what stands before and behind them.
fn section(text: &str) -> Option<[&str; 3]> {
    let (before, rest) = text.split_once(OPEN)?;
    let (inside, behind) = rest.split_once(CLOSE)?;
    Some([before, inside, behind])
}

fn check(root: &Path, rows: &[Row], compiler: &str) -> Result<(), String> {
    let text = fs::read_to_string(root.join(RECORD)).map_err(|e| format!("{RECORD}: {e}"))?;
    let [_, recorded, _] = section(&text).ok_or_else(unmarked)?;
    let faults = faults(rows, &read(recorded).map_err(|e| format!("{RECORD}: {e}"))?);
    faults.iter().for_each(|fault| println!("{fault}"));
    if faults.is_empty() {
        return Ok(());
    }
    let other = if recorded.contains(compiler) { "" } else { " (with another compiler than this one)" };
    Err(format!("paths: {} faults against {RECORD}{other}", faults.len()))
}

/// What got longer than recorded, or is not recorded; says what got shorter.
fn faults(rows: &[Row], recorded: &[Row]) -> Vec<String> {
    let mut faults = Vec::new();
    for row in rows {
        let Some(was) = recorded.iter().find(|was| was.name == row.name) else {
            faults.push(format!("{} is not recorded", row.name));
            continue;
        };
        for ((layout, was), now) in ["constant", "variable"].into_iter().zip(was.counts).zip(row.counts) {
            let line = format!("{}, {layout} layout: recorded {was}, now {now}", row.name);
            match now.cmp(&was) {
                core::cmp::Ordering::Greater => faults.push(line),
                core::cmp::Ordering::Less => println!("shorter (--write records it): {line}"),
                core::cmp::Ordering::Equal => {}
            }
        }
    }
    faults
}

fn record(root: &Path, table: &str) -> Result<(), String> {
    let file = root.join(RECORD);
    let text = fs::read_to_string(&file).map_err(|e| format!("{RECORD}: {e}"))?;
    let [before, _, behind] = section(&text).ok_or_else(unmarked)?;
    fs::write(&file, format!("{before}{OPEN}{table}{CLOSE}{behind}")).map_err(|e| format!("{RECORD}: {e}"))
}

fn unmarked() -> String {
    format!("{RECORD} has no table between `{}` and `{CLOSE}`", OPEN.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(alloc: &str, pair: &str) -> Vec<Row> {
        let row = |name: &str, constant: &str| Row {
            name: name.to_owned(),
            counts: [constant.parse().unwrap(), "40".parse().unwrap()],
        };
        vec![row("`alloc`", alloc), row("a pair", pair)]
    }

    #[test]
    fn a_table_is_read_back() {
        let rows = rows("12", "25.1");
        let table = table(&rows, "rustc 1.95.0");
        assert!(table.contains("| `alloc` | 12 | 40 |\n| a pair | 25.1 | 40 |\n"), "{table}");
        assert_eq!(read(&table).unwrap(), rows);
        assert!(read(&table.replace("25.1", "25.12")).is_err());
        assert!(read(&table.replace("| 25.1 |", "|")).is_err());
    }

    #[test]
    fn only_what_is_longer_or_new_is_a_fault() {
        let recorded = rows("12", "25.1");
        assert!(faults(&recorded, &recorded).is_empty());
        assert!(faults(&rows("11", "25"), &recorded).is_empty());
        assert_eq!(faults(&rows("13", "25.2"), &recorded).len(), 2);
        assert_eq!(faults(&recorded, &recorded[1..]), ["`alloc` is not recorded"]);
    }

    #[test]
    fn the_table_stands_between_its_marks() {
        let text = format!("a\n{OPEN}b\n{CLOSE}\nc");
        assert_eq!(section(&text), Some(["a\n", "b\n", "\nc"]));
        assert_eq!(section("a\nb"), None);
    }

    #[test]
    fn a_path_has_a_whole_number_of_instructions() {
        let cost = |calls, own, whole| Cost { calls, own, whole };
        assert_eq!(Count::exact("a", cost(10, 120, 0)), Ok(Count(120)));
        assert!(Count::exact("a", cost(10, 121, 0)).is_err());
        assert!(Count::exact("a", cost(0, 0, 0)).is_err());
        assert_eq!(Count::pair(cost(10, 0, 120), cost(10, 0, 135)).unwrap().to_string(), "25.5");
        assert!(Count::pair(cost(10, 0, 120), cost(9, 0, 135)).is_err());
    }
}
