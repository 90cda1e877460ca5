//! The reqwest client: one runtime on the calling thread, HTTP/1.1, no redirects.

use std::{
    io::{self, Read},
    rc::Rc,
    time::Instant,
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use tokio::{runtime::Runtime, sync::mpsc};

use super::{
    Body, Family, HttpClient, LowSpeed, Method, Phase, ProxyLogins, Request, Response,
    ResponseBody, Settings, TransportError, curl::CurlRequest, errors::classify, gzip::unpacked,
    may_carry_credentials, pool::Pool, speed_limit::Pace, tracing,
};
use crate::{
    limits,
    secret::Secret,
    trace::{self, Direction, Header, Privacy, Span},
    waiting,
};

/// An upload is read in blocks of this size. At most [`UPLOAD_BLOCKS`] of them wait in memory.
const UPLOAD_BLOCK_BYTES: usize = 64 * 1024;
const UPLOAD_BLOCKS: usize = 4;

/// A connection pool, and the runtime that drives it while a call waits.
pub struct Client {
    runtime: Rc<Runtime>,
    pool: Pool,
    user_agent: HeaderValue,
    extra_headers: Vec<(HeaderName, HeaderValue)>,
    low_speed: Option<LowSpeed>,
}

/// A header, with the privacy of its value in a trace.
type Line = (HeaderName, HeaderValue, Privacy);

impl Client {
    /// Prepares a client without connecting. `user_agent` applies if the settings have none.
    ///
    /// # Errors
    ///
    /// If a setting is invalid (a proxy that is not a URL, a malformed header) or the system cannot provide a runtime.
    pub fn new(settings: &Settings, user_agent: &str) -> anyhow::Result<Self> {
        let runtime = limits::check_handles().and_then(|()| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
        });
        let runtime = runtime.context("cannot prepare a connection")?;
        let user_agent = settings.user_agent.as_deref().unwrap_or(user_agent);
        let user_agent = HeaderValue::from_str(user_agent)?;
        Ok(Client {
            runtime: Rc::new(runtime),
            pool: Pool::new(settings, &user_agent)?,
            user_agent,
            extra_headers: settings
                .extra_headers
                .iter()
                .map(parse_header)
                .collect::<anyhow::Result<_>>()?,
            low_speed: settings.low_speed,
        })
    }

    /// Sets the source of proxy logins.
    #[must_use]
    pub fn with_proxy_logins(mut self, logins: Box<dyn ProxyLogins>) -> Self {
        self.pool.set_logins(logins);
        self
    }

    /// Limits new connections to one address family.
    ///
    /// # Errors
    ///
    /// As [`Client::new`].
    pub fn keep_to(&mut self, family: Family) -> anyhow::Result<()> {
        self.pool.keep_to(family)
    }

    /// Gives the TLS error for which curl sent a request instead of the library, if that happened.
    pub fn reason_for_curl(&self) -> Option<String> {
        self.pool.reason_for_curl()
    }

    /// Lists the headers of a request in sending order.
    fn lines(&self, request: &Request, host: &str) -> Result<Vec<Line>, TransportError> {
        let extra = self.extra_headers.iter().cloned();
        let mut lines: Vec<Line> = extra
            .map(|(name, value)| (name, value, Privacy::Private))
            .collect();
        lines.push((USER_AGENT, self.user_agent.clone(), Privacy::Open));
        for (name, value) in &request.headers {
            let header = (HeaderName::from_bytes(name.as_bytes()), value.parse());
            let (Ok(name), Ok(value)) = header else {
                return Err(unsendable(
                    host,
                    "a header contains characters that HTTP does not allow",
                ));
            };
            lines.push((name, value, Privacy::Open));
        }
        if let Some(authorization) = &request.authorization {
            if !may_carry_credentials(&request.url) {
                return Err(unsendable(
                    host,
                    "the helper sends a credential only over https",
                ));
            }
            lines.push((
                AUTHORIZATION,
                sensitive(authorization, host)?,
                Privacy::Secret,
            ));
        }
        Ok(lines)
    }

    /// Copies a request for curl if curl may have to send it.
    fn for_curl(
        &self,
        request: &Request,
        host: &str,
    ) -> Result<Option<CurlRequest>, TransportError> {
        let Some(for_curl) = CurlRequest::of(request) else {
            return Ok(None);
        };
        let lines = self.lines(request, host)?.into_iter();
        Ok(Some(for_curl.with(
            lines.map(|(name, value, _)| (name, value)).collect(),
        )))
    }

    /// Prepares a request for sending and writes it to the trace.
    fn start(
        &self,
        request: Request,
        host: &str,
        pace: &Pace,
    ) -> Result<reqwest::Request, TransportError> {
        let is_secret = matches!(request.body, Body::Form(_));
        let lines = self.lines(&request, host)?;
        let shown = trace::is_on().then(|| lines.iter().map(shown).collect());
        let request = self.prepare(request, lines, host, pace)?;
        if let Some(shown) = shown {
            let body = request.body().and_then(reqwest::Body::as_bytes);
            let proxy = self.pool.forwarding(request.url());
            tracing::request(&request, shown, body.filter(|_| !is_secret), proxy);
        }
        Ok(request)
    }

    /// Converts a request into the library's type.
    fn prepare(
        &self,
        request: Request,
        lines: Vec<Line>,
        host: &str,
        pace: &Pace,
    ) -> Result<reqwest::Request, TransportError> {
        let client = self.pool.client(&request.url);
        let mut builder = match request.method {
            Method::Get => client.get(request.url),
            Method::Post => client.post(request.url),
        };
        for (name, value, _) in lines {
            builder = builder.header(name, value);
        }
        if let Some(limit) = request.time_limit {
            builder = builder.timeout(limit + self.pool.patience());
        }
        let builder = match request.body {
            Body::Empty => builder,
            Body::Bytes(bytes) => builder.body(bytes),
            Body::Form(form) => builder.body(form.expose().to_owned()),
            Body::Stream(source) => builder.body(streamed(source, pace.clone())),
        };
        builder
            .build()
            .map_err(|error| classify(error, host, None, Phase::Connect))
    }
}

