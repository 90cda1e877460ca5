//! The two REST calls that tell a bad token, a missing scope and a missing repository apart.

use hyper::StatusCode;
use hyper::http::request::Parts;
use serde_json::json;

use crate::access::{Credentials, NO_ACCESS, SCOPE_MISSING};
use crate::git::Repository;
use crate::oauth::{Token, TokenKind};
use crate::page::{self, Answer};
use crate::site::Site;

const DEAD_ACCESS_TOKEN: &str =
    "Access token expired. Use your refresh token to obtain a new access token.";
const DEAD_API_TOKEN: &str = "Token is invalid, expired, or not supported for this endpoint.";

/// Answers a request under `/2.0/`.
pub(crate) fn answer(site: &Site, parts: &Parts) -> Answer {
    let token = match token(site, &Credentials::of(&parts.headers)) {
        Ok(token) => token,
        Err(text) => return error(StatusCode::UNAUTHORIZED, text),
    };
    let mut path = parts.uri.path().split('/').skip(2);
    match (path.next(), path.next(), path.next(), path.next()) {
        (Some("user"), None, None, None) => user(&token),
        (Some("repositories"), Some(workspace), Some(slug), None) => {
            repository(site, &token, workspace, slug)
        }
        _ => error(StatusCode::NOT_FOUND, "Resource not found"),
    }
}

/// OAuth and resource tokens come as Bearer, API tokens with the user's e-mail address (Bitbucket: "Authentication").
fn token(site: &Site, credentials: &Credentials) -> Result<Token, &'static str> {
    let now = site.clock.now_unix_s();
    match credentials {
        Credentials::Bearer(secret) => {
            let token = site
                .oauth
                .token(secret, now)
                .filter(|token| token.kind != TokenKind::Api);
            token.ok_or(DEAD_ACCESS_TOKEN)
        }
        Credentials::Basic { user, secret } => {
            let token = site
                .oauth
                .token(secret, now)
                .filter(|token| token.kind == TokenKind::Api && user.contains('@'));
            token.ok_or(DEAD_API_TOKEN)
        }
        Credentials::Anonymous | Credentials::Malformed => Err(DEAD_API_TOKEN),
    }
}

fn user(token: &Token) -> Answer {
    if !token.may_read_account() {
        return scope_missing(token, "account");
    }
    page::json(
        StatusCode::OK,
        &json!({ "type": "user", "username": "local", "nickname": "local", "display_name": "Local User", "account_id": "local" }),
    )
}

fn repository(site: &Site, token: &Token, workspace: &str, slug: &str) -> Answer {
    let known = Repository::new(workspace, slug).filter(|repository| site.exists(repository));
    if known.is_none() || !token.reaches(workspace) {
        return error(StatusCode::NOT_FOUND, NO_ACCESS);
    }
    if !token.may_read() {
        return scope_missing(token, "repository");
    }
    let full_name = format!("{workspace}/{slug}");
    page::json(
        StatusCode::OK,
        &json!({ "type": "repository", "full_name": full_name, "slug": slug, "is_private": true, "scm": "git" }),
    )
}

fn scope_missing(token: &Token, required: &str) -> Answer {
    let detail = json!({ "granted": token.scopes, "required": [required] });
    let body = json!({ "type": "error", "error": { "message": SCOPE_MISSING, "detail": detail } });
    page::json(StatusCode::FORBIDDEN, &body)
}

fn error(status: StatusCode, message: &str) -> Answer {
    page::json(
        status,
        &json!({ "type": "error", "error": { "message": message } }),
    )
}
