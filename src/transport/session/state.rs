//! What the requests of one command share.

use std::time::{Duration, Instant};

use crate::{
    http::{HttpClient, PATIENCE, Retries},
    parent_watch::{Armed, Watch},
    transport::{
        authorizer::Authorizer,
        cache::AdvertisementCache,
        pktline::{Boundaries, Ending},
    },
    url::Url,
};

/// The idle time after which the server may have closed the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(2);
/// The size of the buffer for requests without a setting (git-config(1), `http.postBuffer`).
const DEFAULT_BUFFER_BYTES: usize = 1024 * 1024;
/// The longest pkt-line with its length (gitprotocol-common(5)).
const LARGEST_PACKET_BYTES: usize = 65520;

/// A repository on a server, with everything that its requests need.
pub(crate) struct Session<'a> {
    pub(super) http: &'a dyn HttpClient,
    pub(super) authorizer: &'a mut dyn Authorizer,
    pub(super) watch: &'a Watch,
    /// The repository's URL, after redirects.
    pub(crate) repository: Url,
    /// The repository's name in messages.
    pub(super) name: String,
    /// The profile that the address names, for commands in hints.
    pub(crate) asked_profile: Option<&'a str>,
    pub(super) last_answer: Instant,
    /// The cache for advertisements, if there is one.
    pub(crate) cache: Option<&'a dyn AdvertisementCache>,
    /// Whether the server redirected the request.
    pub(in crate::transport) was_moved: bool,
    /// The name of the setting that forbids redirects.
    pub(crate) redirect_ban: Option<&'a str>,
    /// Shows the messages of git's own https, if it is set.
    pub(crate) reporter: Option<Reporter<'a>>,
    /// The size of the buffer for requests. A request that does not fit is sent in chunks, without a known length
    /// (git-config(1), `http.postBuffer`).
    pub(crate) buffer_bytes: usize,
    /// The `Git-Protocol` header of a push, if there is one (gitprotocol-http(5)).
    pub(crate) push_protocol: Option<&'static str>,
    pub(super) retries: Retries,
    /// Whether the request is a prefetch. If it fails, the usual request follows.
    pub(super) is_prefetch: bool,
}

/// Shows the messages that git's own https shows.
#[derive(Clone, Copy)]
pub(crate) struct Reporter<'a> {
    /// Shows a line as a warning.
    pub(crate) warn: &'a dyn Fn(&str),
    /// Shows a line unchanged.
    pub(crate) say: &'a dyn Fn(&str),
    /// Git's verbosity: 0 is quiet, 1 is the default (gitremote-helpers(7), "option verbosity").
    pub(crate) verbosity: u32,
}

impl<'a> Session<'a> {
    /// Prepares a session without sending anything. `name` is `workspace/repository`. The caller sets further fields.
    pub(crate) fn new(
        http: &'a dyn HttpClient,
        authorizer: &'a mut dyn Authorizer,
        watch: &'a Watch,
        repository: Url,
        name: String,
    ) -> Self {
        Session {
            http,
            authorizer,
            watch,
            repository,
            name,
            asked_profile: None,
            last_answer: Instant::now(),
            cache: None,
            was_moved: false,
            redirect_ban: None,
            reporter: None,
            buffer_bytes: DEFAULT_BUFFER_BYTES,
            push_protocol: None,
            retries: Retries::within(PATIENCE),
            is_prefetch: false,
        }
    }

    /// Forgets the cached advertisement.
    pub(in crate::transport) fn forget(&self) {
        self.cache.inspect(|cache| cache.forget());
    }

    /// Gives the longest request that is sent as a whole. Git leaves room for one more pkt-line (git:
    /// `rpc_read_from_out` in remote-curl.c).
    pub(in crate::transport) fn room(&self) -> usize {
        self.buffer_bytes.saturating_sub(LARGEST_PACKET_BYTES)
    }

    /// Tells whether the connection has been idle for so long that the server may have closed it.
    pub(in crate::transport) fn is_idle(&self) -> bool {
        self.last_answer.elapsed() > IDLE_LIMIT
    }

    /// Ends this process when git ends, until the response is complete. After that, git closes the pipe itself.
    pub(in crate::transport) fn watch_until_over(&self, answer: &Boundaries) -> Option<Armed> {
        (answer.ending() != Ending::Flush).then(|| self.watch.arm())
    }

    /// Gives the server's host for messages.
    pub(in crate::transport) fn host(&self) -> &str {
        self.repository.host_str().unwrap_or("")
    }
}
