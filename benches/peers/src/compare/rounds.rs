//! The runs, in turns.

use crate::options::Options;
use crate::peer::{Built, Ready};
use crate::progress::Progress;
use crate::row::Row;
use crate::sheet::Sheet;
use crate::start_up::StartUp;
use bandolier_peers::record::Record;
use bandolier_peers::workloads::EMPTY;
use core::time::Duration;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Instant;
use std::{io, thread};

/// Longer than any loop; who takes longer has hung.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(5);

/// Runs every row of every sheet on every allocator that was built, as often as there are rounds, and empty programs
/// of the first profile.
pub(crate) fn run(options: &Options, first: &[Built], sheets: &mut [Sheet]) -> StartUp {
    let mut start_up = StartUp::default();
    let mut progress = Progress::new("measuring", steps(options, sheets));
    for nth in 0..options.rounds() {
        if options.start_up() {
            start_up.round(&ready(first, nth), options.spawns(), &mut progress);
        }
        let due = sheets.iter_mut().filter(|sheet| nth < sheet.plan.rounds(options));
        due.for_each(|sheet| round(options, sheet, nth, &mut progress));
    }
    start_up
}

/// What there is to do, about as long each.
fn steps(options: &Options, sheets: &[Sheet]) -> usize {
    let runs = |sheet: &Sheet| sheet.plan.rounds(options) * sheet.plan.rows.len() * ready(&sheet.built, 0).len();
    let spawns = if options.start_up() { options.rounds() * options.spawns() } else { 0 };
    sheets.iter().map(|sheet| runs(sheet) * sheet.plan.steps()).sum::<usize>() + spawns
}

/// Those that were built, another one first in each round.
fn ready(built: &[Built], nth: usize) -> Vec<Ready<'_>> {
    let mut ready: Vec<_> = built.iter().filter_map(Built::ready).collect();
    let first = nth % ready.len().max(1);
    ready.rotate_left(first);
    ready
}

fn round(options: &Options, sheet: &mut Sheet, nth: usize, progress: &mut Progress) {
    let ready = ready(&sheet.built, nth);
    for &row in &sheet.plan.rows {
        for &(peer, binary) in &ready {
            progress.at(&format!("{} on {} ({})", row.workload.name, peer.name, sheet.plan.profile));
            // A row with a failed run is lost, so it is not worth another one, which may hang again.
            if !sheet.series.has_failed(peer.name, row) {
                sheet.series.add(peer.name, row, record(peer.command(binary), row, options.target()));
            }
            progress.steps(sheet.plan.steps());
        }
    }
    // The loop without an allocator, so whose binary it is does not matter.
    if let Some((peer, binary)) = ready.first() {
        sheet.series.add(EMPTY.name, Row::EMPTY, record(peer.command(binary), Row::EMPTY, options.target()));
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
