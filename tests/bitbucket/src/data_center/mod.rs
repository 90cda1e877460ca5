//! Bitbucket Data Center: what differs from Bitbucket Cloud.
//!
//! Everything is below a context path. Git is under `/scm`, the OAuth 2 provider, REST and the objects of Git LFS are
//! under `/rest`, and the rest is for people with a browser.

mod access;
mod accounts;
mod authorize;
mod mirror;
mod pages;
mod rest;
mod scm;
mod settings;
mod token_endpoint;

use hyper::StatusCode;
use hyper::header::{HeaderName, HeaderValue};
use hyper::http::request::Parts;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

pub(crate) use accounts::Accounts;
pub(crate) use mirror::copy;
pub use settings::{DataCenter, RateLimit};

use crate::git::{self, Repository, is_name};
use crate::journal::Kind;
use crate::lfs;
use crate::oauth::token_endpoint::Form;
use crate::oauth::{Consumer, TokenKind};
use crate::page::{self, Answer};
use crate::random;
use crate::reply::Upload;
use crate::site::Site;

/// The number of a request, which every answer carries.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-arequestid");
/// The login of the user, in answers to those who are known.
const USER_NAME: HeaderName = HeaderName::from_static("x-ausername");
/// What stands as it is in that header.
const PLAIN: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'~');

/// The scopes ("OAuth 2.0 scopes for incoming links").
const SCOPES: [&str; 8] = [
    "PUBLIC_REPOS",
    "REPO_READ",
    "REPO_WRITE",
    "REPO_ADMIN",
    "PROJECT_ADMIN",
    "ACCOUNT_WRITE",
    "ADMIN_WRITE",
    "SYSTEM_ADMIN",
];

/// The part of a Data Center that a path is about.
pub(crate) enum Asked {
    Git(git::Address),
    Lfs(lfs::Address),
    Token,
    Authorize,
    /// What follows `/rest/`.
    Rest(String),
    /// What follows the context path.
    Page(String),
    /// What is not below the context path, or nothing of git's below `/scm`.
    Nothing,
}

impl Asked {
    pub(crate) fn of(context_path: &str, path: &str) -> Self {
        let below = path
            .strip_prefix(context_path)
            .filter(|rest| rest.is_empty() || rest.starts_with('/'));
        let Some(below) = below else {
            return Self::Nothing;
        };
        if let Some(scm) = below
            .strip_prefix("/scm")
            .filter(|rest| rest.starts_with('/'))
        {
            let git = git::Address::parse(scm, repository).map(Self::Git);
            let lfs = || lfs::Address::parse(scm, repository).map(Self::Lfs);
            return git.or_else(lfs).unwrap_or(Self::Nothing);
        }
        match below.strip_prefix("/rest/") {
            Some("oauth2/latest/token" | "oauth2/1.0/token") => Self::Token,
            Some("oauth2/latest/authorize" | "oauth2/1.0/authorize") => Self::Authorize,
            Some(rest) => object(rest).map_or_else(|| Self::Rest(rest.to_owned()), Self::Lfs),
            None => Self::Page(below.to_owned()),
        }
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Git(_) => Kind::Git,
            Self::Lfs(_) => Kind::Lfs,
            Self::Token => Kind::Token,
            Self::Authorize => Kind::Authorize,
            Self::Rest(_) => Kind::Api,
            Self::Page(_) | Self::Nothing => Kind::Other,
        }
    }

    /// Whether the body is a form.
    pub(crate) fn takes_form(&self) -> bool {
        matches!(self, Self::Token | Self::Authorize | Self::Page(_))
    }
}

/// Takes `git-lfs/storage/{key}/{slug}/{oid}` apart.
fn object(rest: &str) -> Option<lfs::Address> {
    let mut parts = rest.strip_prefix("git-lfs/storage/")?.splitn(3, '/');
    let repository = repository(parts.next()?, parts.next()?)?;
    Some(lfs::Address::of_object(repository, parts.next()?))
}

