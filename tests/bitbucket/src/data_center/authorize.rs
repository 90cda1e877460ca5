//! The authorize endpoint: exact redirect URIs, known scopes, and a login first.

use hyper::http::request::Parts;
use url::Url;

use super::{SCOPES, pages};
use crate::oauth::Consumer;
use crate::oauth::authorize::{self, Challenge, Request, problem};
use crate::oauth::token_endpoint::Form;
use crate::page::{self, Answer};
use crate::settings::Consent;
use crate::site::Site;

/// Answers the browser: `GET` shows the page, `POST` is one of its buttons.
pub(super) fn answer(site: &Site, parts: &Parts, form: &Form) -> Answer {
    if parts.method == "POST" {
        return authorize::decide(site, form);
    }
    let settings = site.settings();
    let is_signed_in = settings.data_center.signed_in || pages::session(site, parts).is_some();
    let query = parts.uri.query().unwrap_or("");
    if settings.consent == Consent::Ask && !is_signed_in {
        let next = format!("/rest/oauth2/latest/authorize?{query}");
        return pages::to_login(site, &next);
    }
    let query = Form::parse(query.as_bytes());
    let mut request = match request(site, &query) {
        Ok(request) => request,
        Err(text) => return problem(text),
    };
    match scopes(&request.consumer, &query) {
        Some(scopes) => request.scopes = scopes,
        None => {
            let back = authorize::callback(&request, "error", "invalid_scope");
            return page::redirect(back.as_str());
        }
    }
    authorize::conclude(site, request, parts.uri.path())
}

fn request(site: &Site, query: &Form) -> Result<Request, &'static str> {
    let settings = site.settings().data_center;
    let consumer = query
        .value("client_id")
        .and_then(|key| site.oauth.known().consumers.get(key).cloned());
    let consumer = consumer.ok_or("The client_id is not known.")?;
    let sent = query.value("redirect_uri");
    if sent.is_none() || sent != consumer.callback.as_deref() {
        return Err("The redirect_uri is not the registered one.");
    }
    let callback = sent.and_then(|sent| Url::parse(sent).ok());
    let callback = callback.ok_or("The redirect_uri is no address.")?;
    if callback.scheme() != "https" && !settings.http_redirects {
        return Err("The redirect_uri must begin with https.");
    }
    if query.value("response_type") != Some("code") {
        return Err("The response_type must be code.");
    }
    Ok(Request {
        consumer,
        scopes: Vec::new(),
        redirect_uri: sent.map(str::to_owned),
        callback,
        state: query.value("state").map(str::to_owned),
        challenge: Challenge::of(query),
        code_lifetime_s: settings.code_lifetime_s,
    })
}

/// The scopes that are asked for, if the consumer has them all; without any, public repositories may be read.
pub(super) fn scopes(consumer: &Consumer, asked: &Form) -> Option<Vec<String>> {
    let asked: Vec<_> = match asked.value("scope") {
        None | Some("") => vec!["PUBLIC_REPOS"],
        Some(asked) => asked.split(' ').collect(),
    };
    let has = |scope: &&str| consumer.scopes.iter().any(|ticked| implies(ticked, scope));
    let all = asked
        .iter()
        .all(|scope| *scope == "PUBLIC_REPOS" || has(scope));
    all.then(|| asked.into_iter().map(str::to_owned).collect())
}

/// Whether a ticked scope holds another one, as the right to write holds the right to read.
fn implies(ticked: &str, asked: &str) -> bool {
    let repositories = &SCOPES[..5];
    let rank = |scope: &str| repositories.iter().position(|known| *known == scope);
    match (rank(ticked), rank(asked)) {
        (Some(ticked), Some(asked)) => ticked >= asked,
        _ => ticked == asked && SCOPES.contains(&asked),
    }
}
