//! What the server saw, without a secret.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

use anyhow::{Result, bail};
use serde::{Deserialize, Serialize};

/// How far pkt-lines are followed.
const MAX_FOLLOWED_BYTES: u64 = 64 * 1024;
/// How long [`Journal::wait_for`] waits.
const PATIENCE: Duration = Duration::from_secs(200);

/// One request as the server saw it.
///
/// It is recorded when its head has arrived and completed when its answer has ended; it never holds a secret.
#[derive(Clone, Debug, Serialize)]
pub struct Recorded {
    /// Counts from 1 over the life of the server.
    pub sequence: u64,
    /// The number of the TCP connection, counted from 1.
    pub connection: u64,
    /// The HTTP method.
    pub method: String,
    /// The path without the query.
    pub path: String,
    /// The query of git requests (`service=…`); left out everywhere else, as it could hold a code.
    pub query: Option<String>,
    /// The part of the site that was asked.
    pub kind: Kind,
    /// `grant_type` of a token request.
    pub grant: Option<String>,
    /// The user name of Basic authentication, or `Bearer`; a name that looks like a token is not shown.
    pub user: Option<String>,
    /// How the credentials came.
    pub scheme: Scheme,
    /// The [`fingerprint`](crate::fingerprint) of the password or token that came in the `Authorization` header.
    pub secret: Option<String>,
    /// The `Git-Protocol` header.
    pub git_protocol: Option<String>,
    /// The `User-Agent` header.
    pub user_agent: Option<String>,
    /// The `Accept` header.
    pub accept: Option<String>,
    /// The `Content-Type` header.
    pub content_type: Option<String>,
    /// The `Content-Encoding` header.
    pub content_encoding: Option<String>,
    /// The `Accept-Encoding` header.
    pub accept_encoding: Option<String>,
    /// The `Content-Length` header, when there was one; a chunked body has none.
    pub content_length: Option<u64>,
    /// `HTTP/1.1` or `HTTP/2.0`.
    pub http_version: String,
    /// The protocol that TLS agreed on, when it did.
    pub alpn: Option<String>,
    /// The status, once there is an answer.
    pub status: Option<u16>,
    /// How far the exchange has come.
    pub progress: Progress,
    /// Bytes of the request body received, as they were on the wire inside their framing.
    pub request_bytes: u64,
    /// Bytes of the response body handed to the connection.
    pub response_bytes: u64,
    /// Where the pkt-lines of git's answer end, counted in bytes of the body (gitprotocol-common(5)).
    #[serde(skip)]
    pub boundaries: Vec<u64>,
}

/// The part of the site a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Git over HTTP.
    Git,
    /// Git LFS.
    Lfs,
    /// The token endpoint.
    Token,
    /// The authorize page.
    Authorize,
    /// The REST interface under `/2.0/`, or on Data Center under `/rest/`.
    Api,
    /// Everything else.
    Other,
}

/// How the credentials of a request come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scheme {
    /// There are none.
    None,
    /// Basic authentication (RFC 7617).
    Basic,
    /// A bearer token (RFC 6750).
    Bearer,
    /// Another scheme, a broken one, or more than one header.
    Malformed,
}

/// How far an exchange has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// The answer has not ended.
    Open,
    /// The answer has been handed to the connection to its end.
    Complete,
    /// The exchange ended early: the client gave up, or a rule broke it.
    Broken,
}

/// The requests and connections so far.
#[derive(Default)]
pub(crate) struct Journal {
    seen: Mutex<Seen>,
    changed: Condvar,
}

#[derive(Default)]
struct Seen {
    requests: Vec<Recorded>,
    next_sequence: u64,
    connections: u64,
}

impl Journal {
    pub(crate) fn connected(&self) {
        self.seen().connections += 1;
        self.changed.notify_all();
    }

    /// Lets those who wait look at the script, which has changed.
    pub(crate) fn taken(&self) {
        // No thread is between a look and the wait that follows it while the lock is held.
        drop(self.seen());
        self.changed.notify_all();
    }

