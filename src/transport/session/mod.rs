//! The requests of one command. Each has the credential, and a refused credential is replaced once.

mod discovery;
mod exchange;
mod redirect;
mod refusal;
mod words;

use std::{
    fmt,
    time::{Duration, Instant},
};

use self::refusal::title;
use super::{
    AdvertisementCache, Authorizer, Service,
    body::{Buffer, begins_with_pkt_line},
    pktline::{Boundaries, Ending},
};
use crate::{
    clock::Clock,
    failure::quote,
    http::{Body, HttpClient, PATIENCE, Request, Response, Retries, Url},
    parent_watch::{Armed, Watch},
};
pub(super) use exchange::Repeat;

/// The part of an HTML page that is searched for its title.
const MAX_PAGE_BYTES: usize = 4096;
/// The idle time after which the server may have closed the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// A repository on a server, with everything that its requests need.
pub(crate) struct Session<'a> {
    http: &'a dyn HttpClient,
    authorizer: &'a mut dyn Authorizer,
    watch: &'a Watch,
    repository: Url,
    /// The repository's name in messages.
    name: String,
    /// The profile that the address names, for commands in hints.
    asked_profile: Option<&'a str>,
    last_answer: Instant,
    memory: Option<&'a dyn AdvertisementCache>,
    was_moved: bool,
    /// The name of the setting that forbids redirects.
    redirect_ban: Option<&'a str>,
    reporter: Option<Reporter<'a>>,
    buffer: Buffer,
    /// The `Git-Protocol` header of a push, if there is one.
    push_protocol: Option<&'static str>,
    clock: &'a dyn Clock,
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
    /// Prepares a session without sending anything. `name` is `workspace/repository`.
    pub(crate) fn new(
        http: &'a dyn HttpClient,
        authorizer: &'a mut dyn Authorizer,
        watch: &'a Watch,
        clock: &'a dyn Clock,
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
            memory: None,
            was_moved: false,
            redirect_ban: None,
            reporter: None,
            buffer: Buffer::default(),
            push_protocol: None,
            clock,
            retries: Retries::within(PATIENCE),
            is_prefetch: false,
        }
    }

    /// Sets the profile that the address names.
    pub(crate) fn asked_for(self, asked_profile: Option<&'a str>) -> Self {
        Session {
            asked_profile,
            ..self
        }
    }

    /// Sets the cache for advertisements.
    pub(crate) fn remembering(self, memory: Option<&'a dyn AdvertisementCache>) -> Self {
        Session { memory, ..self }
    }

    /// Forbids redirects by the setting with this name, if there is one.
    pub(crate) fn following_unless(self, redirect_ban: Option<&'a str>) -> Self {
        Session {
            redirect_ban,
            ..self
        }
    }

    /// Sets the size of the buffer. Requests that fit are sent without chunks.
    pub(crate) fn buffering(self, bytes: usize) -> Self {
        Session {
            buffer: Buffer(bytes),
            ..self
        }
    }

    /// Sets the protocol version of pushes, by its `Git-Protocol` header (gitprotocol-http(5)).
    pub(crate) fn pushing_by(self, push_protocol: Option<&'static str>) -> Self {
        Session {
            push_protocol,
            ..self
        }
    }

    /// The `Git-Protocol` header of a push, if there is one.
    pub(super) fn push_protocol(&self) -> Option<&'static str> {
        self.push_protocol
    }

    /// Gives the buffer for requests.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// Sets the reporter for the messages of git's own https.
    pub(crate) fn reporting_to(self, reporter: Reporter<'a>) -> Self {
        Session {
            reporter: Some(reporter),
            ..self
        }
    }

    /// Gives the cache for advertisements, if there is one.
    pub(super) fn memory(&self) -> Option<&'a dyn AdvertisementCache> {
        self.memory
    }

    /// Forgets the cached advertisement.
    pub(super) fn forget(&self) {
        self.memory.inspect(|memory| memory.forget());
    }

    /// Tells whether the server redirected the request.
    pub(super) fn was_moved(&self) -> bool {
        self.was_moved
    }

    /// Gives the repository's URL, after redirects.
    pub(crate) fn repository(&self) -> &Url {
        &self.repository
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
        let (is_gits, mut response) =
            begins_with_pkt_line(response).map_err(|error| self.bad_answer(error))?;
        if is_gits && kind != "advertisement" {
            return Ok(response);
        }
        let body = response.read_body(MAX_PAGE_BYTES).unwrap_or_default();
        let whose = match title(&String::from_utf8_lossy(&body)) {
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
