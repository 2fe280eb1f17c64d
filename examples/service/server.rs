//! The service: a cache of JSON documents over HTTP, on loopback.
//!
//! ```text
//!   PUT GET DELETE  /entry/{key}      one document of the cache
//!   PUT DELETE      /import/{batch}   an array of documents, kept beside the cache until deleted
//!   GET             /memory           what the process holds
//!   POST            /reclaim          gives back what the allocator can spare
//! ```
//!
//! The first line on stdout is `listening on ADDRESS`, or why not. The end of stdin is the end of the service, so that
//! it never outlives the process that started it.

use core::net::Ipv4Addr;
use std::collections::HashMap;
use std::io::{self, ErrorKind};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;

use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use axum::serve::ListenerExt;
use axum::{Json, Router};
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::runtime::Builder;

use crate::Failure;
use crate::allocator::Allocator;
use crate::cache::Cache;
use crate::document::Document;
use crate::memory::{Memory, Reclaimed};

/// What the first line on stdout begins with where all is well.
pub(crate) const LISTENING: &str = "listening on ";
/// The threads that serve.
pub(crate) const WORKERS: usize = 2;
/// Documents in the cache.
const CAPACITY: usize = 8_000;
/// The largest body taken, in bytes.
const BODY_LIMIT: usize = 16 << 20;

struct Service {
    allocator: &'static dyn Allocator,
    cache: Mutex<Cache>,
    imports: Mutex<HashMap<u32, Vec<Document>>>,
}

#[derive(Serialize)]
struct Stored {
    created: bool,
    evicted: bool,
}

#[derive(Serialize)]
struct Deleted {
    documents: usize,
}

#[derive(Serialize)]
struct Missing {
    missing: String,
}

/// Serves until stdin ends.
pub(crate) fn run(allocator: &'static dyn Allocator, port: u16) -> ExitCode {
    thread::spawn(leave_with_parent);
    match start(allocator, port) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            println!("{failure}");
            ExitCode::FAILURE
        }
    }
}

fn leave_with_parent() {
    let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
    std::process::exit(0);
}

fn start(allocator: &'static dyn Allocator, port: u16) -> Result<(), Failure> {
    let mut runtime = Builder::new_multi_thread();
    allocator.hook(runtime.worker_threads(WORKERS).enable_all());
    runtime.build()?.block_on(serve(allocator, port))
}

async fn serve(allocator: &'static dyn Allocator, port: u16) -> Result<(), Failure> {
    allocator.drive();
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await.map_err(|error| refusal(port, &error))?;
    println!("{LISTENING}{}", listener.local_addr()?);
    let listener = listener.tap_io(|stream| {
        // Without it answers may only be late.
        let _ = stream.set_nodelay(true);
    });
    Ok(axum::serve(listener, routes(allocator)).await?)
}

fn refusal(port: u16, error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::AddrInUse => format!("port {port} is taken: {error}"),
        _ => format!("port {port} cannot be used: {error}"),
    }
}

fn routes(allocator: &'static dyn Allocator) -> Router {
    Router::new()
        .route("/entry/{key}", put(put_entry).get(get_entry).delete(delete_entry))
        .route("/import/{batch}", put(put_import).delete(delete_import))
        .route("/memory", get(get_memory))
        .route("/reclaim", post(post_reclaim))
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(Arc::new(Service::new(allocator)))
}

impl Service {
    fn new(allocator: &'static dyn Allocator) -> Self {
        Self { allocator, cache: Mutex::new(Cache::new(CAPACITY)), imports: Mutex::default() }
    }

    fn cache(&self) -> MutexGuard<'_, Cache> {
        self.cache.lock().expect("nothing panics with the cache locked")
    }

    fn imports(&self) -> MutexGuard<'_, HashMap<u32, Vec<Document>>> {
        self.imports.lock().expect("nothing panics with the imports locked")
    }
}

async fn put_entry(
    State(service): State<Arc<Service>>,
    Path(key): Path<String>,
    Json(document): Json<Document>,
) -> Json<Stored> {
    let document = Arc::new(document);
    // The guard is gone by the end of this statement, and what was displaced is dropped after it.
    let displaced = service.cache().put(key, document);
    Json(Stored { created: displaced.replaced.is_none(), evicted: displaced.evicted.is_some() })
}

async fn get_entry(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    let document = service.cache().get(&key);
    match document {
        Some(document) => Json(&*document).into_response(),
        None => missing(key),
    }
}

async fn delete_entry(State(service): State<Arc<Service>>, Path(key): Path<String>) -> Response {
    let document = service.cache().remove(&key);
    match document {
        Some(_) => Json(Deleted { documents: 1 }).into_response(),
        None => missing(key),
    }
}

async fn put_import(
    State(service): State<Arc<Service>>,
    Path(batch): Path<u32>,
    Json(documents): Json<Vec<Document>>,
) -> Json<Stored> {
    let replaced = service.imports().insert(batch, documents);
    Json(Stored { created: replaced.is_none(), evicted: false })
}

async fn delete_import(State(service): State<Arc<Service>>, Path(batch): Path<u32>) -> Response {
    let documents = service.imports().remove(&batch);
    match documents {
        Some(documents) => Json(Deleted { documents: documents.len() }).into_response(),
        None => missing(batch.to_string()),
    }
}

async fn get_memory(State(service): State<Arc<Service>>) -> Json<Memory> {
    Json(Memory::now(service.allocator))
}

async fn post_reclaim(State(service): State<Arc<Service>>) -> Json<Reclaimed> {
    Json(service.allocator.reclaim())
}

fn missing(key: String) -> Response {
    (StatusCode::NOT_FOUND, Json(Missing { missing: key })).into_response()
}
