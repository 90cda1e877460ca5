//! One HTTPS client: TLS roots, proxy, time limits. It knows neither git nor OAuth.
//!
//! The interface is synchronous: a call drives the connection until the answer's head is there, and each
//! [`Response::next_chunk`] drives it on, also an upload that is still under way. Nothing runs in between.
//!
//! What was weighed and left out: **TLS tickets on disk** save no round trip of TLS 1.3, only the check of a certificate
//! (0.1 ms), for a secret more to guard; early data, which would save one, may be replayed. **HTTP/2** has nothing to
//! share a connection between, as requests follow each other, and its usual windows (2 MiB) hold a link of 100 ms at 20 MB/s.
//! **Compressed answers** pay for refs alone (1,000 of them: 85 kB to 29 kB, one round trip; 100 arrive in one anyhow),
//! while packs do not shrink: the relay asks for them where refs are the answer. Any that comes is read.

mod body;
mod client;
mod curl;
mod errors;
mod gzip;
mod pool;
mod proxy;
mod resolver;
mod retry;
mod retry_after;
mod route;
mod speed_limit;
mod timeouts;
mod tls;
mod tracing;

use std::{fmt, io::Read, path::PathBuf, time::Duration};

use bytes::Bytes;
pub use reqwest::Url;
pub use reqwest::header::HeaderMap;

use crate::secret::Secret;

pub(crate) use body::BodyReader;
pub use client::Client;
pub(crate) use proxy::{Proxy, ProxyAuth, ProxyLogin, ProxyLogins, ProxyUser, percent_decode};
pub(crate) use resolver::Family;
pub(crate) use retry::{PATIENCE, Retries, Trouble};
pub(crate) use speed_limit::LowSpeed;
pub(crate) use tls::{ClientCertificate, PinnedKeys};

/// Carries requests to a server: the door through which another implementation (a keep-alive agent) can come in.
pub trait HttpClient {
    /// Sends a request and returns once the head of the answer is there.
    ///
    /// # Errors
    ///
    /// A [`TransportError`] when there is no answer. Every status is an answer; redirects are answers, too.
    fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// The methods that git and OAuth need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Safe to repeat.
    Get,
    /// Not safe to repeat unless its caller knows better.
    Post,
}

/// What is sent.
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// Where to, without user name or password.
    pub url: Url,
    /// Headers in order; `Host`, `Content-Length` and `User-Agent` are added.
    pub headers: Vec<(&'static str, String)>,
    /// The value of the `Authorization` header.
    pub authorization: Option<Secret>,
    /// The body.
    pub body: Body,
    /// How long the whole exchange, body included, may take; `None` for transfers, which only must not stall.
    pub time_limit: Option<Duration>,
}

impl Request {
    /// Starts a GET without headers.
    pub fn get(url: Url) -> Self {
        Request {
            method: Method::Get,
            url,
            headers: Vec::new(),
            authorization: None,
            body: Body::Empty,
            time_limit: None,
        }
    }

    /// Starts a POST of a body.
    pub fn post(url: Url, body: Body) -> Self {
        Request {
            method: Method::Post,
            body,
            ..Request::get(url)
        }
    }

    /// Adds a header.
    pub fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

/// What a request carries.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes of known length, sent with `Content-Length`.
    Bytes(Bytes),
    /// A form that holds secrets, as does the answer to it: no trace shows either.
    Form(Secret),
    /// Bytes that are read to their end while they are sent, in chunks (RFC 9112 section 7.1).
    Stream(Box<dyn Read + Send>),
}

/// What came back: status, headers, and a body that is still on its way.
pub struct Response {
    /// The status code (RFC 9110 section 15).
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Box<dyn ResponseBody>,
}

/// Gives the body of an answer piece by piece.
pub trait ResponseBody {
    /// Waits for the next piece; `None` at the end.
    ///
    /// # Errors
    ///
    /// A [`TransportError`] when the connection breaks before the end that HTTP announced.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError>;
}

impl ResponseBody for Response {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.body.next_chunk()
    }
}

impl Response {
    /// Puts an answer together.
    pub fn new(status: u16, headers: HeaderMap, body: Box<dyn ResponseBody>) -> Self {
        Response {
            status,
            headers,
            body,
        }
    }

    /// Reads the body up to `max_bytes`; what is longer is cut there, so that no server can fill the memory.
    ///
    /// # Errors
    ///
    /// See [`ResponseBody::next_chunk`].
    pub fn read_body(&mut self, max_bytes: usize) -> Result<Vec<u8>, TransportError> {
        let mut body = Vec::new();
        while let Some(chunk) = self.next_chunk()? {
            let room = max_bytes - body.len();
            body.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if body.len() == max_bytes {
                break;
            }
        }
        Ok(body)
    }

    /// Reads a header as text; a header that is not ASCII counts as absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Why there was no answer, or no complete one.
#[derive(Debug)]
pub struct TransportError {
    /// In which phase it happened: decides whether a repetition is safe.
    pub phase: Phase,
    /// The host it was about, without port.
    pub host: String,
    /// The proxy on the way, with the setting that names it, where it may be the cause.
    proxy: Option<String>,
    source: Box<dyn std::error::Error + Send + Sync>,
}

/// How far an exchange had come when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// No connection: name resolution, TCP, proxy. The server saw nothing.
    Connect,
    /// The server's certificate or its TLS was not accepted. The server saw no request.
    Tls,
    /// The request went out, wholly or in part, and no answer came.
    Request,
    /// What came back is not HTTP, or has a head that is longer than any.
    NotHttp,
    /// The answer broke off.
    Answer,
    /// The time limit of the exchange ran out.
    TimeLimit,
}

