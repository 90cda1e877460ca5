//! The requests of one command. Each has the credential, and a refused credential is replaced once.

mod discovery;
mod exchange;
mod redirect;
mod refusal;
mod words;

use std::{
    fmt,
    io::{BufRead as _, Read as _},
    time::{Duration, Instant},
};

use self::refusal::title;
use super::{
    AdvertisementCache, Authorizer, Service,
    pktline::{Boundaries, Ending, decode},
};
use crate::{
    failure::quote,
    http::{Body, BodyReader, HttpClient, PATIENCE, Request, Response, Retries, Url},
    parent_watch::{Armed, Watch},
};
pub(super) use exchange::Repeat;

/// The part of an HTML page that is searched for its title.
const MAX_PAGE_BYTES: u64 = 4096;
/// The idle time after which the server may have closed the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(2);
/// The size of the buffer for requests without a setting (git-config(1), `http.postBuffer`).
const DEFAULT_BUFFER_BYTES: usize = 1024 * 1024;
/// The longest pkt-line with its length (gitprotocol-common(5)).
const LARGEST_PACKET_BYTES: usize = 65520;

/// A repository on a server, with everything that its requests need.
pub(crate) struct Session<'a> {
    http: &'a dyn HttpClient,
    authorizer: &'a mut dyn Authorizer,
    watch: &'a Watch,
    /// The repository's URL, after redirects.
    pub(crate) repository: Url,
    /// The repository's name in messages.
    name: String,
    /// The profile that the address names, for commands in hints.
    pub(crate) asked_profile: Option<&'a str>,
    last_answer: Instant,
    /// The cache for advertisements, if there is one.
    pub(crate) cache: Option<&'a dyn AdvertisementCache>,
    /// Whether the server redirected the request.
    pub(super) was_moved: bool,
    /// The name of the setting that forbids redirects.
    pub(crate) redirect_ban: Option<&'a str>,
    /// Shows the messages of git's own https, if it is set.
    pub(crate) reporter: Option<Reporter<'a>>,
    /// The size of the buffer for requests. A request that does not fit is sent in chunks, without a known length
    /// (git-config(1), `http.postBuffer`).
    pub(crate) buffer_bytes: usize,
    /// The `Git-Protocol` header of a push, if there is one (gitprotocol-http(5)).
    pub(crate) push_protocol: Option<&'static str>,
    retries: Retries,
    /// Whether the request is a prefetch. If it fails, the usual request follows.
    is_prefetch: bool,
}

/// Shows the messages that git's own https shows.
#[derive(Clone, Copy)]
pub(crate) struct Reporter<'a> {
    /// Shows a line as a warning.
    pub warn: &'a dyn Fn(&str),
    /// Shows a line unchanged.
    pub say: &'a dyn Fn(&str),
    /// Git's verbosity: 0 is quiet, 1 is the default (gitremote-helpers(7), "option verbosity").
    pub verbosity: u32,
}

/// The error if there is no credential.
#[derive(Debug)]
pub(super) struct NoCredential(String);

impl fmt::Display for NoCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
    pub(super) fn forget(&self) {
        self.cache.inspect(|cache| cache.forget());
    }

    /// Gives the longest request that is sent as a whole. Git leaves room for one more pkt-line (git:
    /// `rpc_read_from_out` in remote-curl.c).
    pub(super) fn room(&self) -> usize {
        self.buffer_bytes.saturating_sub(LARGEST_PACKET_BYTES)
    }

    /// Tells whether the connection has been idle for so long that the server may have closed it.
    pub(super) fn is_idle(&self) -> bool {
        self.last_answer.elapsed() > IDLE_LIMIT
    }

    /// Posts a request to a service (gitprotocol-http(5)) and returns when the response starts.
    pub(super) fn post(
        &mut self,
        service: Service,
        repeat: Repeat<'_>,
        request: &dyn Fn(Request) -> anyhow::Result<Request>,
    ) -> anyhow::Result<Response> {
        let url = below(&self.repository, service.name());
        let protocol = self
            .push_protocol
            .filter(|_| service == Service::ReceivePack);
        let response = self.exchange(repeat, service, &|| {
            let post = Request::post(url.clone(), Body::Empty)
                .header(
                    "Content-Type",
                    format!("application/x-{}-request", service.name()),
                )
                .header("Accept", format!("application/x-{}-result", service.name()));
            request(match protocol {
                Some(protocol) => post.header("Git-Protocol", protocol),
                None => post,
            })
        })?;
        self.expect(response, service, "result")
    }

    /// Ends this process when git ends, until the response is complete. After that, git closes the pipe itself.
    pub(super) fn watch_until_over(&self, answer: &Boundaries) -> Option<Armed> {
        (answer.ending() != Ending::Flush).then(|| self.watch.arm())
    }

    /// Checks the type of a response, because portals and sign-on pages also answer 200 (gitprotocol-http(5)).
    ///
    /// Git checks the type of an advertisement only (git: `check_smart_http` in remote-curl.c). So any other response
    /// may have another type if it starts with a pkt-line. Else a successful push would be reported as refused.
    fn expect(&self, response: Response, service: Service, kind: &str) -> anyhow::Result<Response> {
        let expected = format!("application/x-{}-{kind}", service.name());
        let found = response.header("content-type").unwrap_or("nothing");
        let found = found.split(';').next().unwrap_or("").trim();
        if found.eq_ignore_ascii_case(&expected) {
            return Ok(response);
        }
        let found = quote(found);
        let _armed = self.watch.arm();
        let (status, headers) = (response.status, response.headers.clone());
        let mut body = BodyReader::new(response);
        let start = body.fill_buf().map_err(|error| self.bad_answer(error))?;
        let is_gits = start.first_chunk().copied().and_then(decode).is_some();
        if is_gits && kind != "advertisement" {
            return Ok(Response::new(status, headers, Box::new(body)));
        }
        let mut page = Vec::new();
        // A part of a page is good enough.
        let _ = body.take(MAX_PAGE_BYTES).read_to_end(&mut page);
        let whose = match title(&String::from_utf8_lossy(&page)) {
            Some(title) => format!(", a page titled '{title}',"),
            None => String::new(),
        };
        Err(self.not_git(&format!(
            "it answered with '{found}'{whose} instead of '{expected}'"
        )))
    }

    /// Gives the server's host for messages.
    pub(super) fn host(&self) -> &str {
        self.repository.host_str().unwrap_or("")
    }
}

/// Gives a URL below a repository's.
fn below(repository: &Url, path: &str) -> Url {
    let mut url = repository.clone();
    url.set_path(&format!(
        "{}/{path}",
        repository.path().trim_end_matches('/')
    ));
    url
}
