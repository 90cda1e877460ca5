//! One request and its answer: recorded, scripted, and sent to the part of the site that is asked.

use std::convert::Infallible;
use std::future::pending;
use std::io::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use flate2::{Compression, write::GzEncoder};
use hyper::body::Incoming;
use hyper::header::{
    ACCEPT, ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, DATE,
    HeaderName, HeaderValue, USER_AGENT,
};
use hyper::http::request::Parts;
use hyper::{Request, Response, StatusCode};
use tokio::sync::watch;

use crate::access::Credentials;
use crate::bitbucket::Edition;
use crate::connection::Connection;
use crate::control;
use crate::data_center;
use crate::git::{self, Address, Repository, content_length, header};
use crate::journal::{Kind, Progress, Recorded};
use crate::lfs;
use crate::oauth::authorize;
use crate::oauth::token_endpoint::{self, Form, MAX_FORM_BYTES};
use crate::page::{self, Answer};
use crate::reply::{Ending, Payload, Reply, Upload};
use crate::rest;
use crate::script::Action;
use crate::site::Site;

/// Where the control interface lives.
const CONTROL: &str = "/_local/";

/// Answers one request on a connection.
pub(crate) async fn serve(
    site: Arc<Site>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Reply>, Infallible> {
    let (parts, incoming) = request.into_parts();
    if let Some(path) = control_path(&site, parts.uri.path()) {
        let upload = Upload::new(incoming, Arc::default());
        let answer = control::answer(&site, &parts, path, upload).await;
        return Ok(answer.map(|payload| Reply::new(payload, Ending::Usual, connection, None, None)));
    }
    connection.carries(parts.version);
    let asked = Asked::of(&site, parts.uri.path());
    let mut recorded = record(&parts, asked.kind(), &connection);
    // Subscribe before the request is recorded, so that a test that has seen it can release it.
    let releases = site.releases.subscribe();
    let ticket = site.journal.arrived(recorded.clone());
    let mut upload = Upload::new(incoming, ticket.request_bytes());
    let form = read_form(&asked, &mut upload).await;
    if asked.kind() == Kind::Token {
        recorded.grant = form.value("grant_type").map(str::to_owned);
        ticket.grant(form.value("grant_type"));
    }
    let action = site.script.take(&recorded);
    // Those who wait for a rule to be taken look again.
    site.journal.taken();
    let exchange = Exchange {
        site: &site,
        parts,
        asked,
        form,
        upload,
        releases: releases.clone(),
    };
    let (mut answer, ending) = exchange.act(action, &connection).await;
    let date = httpdate::fmt_http_date(site.clock.now());
    answer.headers_mut().insert(
        DATE,
        HeaderValue::from_str(&date).expect("because a date is printable ASCII"),
    );
    ticket.status(answer.status().as_u16());
    let reply = |payload| Reply::new(payload, ending, connection, Some(ticket), Some(releases));
    Ok(answer.map(reply))
}

/// The part of the site that a path is about.
enum Asked {
    Git(Address),
    Lfs(lfs::Address),
    Token,
    Authorize,
    Api,
    Other,
    DataCenter(data_center::Asked),
}

impl Asked {
    fn of(site: &Site, path: &str) -> Self {
        match &site.edition {
            Edition::Cloud => Self::of_cloud(path),
            Edition::DataCenter { context_path } => {
                Self::DataCenter(data_center::Asked::of(context_path, path))
            }
        }
    }

    fn of_cloud(path: &str) -> Self {
        match path {
            "/site/oauth2/access_token" => Self::Token,
            "/site/oauth2/authorize" => Self::Authorize,
            _ if path.starts_with("/2.0/") => Self::Api,
            _ => Address::parse(path, Repository::new)
                .map(Self::Git)
                .or_else(|| lfs::Address::parse(path, Repository::new).map(Self::Lfs))
                .unwrap_or(Self::Other),
        }
    }

    fn kind(&self) -> Kind {
        match self {
            Self::Git(_) => Kind::Git,
            Self::Lfs(_) => Kind::Lfs,
            Self::Token => Kind::Token,
            Self::Authorize => Kind::Authorize,
            Self::Api => Kind::Api,
            Self::Other => Kind::Other,
            Self::DataCenter(asked) => asked.kind(),
        }
    }
}

/// The path of a control request, from [`CONTROL`] on.
fn control_path<'a>(site: &Site, path: &'a str) -> Option<&'a str> {
    let path = match &site.edition {
        Edition::Cloud => path,
        Edition::DataCenter { context_path } => path.strip_prefix(context_path.as_str())?,
    };
    path.starts_with(CONTROL).then_some(path)
}

