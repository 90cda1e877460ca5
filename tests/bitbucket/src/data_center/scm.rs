//! Git and git-lfs under `/scm`, and the objects of git-lfs under `/rest`.

use hyper::header::HeaderValue;
use hyper::http::request::Parts;

use super::access::{self, Place, Refusal};
use super::is_listed;
use crate::access::Credentials;
use crate::git::{self, RECEIVE_PACK};
use crate::lfs;
use crate::oauth::Token;
use crate::page::Answer;
use crate::reply::Upload;
use crate::site::Site;

/// Who asked, if that is known.
fn name(caller: &Result<Option<Token>, Refusal>) -> Option<String> {
    let token = caller.as_ref().ok()?.as_ref()?;
    Some(token.user.clone())
}

/// Answers git.
pub(super) async fn git(
    site: &Site,
    address: &git::Address,
    parts: &Parts,
    upload: Upload,
) -> (Answer, Option<String>) {
    let Some(service) = address.service(parts.uri.query().unwrap_or("")) else {
        return (git::no_service(), None);
    };
    let caller = access::caller(site, &Credentials::of(&parts.headers), Place::Scm);
    let user = name(&caller);
    let write = service == RECEIVE_PACK;
    let repository = address.repository();
    let permitted =
        caller.and_then(|token| access::permit(site, token.as_ref(), repository, write));
    let answer = match permitted {
        Ok(()) => {
            let user = user.clone().unwrap_or_default();
            git::serve(site, address, parts, upload, user).await
        }
        Err(refusal) => {
            let what = if parts.method == "GET" {
                "advertisement"
            } else {
                "result"
            };
            let service = service.strip_prefix("git-").unwrap_or("unknown");
            let content_type = format!("application/x-git-{service}-{what}");
            git::refuse(refusal.for_git(site, &content_type), upload).await
        }
    };
    (answer, user)
}

/// Answers git-lfs.
pub(super) async fn lfs(
    site: &Site,
    address: &lfs::Address,
    parts: &Parts,
    upload: Upload,
) -> (Answer, Option<String>) {
    let caller = access::caller(site, &lfs::credentials(parts), Place::Scm);
    let repository = address.repository();
    let settings = site.settings().data_center;
    let allow = |write: bool| {
        let token = caller.as_ref().map_err(|refusal| *refusal)?.as_ref();
        access::permit(site, token, repository, write)?;
        if is_listed(&settings.lfs_off, repository) {
            return Err(Refusal::LfsOff);
        }
        Ok(token.map_or(String::new(), |token| token.user.clone()))
    };
    let refused = |refusal| refuse(site, refusal);
    let answer = lfs::serve(site, address, parts, upload, allow, refused);
    (answer.await, name(&caller))
}

fn refuse(site: &Site, refusal: Refusal) -> Answer {
    let text = refusal.text(&site.base_url());
    let mut answer = refusal.marked(lfs::problem(refusal.status(), &text));
    if refusal == Refusal::Unauthorized {
        let challenge = HeaderValue::from_static("Basic realm=\"Atlassian Bitbucket\"");
        answer.headers_mut().insert("LFS-Authenticate", challenge);
    }
    answer
}
