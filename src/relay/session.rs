//! The requests of one command: each with the credential, repaired once when the server refuses it.

use std::{
    fmt,
    io::{self, BufRead, Read},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use bytes::{Buf as _, Bytes};

use super::{
    Authorizer, Memory, Service,
    pktline::{Boundaries, Ending},
    retry::{Retries, Trouble},
};
use crate::{
    clock::Clock,
    failure::{Failure, Kind, quote},
    hangup::{Armed, Watch},
    http::{Begun, Body, HttpClient, Phase, Request, Response, TransportError, Url},
    secret::Secret,
};

/// How many redirects of `info/refs` are followed before it counts as a loop (git: `CURLOPT_MAXREDIRS` 20).
const MAX_REDIRECTS: usize = 20;
/// The longest text of an error answer that is looked at.
const MAX_ERROR_BYTES: usize = 4096;
/// After this long without a request the server may have closed the connection.
const IDLE_LIMIT: Duration = Duration::from_secs(2);

/// A repository on a server, and the way to it.
pub struct Session<'a> {
    http: &'a dyn HttpClient,
    authorizer: &'a mut dyn Authorizer,
    watch: &'a Watch,
    repository: Url,
    /// What messages call the repository.
    name: String,
    last_answer: Instant,
    memory: Option<&'a dyn Memory>,
    was_moved: bool,
    voice: Option<Voice<'a>>,
    clock: &'a dyn Clock,
    retries: Retries,
    /// What is asked is only foreseen: if the question is the cause of what goes wrong, the next one takes its place.
    is_foreseen: bool,
}

/// Tells a person what git's own https tells.
#[derive(Clone, Copy)]
pub struct Voice<'a> {
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

/// Whether a request may be sent a second time when its answer was lost.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repeat<'a> {
    /// It only reads.
    Safe,
    /// It may have been carried out, once `sent` tells that all of it was given away.
    Never {
        /// The server cannot have the whole request before this is true.
        sent: &'a AtomicBool,
        /// It is still here, and can be sent again if the server has certainly not taken it.
        is_kept: bool,
    },
}

impl Repeat<'_> {
    /// Tells whether the server may have done what it was asked, although it did not say so.
    fn may_be_done(self) -> bool {
        matches!(self, Repeat::Never { sent, .. } if sent.load(Ordering::SeqCst))
    }

    fn is_allowed_after(self, error: &TransportError) -> bool {
        match self {
            Repeat::Safe => true,
            Repeat::Never { is_kept, .. } => is_kept && error.phase == Phase::Connect,
        }
    }

    fn is_allowed_after_status(self, status: u16) -> bool {
        match self {
            Repeat::Safe => true,
            Repeat::Never { is_kept, .. } => is_kept && status == 429,
        }
    }
}