impl HttpClient for Client {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let host = request.url.host_str().unwrap_or("").to_owned();
        let is_secret = matches!(request.body, Body::Form(_));
        let pace = Pace::new(self.low_speed);
        let for_curl = self.for_curl(&request, &host)?;
        let request = self.start(request, &host, &pace)?;
        let _wait = waiting::on(&host);
        let began = Instant::now();
        let answer = self
            .pool
            .send(&self.runtime, request, for_curl.as_ref(), &pace, &host)?;
        tracing::answer(began, &answer);
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = Incoming {
            runtime: Rc::clone(&self.runtime),
            answer,
            host: host.clone(),
            pace,
            is_secret,
            span: trace::span("body"),
            bytes: 0,
        };
        let body = unpacked(&headers, &host, body);
        Ok(Response::new(status, headers, body))
    }
}

/// The body of a response while it arrives.
struct Incoming {
    runtime: Rc<Runtime>,
    answer: reqwest::Response,
    host: String,
    pace: Pace,
    /// Whether it contains secrets, which a trace must not show.
    is_secret: bool,
    /// Measures the time until the body ends.
    span: Span,
    bytes: u64,
}

impl ResponseBody for Incoming {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let chunk = self.runtime.block_on(self.pace.keep(self.answer.chunk()));
        let chunk = chunk
            .map_err(|slow| TransportError::new(Phase::TimeLimit, &self.host, slow))?
            .map_err(|error| classify(error, &self.host, None, Phase::Answer))?;
        if let Some(chunk) = &chunk {
            self.pace.moved(chunk.len());
            self.bytes += chunk.len() as u64;
            if !self.is_secret {
                trace::body(Direction::Received, chunk);
            }
        }
        Ok(chunk)
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.span.note("bytes", || bytes.into());
    }
}

/// Reads a body on its own thread, so that the client notices an early response while git still writes.
fn streamed(source: Box<dyn Read + Send>, pace: Pace) -> reqwest::Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(UPLOAD_BLOCKS);
    let blocks = Blocks {
        source,
        pace: pace.clone(),
    };
    let started = limits::hand_to_thread("upload", blocks, move |blocks| {
        for block in blocks {
            let failed = block.is_err();
            // A closed channel means that the response came early and the rest is not needed.
            if sender.blocking_send(block).is_err() || failed {
                break;
            }
        }
    });
    let sent = move |block: &io::Result<Bytes>| {
        if let Ok(block) = block {
            pace.moved(block.len());
            trace::body(Direction::Sent, block);
        }
    };
    match started {
        Ok(()) => {
            let blocks = stream::unfold(receiver, |mut receiver| async move {
                Some((receiver.recv().await?, receiver))
            });
            reqwest::Body::wrap_stream(blocks.inspect(sent))
        }
        // Without a thread, the client notices an early response late.
        Err(blocks) => reqwest::Body::wrap_stream(stream::iter(blocks).inspect(sent)),
    }
}

/// The blocks of an upload.
struct Blocks {
    source: Box<dyn Read + Send>,
    pace: Pace,
}

impl Iterator for Blocks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let mut block = vec![0; UPLOAD_BLOCK_BYTES];
            self.pace.waits_here(true);
            let length = self.source.read(&mut block);
            self.pace.waits_here(false);
            return match length {
                Ok(0) => None,
                Ok(length) => {
                    block.truncate(length);
                    Some(Ok(Bytes::from(block)))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Some(Err(error)),
            };
        }
    }
}

fn shown((name, value, privacy): &Line) -> Header {
    Header {
        name: tracing::title_case(name),
        value: String::from_utf8_lossy(value.as_bytes()).into_owned(),
        privacy: *privacy,
    }
}

fn unsendable(host: &str, why: &'static str) -> TransportError {
    TransportError::new(Phase::Connect, host, why)
}

fn sensitive(value: &Secret, host: &str) -> Result<HeaderValue, TransportError> {
    let value = HeaderValue::from_str(value.expose());
    let mut value = value.map_err(|_| {
        unsendable(
            host,
            "the credential contains characters that HTTP does not allow in a header",
        )
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn parse_header((name, value): &(String, Secret)) -> anyhow::Result<(HeaderName, HeaderValue)> {
    let name = HeaderName::from_bytes(name.as_bytes())?;
    let mut value = HeaderValue::from_str(value.expose())?;
    value.set_sensitive(true);
    Ok((name, value))
}
