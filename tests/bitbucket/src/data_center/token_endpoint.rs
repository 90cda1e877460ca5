//! The token endpoint: stricter than Bitbucket Cloud's.

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::http::request::Parts;
use serde_json::{Value, json};

use super::access::Refusal;
use super::authorize;
use crate::access::Credentials;
use crate::git::header;
use crate::oauth::token_endpoint::{Form, exchange, form_decoded, tokens};
use crate::oauth::{Consumer, Grant, TokenKind};
use crate::page::{self, Answer};
use crate::random;
use crate::settings::Settings;
use crate::site::Site;

/// `error` and `error_description` (RFC 6749 section 5.2).
struct Failure(&'static str, &'static str);

const UNKNOWN_CLIENT: Failure = Failure("invalid_client", "Invalid client credentials");
const DEAD_CODE: Failure = Failure("invalid_grant", "The code is not valid");
const OTHER_REDIRECT: Failure = Failure("invalid_grant", "The redirect_uri does not match");
const WRONG_VERIFIER: Failure = Failure("invalid_grant", "The code_verifier does not match");
const DEAD_REFRESH_TOKEN: Failure = Failure("invalid_grant", "The refresh token is not valid");
const NO_SCOPE: Failure = Failure("invalid_request", "The scope is missing");
const OTHER_SCOPE: Failure = Failure("invalid_scope", "The scope is not allowed for this client");
const NO_SERVICE_ACCOUNT: Failure =
    Failure("unauthorized_client", "The client is no service account");
const OTHER_GRANT: Failure = Failure("unsupported_grant_type", "The grant type is not supported");

/// Answers a request for a token.
pub(super) fn answer(site: &Site, parts: &Parts, form: &Form) -> Answer {
    let content_type = header(&parts.headers, CONTENT_TYPE.as_str()).unwrap_or_default();
    if parts.method != "POST" || !content_type.starts_with("application/x-www-form-urlencoded") {
        let error =
            json!({ "context": null, "message": "Internal Server Error", "exceptionName": null });
        let errors = json!({ "errors": [error] });
        return page::json(StatusCode::INTERNAL_SERVER_ERROR, &errors);
    }
    let settings = site.settings();
    let client = match client(site, &settings, &Credentials::of(&parts.headers), form) {
        Ok(client) => client,
        Err(failure) => return failed(StatusCode::UNAUTHORIZED, &failure),
    };
    let now = site.clock.now_unix_s();
    let limit = settings.data_center.rate_limit;
    if limit.is_some_and(|limit| !site.accounts.take_request(&client.key, limit, now)) {
        let text = Refusal::Limited.text("");
        let body =
            json!({ "errors": [{ "context": null, "message": text, "exceptionName": null }] });
        return Refusal::Limited.marked(page::json(StatusCode::TOO_MANY_REQUESTS, &body));
    }
    let granted = match form.value("grant_type") {
        Some("client_credentials") => client_credentials(site, client, form, now, &settings),
        Some("authorization_code") => {
            let failures = [DEAD_CODE, OTHER_REDIRECT, WRONG_VERIFIER];
            exchange(site, client, form, now, &settings, failures)
        }
        Some("refresh_token") => refresh_token(site, &client, form, now, &settings),
        _ => Err(OTHER_GRANT),
    };
    match granted {
        Ok(tokens) => uncached(page::json(StatusCode::OK, &tokens)),
        Err(failure) => failed(StatusCode::BAD_REQUEST, &failure),
    }
}

fn failed(status: StatusCode, Failure(error, description): &Failure) -> Answer {
    let body = json!({ "error": error, "error_description": description });
    uncached(page::json(status, &body))
}

fn uncached(mut answer: Answer) -> Answer {
    let no_store = HeaderValue::from_static("no-store");
    answer.headers_mut().insert(CACHE_CONTROL, no_store);
    answer
}

/// The client that proved itself in the form, or by Basic authentication where that is allowed.
fn client(
    site: &Site,
    settings: &Settings,
    credentials: &Credentials,
    form: &Form,
) -> Result<Consumer, Failure> {
    let (key, secret) = match (
        form.value("client_id"),
        form.value("client_secret"),
        credentials,
    ) {
        (Some(key), Some(secret), _) => (key.to_owned(), secret.to_owned()),
        (_, _, Credentials::Basic { user, secret }) if settings.data_center.basic_client_auth => {
            (form_decoded(user), form_decoded(secret))
        }
        _ => return Err(UNKNOWN_CLIENT),
    };
    let known = site.oauth.known();
    let consumer = known
        .consumers
        .get(&key)
        .filter(|known| known.secret == secret);
    consumer.cloned().ok_or(UNKNOWN_CLIENT)
}

fn client_credentials(
    site: &Site,
    client: Consumer,
    form: &Form,
    now: u64,
    settings: &Settings,
) -> Result<Value, Failure> {
    if !client.private {
        return Err(NO_SERVICE_ACCOUNT);
    }
    form.value("scope").ok_or(NO_SCOPE)?;
    let scopes = authorize::scopes(&client, form).ok_or(OTHER_SCOPE)?;
    let user = format!("service-account-{}", client.key);
    let grant = Grant::new(TokenKind::Service, scopes, client, user);
    let access = site.oauth.known().issue_access(&grant, now, settings);
    Ok(tokens(&grant, &access, None, settings))
}

fn refresh_token(
    site: &Site,
    client: &Consumer,
    form: &Form,
    now: u64,
    settings: &Settings,
) -> Result<Value, Failure> {
    let sent = form.value("refresh_token").unwrap_or("");
    let mut known = site.oauth.known();
    let token = known
        .refresh_tokens
        .get_mut(&random::fingerprint(sent))
        .filter(|token| token.grant.consumer.key == client.key)
        .ok_or(DEAD_REFRESH_TOKEN)?;
    let is_repeated = form.value("redirect_uri") == client.callback.as_deref();
    if settings.data_center.refresh_needs_redirect_uri && !is_repeated {
        return Err(OTHER_REDIRECT);
    }
    let grace_s = settings.rotation.then_some(settings.refresh_grace_s);
    let grant = token.redeem(now, grace_s).ok_or(DEAD_REFRESH_TOKEN)?;
    if settings.data_center.refresh_ends_access {
        let older = known.tokens.values_mut();
        older
            .filter(|token| token.grant.as_ref() == Some(&grant.id))
            .for_each(|token| token.revoked = true);
    }
    let access = known.issue_access(&grant, now, settings);
    let next = if settings.rotation {
        known.issue_refresh(&grant, now, settings)
    } else {
        sent.to_owned()
    };
    let next = (!settings.refresh_token_omitted).then_some(next);
    Ok(tokens(&grant, &access, next.as_deref(), settings))
}
