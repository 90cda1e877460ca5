//! Git over HTTP: its addresses, and the way from a request to `git http-backend`.

use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;

use crate::access::{self, Credentials};
use crate::backend::Call;
use crate::page::{self, Answer};
use crate::reply::Upload;
use crate::site::Site;

/// What a push asks for.
pub(crate) const RECEIVE_PACK: &str = "git-receive-pack";
/// Refused uploads up to this size are read so that the connection can be used again; longer ones end it.
const DISCARD_BYTES: u64 = 1 << 20;

/// A repository by its name in addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    pub(crate) workspace: String,
    /// Without `.git`.
    pub(crate) slug: String,
}

impl Repository {
    pub(crate) fn new(workspace: &str, slug: &str) -> Option<Self> {
        let slug = slug.strip_suffix(".git").unwrap_or(slug);
        (is_name(workspace) && is_name(slug)).then(|| Self {
            workspace: workspace.to_owned(),
            slug: slug.to_owned(),
        })
    }
}

/// How a site reads a workspace and the name of a repository in an address.
pub(crate) type Named = fn(&str, &str) -> Option<Repository>;

/// What git asks of a repository ("gitprotocol-http").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    repository: Repository,
    /// What follows the repository, such as `info/refs`.
    rest: String,
}

impl Address {
    /// Takes `/{workspace}/{repository}[.git]/{rest}` apart, for the three paths git asks for.
    pub(crate) fn parse(path: &str, named: Named) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (workspace, slug, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let known = ["info/refs", "git-upload-pack", RECEIVE_PACK];
        if !known.contains(&rest) {
            return None;
        }
        Some(Self {
            repository: named(workspace, slug)?,
            rest: rest.to_owned(),
        })
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    pub(crate) fn service<'a>(&'a self, query: &'a str) -> Option<&'a str> {
        match self.rest.as_str() {
            "info/refs" => query
                .split('&')
                .find_map(|part| part.strip_prefix("service=")),
            rest => Some(rest),
        }
    }
}

/// Answers a git request.
pub(crate) async fn answer(
    site: &Site,
    address: &Address,
    parts: &Parts,
    upload: Upload,
) -> Answer {
    let Some(service) = address.service(parts.uri.query().unwrap_or("")) else {
        return no_service();
    };
    let write = service == RECEIVE_PACK;
    let credentials = Credentials::of(&parts.headers);
    match access::git_user(site, &credentials, &address.repository, write) {
        Ok(user) => serve(site, address, parts, upload, user).await,
        Err(refusal) => refuse(refusal.answer(), upload).await,
    }
}

/// The answer to a git that asks for no service, as those before smart HTTP do.
pub(crate) fn no_service() -> Answer {
    page::text(StatusCode::FORBIDDEN, "Please upgrade your git client.")
}

/// Answers without doing what was asked.
pub(crate) async fn refuse(mut answer: Answer, mut upload: Upload) -> Answer {
    if !upload.discard(DISCARD_BYTES).await {
        answer
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// Lets git's own program answer.
pub(crate) async fn serve(
    site: &Site,
    address: &Address,
    parts: &Parts,
    upload: Upload,
    user: String,
) -> Answer {
    let Repository { workspace, slug } = &address.repository;
    let call = Call {
        method: parts.method.to_string(),
        path: format!("/{workspace}/{slug}.git/{}", address.rest),
        query: parts.uri.query().unwrap_or("").to_owned(),
        user,
        git_protocol: header(&parts.headers, "git-protocol")
            .filter(|_| site.settings().protocol_v2),
        content_type: header(&parts.headers, CONTENT_TYPE.as_str()),
        content_encoding: header(&parts.headers, CONTENT_ENCODING.as_str()),
        content_length: content_length(&parts.headers),
    };
    match site.backend.answer(call, upload).await {
        Ok(answer) => answer,
        Err(error) => page::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("{error:#}\n")),
    }
}

pub(crate) fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    headers
        .get(name)
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

pub(crate) fn content_length(headers: &HeaderMap) -> Option<u64> {
    header(headers, "content-length")?.parse().ok()
}

/// Bitbucket's names: letters, digits, `-`, `_` and `.`; never a step up the directories.
pub(crate) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_git_address_names_workspace_and_repository_with_or_without_suffix() {
        let expected = Repository {
            workspace: "ws".to_owned(),
            slug: "repo".to_owned(),
        };
        for path in [
            "/ws/repo/info/refs",
            "/ws/repo.git/info/refs",
            "/ws/repo.git/git-receive-pack",
        ] {
            let address =
                Address::parse(path, Repository::new).expect("because it is a git address");
            assert_eq!(address.repository, expected, "'{path}' is that repository");
        }
        for path in [
            "/ws/repo",
            "/ws/../info/refs",
            "/ws/.git/info/refs",
            "/ws/repo/objects/info/packs",
            "/ws/a/b/info/refs",
        ] {
            let address = Address::parse(path, Repository::new);
            assert_eq!(address, None, "'{path}' is no git address");
        }
    }
}
