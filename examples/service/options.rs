//! The command line.

use core::time::Duration;
use std::path::PathBuf;

/// What was asked for.
pub(crate) enum Request {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) plan: Plan,
    /// Whether mimalloc and jemalloc are compared, too.
    pub(crate) peers: bool,
    /// Where the plot goes, if it is wanted.
    pub(crate) svg: Option<PathBuf>,
}

/// How much there is to do.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Of load, for each service in each round.
    pub(crate) load: Duration,
    /// How long a service is left alone after the burst.
    pub(crate) idle: Duration,
    /// Documents in the cache before the load.
    pub(crate) documents: usize,
    /// Batches of the burst, about a megabyte of JSON each.
    pub(crate) batches: usize,
}

pub(crate) const HELP: &str = "\
A JSON cache over HTTP, on Bandolier and on the system's allocator, under the same load.

Usage: cargo run --release --example service [-- OPTIONS]

  --port N      the service listens on 127.0.0.1:N (default: any free port)
  --seconds N   of load, for each service in each round (default: 4)
  --rounds N    (default: 2)
  --quick       one short round
  --peers       on mimalloc and jemalloc, too; builds them, for which they want a C compiler and make
  --svg PATH    writes a plot of resident memory over time, in the last round (default: none is written)
  --help        this text

Takes under a minute with the default options. For the service alone, to be asked by hand (Ctrl-C ends it):

  BANDOLIER_SERVICE=bandolier cargo run --release --example service -- --port 8080     or =system
  curl -X PUT --json '{\"number\":1,\"title\":\"t\",\"tags\":[],\"attributes\":{},\"samples\":[],\"sections\":[]}' \\
       http://127.0.0.1:8080/entry/one
  curl http://127.0.0.1:8080/entry/one
  curl http://127.0.0.1:8080/memory
";

impl Plan {
    const FULL: Self =
        Self { rounds: 2, load: Duration::from_secs(4), idle: Duration::from_secs(5), documents: 8_000, batches: 256 };
    const QUICK: Self =
        Self { rounds: 1, load: Duration::from_secs(1), idle: Duration::from_secs(1), documents: 1_000, batches: 32 };
    /// Of everything but the load and the idle time, for each service in each round.
    const REST: Duration = Duration::from_millis(5_000);

    /// No round begins that would, at the pace so far, end after this.
    pub(crate) fn limit(&self, services: usize) -> Duration {
        (self.load + self.idle + Self::REST) * services as u32 * self.rounds as u32
    }
}

impl Options {
    /// The mistake, where there is one, in one line.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
        let (mut port, mut plan, mut peers, mut svg) = (0, Plan::FULL, false, None);
        let (mut seconds, mut rounds) = (None, None);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Request::Help),
                "--quick" => plan = Plan::QUICK,
                "--port" => port = number("--port", arguments.next(), 0, u16::MAX)?,
                "--seconds" => seconds = Some(number("--seconds", arguments.next(), 1, 600)?),
                "--rounds" => rounds = Some(number("--rounds", arguments.next(), 1, 100)?),
                "--peers" => peers = true,
                "--svg" => svg = Some(path("--svg", arguments.next())?),
                other => return Err(format!("unknown option '{other}'; --help has the options")),
            }
        }
        if let Some(seconds) = seconds {
            plan.load = Duration::from_secs(seconds.into());
        }
        plan.rounds = rounds.map_or(plan.rounds, usize::from);
        Ok(Request::Run(Self { port, plan, peers, svg }))
    }
}

fn number(option: &str, value: Option<String>, least: u16, most: u16) -> Result<u16, String> {
    let value = value.unwrap_or_default();
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{option} wants a number from {least} to {most}, not '{value}'"))
}

/// A file, in a folder that there is.
fn path(option: &str, value: Option<String>) -> Result<PathBuf, String> {
    let value = value.unwrap_or_default();
    let path = PathBuf::from(&value);
    let folder = path.parent().filter(|_| path.file_name().is_some());
    let there = folder.is_some_and(|folder| folder.as_os_str().is_empty() || folder.is_dir());
    if there { Ok(path) } else { Err(format!("{option} wants a file in a folder that there is, not '{value}'")) }
}
