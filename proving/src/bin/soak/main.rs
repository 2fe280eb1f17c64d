//! The heap as a process's own under mixed loads, for as long as one likes, in each of its modes.
//!
//! ```text
//!   soak ──▶ a child for each mode ──▶ epochs: loads on some threads, forks, signals, a driver of reclaim, limits
//!    │                                   └ at the end of each all stand still, and the figures are compared
//!    └ a report in Markdown
//! ```

mod child;
mod epoch;
mod forked;
mod load;
mod memory;
mod options;
mod record;

use bandolier_proving::{Counted, Process};
use core::time::Duration;
use options::{MODES, Mode, Options};
use record::Record;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

#[global_allocator]
static COUNTED: Counted = Counted::new();
static PROCESS: Process = Process::new(&COUNTED);

/// What a child may be late.
const GRACE: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(error) => {
            eprintln!("{error}\nsoak (--hours N | --minutes N) [--seed N] [--mode MODE] [--epoch N]");
            return ExitCode::FAILURE;
        }
    };
    match &options.mode {
        Some(mode) if options.is_child => {
            child::run(&options, mode);
            ExitCode::SUCCESS
        }
        _ => drive(&options),
    }
}

fn drive(options: &Options) -> ExitCode {
    println!("soak: seed {}, {:?}", options.seed, options.time);
    let modes: Vec<_> = MODES.iter().filter(|mode| options.mode.is_none_or(|only| only.name == mode.name)).collect();
    let share = options.time / modes.len() as u32;
    let mut records = Vec::new();
    for mode in modes {
        match soak(options, mode, share) {
            Ok(record) => records.push(record),
            Err(error) => {
                let seed = options.seed;
                let minutes = share.as_secs_f64() / 60.0;
                eprintln!("soak: FAILED, {}: {error}", mode.name);
                eprintln!("to repeat it: cargo xtask soak --minutes {minutes:.2} --seed {seed} --mode {}", mode.name);
                return ExitCode::FAILURE;
            }
        }
    }
    print!("{}", record::report(options.seed, &records));
    ExitCode::SUCCESS
}

/// Runs the child of one mode; what it says of itself.
fn soak(options: &Options, mode: &Mode, share: Duration) -> Result<Record, String> {
    let own = std::env::current_exe().map_err(|e| e.to_string())?;
    let mut command = Command::new(own);
    command.args(["--child", "--mode", mode.name, "--seed", &options.seed.to_string()]);
    command.args(["--minutes", &(share.as_secs_f64() / 60.0).to_string(), "--epoch", &options.epoch.to_string()]);
    command.env("BANDOLIER_CACHES", mode.caches).stdout(Stdio::piped());
    let mut child = command.spawn().map_err(|e| e.to_string())?;
    let started = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| e.to_string())? {
            break status;
        }
        if started.elapsed() > share + GRACE {
            // SAFETY: a child of ours, not yet waited for; it says what it was doing, and dies.
            unsafe { libc::kill(child.id().cast_signed(), libc::SIGABRT) };
            let _ = child.wait();
            return Err(format!("still at work {} s after its time", GRACE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(50));
    };
    if !status.success() {
        return Err(status.to_string());
    }
    let mut said = String::new();
    let pipe = child.stdout.as_mut().ok_or("no output")?;
    std::io::Read::read_to_string(pipe, &mut said).map_err(|e| e.to_string())?;
    Record::parse(&said).ok_or_else(|| format!("no record: {said}"))
}
