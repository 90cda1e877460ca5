//! Requests to OpenBao.

use std::{fmt::Write as _, io, sync::Arc, time::Duration};

use rustls::ClientConfig;
use serde_json::Value;

use crate::wire::{Answer, Server};

/// Where every server listens.
const HOST: &str = "127.0.0.1";
/// Longer than a server that works takes for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// Where a server listens on loopback, and the authority of its certificate, if it speaks TLS.
#[derive(Clone)]
pub(crate) struct Endpoint {
    pub(crate) port: u16,
    pub(crate) trusts: Option<Arc<ClientConfig>>,
}

/// A request that is about to be sent.
pub(crate) struct Request {
    endpoint: Endpoint,
    method: &'static str,
    path: String,
    headers: Vec<(String, String)>,
    body: Option<Value>,
    patience: Duration,
}

impl Endpoint {
    /// The address, as people configure it.
    pub(crate) fn url(&self) -> String {
        let scheme = if self.trusts.is_some() {
            "https"
        } else {
            "http"
        };
        format!("{scheme}://{HOST}:{}", self.port)
    }

    /// Prepares a request for a path below `/v1/`.
    pub(crate) fn request(&self, method: &'static str, path: &str) -> Request {
        Request {
            endpoint: self.clone(),
            method,
            path: path.to_owned(),
            headers: Vec::new(),
            body: None,
            patience: PATIENCE,
        }
    }
}

impl Request {
    /// Adds a header.
    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds the token of the client.
    pub(crate) fn token(self, token: &str) -> Self {
        self.header("X-Vault-Token", token)
    }

    /// Adds a body.
    pub(crate) fn body(mut self, body: Value) -> Self {
        self.body = Some(body);
        self
    }

    /// Waits only so long for the answer.
    pub(crate) fn within(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The method, the path, the headers and the body, a line each.
    pub(crate) fn shown(&self) -> String {
        let mut text = format!("{} /v1/{}\n", self.method, self.path);
        for (name, value) in &self.headers {
            writeln!(text, "{name}: {value}").expect("a string takes all");
        }
        if let Some(body) = &self.body {
            writeln!(text, "{body}").expect("a string takes all");
        }
        text
    }

    /// Sends it to a server that runs.
    #[track_caller]
    pub(crate) fn done(self) -> Answer {
        let shown = format!("{} /v1/{}", self.method, self.path);
        self.attempt()
            .unwrap_or_else(|error| panic!("{shown}: {error}"))
    }

    /// Sends it, and expects a status of success.
    #[track_caller]
    pub(crate) fn ok(self) -> Answer {
        let shown = format!("{} /v1/{}", self.method, self.path);
        let answer = self.done();
        let is_success = matches!(answer.status, 200 | 204);
        assert!(is_success, "{shown}: {answer:?}");
        answer
    }

    /// Sends it to a server that may be down.
    pub(crate) fn attempt(self) -> io::Result<Answer> {
        let body = self.body.as_ref().map(Value::to_string).unwrap_or_default();
        let mut head = format!("{} /v1/{} HTTP/1.0\r\n", self.method, self.path);
        for (name, value) in &self.headers {
            write!(head, "{name}: {value}\r\n").expect("a string takes all");
        }
        write!(head, "Content-Length: {}\r\n\r\n", body.len()).expect("a string takes all");
        let server = Server {
            host: HOST,
            port: self.endpoint.port,
            trusts: self.endpoint.trusts,
        };
        server.answer(&(head + &body), self.patience)
    }
}
