//! One HTTPS client: TLS roots, proxy, time limits. It knows neither git nor OAuth.
//!
//! The interface is synchronous. A call drives the connection until the head of the response arrives. Each
//! [`Response::next_chunk`] drives it further, together with an upload that is still running. Nothing runs in between.
//!
//! Measured and left out:
//!
//! - **TLS tickets on disk** save no round trip of TLS 1.3. They save one certificate check (0.1 ms) and add a secret
//!   to protect. Early data would save a round trip, but an attacker can replay it.
//! - **HTTP/2** shares a connection between parallel requests, and this client has none. Its usual window (2 MiB)
//!   limits a link with 100 ms latency to 20 MB/s.
//! - **Compressed responses** help for refs only: 1,000 refs shrink from 85 kB to 29 kB and save one round trip. Packs
//!   do not shrink. The transport asks for gzip when it requests refs, and the client reads gzip in every response.

mod body;
mod client;
mod curl;
#[cfg(unix)]
mod dial;
mod errors;
mod gzip;
mod message;
#[cfg(unix)]
mod open;
mod proxy;
mod resolver;
mod retry;
mod route;
mod speed_limit;
mod timeouts;
mod times;
mod tls;
mod tracing;
mod transport_error;

use std::{io::Read, path::PathBuf, sync::Arc, time::Duration};

use bytes::Bytes;
pub use reqwest::Url;
pub use reqwest::header::HeaderMap;

use crate::secret::Secret;

pub(crate) use body::BodyReader;
pub use client::Client;
#[cfg(unix)]
pub(crate) use dial::dial;
#[cfg(unix)]
pub(crate) use errors::LenderEnded;
pub(crate) use errors::Reason;
#[cfg(unix)]
pub(crate) use message::{Messages, runtime};
#[cfg(unix)]
pub(crate) use open::OpenConnection;
pub(crate) use proxy::{Proxy, ProxyAuth, ProxyLogin, ProxyLogins, ProxyUser, next_hop};
pub(crate) use resolver::Family;
pub(crate) use retry::{PATIENCE, Retries, Trouble};
pub(crate) use speed_limit::LowSpeed;
pub(crate) use tls::{ClientCertificate, PinnedKeys, TlsProblem};
pub use transport_error::{Phase, TransportError};

/// Sends requests to a server. A trait, because the keep-alive agent is another implementation.
pub trait HttpClient {
    /// Sends a request and returns when the head of the response has arrived.
    ///
    /// # Errors
    ///
    /// A [`TransportError`] without a response. Every status is a response, and so is a redirect.
    fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// The methods that git and OAuth need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// A request that is safe to repeat.
    Get,
    /// A request that only its caller may declare safe to repeat.
    Post,
}

/// An HTTP request.
pub struct Request {
    /// GET or POST.
    pub method: Method,
    /// The target, without user name or password.
    pub url: Url,
    /// Headers in order. The client adds `Host`, `Content-Length` and `User-Agent`.
    pub headers: Vec<(&'static str, String)>,
    /// The value of the `Authorization` header.
    pub authorization: Option<Secret>,
    /// The body.
    pub body: Body,
    /// The limit for the whole exchange, body included. `None` for transfers, which have a limit for stalls only.
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

    /// Starts a POST with a body.
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

    /// Copies a request whose body is in memory and not secret.
    #[cfg(unix)]
    pub(crate) fn copy(&self) -> Option<Self> {
        let body = match &self.body {
            Body::Empty => Body::Empty,
            Body::Bytes(bytes) => Body::Bytes(bytes.clone()),
            Body::Secret(_) | Body::Stream(_) => return None,
        };
        Some(Request {
            method: self.method,
            url: self.url.clone(),
            headers: self.headers.clone(),
            authorization: self.authorization.clone(),
            body,
            time_limit: self.time_limit,
        })
    }
}

/// The body of a request.
pub enum Body {
    /// Nothing.
    Empty,
    /// Bytes with a known length, sent with `Content-Length`.
    Bytes(Bytes),
    /// A text that contains secrets, or an empty one to ask for some. The response contains secrets too, and a trace
    /// shows neither.
    Secret(Secret),
    /// A stream that is sent in chunks until it ends (RFC 9112 section 7.1).
    Stream(Box<dyn Read + Send>),
}

/// An HTTP response whose body may still be arriving.
pub struct Response {
    /// The status code (RFC 9110 section 15).
    pub status: u16,
    /// The headers.
    pub headers: HeaderMap,
    body: Box<dyn ResponseBody>,
}

/// Gives the body of a response in chunks.
pub trait ResponseBody {
    /// Waits for the next chunk; `None` at the end.
    ///
    /// # Errors
    ///
    /// A [`TransportError`] if the connection breaks before the body is complete.
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError>;
}

impl ResponseBody for Response {
    fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        self.body.next_chunk()
    }
}

impl Response {
    /// Builds a response.
    pub fn new(status: u16, headers: HeaderMap, body: Box<dyn ResponseBody>) -> Self {
        Response {
            status,
            headers,
            body,
        }
    }

    /// Reads the body, at most `max_bytes`. The limit keeps a server from filling the memory.
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

    /// Reads a header as text. A header that is not ASCII counts as absent.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// The resolved `http.*` settings and environment variables of git.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// A file with trusted certificates in PEM form (`http.sslCAInfo`, `GIT_SSL_CAINFO`) instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// A directory whose files hold trusted certificates in PEM form (`http.sslCAPath`, `GIT_SSL_CAPATH`).
    pub ca_directory: Option<PathBuf>,
    /// The setting that disables certificate checks (`http.sslVerify` false), if there is one.
    pub unverified_by: Option<String>,
    /// The accepted public keys of the server (`http.pinnedPubkey`).
    pub pinned_keys: Option<PinnedKeys>,
    /// Whether TLS 1.3 is required (`http.sslVersion`).
    pub only_tls_1_3: bool,
    /// The client certificate for servers that request one (`http.sslCert`, `http.sslKey`).
    pub client_certificate: Option<Arc<ClientCertificate>>,
    /// The proxy for every request; `None` for a direct connection.
    pub proxy: Option<Proxy>,
    /// The authentication schemes that the proxy may use (`http.proxyAuthMethod`).
    pub proxy_auth: ProxyAuth,
    /// A file with trusted certificates for an https proxy (`http.proxySSLCAInfo`).
    pub proxy_ca_file: Option<PathBuf>,
    /// The `User-Agent` header (`http.userAgent`), if it replaces the caller's.
    pub user_agent: Option<String>,
    /// Further headers for every request (`http.extraHeader`).
    pub extra_headers: Vec<(String, Secret)>,
    /// The lowest accepted speed of a transfer (`http.lowSpeedLimit`, `http.lowSpeedTime`).
    pub low_speed: Option<LowSpeed>,
}

impl Settings {
    /// Gives the file with the trusted certificates, or `None` for the system's, if connections need nothing else: no
    /// proxy, no client certificate, no exception from the checks.
    #[cfg(unix)]
    pub(crate) fn only_roots(&self) -> Option<Option<PathBuf>> {
        let is_plain = self.proxy.is_none()
            && self.client_certificate.is_none()
            && self.unverified_by.is_none()
            && self.pinned_keys.is_none()
            && !self.only_tls_1_3;
        is_plain.then(|| tls::only_roots(self))?
    }
}

/// Tells whether a credential may be sent to a URL: https to any host, or http to this machine.
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
