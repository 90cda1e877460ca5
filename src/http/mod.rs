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
mod interface;
mod message;
#[cfg(unix)]
mod open;
mod proxy;
mod resolver;
mod retry;
mod route;
mod settings;
mod speed_limit;
mod timeouts;
mod times;
mod tls;
mod tracing;
mod transport_error;

pub(crate) use body::BodyReader;
pub(crate) use client::Client;
#[cfg(unix)]
pub(crate) use dial::dial;
#[cfg(unix)]
pub(crate) use errors::LenderEnded;
pub(crate) use errors::Reason;
pub(crate) use interface::{Body, HttpClient, Method, Request, Response, ResponseBody};
#[cfg(unix)]
pub(crate) use message::{Messages, runtime};
#[cfg(unix)]
pub(crate) use open::OpenConnection;
pub(crate) use proxy::{Proxy, ProxyAuth, ProxyLogin, ProxyLogins, ProxyUser, next_hop};
pub(crate) use resolver::Family;
pub(crate) use retry::{PATIENCE, Retries, Trouble};
pub(crate) use settings::Settings;
pub(crate) use speed_limit::LowSpeed;
pub(crate) use tls::{ClientCertificate, PinnedKeys, TlsProblem};
pub(crate) use transport_error::{Phase, TransportError};
