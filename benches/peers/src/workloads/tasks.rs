//! Tasks of tokio that send each other boxed messages: blocks change their thread as the scheduler likes.
//!
//! ```text
//!   thread 0 of the crew ─▶ spawns 32 × (sender ──channel──▶ receiver), waits for their ends
//!   the other threads of the crew: nothing; their work is done by the runtime's workers, one for each
//! ```

use super::{Payer, Workload};
use crate::dice::Dice;
use core::hint::black_box;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Senders with their receivers; the unit of pairs is a multiple of it.
const COUPLES: u64 = 32;
/// Messages in a channel before its sender waits.
const ROOM: usize = 64;
/// From 16 B to below 1 KiB.
const DOUBLINGS: usize = 6;

struct Message {
    number: u64,
    text: String,
}

impl Message {
    fn of(number: u64, dice: &mut Dice) -> Box<Self> {
        Box::new(Self { number, text: "-".repeat(dice.any_size(DOUBLINGS)) })
    }
}

pub(super) struct Tasks {
    workers: usize,
}

async fn send(to: Sender<Box<Message>>, mut dice: Dice, messages: u64) {
    for number in 0..messages {
        to.send(Message::of(number, &mut dice)).await.expect("its receiver waits for the last one");
    }
}

async fn receive(mut from: Receiver<Box<Message>>) {
    while let Some(message) = from.recv().await {
        black_box((message.number, message.text.as_bytes()));
    }
}

/// Ends when every message has been freed.
async fn exchange(each: u64) {
    let mut tasks = Vec::new();
    for couple in 0..COUPLES {
        let (to, from) = channel(ROOM);
        tasks.push(tokio::spawn(send(to, Dice::of(couple as usize), each)));
        tasks.push(tokio::spawn(receive(from)));
    }
    for task in tasks {
        task.await.expect("a task does not panic");
    }
}

impl Workload for Tasks {
    const PAYER: Payer = Payer::Process;

    /// Of thread 0.
    type Hand = Option<Runtime>;

    fn new(threads: usize) -> Self {
        Self { workers: threads }
    }

    fn hand(&self, thread: usize) -> Option<Runtime> {
        let runtime = || Builder::new_multi_thread().worker_threads(self.workers).build().expect("a runtime starts");
        (thread == 0).then(runtime)
    }

    fn run(&self, runtime: &mut Option<Runtime>, pairs: u64) {
        if let Some(runtime) = runtime {
            runtime.block_on(exchange(pairs * self.workers as u64 / COUPLES));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{COUPLES, Tasks};
    use crate::workloads::Workload;

    #[test]
    fn the_couples_share_a_unit_without_rest() {
        assert_eq!(Tasks::UNIT % COUPLES, 0);
    }
}
