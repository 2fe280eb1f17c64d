//! The runs, in turns.

use crate::options::{Options, Row};
use crate::peer::{Built, Peer};
use crate::progress::Progress;
use crate::series::Series;
use bandolier_peers::record::Record;
use bandolier_peers::workloads::EMPTY;
use core::time::Duration;
use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{io, thread};

/// Longer than any loop; who takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// An allocator and its binary.
type Ready<'a> = (&'static Peer, &'a Path);

/// Runs every row on every allocator that was built, as often as there are rounds.
pub(crate) fn run(options: &Options, built: &[Built]) -> Series {
    let mut ready: Vec<Ready> = built.iter().filter_map(|one| Some((one.peer, one.binary.as_deref().ok()?))).collect();
    let mut series = Series::default();
    let mut progress = Progress::new("measuring", options.rounds() * options.rows().len() * ready.len());
    for _ in 0..options.rounds() {
        round(options, &ready, &mut series, &mut progress);
        ready.rotate_left(1);
    }
    series
}

fn round(options: &Options, ready: &[Ready], series: &mut Series, progress: &mut Progress) {
    for row in options.rows() {
        for &(peer, binary) in ready {
            progress.at(&format!("{} on {}", row.workload.name, peer.name));
            series.add(peer.name, row, record(peer.command(binary), row, options.target()));
            progress.step();
        }
    }
    // The loop without an allocator, so whose binary it is does not matter.
    if let Some((peer, binary)) = ready.first() {
        series.add(EMPTY.name, Row::EMPTY, record(peer.command(binary), Row::EMPTY, options.target()));
    }
}

/// Runs one row in a process of its own; `None` when that failed or hung.
fn record(mut command: Command, row: Row, target: Duration) -> Option<Record> {
    command.args(["--threads", &row.threads.to_string(), "--millis", &target.as_millis().to_string()]);
    command.arg(row.workload.name).stdout(Stdio::piped()).stderr(Stdio::null());
    let output = finished(command.spawn().ok()?).ok()??;
    output.lines().find_map(|line| line.parse().ok())
}

/// What the process printed. A record is far shorter than a pipe, so it is read only at the end.
fn finished(mut child: Child) -> io::Result<Option<String>> {
    let began = Instant::now();
    let status = loop {
        match child.try_wait()? {
            Some(status) => break status,
            None if began.elapsed() < PATIENCE => thread::sleep(LOOK),
            None => {
                child.kill()?;
                break child.wait()?;
            }
        }
    };
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text)?;
    }
    Ok(status.success().then_some(text))
}