fn record(parts: &Parts, kind: Kind, connection: &Connection) -> Recorded {
    let value = |name: &str| header(&parts.headers, name);
    let credentials = Credentials::of(&parts.headers);
    Recorded {
        sequence: 0,
        connection: connection.number,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        query: parts
            .uri
            .query()
            .filter(|_| kind == Kind::Git)
            .map(str::to_owned),
        kind,
        grant: None,
        user: credentials.shown(),
        scheme: (&credentials).into(),
        secret: credentials.fingerprint(),
        git_protocol: value("git-protocol"),
        user_agent: value(USER_AGENT.as_str()),
        accept: value(ACCEPT.as_str()),
        content_type: value(CONTENT_TYPE.as_str()),
        content_encoding: value(CONTENT_ENCODING.as_str()),
        accept_encoding: value(ACCEPT_ENCODING.as_str()),
        content_length: content_length(&parts.headers),
        http_version: format!("{:?}", parts.version),
        alpn: connection.alpn.clone(),
        status: None,
        progress: Progress::Open,
        request_bytes: 0,
        response_bytes: 0,
        boundaries: Vec::new(),
    }
}

/// The form of a request to the OAuth endpoints; elsewhere the body is left to be streamed.
async fn read_form(asked: &Asked, upload: &mut Upload) -> Form {
    let is_form = match asked {
        Asked::Token | Asked::Authorize => true,
        Asked::DataCenter(asked) => asked.takes_form(),
        Asked::Git(_) | Asked::Lfs(_) | Asked::Api | Asked::Other => false,
    };
    if !is_form {
        return Form::parse(b"");
    }
    Form::parse(&upload.collect(MAX_FORM_BYTES).await.unwrap_or_default())
}

/// A request on its way to an answer.
struct Exchange<'a> {
    site: &'a Site,
    parts: Parts,
    asked: Asked,
    form: Form,
    upload: Upload,
    releases: watch::Receiver<u64>,
}

