//! One keep-alive HTTP connection to a service.

use core::net::SocketAddr;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Method, Request, StatusCode};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;

use crate::Failure;

pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: Bytes,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, driver) = http1::handshake(TokioIo::new(stream)).await?;
        // How it ends, the sender is told too.
        tokio::spawn(driver);
        Ok(Self { sender })
    }

    pub(crate) async fn ask(&mut self, method: Method, path: &str, body: Bytes) -> Result<Answer, Failure> {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, "localhost")
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }

    /// A request without a body, and the value of its answer.
    pub(crate) async fn value<T: DeserializeOwned>(&mut self, method: Method, path: &str) -> Result<T, Failure> {
        let answer = self.ask(method, path, Bytes::new()).await?;
        answer.expect(path, StatusCode::OK)?;
        Ok(serde_json::from_slice(&answer.body)?)
    }
}

impl Answer {
    pub(crate) fn expect(&self, path: &str, status: StatusCode) -> Result<(), Failure> {
        if self.status == status {
            return Ok(());
        }
        Err(format!("{path} was answered {}: {}", self.status, self.body.escape_ascii()).into())
    }
}
