//! What is asked for on the command line.

use core::time::Duration;
use std::time::{SystemTime, UNIX_EPOCH};

/// A process of its own, since a heap of the process is told its caches once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mode {
    pub(crate) name: &'static str,
    /// As the environment says it.
    pub(crate) caches: &'static str,
    /// Whether the load is on heaps beside the process's own, on every back-end.
    pub(crate) beside: bool,
}

pub(crate) const MODES: [Mode; 4] = [
    Mode { name: "hybrid", caches: "hybrid", beside: false },
    Mode { name: "per-thread", caches: "per-thread", beside: false },
    Mode { name: "per-cpu", caches: "per-cpu", beside: false },
    Mode { name: "heaps-beside", caches: "hybrid", beside: true },
];

#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    pub(crate) time: Duration,
    pub(crate) seed: u64,
    pub(crate) mode: Option<Mode>,
    /// The number of the first epoch.
    pub(crate) epoch: u64,
    pub(crate) is_child: bool,
}

impl Options {
    pub(crate) fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let seed = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |time| time.as_secs());
        let mut options = Self { time: Duration::ZERO, seed, mode: None, epoch: 0, is_child: false };
        while let Some(arg) = args.next() {
            let mut value = || args.next().ok_or(format!("{arg} wants a value"));
            match arg.as_str() {
                "--hours" => options.time = duration(&value()?, 3600.0)?,
                "--minutes" => options.time = duration(&value()?, 60.0)?,
                "--seed" => options.seed = number(&value()?)?,
                "--epoch" => options.epoch = number(&value()?)?,
                "--mode" => options.mode = Some(mode(&value()?)?),
                "--child" => options.is_child = true,
                _ => return Err(format!("what is {arg}?")),
            }
        }
        if options.time.is_zero() { Err("for how long?".into()) } else { Ok(options) }
    }
}

fn number(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("{text} is no number"))
}

fn duration(text: &str, unit: f64) -> Result<Duration, String> {
    let count: f64 = text.parse().map_err(|_| format!("{text} is no number"))?;
    Duration::try_from_secs_f64(count * unit).map_err(|_| format!("{text} is no time"))
}

fn mode(name: &str) -> Result<Mode, String> {
    let names = || MODES.map(|mode| mode.name).join(", ");
    MODES.into_iter().find(|mode| mode.name == name).ok_or_else(|| format!("{name} is none of {}", names()))
}