impl<'a> Session<'a> {
    /// Prepares a session; nothing is sent yet. `name` is `workspace/repository`.
    pub fn new(
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
            voice: None,
            clock,
            retries: Retries::default(),
            is_foreseen: false,
        }
    }

    /// Lets what the server says of the repository be remembered.
    pub fn remembering(self, memory: Option<&'a dyn Memory>) -> Self {
        Session { memory, ..self }
    }

    /// Lets a person hear what git's own https tells.
    pub fn heard_by(self, voice: Voice<'a>) -> Self {
        Session {
            voice: Some(voice),
            ..self
        }
    }

    /// Tells where the repository is, if it was looked for elsewhere (git: `discover_refs` in remote-curl.c).
    fn tell_of_redirect(&self) {
        if let Some(voice) = self
            .voice
            .filter(|voice| self.was_moved && voice.verbosity > 0)
        {
            (voice.warn)(&format!(
                "redirecting to {}/",
                quote(self.repository.as_str())
            ));
        }
    }

    /// Tells what is posted (git: `post_rpc` in remote-curl.c).
    fn tell_of_post(&self, service: Service, request: &Request) {
        let Some(voice) = self.voice.filter(|voice| voice.verbosity > 1) else {
            return;
        };
        let is_compressed = request
            .headers
            .iter()
            .any(|(name, _)| *name == "Content-Encoding");
        let what = match &request.body {
            // A gzip file ends with the length of what it holds (RFC 1952 section 2.3.1).
            Body::Bytes(bytes) if is_compressed => match bytes.last_chunk() {
                Some(length) => {
                    let length = u32::from_le_bytes(*length);
                    format!("gzip {length} to {} bytes", bytes.len())
                }
                None => return,
            },
            Body::Bytes(bytes) => format!("{} bytes", bytes.len()),
            Body::Stream(_) => "chunked".to_owned(),
            Body::Empty | Body::Form(_) => return,
        };
        (voice.say)(&format!("POST {} ({what})\n", service.name()));
    }

    /// What is remembered of the repository, if anything may be.
    pub(super) fn memory(&self) -> Option<&'a dyn Memory> {
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

    /// Finds out whether the repository can be used, and where it is now, without serving anything of it.
    ///
    /// # Errors
    ///
    /// When the server refuses, or cannot be reached.
    pub fn probe(&mut self, service: Service) -> anyhow::Result<()> {
        match service {
            Service::UploadPack => self.discover(service, Some("version=2")).map(drop),
            Service::ReceivePack => self.discover(service, None).map(drop),
            // It has no advertisement.
            Service::UploadArchive => Ok(()),
        }
    }

    /// The repository, where it was found last.
    pub fn repository(&self) -> &Url {
        &self.repository
    }

    /// Tells whether the connection has been quiet for so long that the server may have closed it.
    pub(super) fn is_idle(&self) -> bool {
        self.last_answer.elapsed() > IDLE_LIMIT
    }

    /// Asks for a service's ref advertisement (gitprotocol-http(5), "Smart Clients"), following redirects on the host.
    pub(super) fn discover(
        &mut self,
        service: Service,
        protocol: Option<&str>,
    ) -> anyhow::Result<Response> {
        for _ in 0..MAX_REDIRECTS {
            let url = discovery_url(&self.repository, service);
            let response =
                self.exchange(Repeat::Safe, service, &|| Ok(discovery(&url, protocol)))?;
            match response.status {
                301 | 302 | 303 | 307 | 308 => {
                    self.repository = self.redirected(&url, &response)?;
                    self.was_moved = true;
                }
                _ => {
                    let response = self.expect(response, service, "advertisement")?;
                    self.tell_of_redirect();
                    return Ok(response);
                }
            }
        }
        Err(self.no_git("it redirects without end"))
    }

    /// Begins to ask for the v2 capability advertisement, beside the next request; nobody waits for it.
    pub(super) fn begin_discovery(&mut self) -> anyhow::Result<Option<Box<dyn Begun>>> {
        let authorization = self.authorization(Service::UploadPack)?;
        let url = discovery_url(&self.repository, Service::UploadPack);
        let mut request = discovery(&url, Some("version=2"));
        request.authorization = Some(authorization);
        Ok(self.http.begin(request))
    }

    /// Checks an answer to [`Session::begin_discovery`].
    pub(super) fn expect_advertisement(&self, response: Response) -> anyhow::Result<Response> {
        match response.status {
            200 => self.expect(response, Service::UploadPack, "advertisement"),
            status => Err(self.refusal(status, "", Service::UploadPack)),
        }
    }

    fn authorization(&mut self, service: Service) -> anyhow::Result<Secret> {
        let authorization = self.authorizer.authorization();
        authorization.with_context(|| NoCredential(self.cannot(service)))
    }

    /// Posts a request of a service (gitprotocol-http(5)) and returns once its answer begins.
    pub(super) fn post(
        &mut self,
        service: Service,
        repeat: Repeat<'_>,
        request: &dyn Fn(Request) -> anyhow::Result<Request>,
    ) -> anyhow::Result<Response> {
        let url = below(&self.repository, service.name());
        let response = self.exchange(repeat, service, &|| {
            let post = Request::post(url.clone(), Body::Empty)
                .header(
                    "Content-Type",
                    format!("application/x-{}-request", service.name()),
                )
                .header("Accept", format!("application/x-{}-result", service.name()));
            request(post)
        })?;
        self.expect(response, service, "result")
    }

    /// Sends a request with the credential; a refused credential is replaced once, and what may pass is tried again.
    fn exchange(
        &mut self,
        repeat: Repeat<'_>,
        service: Service,
        make: &dyn Fn() -> anyhow::Result<Request>,
    ) -> anyhow::Result<Response> {
        let mut is_replaced = false;
        loop {
            let mut response = match self.send(repeat, service, make)? {
                Ok(response) => response,
                Err(error) => {
                    let trouble = Trouble::of_connection(&error)
                        .filter(|_| !self.is_foreseen || error.phase == Phase::Connect);
                    if repeat.is_allowed_after(&error) && self.is_tried_again(trouble) {
                        continue;
                    }
                    return Err(self.lost(error, repeat));
                }
            };
            self.last_answer = Instant::now();
            let status = response.status;
            if let 200..=399 = status {
                return Ok(response);
            }
            let reason = reason(&mut response);
            if status == 401 && !is_replaced && self.replace_credential(service)? {
                is_replaced = true;
                continue;
            }
            let trouble = Trouble::of_status(&response, self.host())
                .filter(|_| !self.is_foreseen || matches!(status, 429 | 503));
            if repeat.is_allowed_after_status(status) && self.is_tried_again(trouble) {
                continue;
            }
            let refusal = self.refusal(status, &reason, service);
            // A gateway answers so when it has lost the answer of the server behind it; one that is merely busy says
            // how long.
            let may_be_lost = match status {
                503 => response.retry_after().is_none(),
                _ => matches!(status, 500 | 502 | 504..),
            };
            return Err(match may_be_lost && repeat.may_be_done() {
                true => self.unknown(refusal),
                false => refusal,
            });
        }
    }

    /// Waits and says so, if there is a reason to try again and it was not done too often.
    fn is_tried_again(&mut self, trouble: Option<Trouble>) -> bool {
        let Some(trouble) = trouble else {
            return false;
        };
        let Some(pause) = self.retries.pause(&trouble) else {
            return false;
        };
        if let Some(voice) = self.voice {
            let seconds = pause.as_secs_f64();
            (voice.warn)(&format!("{trouble}; trying again in {seconds:.1} s"));
        }
        let _armed = self.watch.arm();
        self.clock.wait(pause);
        true
    }

    /// Asks what is only foreseen: it is tried again only where any question would have to wait.
    pub(super) fn foreseeing<T>(&mut self, attempt: impl FnOnce(&mut Self) -> T) -> T {
        self.is_foreseen = true;
        let outcome = attempt(self);
        self.is_foreseen = false;
        outcome
    }

    /// Waits and says so, if an answer broke off of which git has seen nothing.
    pub(super) fn is_asked_again(&mut self, error: &anyhow::Error) -> bool {
        self.is_tried_again(Trouble::inside(error))
    }

    fn replace_credential(&mut self, service: Service) -> anyhow::Result<bool> {
        let replaced = self.authorizer.refused();
        replaced.with_context(|| NoCredential(self.cannot(service)))
    }

    /// Sends a request once, or twice at once where a connection was kept that the server has closed.
    fn send(
        &mut self,
        repeat: Repeat<'_>,
        service: Service,
        make: &dyn Fn() -> anyhow::Result<Request>,
    ) -> anyhow::Result<Result<Response, TransportError>> {
        let authorization = self.authorization(service)?;
        let _armed = self.watch.arm();
        let attempt = || -> anyhow::Result<Result<Response, TransportError>> {
            let mut request = make()?;
            self.tell_of_post(service, &request);
            request.authorization = Some(authorization.clone());
            Ok(self.http.send(request))
        };
        match attempt()? {
            Err(error) if matches!(repeat, Repeat::Safe) && error.phase == Phase::Request => {
                attempt()
            }
            answer => Ok(answer),
        }
    }

    /// Says what a request without an answer means.
    fn lost(&self, error: TransportError, repeat: Repeat<'_>) -> anyhow::Error {
        match (error.phase, repeat) {
            (Phase::Request | Phase::Answer | Phase::TimeLimit, Repeat::Never { .. })
                if repeat.may_be_done() =>
            {
                self.unknown(error.into())
            }
            (Phase::Request | Phase::Answer | Phase::TimeLimit, Repeat::Never { .. }) => {
                let host = error.host.clone();
                anyhow::Error::new(error).context(Failure::new(
                    Kind::Unreachable { host },
                    format!(
                        "the push to '{}' broke off before all of it was sent; nothing was changed there",
                        self.name
                    ),
                ))
            }
            _ => self.unreachable(error),
        }
    }

    /// Lets the end of git end this process, until what git waits for is complete: then git closes its end by itself.
    pub(super) fn watch_until_over(&self, answer: &Boundaries) -> Option<Armed> {
        (answer.ending() != Ending::Flush).then(|| self.watch.arm())
    }

    /// Says that a push may have been done, whatever broke its answer; git's own hangup stays what it is.
    pub(super) fn unknown(&self, error: anyhow::Error) -> anyhow::Error {
        match crate::failure::kind(&error) {
            Some(Kind::Hangup) => error,
            _ => error.context(Failure::new(
                Kind::PushUnknown,
                format!(
                    "the answer to the push to '{}' was lost: it is not known whether the push was done",
                    self.name
                ),
            )),
        }
    }

    /// Checks the answer's type (gitprotocol-http(5)): a portal or sign-on page answers 200, too.
    fn expect(
        &self,
        mut response: Response,
        service: Service,
        kind: &str,
    ) -> anyhow::Result<Response> {
        let expected = format!("application/x-{}-{kind}", service.name());
        let found = response
            .header("content-type")
            .unwrap_or("nothing")
            .split(';')
            .next()
            .unwrap_or("")
            .trim();
        if !found.eq_ignore_ascii_case(&expected) {
            let found = quote(found);
            let _armed = self.watch.arm();
            let body = response.read_body(MAX_ERROR_BYTES).unwrap_or_default();
            let whose = match title(&String::from_utf8_lossy(&body)) {
                Some(title) => format!(", a page titled '{}',", quote(title)),
                None => String::new(),
            };
            return Err(self.no_git(&format!(
                "it answered with '{found}'{whose} instead of '{expected}'"
            )));
        }
        Ok(response)
    }

    /// Gives the repository's new place: on the same scheme, host and port, or an error, since the credential goes along.
    fn redirected(&self, from: &Url, response: &Response) -> anyhow::Result<Url> {
        let location = response.header("location").unwrap_or("");
        let target = from
            .join(location)
            .ok()
            .filter(|target| !location.is_empty() && target.origin() == from.origin());
        let Some(mut target) = target else {
            return Err(self.no_git(&format!(
                "it redirects to '{}', and a credential never follows to another host",
                quote(location.split('?').next().unwrap_or(""))
            )));
        };
        let Some(repository) = target.path().strip_suffix("/info/refs").map(str::to_owned) else {
            return Err(self.no_git(&format!(
                "it redirects to '{}', which is no repository",
                quote(target.path())
            )));
        };
        target.set_path(&repository);
        target.set_query(None);
        Ok(target)
    }

    pub(super) fn no_git(&self, why: &str) -> anyhow::Error {
        anyhow::anyhow!("{why}").context(Failure::new(
            Kind::NotGit,
            format!(
                "cannot use repository '{}': '{}' did not answer as a git server",
                self.name,
                self.host()
            ),
        ))
    }

    fn unreachable(&self, error: TransportError) -> anyhow::Error {
        let host = error.host.clone();
        let kind = match error.phase {
            Phase::Tls => Kind::Untrusted { host },
            _ => Kind::Unreachable { host },
        };
        anyhow::Error::new(error).context(Failure::new(
            kind,
            format!("cannot reach repository '{}'", self.name),
        ))
    }

    /// Says what the person wanted and does not get.
    fn cannot(&self, service: Service) -> String {
        let doing = match service {
            Service::ReceivePack => "push to",
            Service::UploadPack | Service::UploadArchive => "read",
        };
        format!("cannot {doing} repository '{}'", self.name)
    }

    /// Puts a status that means "no" into words (shared knowledge: Bitbucket's answers to git).
    fn refusal(&self, status: u16, reason: &str, service: Service) -> anyhow::Error {
        let scope = match service {
            Service::ReceivePack => "repository:write",
            Service::UploadPack | Service::UploadArchive => "repository",
        };
        let kind = match status {
            401 | 404 => Kind::AccessRefused,
            403 => forbidden(reason, scope),
            407 => Kind::Unreachable {
                host: self.host().to_owned(),
            },
            410 => Kind::AppPassword,
            413 if service == Service::ReceivePack => Kind::TooLarge,
            429 | 503 => Kind::Busy,
            500.. => Kind::ServerFailed {
                host: self.host().to_owned(),
            },
            _ => Kind::Refused,
        };
        let said = match reason {
            "" => format!("'{}' answered {status}", self.host()),
            reason => format!("'{}' answered {status}: {reason}", self.host()),
        };
        anyhow::anyhow!(said).context(Failure::new(
            kind,
            format!(
                "{} with profile '{}'",
                self.cannot(service),
                self.authorizer.identity()
            ),
        ))
    }

    /// Hands on the server's own `ERR ` message in the place of a ref advertisement.
    pub(super) fn told(&self, said: &str) -> anyhow::Error {
        anyhow::anyhow!("'{}' says: {said}", self.host()).context(Failure::new(
            Kind::Refused,
            format!(
                "cannot use repository '{}' with profile '{}'",
                self.name,
                self.authorizer.identity()
            ),
        ))
    }

    /// Names an answer that is not made of pkt-lines.
    pub(super) fn no_pkt_line(&self) -> anyhow::Error {
        self.no_git("a pkt-line in its answer has no valid length")
    }

    /// Names an answer whose pkt-lines could not be read.
    pub(super) fn bad_packet(&self, error: io::Error) -> anyhow::Error {
        match error.kind() {
            io::ErrorKind::InvalidData => self.no_pkt_line(),
            _ => self.bad_answer(error),
        }
    }

    /// Names an answer that broke off.
    pub(super) fn bad_answer(&self, why: impl Into<anyhow::Error>) -> anyhow::Error {
        why.into().context(Failure::new(
            Kind::Unreachable {
                host: self.host().to_owned(),
            },
            format!(
                "the answer of '{}' for repository '{}' is not complete",
                self.host(),
                self.name
            ),
        ))
    }

    fn host(&self) -> &str {
        self.repository.host_str().unwrap_or("")
    }
}

