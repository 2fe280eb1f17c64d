//! The clients of a service, who work on one task at a time together.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;

use tokio::task::JoinSet;

use crate::Failure;
use crate::bodies::Bodies;
use crate::client::{Client, Task};

/// Clients, and so connections and requests in flight.
pub(crate) const CLIENTS: usize = 24;

pub(crate) struct Crowd {
    clients: Vec<Client>,
}

impl Crowd {
    pub(crate) async fn connect(address: SocketAddr, bodies: &Arc<Bodies>) -> Result<Self, Failure> {
        let mut clients = Vec::with_capacity(CLIENTS);
        for index in 0..CLIENTS {
            clients.push(Client::connect(address, bodies, index, CLIENTS).await?);
        }
        Ok(Self { clients })
    }

    /// Every client's latencies, where the task has them; the first failure ends it for all.
    pub(crate) async fn perform(&mut self, task: Task) -> Result<Vec<Duration>, Failure> {
        let work = |mut client: Client| async move {
            let latencies = client.perform(task).await?;
            Ok::<_, Failure>((client, latencies))
        };
        let mut busy: JoinSet<_> = self.clients.drain(..).map(work).collect();
        let mut all = Vec::new();
        while let Some(done) = busy.join_next().await {
            let (client, latencies) = done??;
            self.clients.push(client);
            all.extend(latencies);
        }
        Ok(all)
    }
}
