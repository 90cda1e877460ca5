//! Detects common mix-ups of secrets before a request, because the server would only answer 401.
//!
//! A client secret or an OAuth 1 token has no recognizable form, and a revoked token looks like a valid one.

use crate::{
    failure::{Failure, Kind},
    pasted,
    profile::Profile,
    secret::Secret,
};

/// The prefixes of Atlassian's tokens: API tokens, and access tokens of repositories, projects and workspaces.
const TOKENS: [&str; 2] = ["ATATT", "ATCTT"];
/// The prefix of app passwords, which Bitbucket removed in July 2026.
const APP_PASSWORD: &str = "ATBB";

/// Refuses a secret that is not an access token or API token.
pub(super) fn check_token(token: &Secret, profile: &Profile) -> Result<(), Failure> {
    let token = token.expose();
    let facts = profile.endpoints.product.facts();
    let refuse = |kind, why: &str| {
        let message = format!("the access token of profile '{profile}' {why}");
        Err(Failure::new(kind, message))
    };
    let starts = |prefix: &str| {
        token
            .get(..prefix.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix))
    };
    if token.starts_with(APP_PASSWORD) || token.contains(&format!(":{APP_PASSWORD}")) {
        return refuse(Kind::AppPassword, "is an app password");
    }
    let headers = ["Bearer ", "Basic ", "Authorization:"];
    let why = if starts("oauth_") || token.contains("oauth_token") {
        "is an OAuth 1 token, which Bitbucket does not accept for git over https"
    } else if headers.into_iter().any(starts) {
        "is a whole header; give only the token, the part after 'Bearer'"
    } else if token.contains(':') {
        "has the form 'key:secret' or 'user:password'; neither is a token"
    } else if facts
        .foreign_tokens
        .iter()
        .any(|start| token.starts_with(start))
    {
        facts.words.foreign_token
    } else if let Err(flaw) = pasted::check(token) {
        &flaw.to_string()
    } else {
        return Ok(());
    };
    let remedy = facts.words.no_token;
    refuse(Kind::WrongSecret { remedy }, why)
}

/// Refuses an id and secret that cannot be those of a client.
pub(super) fn check_client(id: &str, secret: &Secret, profile: &Profile) -> Result<(), Failure> {
    let secret = secret.expose();
    let refuse = |kind, why: &str| {
        let message = format!("the client of profile '{profile}' cannot be used: {why}");
        Err(Failure::new(kind, message))
    };
    if secret.starts_with(APP_PASSWORD) {
        let why = "its secret is an app password, not the secret of an OAuth consumer";
        return refuse(Kind::AppPassword, why);
    }
    let why = if TOKENS.iter().any(|prefix| secret.starts_with(prefix)) {
        "its secret is an access token or API token; set BBTOKEN_ACCESS_TOKEN to it instead, and configure no client"
    } else if id.ends_with(&format!(":{secret}")) || secret.starts_with(&format!("{id}:")) {
        "its id or its secret contains both, as 'key:secret'; give its id and its secret separately"
    } else if id == secret {
        "its id and its secret are the same; copy both again"
    } else if let Err(flaw) = pasted::check_id(id) {
        &format!("its id {flaw}")
    } else if let Err(flaw) = pasted::check(secret) {
        &format!("its secret {flaw}")
    } else {
        return Ok(());
    };
    refuse(Kind::Misconfigured, why)
}