/// Answers a request.
pub(crate) async fn answer(
    site: &Site,
    asked: Asked,
    parts: &Parts,
    form: &Form,
    upload: Upload,
) -> Answer {
    let settings = site.settings().data_center;
    if let Some(gateway) = &settings.sso_gateway {
        return git::refuse(page::redirect(gateway), upload).await;
    }
    if settings.maintenance {
        let text = "<p>Bitbucket is starting. It will be available soon.</p>";
        let answer = page::html(StatusCode::SERVICE_UNAVAILABLE, "Bitbucket", text);
        return git::refuse(answer, upload).await;
    }
    // A mirror has git and git-lfs only.
    let asked = match asked {
        Asked::Git(_) | Asked::Lfs(_) => asked,
        _ if site.is_mirror => Asked::Nothing,
        _ => asked,
    };
    let (mut answer, user) = match asked {
        Asked::Git(address) => scm::git(site, &address, parts, upload).await,
        Asked::Lfs(address) => scm::lfs(site, &address, parts, upload).await,
        Asked::Token => (token_endpoint::answer(site, parts, form), None),
        Asked::Authorize => (authorize::answer(site, parts, form), None),
        Asked::Rest(path) => rest::answer(site, parts, &path),
        Asked::Page(path) => pages::answer(site, parts, form, &path),
        Asked::Nothing => return git::refuse(pages::nothing(), upload).await,
    };
    let headers = answer.headers_mut();
    let id = format!("@{}x1x1x0", random::alphanumeric(6));
    let known = user.map(|user| utf8_percent_encode(&user, PLAIN).to_string());
    let plain = |text: &str| HeaderValue::from_str(text).expect("because it is printable ASCII");
    headers.insert(REQUEST_ID, plain(&id));
    if let Some(user) = known {
        headers.insert(USER_NAME, plain(&user));
    }
    answer
}

/// Reads a project's key, or `~` and a user's slug, and a repository's slug; in any letter case.
pub(crate) fn repository(key: &str, slug: &str) -> Option<Repository> {
    let slug = slug.strip_suffix(".git").unwrap_or(slug);
    let workspace = match key.strip_prefix('~') {
        Some(user) => is_name(user).then(|| format!("~{}", user.to_lowercase())),
        None => is_name(key).then(|| key.to_uppercase()),
    };
    Some(Repository {
        workspace: workspace?,
        slug: is_name(slug).then(|| slug.to_lowercase())?,
    })
}

/// Whether a list of `KEY/slug` names a repository.
fn is_listed(listed: &[String], repository: &Repository) -> bool {
    let named = |name: &String| {
        name.split_once('/')
            .and_then(|(key, slug)| self::repository(key, slug))
    };
    listed
        .iter()
        .any(|name| named(name).as_ref() == Some(repository))
}

/// The consumer that is there from the start: an incoming link, and a service account.
pub(crate) fn consumer() -> Consumer {
    Consumer {
        callback: Some("https://localhost/callback".to_owned()),
        scopes: ["REPO_READ", "REPO_WRITE"].map(str::to_owned).to_vec(),
        ..Consumer::new_private()
    }
}

/// Puts Data Center's scopes in the place of Bitbucket Cloud's; those of the account have none.
pub(crate) fn scopes(scopes: &[String]) -> Vec<String> {
    let named = |scope: &String| scope_of(scope).map(str::to_owned);
    scopes.iter().filter_map(named).collect()
}

fn scope_of(scope: &str) -> Option<&str> {
    match scope {
        "repository" | "read:repository:bitbucket" => Some("REPO_READ"),
        "repository:write" | "write:repository:bitbucket" => Some("REPO_WRITE"),
        "repository:admin" => Some("REPO_ADMIN"),
        "account" | "account:write" | "read:user:bitbucket" => None,
        other => Some(other),
    }
}

/// A secret as Data Center makes them; those of HTTP access tokens need percent-encoding in a URL.
pub(crate) fn secret(kind: TokenKind) -> String {
    match kind {
        TokenKind::Access | TokenKind::Service => kind.secret(),
        TokenKind::Api | TokenKind::Resource => {
            let [front, middle, end] = [14, 14, 14].map(random::alphanumeric);
            format!("BBDC-{front}/{middle}+{end}")
        }
    }
}

/// Whose a token is that is issued; a project's or a repository's has a user of its own.
pub(crate) fn owner(site: &Site, kind: TokenKind) -> String {
    match kind {
        TokenKind::Access | TokenKind::Api => site.settings().data_center.user,
        TokenKind::Resource => "access-token-user/1/1".to_owned(),
        TokenKind::Service => "service-account".to_owned(),
    }
}

/// The address of a page, as the server believes that it is reached.
fn url(site: &Site, path: &str) -> String {
    format!("{}{path}", site.base_url())
}

/// The slug of a user: characters that an address cannot hold become `_`.
fn slug(user: &str) -> String {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
    let lower = user.to_lowercase();
    lower
        .chars()
        .map(|letter| if plain(letter) { letter } else { '_' })
        .collect()
}
