//! Converts requests and responses between this program's types and the library's, and writes them to the trace.

use std::{
    collections::VecDeque,
    io::{self, Read},
    rc::Rc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use reqwest::header::{AUTHORIZATION, HeaderName, HeaderValue, USER_AGENT};
use tokio::{runtime::Runtime, sync::mpsc};

use super::{
    errors::classify,
    gzip::unpacked,
    interface::{Body, Method, Request, Response, ResponseBody},
    settings::Settings,
    speed_limit::{LowSpeed, SpeedLimit},
    tracing,
    transport_error::{Phase, TransportError},
};
use crate::{
    limits,
    secret::Secret,
    trace::{self, Direction, Header, Privacy, Span},
    url::may_carry_credentials,
};

/// An upload is read in blocks of this size. At most [`UPLOAD_BLOCKS`] of them wait in memory.
const UPLOAD_BLOCK_BYTES: usize = 64 * 1024;
const UPLOAD_BLOCKS: usize = 4;

/// The headers that every request gets, and the runtime that drives a connection while a call waits.
pub(crate) struct Messages {
    pub(crate) runtime: Rc<Runtime>,
    pub(super) user_agent: HeaderValue,
    extra_headers: Vec<(HeaderName, HeaderValue)>,
    low_speed: Option<LowSpeed>,
}

/// A header, with the privacy of its value in a trace.
pub(super) type Line = (HeaderName, HeaderValue, Privacy);

/// One exchange: its host, its speed, and whether its bodies are secret.
pub(crate) struct Exchange {
    pub(crate) host: String,
    pub(super) speed_limit: SpeedLimit,
    is_secret: bool,
    began: Instant,
}

impl Messages {
    /// Reads the settings. `user_agent` applies if they have none.
    ///
    /// # Errors
    ///
    /// If a header is malformed, or the system cannot provide a runtime.
    pub(crate) fn new(settings: &Settings, user_agent: &str) -> anyhow::Result<Self> {
        let runtime = runtime().context("cannot prepare a connection")?;
        let user_agent = settings.user_agent.as_deref().unwrap_or(user_agent);
        let user_agent = HeaderValue::from_str(user_agent)?;
        Ok(Messages {
            runtime: Rc::new(runtime),
            user_agent,
            extra_headers: settings
                .extra_headers
                .iter()
                .map(parse_header)
                .collect::<anyhow::Result<_>>()?,
            low_speed: settings.low_speed,
        })
    }

    /// Begins an exchange.
    pub(crate) fn exchange(&self, request: &Request) -> Exchange {
        Exchange {
            host: request.url.host_str().unwrap_or("").to_owned(),
            speed_limit: SpeedLimit::new(self.low_speed),
            is_secret: matches!(request.body, Body::Secret(_)),
            began: Instant::now(),
        }
    }

    /// Lists the headers of a request in sending order.
    pub(super) fn lines(&self, request: &Request, host: &str) -> Result<Vec<Line>, TransportError> {
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

    /// Prepares a request for sending and writes it to the trace. A time limit grows by `patience`. `proxy` is as in
    /// [`tracing::request`].
    pub(crate) fn start(
        &self,
        request: Request,
        exchange: &Exchange,
        patience: Duration,
        proxy: Option<Option<String>>,
    ) -> Result<reqwest::Request, TransportError> {
        let lines = self.lines(&request, &exchange.host)?;
        let shown = trace::is_on().then(|| lines.iter().map(shown).collect());
        let request = convert(request, lines, &exchange.speed_limit, patience);
        if let Some(shown) = shown {
            let body = request.body().and_then(reqwest::Body::as_bytes);
            tracing::request(&request, shown, body.filter(|_| !exchange.is_secret), proxy);
        }
        Ok(request)
    }

    /// Takes a response whose head has arrived.
    pub(super) fn finish(&self, exchange: Exchange, answer: reqwest::Response) -> Incoming {
        tracing::answer(exchange.began, &answer);
        Incoming {
            runtime: Rc::clone(&self.runtime),
            answer,
            ahead: VecDeque::new(),
            exchange,
            span: trace::span("body"),
            bytes: 0,
        }
    }
}

/// Prepares a runtime on the calling thread.
///
/// # Errors
///
/// If the system has no handles for it.
pub(crate) fn runtime() -> io::Result<Runtime> {
    limits::check_handles()?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
}

/// Converts a request into the library's type.
fn convert(
    request: Request,
    lines: Vec<Line>,
    speed_limit: &SpeedLimit,
    patience: Duration,
) -> reqwest::Request {
    let method = match request.method {
        Method::Get => reqwest::Method::GET,
        Method::Post => reqwest::Method::POST,
    };
    let mut converted = reqwest::Request::new(method, request.url);
    for (name, value, _) in lines {
        converted.headers_mut().append(name, value);
    }
    *converted.timeout_mut() = request.time_limit.map(|limit| limit + patience);
    *converted.body_mut() = match request.body {
        Body::Empty => None,
        Body::Bytes(bytes) => Some(bytes.into()),
        Body::Secret(text) if text.is_empty() => None,
        Body::Secret(text) => Some(text.expose().to_owned().into()),
        Body::Stream(source) => Some(streamed(source, speed_limit.clone())),
    };
    converted
}

/// A response while it arrives.
pub(super) struct Incoming {
    pub(super) runtime: Rc<Runtime>,
    pub(super) answer: reqwest::Response,
    /// The beginning of the body, if it was read before anything asked for it.
    pub(super) ahead: VecDeque<reqwest::Result<Option<Bytes>>>,
    pub(super) exchange: Exchange,
    /// Measures the time until the body ends.
    span: Span,
    bytes: u64,
}

impl From<Incoming> for Response {
    fn from(incoming: Incoming) -> Self {
        let (answer, host) = (&incoming.answer, incoming.exchange.host.clone());
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = unpacked(&headers, &host, incoming);
        Response::new(status, headers, body)
    }
}

impl ResponseBody for Incoming {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        let Exchange {
            host,
            speed_limit,
            is_secret,
            ..
        } = &self.exchange;
        let chunk = match self.ahead.pop_front() {
            Some(chunk) => chunk,
            None => self
                .runtime
                .block_on(speed_limit.enforce(self.answer.chunk()))
                .map_err(|slow| TransportError::new(Phase::TimeLimit, host, slow))?,
        };
        let chunk = chunk.map_err(|error| classify(error, host, None, Phase::Answer))?;
        if let Some(chunk) = &chunk {
            speed_limit.moved(chunk.len());
            self.bytes += chunk.len() as u64;
            if !is_secret {
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
fn streamed(source: Box<dyn Read + Send>, speed_limit: SpeedLimit) -> reqwest::Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(UPLOAD_BLOCKS);
    let blocks = Blocks {
        source,
        speed_limit: speed_limit.clone(),
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
            speed_limit.moved(block.len());
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
    speed_limit: SpeedLimit,
}

impl Iterator for Blocks {
    type Item = io::Result<Bytes>;

    fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let mut block = vec![0; UPLOAD_BLOCK_BYTES];
            self.speed_limit.waits_here(true);
            let length = self.source.read(&mut block);
            self.speed_limit.waits_here(false);
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
    let value = HeaderValue::try_from(value.expose().to_owned());
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
