//! The client on reqwest: one runtime on the calling thread, HTTP/1.1, no redirect ever followed.

use std::{
    error::Error as _,
    fmt,
    io::{self, Read},
    rc::Rc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures_util::stream;
use reqwest::{
    header::{HeaderName, HeaderValue},
    redirect::Policy,
};
use tokio::{runtime::Runtime, sync::mpsc};

use super::{
    Body, HttpClient, Method, Phase, Request, Response, ResponseBody, Settings, TransportError,
    Url, may_carry_credentials, tls,
};
use crate::secret::Secret;

/// How long TCP and TLS may take; a network that is down is then told in seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How often the runtime is given a turn to notice a closed connection: one to see the socket, one for the connection
/// to read its end, one to spare.
const LOOKS: usize = 3;
/// Uploads are read in blocks of this size, and as many as [`UPLOAD_BLOCKS`] wait to be sent.
const UPLOAD_BLOCK_BYTES: usize = 64 * 1024;
const UPLOAD_BLOCKS: usize = 4;

/// A connection pool, and the runtime that drives it while a call waits.
pub struct Client {
    runtime: Rc<Runtime>,
    inner: reqwest::Client,
    extra_headers: Vec<(HeaderName, HeaderValue)>,
}

impl Client {
    /// Prepares a client; nothing is connected yet. `user_agent` is ours, where the settings have none.
    ///
    /// # Errors
    ///
    /// When a setting does not make sense (a proxy that is no URL, a header that is none) or the system gives
    /// no runtime.
    pub fn new(settings: &Settings, user_agent: &str) -> anyhow::Result<Self> {
        for place in settings.ca_file.iter().chain(&settings.ca_directory) {
            anyhow::ensure!(
                place.exists(),
                "there are no certificates at '{}'",
                place.display()
            );
        }
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(tls::config(settings)?)
            .http1_only()
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(settings.user_agent.as_deref().unwrap_or(user_agent))
            .connect_timeout(CONNECT_LIMIT);
        if let Some(proxy) = &settings.proxy {
            builder = builder
                .proxy(reqwest::Proxy::all(proxy.0.expose()).map_err(reqwest::Error::without_url)?);
        }
        Ok(Client {
            runtime: Rc::new(runtime),
            inner: builder.build()?,
            extra_headers: settings
                .extra_headers
                .iter()
                .map(parse_header)
                .collect::<anyhow::Result<_>>()?,
        })
    }

    fn prepare(&self, request: Request) -> Result<reqwest::RequestBuilder, TransportError> {
        let host = host_of(&request.url);
        let secret_in_clear =
            request.authorization.is_some() && !may_carry_credentials(&request.url);
        let mut builder = match request.method {
            Method::Get => self.inner.get(request.url),
            Method::Post => self.inner.post(request.url),
        };
        for (name, value) in &self.extra_headers {
            builder = builder.header(name, value);
        }
        for (name, value) in request.headers {
            builder = builder.header(name, value);
        }
        if let Some(authorization) = request.authorization {
            if secret_in_clear {
                return Err(TransportError::new(
                    Phase::Connect,
                    host,
                    "a credential is sent over https only",
                ));
            }
            builder = builder.header("Authorization", sensitive(&authorization, &host)?);
        }
        if let Some(limit) = request.time_limit {
            builder = builder.timeout(limit);
        }
        Ok(match request.body {
            Body::Empty => builder,
            Body::Bytes(bytes) => builder.body(bytes),
            Body::Stream(source) => builder.body(streamed(source)),
        })
    }
}

impl HttpClient for Client {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let host = host_of(&request.url);
        let builder = self.prepare(request)?;
        let answer = self
            .runtime
            // Built inside, since time limits need the runtime's clock.
            .block_on(async {
                notice_closed_connections().await;
                builder.send().await
            })
            .map_err(|error| classify(error, &host, Phase::Request))?;
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let body = Incoming {
            runtime: Rc::clone(&self.runtime),
            answer,
            host,
        };
        Ok(Response::new(status, headers, Box::new(body)))
    }
}

/// Lets the runtime look at its sockets, which nobody did since the last call: a connection that the server has closed
/// meanwhile then leaves the pool, instead of swallowing a request that cannot be sent twice.
async fn notice_closed_connections() {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
    }
}

struct Incoming {
    runtime: Rc<Runtime>,
    answer: reqwest::Response,
    host: String,
}

impl ResponseBody for Incoming {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.runtime
            .block_on(self.answer.chunk())
            .map_err(|error| classify(error, &self.host, Phase::Answer))
    }
}

/// Reads a body on a thread of its own, so that an early answer of the server is seen while git still writes.
fn streamed(mut source: Box<dyn Read + Send>) -> reqwest::Body {
    let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(UPLOAD_BLOCKS);
    thread::spawn(move || {
        loop {
            let mut block = vec![0; UPLOAD_BLOCK_BYTES];
            let block = match source.read(&mut block) {
                Ok(0) => break,
                Ok(length) => {
                    block.truncate(length);
                    Ok(Bytes::from(block))
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => Err(error),
            };
            let failed = block.is_err();
            // A closed channel means that the answer came early and nobody wants the rest.
            if sender.blocking_send(block).is_err() || failed {
                break;
            }
        }
    });
    reqwest::Body::wrap_stream(stream::unfold(receiver, |mut receiver| async move {
        receiver.recv().await.map(|block| (block, receiver))
    }))
}

fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or("").to_owned()
}

fn sensitive(value: &Secret, host: &str) -> Result<HeaderValue, TransportError> {
    let mut value = HeaderValue::from_str(value.expose()).map_err(|_| {
        TransportError::new(
            Phase::Connect,
            host,
            "the credential holds characters that no header may have",
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

/// Tells from reqwest's error how far the exchange had come. The URL is left out: the host is named already.
fn classify(error: reqwest::Error, host: &str, phase: Phase) -> TransportError {
    let error = error.without_url();
    let phase = match () {
        () if is_tls(&error) => Phase::Tls,
        () if error.is_connect() => Phase::Connect,
        () if error.is_timeout() => Phase::TimeLimit,
        () => phase,
    };
    TransportError::new(phase, host, Innermost(error))
}

fn is_tls(error: &reqwest::Error) -> bool {
    let mut cause = error.source();
    while let Some(link) = cause {
        if link.is::<rustls::Error>() || link.downcast_ref::<io::Error>().is_some_and(wraps_rustls)
        {
            return true;
        }
        cause = link.source();
    }
    false
}

/// Looks through I/O errors, which may wrap each other and do not name what they wrap as their source.
fn wraps_rustls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| {
        inner.is::<rustls::Error>() || inner.downcast_ref::<io::Error>().is_some_and(wraps_rustls)
    })
}

/// reqwest's error, shown by what it wraps in the end: its own words ("error sending request") say less.
#[derive(Debug)]
struct Innermost(reqwest::Error);

impl fmt::Display for Innermost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last: &dyn std::error::Error = &self.0;
        while let Some(next) = last.source() {
            last = next;
        }
        match last.downcast_ref::<io::Error>() {
            // rustls explains at length, to programmers, what a missing close_notify may mean.
            Some(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                f.write_str("the connection ended unexpectedly")
            }
            _ => write!(f, "{last}"),
        }
    }
}

impl std::error::Error for Innermost {}
