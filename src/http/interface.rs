//! The interface of a client: a request, and its response.

use std::{io::Read, time::Duration};

use bytes::Bytes;
use reqwest::header::HeaderMap;

use super::transport_error::TransportError;
use crate::{secret::Secret, url::Url};

/// Sends requests to a server. A trait, because the keep-alive agent is another implementation.
pub(crate) trait HttpClient {
    /// Sends a request and returns when the head of the response has arrived.
    ///
    /// # Errors
    ///
    /// A [`TransportError`] without a response. Every status is a response, and so is a redirect.
    fn send(&self, request: Request) -> Result<Response, TransportError>;
}

/// The methods that git and OAuth need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    /// A request that is safe to repeat.
    Get,
    /// A request that only its caller may declare safe to repeat.
    Post,
}

/// An HTTP request.
pub(crate) struct Request {
    /// GET or POST.
    pub(crate) method: Method,
    /// The target, without user name or password.
    pub(crate) url: Url,
    /// Headers in order. The client adds `Host`, `Content-Length` and `User-Agent`.
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The value of the `Authorization` header.
    pub(crate) authorization: Option<Secret>,
    /// The body.
    pub(crate) body: Body,
    /// The limit for the whole exchange, body included. `None` for transfers, which have a limit for stalls only.
    pub(crate) time_limit: Option<Duration>,
}

impl Request {
    /// Starts a GET without headers.
    pub(crate) fn get(url: Url) -> Self {
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
    pub(crate) fn post(url: Url, body: Body) -> Self {
        Request {
            method: Method::Post,
            body,
            ..Request::get(url)
        }
    }

    /// Adds a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
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
pub(crate) enum Body {
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
pub(crate) struct Response {
    /// The status code (RFC 9110 section 15).
    pub(crate) status: u16,
    /// The headers.
    pub(crate) headers: HeaderMap,
    body: Box<dyn ResponseBody>,
}

impl Response {
    /// Builds a response.
    pub(crate) fn new(status: u16, headers: HeaderMap, body: Box<dyn ResponseBody>) -> Self {
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
    pub(crate) fn read_body(&mut self, max_bytes: usize) -> Result<Vec<u8>, TransportError> {
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
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }
}

/// Gives the body of a response in chunks.
pub(crate) trait ResponseBody {
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
