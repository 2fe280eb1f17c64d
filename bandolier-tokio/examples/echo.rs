//! What the hooks cost a busy server, and what they bring when it is idle.
//!
//! ```sh
//! cargo run --release -p bandolier-tokio --example echo
//! ```
//!
//! An echo server and its clients, in processes of their own, with the hooks and the task and without, in turns: messages a
//! second, and MiB resident a second and a half after a burst of 256 MiB that all workers took part in.

use bandolier::{Bandolier, Bounds, Reclaimer};
use bandolier_tokio::BuilderExt as _;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::process::{Command, ExitCode};
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

#[global_allocator]
static HEAP: Bandolier = Bandolier::new();

const ROUNDS: usize = 7;
const CLIENTS: usize = 16;
const TIME: Duration = Duration::from_secs(2);
const BURST: usize = 256 << 20;

fn resident() -> f64 {
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|pages| pages.parse::<f64>().ok());
    pages.map_or(f64::NAN, |pages| pages * 4096.0 / f64::from(1 << 20))
}

fn runtime(hooks: bool) -> std::io::Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_all();
    if hooks {
        builder.bandolier(&HEAP);
    }
    builder.build()
}

/// Sends every message back, each in a buffer of its own.
async fn serve(listener: TcpListener) {
    while let Ok((mut stream, _)) = listener.accept().await {
        tokio::spawn(async move {
            while let Ok(length) = stream.read_u32().await {
                let mut message = vec![0; length as usize];
                if stream.read_exact(&mut message).await.is_err() || stream.write_all(&message).await.is_err() {
                    return;
                }
            }
        });
    }
}

async fn ask(mut stream: TcpStream, over: Arc<AtomicBool>, count: Arc<AtomicU64>) -> std::io::Result<()> {
    let mut size = 64;
    while !over.load(Relaxed) {
        size = 64 + size * 31 % 1000;
        stream.write_u32(size).await?;
        stream.write_all(&vec![1; size as usize]).await?;
        stream.read_exact(&mut vec![0; size as usize]).await?;
        count.fetch_add(1, Relaxed);
    }
    Ok(())
}

async fn burst() {
    let take = || {
        let blocks: Vec<_> = (0..BURST / 32 / 2000).map(|n| vec![1_u8; 16 + n * 7919 % 4000]).collect();
        blocks.len()
    };
    let tasks: Vec<_> = (0..32).map(|_| tokio::spawn(async move { take() })).collect();
    for task in tasks {
        let _ = task.await;
    }
}

/// Messages a second, and MiB at the end.
fn child(hooks: bool) -> std::io::Result<(f64, f64)> {
    let (server, clients) = (runtime(hooks)?, runtime(false)?);
    if hooks {
        let gentle = Reclaimer::new(&HEAP).bounds(Bounds::NONE.bytes(8 << 20));
        server.spawn(bandolier_tokio::drive(gentle));
    }
    let listener = server.block_on(TcpListener::bind("127.0.0.1:0"))?;
    let address = listener.local_addr()?;
    server.spawn(serve(listener));
    let (over, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let counted = clients.block_on(async {
        for _ in 0..CLIENTS {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            tokio::spawn(ask(stream, over.clone(), count.clone()));
        }
        tokio::time::sleep(TIME / 4).await;
        let before = count.load(Relaxed);
        tokio::time::sleep(TIME).await;
        std::io::Result::Ok(count.load(Relaxed) - before)
    })?;
    over.store(true, Relaxed);
    server.block_on(async { tokio::spawn(burst()).await })?;
    std::thread::sleep(Duration::from_millis(1500));
    Ok((counted as f64 / TIME.as_secs_f64(), resident()))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

fn parent() -> Option<()> {
    let program = std::env::current_exe().ok()?;
    let mut figures = [(vec![], vec![]), (vec![], vec![])];
    for round in 0..ROUNDS {
        for (kind, name) in ["plain", "hooks"].into_iter().enumerate() {
            eprint!("\r\x1b[K{} of {ROUNDS}: {name} …", round + 1);
            let output = Command::new(&program).arg(name).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let (rate, left) = text.trim().split_once(' ')?;
            figures[kind].0.push(rate.parse().ok()?);
            figures[kind].1.push(left.parse().ok()?);
        }
    }
    eprint!("\r\x1b[K");
    println!("| | messages/s | MiB after a burst |\n|---|--:|--:|");
    for (name, (rates, left)) in ["without", "with hooks and task"].into_iter().zip(figures) {
        println!("| {name} | {:.0} | {:.1} |", median(rates), median(left));
    }
    Some(())
}

fn main() -> ExitCode {
    let hooks = match std::env::args().nth(1).as_deref() {
        None => return if parent().is_some() { ExitCode::SUCCESS } else { ExitCode::FAILURE },
        Some(name) => name == "hooks",
    };
    match child(hooks) {
        Ok((rate, left)) => {
            println!("{rate} {left}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("echo: {error}");
            ExitCode::FAILURE
        }
    }
}