    /// Records a request whose head has arrived, under a new sequence number.
    pub(crate) fn arrived(self: &Arc<Self>, mut recorded: Recorded) -> Ticket {
        let mut seen = self.seen();
        seen.next_sequence += 1;
        let sequence = seen.next_sequence;
        recorded.sequence = sequence;
        seen.requests.push(recorded);
        drop(seen);
        self.changed.notify_all();
        Ticket {
            journal: Arc::clone(self),
            sequence,
            request_bytes: Arc::default(),
            response_bytes: 0,
            pkt_lines: PktLines::default(),
            ended: false,
        }
    }

    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.seen().requests.clone()
    }

    pub(crate) fn connections(&self) -> u64 {
        self.seen().connections
    }

    pub(crate) fn clear(&self) {
        let mut seen = self.seen();
        seen.requests.clear();
        seen.connections = 0;
    }

    pub(crate) fn wait_for(&self, mut satisfied: impl FnMut(&[Recorded]) -> bool) -> Result<()> {
        let waiting = self
            .changed
            .wait_timeout_while(self.seen(), PATIENCE, |seen| !satisfied(&seen.requests));
        let (_seen, waited) = waiting.expect("because no thread panics while it holds the journal");
        if waited.timed_out() {
            bail!("the requests did not come within {} s", PATIENCE.as_secs());
        }
        Ok(())
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen
            .lock()
            .expect("because no thread panics while it holds the journal")
    }

    fn change(&self, sequence: u64, change: impl FnOnce(&mut Recorded)) {
        let mut seen = self.seen();
        if let Ok(place) = seen
            .requests
            .binary_search_by_key(&sequence, |recorded| recorded.sequence)
        {
            change(&mut seen.requests[place]);
        }
        drop(seen);
        self.changed.notify_all();
    }
}

/// The right to complete one recorded request; dropped without [`Ticket::complete`], it records a broken exchange.
pub(crate) struct Ticket {
    journal: Arc<Journal>,
    sequence: u64,
    request_bytes: Arc<AtomicU64>,
    response_bytes: u64,
    pkt_lines: PktLines,
    ended: bool,
}

/// Follows pkt-lines through an answer; one that has none gives nonsense.
#[derive(Default)]
struct PktLines {
    prefix: Vec<u8>,
    /// Bytes of the present one that are still to come.
    wanted: usize,
    at: u64,
    ends: Vec<u64>,
}

impl PktLines {
    fn follow(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.at += 1;
            if self.wanted > 0 {
                self.wanted -= 1;
            } else {
                self.prefix.push(*byte);
                if self.prefix.len() < 4 {
                    continue;
                }
                let length = std::str::from_utf8(&self.prefix);
                let length = length
                    .ok()
                    .and_then(|hex| usize::from_str_radix(hex, 16).ok());
                self.prefix.clear();
                self.wanted = length.unwrap_or(0).saturating_sub(4);
            }
            if self.wanted == 0 {
                self.ends.push(self.at);
            }
        }
    }
}

impl Ticket {
    pub(crate) fn request_bytes(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.request_bytes)
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        self.response_bytes += bytes.len() as u64;
        // Later ones are not searched, because they can be a pack.
        if self.pkt_lines.at < MAX_FOLLOWED_BYTES {
            self.pkt_lines.follow(bytes);
        }
    }

    pub(crate) fn grant(&self, grant: Option<&str>) {
        let grant = grant.map(str::to_owned);
        self.journal
            .change(self.sequence, |recorded| recorded.grant = grant);
    }

    pub(crate) fn status(&self, status: u16) {
        self.journal
            .change(self.sequence, |recorded| recorded.status = Some(status));
    }

    /// Records what was sent so far of an answer that stays open.
    pub(crate) fn stalled(&self) {
        self.journal.change(self.sequence, |recorded| {
            recorded.response_bytes = self.response_bytes;
        });
    }

    pub(crate) fn complete(&mut self) {
        self.end(Progress::Complete);
    }

    fn end(&mut self, progress: Progress) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let (request_bytes, response_bytes) = (
            self.request_bytes.load(Ordering::SeqCst),
            self.response_bytes,
        );
        let boundaries = std::mem::take(&mut self.pkt_lines.ends);
        self.journal.change(self.sequence, |recorded| {
            recorded.boundaries = boundaries;
            recorded.progress = progress;
            recorded.request_bytes = request_bytes;
            recorded.response_bytes = response_bytes;
        });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.end(Progress::Broken);
    }
}