impl TransportError {
    /// Wraps what the layer below reported.
    pub fn new(
        phase: Phase,
        host: impl Into<String>,
        source: impl Into<Box<dyn std::error::Error + Send + Sync>>,
    ) -> Self {
        TransportError {
            phase,
            host: host.into(),
            proxy: None,
            source: source.into(),
        }
    }

    /// Tells whether it was the network that failed, which may be there again in a moment.
    pub fn is_of_the_network(&self) -> bool {
        errors::is_of_the_network(self)
    }

    /// Tells whether a proxy takes a password in a way that git's own transport may have, and this one has not.
    pub fn wants_other_login(&self) -> bool {
        errors::wants_other_login(self)
    }

    /// Says in a few words why there was no answer.
    pub fn reason(&self) -> String {
        self.source.to_string()
    }

    /// Tells whether another TLS library, such as git's, may get an answer.
    pub fn may_be_of_our_library(&self) -> bool {
        self.phase == Phase::Tls
    }

    /// Tells whether the server speaks HTTP/2 alone, which git's own transport does, too.
    pub fn offers_only_http_2(&self) -> bool {
        errors::offers_only_http_2(self)
    }

    /// Names the proxy on the way.
    #[must_use]
    fn through(mut self, proxy: Option<&Proxy>) -> Self {
        self.proxy = proxy.map(ToString::to_string);
        self
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host;
        match self.phase {
            Phase::Connect => write!(f, "cannot connect to '{host}'"),
            Phase::Tls => write!(f, "cannot make a secure connection to '{host}'"),
            Phase::Request => write!(f, "'{host}' closed the connection without an answer"),
            Phase::NotHttp => write!(f, "'{host}' did not answer in HTTP"),
            Phase::Answer => write!(f, "the answer of '{host}' broke off"),
            Phase::TimeLimit => write!(f, "'{host}' did not answer in time"),
        }?;
        match &self.proxy {
            Some(proxy) => write!(f, " through proxy {proxy}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.source.as_ref())
    }
}

/// How to reach servers, as resolved from git's `http.*` settings and environment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// A file with trusted certificates in PEM form (`http.sslCAInfo`, `GIT_SSL_CAINFO`) instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A directory whose files hold trusted certificates in PEM form (`http.sslCAPath`, `GIT_SSL_CAPATH`).
    pub ca_directory: Option<PathBuf>,
    /// The setting by which whoever answers is taken for the server (`http.sslVerify` false), if one is in force.
    pub unverified_by: Option<String>,
    /// The public keys of which the server must have one (`http.pinnedPubkey`).
    pub pinned_keys: Option<PinnedKeys>,
    /// Whether no TLS below 1.3 will do (`http.sslVersion`).
    pub only_tls_1_3: bool,
    /// Who we are to a server that asks for a certificate (`http.sslCert`, `http.sslKey`).
    pub client_certificate: Option<ClientCertificate>,
    /// The proxy for every request; `None` for a direct connection.
    pub proxy: Option<Proxy>,
    /// How the proxy may be told a password (`http.proxyAuthMethod`).
    pub proxy_auth: ProxyAuth,
    /// A file with certificates trusted in a proxy that is spoken to by TLS (`http.proxySSLCAInfo`).
    pub proxy_ca_file: Option<PathBuf>,
    /// The `User-Agent` header (`http.userAgent`), if there is to be another one than the caller's own.
    pub user_agent: Option<String>,
    /// Further headers for every request (`http.extraHeader`).
    pub extra_headers: Vec<(String, Secret)>,
    /// The slowest a transfer may be (`http.lowSpeedLimit`, `http.lowSpeedTime`).
    pub low_speed: Option<LowSpeed>,
}

/// Tells whether a credential may be sent to a URL: over https anywhere, over http to this machine only.
pub(crate) fn may_carry_credentials(url: &Url) -> bool {
    match url.scheme() {
        "https" => true,
        "http" => is_loopback(url),
        _ => false,
    }
}

/// Tells whether a URL's host is this machine: `localhost`, `127.0.0.0/8` or `::1`.
pub(crate) fn is_loopback(url: &Url) -> bool {
    let host = url.host_str().unwrap_or("");
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse::<std::net::IpAddr>()
            .is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_go_to_https_or_to_this_machine() {
        let cases = [
            ("https://bitbucket.org/x", true),
            ("http://localhost:8080/x", true),
            ("http://127.3.2.1/x", true),
            ("http://[::1]:1/x", true),
            ("http://bitbucket.org/x", false),
            ("http://localhost.evil.org/x", false),
            ("http://127.evil.org/x", false),
            ("ftp://localhost/x", false),
        ];
        for (url, allowed) in cases {
            let url = Url::parse(url).expect("the case is a URL");
            assert_eq!(may_carry_credentials(&url), allowed, "{url}");
        }
        assert_eq!(cases.len(), 8);
    }
}
