//! A service in a process of its own, which ends with this value.

use core::net::SocketAddr;
use core::time::Duration;
use std::io::{BufRead, BufReader};
use std::process::{Child, ChildStdout, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Instant;

use crate::Failure;
use crate::contestant::Contestant;
use crate::server::LISTENING;

/// How long a service may take to say where it listens.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after its connections a process may end.
const LINGER: Duration = Duration::from_millis(500);

pub(crate) struct Service {
    name: &'static str,
    process: Child,
}

impl Service {
    /// Its stdin ends when this process does, however that comes.
    pub(crate) fn start(contestant: &Contestant, port: u16) -> Result<Self, Failure> {
        let mut command = contestant.command(port)?;
        let process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        Ok(Self { name: contestant.name, process })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Where it listens; asked once.
    pub(crate) fn address(&mut self) -> Result<SocketAddr, Failure> {
        let stdout = self.process.stdout.take().expect("piped, and taken once");
        let line = first_line(stdout).ok_or("a service does not say where it listens")?;
        match line.strip_prefix(LISTENING) {
            Some(address) => Ok(address.parse()?),
            None if line.is_empty() => Err(self.explain("the start: not a word".into())),
            None => Err(line.into()),
        }
    }

    /// A failure that names its phase, and the death behind it where there was one.
    pub(crate) fn explain(&mut self, failure: Failure) -> Failure {
        let name = self.name;
        match self.death() {
            Some(status) => format!("the {name} service died ({status}) during {failure}").into(),
            None => format!("the {name} service failed during {failure}").into(),
        }
    }

    fn death(&mut self) -> Option<ExitStatus> {
        let until = Instant::now() + LINGER;
        while Instant::now() < until {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Some(status);
            }
            thread::sleep(LINGER / 50);
        }
        None
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // Both fail only where the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// `None` where there is none in time.
fn first_line(stdout: ChildStdout) -> Option<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let mut line = String::new();
        // Unreadable is as good as ended, and nobody listens once patience is out.
        let _ = BufReader::new(stdout).read_line(&mut line);
        let _ = sender.send(line);
    });
    receiver.recv_timeout(PATIENCE).ok().map(|line| line.trim_end().to_owned())
}
