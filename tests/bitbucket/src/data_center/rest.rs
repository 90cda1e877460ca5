//! The REST calls that tell users and repositories apart.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::access::{self, Place, Refusal};
use super::{is_listed, repository, slug, url};
use crate::access::Credentials;
use crate::git::Repository;
use crate::oauth::Token;
use crate::page::{self, Answer};
use crate::site::Site;

/// Where Data Center's own exceptions are.
const PACKAGE: &str = "com.atlassian.bitbucket";

/// Answers what follows `/rest/`, and tells who asked.
pub(super) fn answer(site: &Site, parts: &Parts, path: &str) -> (Answer, Option<String>) {
    let credentials = Credentials::of(&parts.headers);
    let caller = match access::caller(site, &credentials, Place::Rest) {
        Ok(caller) => caller,
        Err(refusal) => return (refuse(site, refusal), None),
    };
    let path = ["api/latest/", "api/1.0/"]
        .iter()
        .find_map(|version| path.strip_prefix(version));
    let words: Vec<_> = path.unwrap_or("").split('/').collect();
    let answer = match words.as_slice() {
        ["application-properties"] => Ok(properties(site)),
        ["inbox", "pull-requests", "count"] => signed_in(&caller).map(|_| json!({ "count": 0 })),
        ["users", asked] => signed_in(&caller).and_then(|token| user(token, asked)),
        ["projects", key, "repos", slug] => shown(site, caller.as_ref(), key, slug),
        _ => Err(Refusal::Missing),
    };
    let answer = match answer {
        Ok(value) => page::json(StatusCode::OK, &value),
        Err(refusal) => refuse(site, refusal),
    };
    (answer, caller.map(|token| token.user))
}

fn properties(site: &Site) -> Value {
    let version = site.settings().data_center.version;
    json!({ "version": version, "buildNumber": "10002001", "displayName": "Bitbucket" })
}

fn signed_in(caller: &Option<Token>) -> Result<&Token, Refusal> {
    caller.as_ref().ok_or(Refusal::Unauthorized)
}

fn user(token: &Token, asked: &str) -> Result<Value, Refusal> {
    if slug(&token.user) != asked {
        return Err(Refusal::Missing);
    }
    Ok(
        json!({ "name": token.user, "slug": asked, "displayName": "Local User", "active": true, "type": "NORMAL" }),
    )
}

fn shown(site: &Site, caller: Option<&Token>, key: &str, slug: &str) -> Result<Value, Refusal> {
    let repository = repository(key, slug).filter(|repository| site.exists(repository));
    let repository = match (repository, caller) {
        (Some(repository), _) => repository,
        (None, Some(_)) => return Err(Refusal::Missing),
        (None, None) => return Err(Refusal::Unauthorized),
    };
    // A user without the right to read gets 401, not 404 (REST documentation, "Repository").
    access::permit(site, caller, &repository, false).map_err(|_| Refusal::Unauthorized)?;
    let is_public = is_listed(
        &site.settings().data_center.public_repositories,
        &repository,
    );
    let Repository { workspace, slug } = repository;
    let clone = url(
        site,
        &format!("/scm/{}/{slug}.git", workspace.to_lowercase()),
    );
    Ok(json!({
        "slug": slug,
        "name": slug,
        "scmId": "git",
        "state": "AVAILABLE",
        "public": is_public,
        "project": { "key": workspace },
        "links": { "clone": [{ "href": clone, "name": "http" }] },
    }))
}

/// An error as Data Center's REST words them.
fn refuse(site: &Site, refusal: Refusal) -> Answer {
    let exception = match refusal {
        Refusal::Unauthorized => "auth.IncorrectPasswordAuthenticationException",
        Refusal::Captcha => "auth.CaptchaRequiredAuthenticationException",
        Refusal::Missing => "repository.NoSuchRepositoryException",
        Refusal::Limited => "request.RateLimitedException",
        Refusal::BasicOff
        | Refusal::Forbidden
        | Refusal::Expired
        | Refusal::Mirror
        | Refusal::LfsOff => "AuthorisationException",
    };
    let error = json!({
        "context": null,
        "message": refusal.text(&site.base_url()),
        "exceptionName": format!("{PACKAGE}.{exception}"),
    });
    let errors = json!({ "errors": [error] });
    refusal.marked(page::json(refusal.status(), &errors))
}