impl Exchange<'_> {
    /// Does what a rule says, or answers as usual.
    async fn act(mut self, action: Option<Action>, connection: &Connection) -> (Answer, Ending) {
        match action {
            None => (self.answer().await, Ending::Usual),
            Some(Action::Answer {
                status,
                headers,
                body,
                early,
            }) => {
                if !early {
                    self.upload.discard(u64::MAX).await;
                }
                (scripted(status, &headers, body, early), Ending::Usual)
            }
            Some(Action::Delay(time)) => {
                tokio::time::sleep(time).await;
                (self.answer().await, Ending::Usual)
            }
            Some(Action::Hold) => {
                // The sender lives as long as the site. Without it, there is nothing to wait for.
                let _ = self.releases.changed().await;
                (self.answer().await, Ending::Usual)
            }
            Some(Action::CloseWithoutAnswer) => vanish(connection).await,
            Some(Action::ResetWithoutAnswer) => {
                connection.reset_when_dropped();
                vanish(connection).await
            }
            Some(Action::AnswerLost) => {
                self.answer().await.into_body().discard().await;
                vanish(connection).await
            }
            Some(Action::CutAfter(bytes)) => (self.answer().await, Ending::Cut(bytes)),
            Some(Action::Reset(bytes)) => {
                let answer = self.answer().await;
                connection.reset_when_dropped();
                (answer, Ending::Cut(bytes))
            }
            Some(Action::Drip) => (self.answer().await, Ending::Drip),
            Some(Action::Alter(headers)) => {
                let mut answer = self.answer().await;
                alter(&mut answer, &headers);
                (answer, Ending::Usual)
            }
            Some(Action::Truncate(bytes)) => {
                (unmeasured(self.answer().await), Ending::Truncate(bytes))
            }
            Some(Action::Stall(bytes)) => (self.answer().await, Ending::Stall(bytes)),
            Some(Action::ReplaceBody(body)) => {
                (replace(self.answer().await, body).await, Ending::Usual)
            }
            Some(Action::CloseIdle) => (self.answer().await, Ending::CloseIdle),
            Some(Action::Bare(bare)) => {
                let body = self.answer().await.into_body().collect().await;
                let mut words = bare.head;
                if bare.body {
                    words.extend(body);
                }
                connection.say(words.into(), bare.then);
                pending().await
            }
            Some(Action::Gzip { percent }) => {
                (compress(self.answer().await, percent).await, Ending::Usual)
            }
            Some(Action::Endless { after, text }) => (
                unmeasured(self.answer().await),
                Ending::Endless(after, text.into()),
            ),
        }
    }

    async fn answer(self) -> Answer {
        let Self {
            site,
            parts,
            asked,
            form,
            upload,
            releases: _,
        } = self;
        match asked {
            Asked::Git(address) => git::answer(site, &address, &parts, upload).await,
            Asked::Lfs(address) => lfs::answer(site, &address, &parts, upload).await,
            Asked::Token => token_endpoint::answer(site, &parts, &form),
            Asked::Authorize => authorize::answer(site, &parts, &form),
            Asked::Api => rest::answer(site, &parts),
            Asked::DataCenter(asked) => {
                data_center::answer(site, asked, &parts, &form, upload).await
            }
            Asked::Other => page::html(
                StatusCode::NOT_FOUND,
                "Not found",
                "<p>There is nothing here.</p>",
            ),
        }
    }
}

/// Closes the connection; the request ends with it.
async fn vanish(connection: &Connection) -> (Answer, Ending) {
    connection.kill();
    pending().await
}

fn scripted(status: u16, headers: &[(String, String)], body: Vec<u8>, early: bool) -> Answer {
    let mut answer = Response::new(Payload::Whole(Some(Bytes::from(body))));
    *answer.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    for (name, value) in parsed(headers) {
        answer.headers_mut().append(name, value);
    }
    if early {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// The headers of a rule that are well-formed.
fn parsed(headers: &[(String, String)]) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
    let header = |(name, value): &(String, String)| {
        Some((name.parse().ok()?, HeaderValue::from_str(value).ok()?))
    };
    headers.iter().filter_map(header)
}

/// Puts headers in the place of the answer's own.
fn alter(answer: &mut Answer, headers: &[(String, String)]) {
    for (name, value) in parsed(headers) {
        answer.headers_mut().insert(name, value);
    }
}

async fn replace(answer: Answer, body: Vec<u8>) -> Answer {
    let (parts, payload) = unmeasured(answer).into_parts();
    payload.discard().await;
    Response::from_parts(parts, Payload::Whole(Some(Bytes::from(body))))
}

async fn compress(answer: Answer, percent: usize) -> Answer {
    let (mut parts, payload) = unmeasured(answer).into_parts();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&payload.collect().await)
        .expect("because memory takes it");
    let mut body = gzip.finish().expect("because memory takes it");
    body.truncate(body.len() * percent / 100);
    parts
        .headers
        .insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Payload::Whole(Some(Bytes::from(body))))
}

/// The answer without its stated length.
fn unmeasured(mut answer: Answer) -> Answer {
    answer.headers_mut().remove(CONTENT_LENGTH);
    answer
}
