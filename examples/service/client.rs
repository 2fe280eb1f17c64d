//! One client of the service: a connection, a seed, and its share of every task.

use core::net::SocketAddr;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use fastrand::Rng;
use hyper::body::Bytes;
use hyper::{Method, StatusCode};

use crate::Failure;
use crate::bodies::Bodies;
use crate::connection::{Answer, Connection};

/// Half as many again as the cache holds: it evicts, and some that ask find nothing.
const KEYS: usize = 12_000;
/// Ordinary requests after each import and each deletion of one: life goes on during a burst.
const BETWEEN: usize = 32;

/// What a crowd of clients does together.
#[derive(Clone, Copy)]
pub(crate) enum Task {
    /// Puts this many documents.
    Fill(usize),
    /// Gets, puts and deletes until then.
    Mix(Instant),
    /// Imports this many batches.
    Import(usize),
    /// Deletes as many.
    Discard(usize),
}

pub(crate) struct Client {
    connection: Connection,
    rng: Rng,
    bodies: Arc<Bodies>,
    index: usize,
    crowd: usize,
}

impl Client {
    /// Client `index` of a crowd of `crowd`.
    pub(crate) async fn connect(
        address: SocketAddr,
        bodies: &Arc<Bodies>,
        index: usize,
        crowd: usize,
    ) -> Result<Self, Failure> {
        let connection = Connection::open(address).await?;
        Ok(Self { connection, rng: Rng::with_seed(index as u64), bodies: Arc::clone(bodies), index, crowd })
    }

    /// Does its share, and says how long each request of a [`Task::Mix`] took.
    pub(crate) async fn perform(&mut self, task: Task) -> Result<Vec<Duration>, Failure> {
        match task {
            Task::Fill(documents) => self.fill(documents).await?,
            Task::Mix(until) => return self.mix(until).await,
            Task::Import(batches) => self.batches(batches, Method::PUT).await?,
            Task::Discard(batches) => self.batches(batches, Method::DELETE).await?,
        }
        Ok(Vec::new())
    }

    fn share(&self, of: usize) -> impl Iterator<Item = usize> + use<> {
        (self.index..of).step_by(self.crowd)
    }

    async fn fill(&mut self, documents: usize) -> Result<(), Failure> {
        for key in self.share(documents) {
            self.put(&entry(key)).await?;
        }
        Ok(())
    }

    async fn mix(&mut self, until: Instant) -> Result<Vec<Duration>, Failure> {
        let mut latencies = Vec::new();
        let mut before = Instant::now();
        while before < until {
            self.ordinary().await?;
            let after = Instant::now();
            latencies.push(after - before);
            before = after;
        }
        Ok(latencies)
    }

    async fn batches(&mut self, batches: usize, method: Method) -> Result<(), Failure> {
        for batch in self.share(batches) {
            let path = format!("/import/{batch}");
            let body = match method {
                Method::PUT => self.bodies.import(batch),
                _ => Bytes::new(),
            };
            let answer = self.connection.ask(method.clone(), &path, body).await?;
            answer.expect(&path, StatusCode::OK)?;
            self.between().await?;
        }
        Ok(())
    }

    async fn between(&mut self) -> Result<(), Failure> {
        for _ in 0..BETWEEN {
            self.ordinary().await?;
        }
        Ok(())
    }

    /// Six gets, three puts and one delete in ten, of any key, the low ones more often.
    async fn ordinary(&mut self) -> Result<(), Failure> {
        let path = entry(self.rng.usize(..KEYS).min(self.rng.usize(..KEYS)));
        match self.rng.u8(..10) {
            0..6 => self.get(&path).await,
            6..9 => self.put(&path).await,
            _ => self.delete(&path).await,
        }
    }

    async fn get(&mut self, path: &str) -> Result<(), Failure> {
        let answer = self.connection.ask(Method::GET, path, Bytes::new()).await?;
        if answer.status == StatusCode::OK && !self.bodies.knows(&answer.body) {
            return Err(format!("{path} was answered with what nobody put there").into());
        }
        found_or_not(&answer, path)
    }

    async fn put(&mut self, path: &str) -> Result<(), Failure> {
        let body = self.bodies.document(&mut self.rng);
        self.connection.ask(Method::PUT, path, body).await?.expect(path, StatusCode::OK)
    }

    async fn delete(&mut self, path: &str) -> Result<(), Failure> {
        let answer = self.connection.ask(Method::DELETE, path, Bytes::new()).await?;
        found_or_not(&answer, path)
    }
}

fn entry(key: usize) -> String {
    format!("/entry/document-{key}")
}

fn found_or_not(answer: &Answer, path: &str) -> Result<(), Failure> {
    if answer.status == StatusCode::NOT_FOUND {
        return Ok(());
    }
    answer.expect(path, StatusCode::OK)
}
