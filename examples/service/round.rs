//! A round: each service once, one after the other, from its start to its end.
//!
//! ```text
//!   start ─▶ fill ─▶ load ──────────▶ burst ──────────────▶ idle ─▶ reclaim
//!   before          latencies        import, then discard   idle    reclaimed, peak     (what is read at its end)
//!   ◀──────────────── life: resident memory, looked at from outside ──────────────▶
//! ```

use core::cell::RefCell;
use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use hyper::Method;

use crate::Failure;
use crate::bodies::Bodies;
use crate::child::Service;
use crate::client::Task;
use crate::connection::Connection;
use crate::contestant::Contestant;
use crate::crowd::Crowd;
use crate::life::Life;
use crate::memory::{Memory, Reclaimed};
use crate::options::{Options, Plan};
use crate::progress::Progress;
use crate::sampler::Sampler;

/// How many phases a service has: the calls of `phase` in `measure`.
pub(crate) const PHASES: usize = 6;
/// How long it is looked at after the reclaim.
const SETTLED: Duration = Duration::from_secs(1);
/// A phase that takes longer than it should by this much is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

/// Of each contestant, in their order.
pub(crate) type Round = Vec<Figures>;

/// What one service did in one round.
pub(crate) struct Figures {
    /// Of the load, in ascending order.
    pub(crate) latencies: Vec<Duration>,
    pub(crate) load: Duration,
    pub(crate) burst: Duration,
    pub(crate) before: Memory,
    pub(crate) after_burst: Memory,
    pub(crate) after_idle: Memory,
    pub(crate) after_reclaim: Memory,
    pub(crate) reclaimed: Reclaimed,
    pub(crate) life: Life,
}

pub(crate) async fn run(
    number: usize,
    contestants: &[Contestant],
    options: &Options,
    bodies: &Arc<Bodies>,
    progress: &Progress,
) -> Result<Round, Failure> {
    let mut round = Vec::with_capacity(contestants.len());
    for contestant in contestants {
        let phases = RefCell::default();
        round.push(Stage { number, contestant, options, bodies, progress, phases }.run().await?);
    }
    Ok(round)
}

/// One service's turn in a round.
struct Stage<'a> {
    number: usize,
    contestant: &'a Contestant,
    options: &'a Options,
    bodies: &'a Arc<Bodies>,
    progress: &'a Progress,
    /// Those that have begun, and when.
    phases: RefCell<Vec<(&'static str, Instant)>>,
}

impl Stage<'_> {
    async fn run(&self) -> Result<Figures, Failure> {
        let mut service = Service::start(self.contestant, self.options.port)?;
        let sampler = Sampler::start(service.pid());
        let address = service.address()?;
        let figures = self.measure(address, sampler).await;
        figures.map_err(|failure| service.explain(failure))
    }

    async fn measure(&self, address: SocketAddr, sampler: Sampler) -> Result<Figures, Failure> {
        let plan = &self.options.plan;
        let (mut control, before) = self.phase("start", greet(address)).await?;
        let mut crowd = self.phase("fill", fill(address, self.bodies, plan)).await?;
        let (latencies, load) = self.phase("load", load(&mut crowd, plan)).await?;
        let (burst, after_burst) = self.phase("burst", burst(&mut crowd, &mut control, plan)).await?;
        let after_idle = self.phase("idle", idle(&mut control, plan)).await?;
        let (reclaimed, after_reclaim) = self.phase("reclaim", reclaim(&mut control)).await?;
        let life = Life::new(self.phases.take(), sampler.finish());
        Ok(Figures { latencies, load, burst, before, after_burst, after_idle, after_reclaim, reclaimed, life })
    }

    /// Announces `work`, bounds it in time, and names the phase where it fails.
    async fn phase<T>(&self, name: &'static str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.progress.begin(self.number, self.contestant.name, name);
        self.phases.borrow_mut().push((name, Instant::now()));
        let limit = self.options.plan.load.max(self.options.plan.idle) + PATIENCE;
        let outcome = tokio::time::timeout(limit, work).await;
        self.progress.end();
        match outcome {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(failure)) => Err(format!("the {name}: {failure}").into()),
            Err(_) => Err(format!("the {name}: no end after {} s", limit.as_secs()).into()),
        }
    }
}

async fn greet(address: SocketAddr) -> Result<(Connection, Memory), Failure> {
    let mut control = Connection::open(address).await?;
    let before = memory(&mut control).await?;
    Ok((control, before))
}

async fn fill(address: SocketAddr, bodies: &Arc<Bodies>, plan: &Plan) -> Result<Crowd, Failure> {
    let mut crowd = Crowd::connect(address, bodies).await?;
    crowd.perform(Task::Fill(plan.documents)).await?;
    Ok(crowd)
}

async fn load(crowd: &mut Crowd, plan: &Plan) -> Result<(Vec<Duration>, Duration), Failure> {
    let began = Instant::now();
    let mut latencies = crowd.perform(Task::Mix(began + plan.load)).await?;
    let took = began.elapsed();
    latencies.sort_unstable();
    Ok((latencies, took))
}

async fn burst(crowd: &mut Crowd, control: &mut Connection, plan: &Plan) -> Result<(Duration, Memory), Failure> {
    let began = Instant::now();
    crowd.perform(Task::Import(plan.batches)).await?;
    crowd.perform(Task::Discard(plan.batches)).await?;
    Ok((began.elapsed(), memory(control).await?))
}

async fn idle(control: &mut Connection, plan: &Plan) -> Result<Memory, Failure> {
    tokio::time::sleep(plan.idle).await;
    memory(control).await
}

async fn reclaim(control: &mut Connection) -> Result<(Reclaimed, Memory), Failure> {
    let reclaimed = control.value(Method::POST, "/reclaim").await?;
    let after = memory(control).await?;
    tokio::time::sleep(SETTLED).await;
    Ok((reclaimed, after))
}

async fn memory(control: &mut Connection) -> Result<Memory, Failure> {
    control.value(Method::GET, "/memory").await
}