/// Makes the request for a service's ref advertisement (gitprotocol-http(5), "Smart Clients").
fn discovery(url: &Url, protocol: Option<&str>) -> Request {
    let request = Request::get(url.clone())
        .header("Accept", "*/*")
        .header("Pragma", "no-cache");
    match protocol {
        Some(protocol) => request.header("Git-Protocol", protocol),
        None => request,
    }
}

fn discovery_url(repository: &Url, service: Service) -> Url {
    let mut url = below(repository, "info/refs");
    url.set_query(Some(&format!("service={}", service.name())));
    url
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

/// Tells from the server's words what a status 403 is about; without any it is the scope, as a rule.
fn forbidden(reason: &str, scope: &'static str) -> Kind {
    let said = reason.to_lowercase();
    let speaks_of = |words: &[&str]| words.iter().any(|word| said.contains(word));
    match () {
        () if speaks_of(&["scope", "privilege"]) => Kind::ScopeMissing { scope },
        () if speaks_of(&["whitelist", "allowlist", "ip address", "your ip"]) => Kind::PlaceRefused,
        () if speaks_of(&["limit", "exceed", "quota", "read-only", "read only"]) => Kind::OverLimit,
        () => Kind::ScopeMissing { scope },
    }
}

/// Finds the title of a page, which tells whose it is.
fn title(page: &str) -> Option<&str> {
    // ASCII alone changes case, so that places stay where they are.
    let lower = page.to_ascii_lowercase();
    let start = lower.find("<title")?;
    let start = start + lower[start..].find('>')? + 1;
    let end = start + lower[start..].find("</title")?;
    Some(page[start..end].trim()).filter(|title| !title.is_empty())
}

/// Reads the server's own sentence from an error answer, if it is text meant for people.
fn reason(response: &mut Response) -> String {
    let is_text = response
        .header("content-type")
        .is_some_and(|kind| kind.starts_with("text/plain"));
    // Read it in any case, so that the connection can be used again; a body that breaks off has said enough.
    let body = response.read_body(MAX_ERROR_BYTES).unwrap_or_default();
    if is_text {
        quote(&String::from_utf8_lossy(&body))
    } else {
        String::new()
    }
}

/// Reads an answer's body as a stream of bytes.
pub(super) struct BodyReader {
    response: Response,
    current: Bytes,
}

impl BodyReader {
    pub(super) fn new(response: Response) -> Self {
        BodyReader {
            response,
            current: Bytes::new(),
        }
    }

    /// Reads what nobody wants, so that the connection can be used again; a longer answer costs the connection.
    pub(super) fn drain(mut self, max_bytes: usize) {
        let mut room = max_bytes;
        while let Ok(Some(chunk)) = self.next_chunk() {
            let Some(left) = room.checked_sub(chunk.len()) else {
                return;
            };
            room = left;
        }
    }

    /// Gives the next piece, what was read ahead first; `None` at the end.
    pub(super) fn next_chunk(&mut self) -> Result<Option<Bytes>, TransportError> {
        if !self.current.is_empty() {
            return Ok(Some(std::mem::take(&mut self.current)));
        }
        loop {
            match self.response.next_chunk()? {
                Some(chunk) if chunk.is_empty() => {}
                chunk => return Ok(chunk),
            }
        }
    }
}

impl Read for BodyReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let length = available.len().min(buffer.len());
        buffer[..length].copy_from_slice(&available[..length]);
        self.consume(length);
        Ok(length)
    }
}

impl BufRead for BodyReader {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.is_empty()
            && let Some(chunk) = self.next_chunk().map_err(io::Error::other)?
        {
            self.current = chunk;
        }
        Ok(&self.current)
    }

    fn consume(&mut self, amount: usize) {
        self.current.advance(amount);
    }
}
