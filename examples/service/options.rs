//! The command line.

use core::time::Duration;

/// What was asked for.
pub(crate) enum Request {
    Help,
    Run(Options),
}

pub(crate) struct Options {
    pub(crate) port: u16,
    pub(crate) plan: Plan,
}

/// How much there is to do.
pub(crate) struct Plan {
    pub(crate) rounds: usize,
    /// Of load, for each service in each round.
    pub(crate) load: Duration,
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
  --quick       one short round
  --help        this text

Takes under a minute with the default options. For the service alone, to be asked by hand (Ctrl-C ends it):

  BANDOLIER_SERVICE=bandolier cargo run --release --example service -- --port 8080     or =system
  curl -X PUT --json '{\"number\":1,\"title\":\"t\",\"tags\":[],\"attributes\":{},\"samples\":[],\"sections\":[]}' \\
       http://127.0.0.1:8080/entry/one
  curl http://127.0.0.1:8080/entry/one
  curl http://127.0.0.1:8080/memory
";

impl Plan {
    const FULL: Self = Self { rounds: 3, load: Duration::from_secs(4), documents: 8_000, batches: 256 };
    const QUICK: Self = Self { rounds: 1, load: Duration::from_secs(1), documents: 1_000, batches: 32 };
    /// Of everything but the load, for each service in each round.
    const REST: Duration = Duration::from_millis(5_500);

    /// No round begins that would, at the pace so far, end after this.
    pub(crate) fn limit(&self) -> Duration {
        (self.load + Self::REST) * 2 * self.rounds as u32
    }
}

impl Options {
    /// The mistake, where there is one, in one line.
    pub(crate) fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Request, String> {
        let (mut port, mut seconds, mut plan) = (0, None, Plan::FULL);
        while let Some(argument) = arguments.next() {
            match argument.as_str() {
                "--help" | "-h" => return Ok(Request::Help),
                "--quick" => plan = Plan::QUICK,
                "--port" => port = number("--port", arguments.next(), 0, u16::MAX)?,
                "--seconds" => seconds = Some(number("--seconds", arguments.next(), 1, 600)?),
                other => return Err(format!("unknown option '{other}'; --help has the options")),
            }
        }
        if let Some(seconds) = seconds {
            plan.load = Duration::from_secs(seconds.into());
        }
        Ok(Request::Run(Self { port, plan }))
    }
}

fn number(option: &str, value: Option<String>, least: u16, most: u16) -> Result<u16, String> {
    let value = value.unwrap_or_default();
    let number = value.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("{option} wants a number from {least} to {most}, not '{value}'"))
}
