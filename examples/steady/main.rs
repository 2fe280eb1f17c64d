//! What it costs to give memory back while a load goes on, with Bandolier and with other allocators: CPU and page faults.
//!
//! ```sh
//! cargo run --release --example steady
//! ```
//!
//! Each allocator is the global one of a process of its own (`benches/peers/src/steady`), which this program builds. Two threads
//! replace blocks of 16 bytes to 32 KiB at random, and have more and fewer of them by turns; at work all the time, or for a part
//! of each 200 ms. Rounds take turns, and the medians are told. Each way is compared with a *base*: the same allocator when nobody
//! gives back beside the program, or at all; by the median of what each round says, with the least and the most.
//!
//! `--rounds 5`, `--busy 100,5` (per cent); and what each run is told: `--millis 3000`, `--warm-up 1500`, `--threads 2`,
//! `--live 8000` (blocks of a thread), `--wave 20` (per cent), `--period 1000` (milliseconds).

mod bill;
#[path = "../way/mod.rs"]
mod way;

use bill::{Bill, Figure, Spread};
use std::path::PathBuf;
use std::process::ExitCode;
use way::{Program, Way, driven, finish, jemalloc, say, way};

/// A way, and the one that it is compared with.
struct Case {
    way: Way,
    base: usize,
}

const fn case(way: Way, base: usize) -> Case {
    Case { way, base }
}

/// A base is its own.
const CASES: [Case; 13] = [
    case(way("Bandolier", "bandolier"), 0),
    case(driven("with a Reclaimer", "bandolier"), 0),
    case(way("Bandolier, per thread", "bandolier-per-thread"), 2),
    case(driven("per thread, with a Reclaimer", "bandolier-per-thread"), 2),
    case(way("Bandolier, per CPU", "bandolier-per-cpu"), 4),
    case(driven("per CPU, with a Reclaimer", "bandolier-per-cpu"), 4),
    case(jemalloc("jemalloc without decay", "dirty_decay_ms:-1,muzzy_decay_ms:-1"), 6),
    case(way("jemalloc", "jemalloc"), 6),
    case(jemalloc("with background threads", "background_thread:true"), 6),
    case(jemalloc("the same, decay in 1 s", "background_thread:true,dirty_decay_ms:1000,muzzy_decay_ms:0"), 6),
    case(Way { env: Some(("MIMALLOC_PURGE_DELAY", "-1")), ..way("mimalloc v3 without purge", "mimalloc") }, 10),
    case(way("mimalloc v3", "mimalloc"), 10),
    case(way("System", "system"), 12),
];

/// What the line says that is for this program, and what is for those that it runs.
struct Options {
    rounds: usize,
    busy: Vec<String>,
    passed_on: Vec<String>,
}

impl Options {
    fn parse(mut words: impl Iterator<Item = String>) -> Option<Self> {
        let mut options = Self { rounds: 5, busy: ["100", "5"].map(String::from).into(), passed_on: Vec::new() };
        while let Some(word) = words.next() {
            match word.as_str() {
                "--rounds" => options.rounds = words.next()?.parse().ok().filter(|&rounds| rounds > 0)?,
                "--busy" => options.busy = words.next()?.split(',').map(String::from).collect(),
                _ => options.passed_on.push(word),
            }
        }
        Some(options)
    }
}

/// What each case has cost in each round.
fn bills(programs: &[Option<PathBuf>], options: &Options, busy: &str) -> Vec<Vec<Bill>> {
    let words = [&options.passed_on[..], &["--busy".to_owned(), busy.to_owned()]].concat();
    let mut bills: Vec<Vec<Bill>> = CASES.iter().map(|_| Vec::new()).collect();
    for round in 1..=options.rounds {
        for ((case, program), bills) in CASES.iter().zip(programs).zip(&mut bills) {
            say(&format!("{busy} % busy, round {round} of {}: {} …", options.rounds, case.way.name));
            let fields = program.as_ref().and_then(|program| case.way.run(program, &words));
            bills.extend(fields.and_then(|fields| Bill::parse(&fields)));
        }
    }
    say("");
    bills
}

const HEAD: &str = "| allocator | M operations per CPU-second | to base | CPU of other threads, % | faults/s | \
    faults per M operations | to base | MiB resident | MiB/s given back |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|";

fn digits(figure: Option<f64>, places: usize) -> String {
    figure.map_or_else(|| "–".into(), |figure| format!("{figure:.places$}"))
}

/// By how many per cent it differs, or how many times as much it is.
fn change(ratio: f64) -> String {
    match ratio {
        _ if !ratio.is_finite() => "–".into(),
        ..2.0 => format!("{:+.1} %", 100.0 * (ratio - 1.0)),
        _ => format!("× {ratio:.1}"),
    }
}

/// The same, and of the rounds the least and the most.
fn changes(spread: Option<Spread>) -> String {
    let tell = |spread: Spread| [spread.median, spread.least, spread.most].map(change);
    spread.map(tell).map_or_else(|| "–".into(), |[median, least, most]| format!("{median} ({least} to {most})"))
}

fn row(case: &Case, own: &[Bill], base: &[Bill], is_base: bool) -> String {
    let to_base = |figure: Figure| if is_base { String::new() } else { changes(figure.ratio(own, base)) };
    let columns = [
        digits(Figure::Rate.median(own), 2),
        to_base(Figure::Rate),
        digits(Figure::Others.median(own), 2),
        digits(Figure::FaultsPerSecond.median(own), 0),
        digits(Figure::FaultsPerMillion.median(own), 0),
        to_base(Figure::FaultsPerMillion),
        digits(Figure::Resident.median(own), 1),
        if case.way.driver { digits(Figure::GivenBack.median(own), 1) } else { String::new() },
    ];
    format!("| {} | {} |", case.way.name, columns.join(" | "))
}

fn print(busy: &str, bills: &[Vec<Bill>]) {
    println!("\nAt work {busy} % of the time:\n\n{HEAD}");
    for (nth, (case, own)) in CASES.iter().zip(bills).enumerate().filter(|(_, (_, own))| !own.is_empty()) {
        println!("{}", row(case, own, &bills[case.base], case.base == nth));
    }
}

fn main() -> ExitCode {
    let Some(options) = Options::parse(std::env::args().skip(1)) else {
        eprintln!("usage: steady [--rounds 5] [--busy 100,5] [what each run is told]");
        return ExitCode::from(2);
    };
    let Some(program) = Program::find("steady") else { return ExitCode::FAILURE };
    let built = CASES.iter().map(|case| {
        say(&format!("building: {} …", case.way.name));
        case.way.build(&program)
    });
    let programs: Vec<_> = built.collect();
    let mut empty = [true; CASES.len()];
    for busy in &options.busy {
        let bills = bills(&programs, &options, busy);
        empty.iter_mut().zip(&bills).for_each(|(empty, own)| *empty &= own.is_empty());
        print(busy, &bills);
    }
    let missing = CASES.iter().zip(empty).filter(|(_, empty)| *empty).map(|(case, _)| case.way.name);
    finish(&missing.collect::<Vec<_>>(), CASES.len())
}
