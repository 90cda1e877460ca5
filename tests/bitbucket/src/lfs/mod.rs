//! Git LFS: the batch API, the basic transfer and locks ("Git LFS API"), below `<repository>.git/info/lfs`.
//!
//! Who comes without credentials is answered 403, as Bitbucket does, so that git-lfs does not ask for any by itself
//! (git-lfs issue 2658); the token is checked with every request.

mod batch;
mod locks;
mod storage;

use hyper::header::{CONNECTION, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use crate::access::{self, Credentials};
use crate::git::{Named, Repository};
use crate::page::{self, Answer};
use crate::reply::Upload;
use crate::site::Site;

pub(crate) use locks::Locks;

/// More than any JSON request of git-lfs: a batch has 100 objects.
const MAX_JSON_BYTES: usize = 1 << 20;
/// Where the client's token comes in a signed link.
const SIGNATURE: &str = "signature=";
/// What objects are below.
const STORAGE: &str = "storage/";

/// What git-lfs asks of a repository.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    repository: Repository,
    /// What follows `info/lfs/`, such as `objects/batch`.
    rest: String,
}

impl Address {
    /// Takes `/{workspace}/{repository}[.git]/info/lfs/{rest}` apart.
    pub(crate) fn parse(path: &str, named: Named) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (workspace, slug, rest) = (parts.next()?, parts.next()?, parts.next()?);
        Some(Self {
            repository: named(workspace, slug)?,
            rest: rest.strip_prefix("info/lfs/")?.to_owned(),
        })
    }

    /// The address of one object.
    pub(crate) fn of_object(repository: Repository, oid: &str) -> Self {
        Self {
            repository,
            rest: format!("{STORAGE}{oid}"),
        }
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }
}

/// Answers a request of git-lfs.
pub(crate) async fn answer(
    site: &Site,
    address: &Address,
    parts: &Parts,
    upload: Upload,
) -> Answer {
    let allow = |write| user(site, parts, &address.repository, write);
    serve(site, address, parts, upload, allow, refused).await
}

/// Answers those whom `allow` lets read, or write, as the user it returns.
pub(crate) async fn serve<R>(
    site: &Site,
    address: &Address,
    parts: &Parts,
    mut upload: Upload,
    allow: impl Fn(bool) -> Result<String, R>,
    refused: impl Fn(R) -> Answer,
) -> Answer {
    let Address { repository, rest } = address;
    if let Some(oid) = rest.strip_prefix(STORAGE) {
        let write = parts.method == Method::PUT;
        return match allow(write) {
            Ok(_) => storage::answer(site, repository, oid, parts, upload).await,
            Err(refusal) => {
                let whole = upload.discard(MAX_JSON_BYTES as u64).await;
                closing(refused(refusal), !whole)
            }
        };
    }
    let Some(body) = upload.collect(MAX_JSON_BYTES).await else {
        return closing(
            problem(StatusCode::PAYLOAD_TOO_LARGE, "too many objects"),
            true,
        );
    };
    let asked: Value = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let write = match rest.as_str() {
        "objects/batch" => asked["operation"] == "upload",
        _ => parts.method != Method::GET,
    };
    let user = match allow(write) {
        Ok(user) => user,
        Err(refusal) => return refused(refusal),
    };
    match rest.as_str() {
        "objects/batch" => batch::answer(site, repository, &asked),
        _ => match rest.strip_prefix("locks") {
            Some(rest) => locks::answer(site, repository, rest, parts, &asked, &user),
            None => problem(StatusCode::NOT_FOUND, "Not found"),
        },
    }
}

/// Lets a request through as the user it returns, or says why not.
fn user(
    site: &Site,
    parts: &Parts,
    repository: &Repository,
    write: bool,
) -> Result<String, (StatusCode, &'static str)> {
    let credentials = credentials(parts);
    if credentials == Credentials::Anonymous {
        let status = StatusCode::from_u16(site.settings().lfs_anonymous_status);
        let status = status.unwrap_or(StatusCode::FORBIDDEN);
        return Err((status, "Authentication required"));
    }
    access::git_user(site, &credentials, repository, write)
        .map_err(|refusal| (refusal.status(), refusal.text()))
}

/// The credentials of a request: those of a signed link, or those that were sent.
pub(crate) fn credentials(parts: &Parts) -> Credentials {
    let query = parts.uri.query().unwrap_or("");
    match query.strip_prefix(SIGNATURE) {
        Some(token) => Credentials::Bearer(token.to_owned()),
        None => Credentials::of(&parts.headers),
    }
}

/// An error as git-lfs reads it ("Git LFS Batch API", response errors).
pub(crate) fn problem(status: StatusCode, message: &str) -> Answer {
    reply(status, &json!({ "message": message }))
}

fn reply(status: StatusCode, value: &Value) -> Answer {
    let mut answer = page::json(status, value);
    let json = HeaderValue::from_static("application/vnd.git-lfs+json");
    answer.headers_mut().insert(CONTENT_TYPE, json);
    answer
}

fn refused((status, text): (StatusCode, &str)) -> Answer {
    let mut answer = problem(status, text);
    if answer.status() == StatusCode::UNAUTHORIZED {
        let challenge = HeaderValue::from_static("Basic realm=\"Bitbucket.org HTTP\"");
        answer.headers_mut().insert("LFS-Authenticate", challenge);
    }
    answer
}

fn closing(mut answer: Answer, closes: bool) -> Answer {
    if closes {
        let close = HeaderValue::from_static("close");
        answer.headers_mut().insert(CONNECTION, close);
    }
    answer
}
