//! A round: each service once, one after the other, from its start to its end.
//!
//! ```text
//!   start ─▶ fill ─▶ load ──────────▶ burst ──────────────▶ idle ─▶ reclaim
//!   before          latencies        import, then discard   idle    reclaimed, peak     (what is read at its end)
//! ```

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
use crate::crowd::Crowd;
use crate::either::Side;
use crate::memory::{Memory, Reclaimed};
use crate::options::{Options, Plan};
use crate::progress::Progress;

/// How many phases a service has: the calls of `phase` in `measure`.
pub(crate) const PHASES: usize = 6;
/// How long a service is left alone after the burst.
pub(crate) const IDLE: Duration = Duration::from_secs(1);
/// A phase that takes longer than it should by this much is a failure.
const PATIENCE: Duration = Duration::from_secs(10);

pub(crate) struct Round {
    pub(crate) bandolier: Figures,
    pub(crate) system: Figures,
}

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
    pub(crate) reclaimed: Option<Reclaimed>,
}

impl Round {
    pub(crate) async fn run(
        number: usize,
        options: &Options,
        bodies: &Arc<Bodies>,
        progress: &Progress,
    ) -> Result<Self, Failure> {
        let of = |side| Stage { number, side, options, bodies, progress };
        Ok(Self { bandolier: of(Side::Bandolier).run().await?, system: of(Side::System).run().await? })
    }
}

/// One service's turn in a round.
struct Stage<'a> {
    number: usize,
    side: Side,
    options: &'a Options,
    bodies: &'a Arc<Bodies>,
    progress: &'a Progress,
}

impl Stage<'_> {
    async fn run(&self) -> Result<Figures, Failure> {
        let mut service = Service::start(self.side, self.options.port)?;
        let address = service.address()?;
        self.measure(address).await.map_err(|failure| service.explain(failure))
    }

    async fn measure(&self, address: SocketAddr) -> Result<Figures, Failure> {
        let plan = &self.options.plan;
        let (mut control, before) = self.phase("start", greet(address)).await?;
        let mut crowd = self.phase("fill", fill(address, self.bodies, plan)).await?;
        let (latencies, load) = self.phase("load", load(&mut crowd, plan)).await?;
        let (burst, after_burst) = self.phase("burst", burst(&mut crowd, &mut control, plan)).await?;
        let after_idle = self.phase("idle", idle(&mut control)).await?;
        let (reclaimed, after_reclaim) = self.phase("reclaim", reclaim(&mut control)).await?;
        Ok(Figures { latencies, load, burst, before, after_burst, after_idle, after_reclaim, reclaimed })
    }

    /// Announces `work`, bounds it in time, and names the phase where it fails.
    async fn phase<T>(&self, name: &str, work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
        self.progress.begin(self.number, self.side.name(), name);
        let limit = self.options.plan.load + PATIENCE;
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

async fn idle(control: &mut Connection) -> Result<Memory, Failure> {
    tokio::time::sleep(IDLE).await;
    memory(control).await
}

async fn reclaim(control: &mut Connection) -> Result<(Option<Reclaimed>, Memory), Failure> {
    let reclaimed = control.value(Method::POST, "/reclaim").await?;
    Ok((reclaimed, memory(control).await?))
}

async fn memory(control: &mut Connection) -> Result<Memory, Failure> {
    control.value(Method::GET, "/memory").await
}
