//! Git over HTTP: its addresses, and the way from a request to `git http-backend`.

use hyper::StatusCode;
use hyper::header::{CONNECTION, CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::http::request::Parts;

use crate::access::{self, Credentials};
use crate::backend::Call;
use crate::page::{self, Answer};
use crate::reply::Upload;
use crate::site::Site;

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

/// What git asks of a repository ("gitprotocol-http").
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    repository: Repository,
    /// What follows the repository, such as `info/refs`.
    rest: String,
}

impl Address {
    /// Takes `/{workspace}/{repository}[.git]/{rest}` apart, for the four paths git asks for.
    pub(crate) fn parse(path: &str) -> Option<Self> {
        let mut parts = path.strip_prefix('/')?.splitn(3, '/');
        let (workspace, slug, rest) = (parts.next()?, parts.next()?, parts.next()?);
        let known = [
            "info/refs",
            "git-upload-pack",
            "git-receive-pack",
            "git-upload-archive",
        ];
        if !known.contains(&rest) {
            return None;
        }
        Some(Self {
            repository: Repository::new(workspace, slug)?,
            rest: rest.to_owned(),
        })
    }

    fn service<'a>(&'a self, query: &'a str) -> Option<&'a str> {
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
    mut upload: Upload,
) -> Answer {
    let query = parts.uri.query().unwrap_or("");
    let Some(service) = address.service(query) else {
        return page::text(StatusCode::FORBIDDEN, "Please upgrade your git client.");
    };
    let write = service == "git-receive-pack";
    let credentials = Credentials::of(&parts.headers);
    let user = match access::git_user(site, &credentials, &address.repository, write) {
        Ok(user) => user,
        Err(refusal) => {
            let mut refusal = refusal.answer();
            if !upload.discard(DISCARD_BYTES).await {
                refusal
                    .headers_mut()
                    .insert(CONNECTION, HeaderValue::from_static("close"));
            }
            return refusal;
        }
    };
    let Repository { workspace, slug } = &address.repository;
    let call = Call {
        method: parts.method.to_string(),
        path: format!("/{workspace}/{slug}.git/{}", address.rest),
        query: query.to_owned(),
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
fn is_name(name: &str) -> bool {
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
            let address = Address::parse(path).expect("because it is a git address");
            assert_eq!(address.repository, expected, "'{path}' is that repository");
        }
        for path in [
            "/ws/repo",
            "/ws/../info/refs",
            "/ws/.git/info/refs",
            "/ws/repo/objects/info/packs",
            "/ws/a/b/info/refs",
        ] {
            assert_eq!(Address::parse(path), None, "'{path}' is no git address");
        }
    }
}
