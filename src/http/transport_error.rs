//! The error of an exchange without a complete response.

use std::{fmt, io};

use super::proxy::Proxy;
use crate::failure::Kind;

/// The reason for a missing or incomplete response.
#[derive(Debug)]
pub(crate) struct TransportError {
    /// The phase that failed. It decides whether a retry is safe.
    pub(crate) phase: Phase,
    /// The server's host, without port.
    pub(crate) host: String,
    /// The proxy that may be the cause, with the setting that names it.
    proxy: Option<String>,
    pub(super) source: Box<dyn std::error::Error + Send + Sync>,
}

/// The phase in which an exchange failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Name resolution, TCP or the proxy failed. The server saw nothing.
    Connect,
    /// TLS or the check of the server's certificate failed. The server saw no request.
    Tls,
    /// The client sent the request, or a part of it, and got no response.
    Request,
    /// The response is not HTTP, or the client cannot read its head or its encoding.
    NotHttp,
    /// The response ended too early.
    Answer,
    /// The exchange exceeded its time limit.
    TimeLimit,
}

impl TransportError {
    /// Wraps the error of the layer below.
    pub(crate) fn new(
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

    /// Gives its kind by what the user can do about it.
    pub(crate) fn kind(&self) -> Kind {
        let host = self.host.clone();
        match self.phase {
            _ if self.offers_only_http_2() => Kind::OnlyHttp2 { host },
            Phase::Tls => Kind::Untrusted {
                host,
                is_of_curl: self.is_of_strict_curl(),
            },
            _ => Kind::Unreachable { host },
        }
    }

    /// Gives the reason in a few words.
    pub(crate) fn reason(&self) -> String {
        self.source.to_string()
    }

    /// Finds the failed exchange in an error chain.
    pub(crate) fn inside(error: &anyhow::Error) -> Option<&Self> {
        error.chain().find_map(|link| {
            let wrapped = || link.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
            link.downcast_ref().or_else(wrapped)
        })
    }

    /// Adds the proxy that the request went through.
    #[must_use]
    pub(super) fn through(mut self, proxy: Option<&Proxy>) -> Self {
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
            Phase::Request => write!(f, "'{host}' closed the connection without a response"),
            Phase::NotHttp => {
                write!(
                    f,
                    "the response of '{host}' is not HTTP that the native transport reads"
                )
            }
            Phase::Answer => write!(f, "the response of '{host}' was cut off"),
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
