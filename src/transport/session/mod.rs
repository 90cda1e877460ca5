//! The requests of one command: each with the credential, repaired once when the server refuses it.

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

/// How much of a page is looked at, to find its title.
const MAX_PAGE_BYTES: usize = 4096;
/// After this long without a request the server may have closed the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// A repository on a server, and the way to it.
pub(crate) struct Session<'a> {
    http: &'a dyn HttpClient,
    authorizer: &'a mut dyn Authorizer,
    watch: &'a Watch,
    repository: Url,
    /// What messages call the repository.
    name: String,
    last_answer: Instant,
    memory: Option<&'a dyn AdvertisementCache>,
    was_moved: bool,
    /// What forbids to follow a redirect, by name.
    redirect_ban: Option<&'a str>,
    voice: Option<Reporter<'a>>,
    buffer: Buffer,
    /// The `Git-Protocol` header of a push, if it has one.
    push_protocol: Option<&'static str>,
    clock: &'a dyn Clock,
    retries: Retries,
    /// What is asked is only foreseen: if the question is the cause of what goes wrong, the next one takes its place.
    is_foreseen: bool,
}

/// Tells a person what git's own https tells.
#[derive(Clone, Copy)]
pub(crate) struct Reporter<'a> {
    /// Shows a line as a warning.
    pub warn: &'a dyn Fn(&str),
    /// Shows a line as it is.
    pub say: &'a dyn Fn(&str),
    /// How much git was asked to tell (gitremote-helpers(7), "option verbosity"): 0 is quiet, 1 usual.
    pub verbosity: u32,
}

/// There is no credential to ask a server with.
#[derive(Debug)]
pub(super) struct NoCredential(String);

impl fmt::Display for NoCredential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'a> Session<'a> {
    /// Prepares a session; nothing is sent yet. `name` is `workspace/repository`.
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
            last_answer: Instant::now(),
            memory: None,
            was_moved: false,
            redirect_ban: None,
            voice: None,
            buffer: Buffer::default(),
            push_protocol: None,
            clock,
            retries: Retries::within(PATIENCE),
            is_foreseen: false,
        }
    }

    /// Lets what the server says of the repository be remembered.
    pub(crate) fn remembering(self, memory: Option<&'a dyn AdvertisementCache>) -> Self {
        Session { memory, ..self }
    }

    /// Follows no redirect where a setting forbids it, which is named.
    pub(crate) fn following_unless(self, redirect_ban: Option<&'a str>) -> Self {
        Session {
            redirect_ban,
            ..self
        }
    }

    /// Sends requests as a whole that fit into so many bytes.
    pub(crate) fn buffering(self, bytes: usize) -> Self {
        Session {
            buffer: Buffer(bytes),
            ..self
        }
    }

    /// Lets pushes speak a version of the protocol, by its `Git-Protocol` header (gitprotocol-http(5)).
    pub(crate) fn pushing_by(self, push_protocol: Option<&'static str>) -> Self {
        Session {
            push_protocol,
            ..self
        }
    }

    /// The `Git-Protocol` header of a push, if it has one.
    pub(super) fn push_protocol(&self) -> Option<&'static str> {
        self.push_protocol
    }

    /// How much of a request is sent as a whole.
    pub(super) fn buffer(&self) -> Buffer {
        self.buffer
    }

    /// Lets a person hear what git's own https tells.
    pub(crate) fn heard_by(self, voice: Reporter<'a>) -> Self {
        Session {
            voice: Some(voice),
            ..self
        }
    }

    /// What is remembered of the repository, if anything may be.
    pub(super) fn memory(&self) -> Option<&'a dyn AdvertisementCache> {
        self.memory
    }

    /// Forgets what is remembered of the repository.
    pub(super) fn forget(&self) {
        self.memory.inspect(|memory| memory.forget());
    }

    /// Tells whether the repository was found at another place than it was looked for.
    pub(super) fn was_moved(&self) -> bool {
        self.was_moved
    }

    /// The repository, where it was found last.
    pub(crate) fn repository(&self) -> &Url {
        &self.repository
    }

    /// Tells whether the connection has been quiet for so long that the server may have closed it.
    pub(super) fn is_idle(&self) -> bool {
        self.last_answer.elapsed() > IDLE_LIMIT
    }

    /// Posts a request of a service (gitprotocol-http(5)) and returns once its answer begins.
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

    /// Lets the end of git end this process, until what git waits for is complete: then git closes its end by itself.
    pub(super) fn watch_until_over(&self, answer: &Boundaries) -> Option<Armed> {
        (answer.ending() != Ending::Flush).then(|| self.watch.arm())
    }

    /// Checks the answer's type (gitprotocol-http(5)): a portal or sign-on page answers 200, too.
    ///
    /// Git looks at the type of an advertisement only (git: `check_smart_http` in remote-curl.c); any other answer of
    /// another type passes if it begins as one of git's, since a push would be called refused that was done.
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
        Err(self.no_git(&format!(
            "it answered with '{found}'{whose} instead of '{expected}'"
        )))
    }

    /// The server's host, for messages.
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
