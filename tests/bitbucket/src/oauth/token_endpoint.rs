//! The token endpoint: grants in, tokens or Bitbucket's error bodies out.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, HeaderValue};
use hyper::http::request::Parts;
use percent_encoding::percent_decode_str;
use ring::digest::{SHA256, digest};
use serde_json::{Value, json};
use url::form_urlencoded;

use super::authorize::Code;
use super::{Consumer, Grant, TokenKind};
use crate::access::Credentials;
use crate::page::{self, Answer};
use crate::random;
use crate::settings::{ScopeField, Settings};
use crate::site::Site;

/// The longest form that is read: two tokens and then some.
pub(crate) const MAX_FORM_BYTES: usize = 64 << 10;

const UNKNOWN_CLIENT: Failure = Failure("unauthorized_client", "Invalid OAuth client credentials");
const NO_CLIENT: Failure = Failure(
    "unauthorized_client",
    "Requests must be authenticated using OAuth client credentials",
);
const NOT_PRIVATE: Failure = Failure(
    "invalid_grant",
    "Cannot use client_credentials with a consumer marked as \"public\". Calls for auto generated consumers should \
     use urn:bitbucket:oauth2:jwt instead.",
);
const NO_CALLBACK: Failure = Failure(
    "invalid_request",
    "No callback uri defined for the OAuth client.",
);
const DEAD_REFRESH_TOKEN: Failure = Failure("invalid_request", "Invalid refresh_token");
const DEAD_CODE: Failure = Failure("invalid_grant", "The specified code is not valid.");
const OTHER_REDIRECT: Failure = Failure("invalid_request", "redirect_uri does not match");
const WRONG_VERIFIER: Failure = Failure(
    "invalid_grant",
    "The code_verifier does not match the code_challenge.",
);
const NO_JWT: Failure = Failure(
    "invalid_grant",
    "The grant urn:bitbucket:oauth2:jwt is not supported here.",
);

/// `error` and `error_description` (RFC 6749 section 5.2, with Bitbucket's choice of both).
struct Failure(&'static str, &'static str);

/// The parameters of a token request.
pub(crate) struct Form(HashMap<String, String>);

impl Form {
    pub(crate) fn parse(body: &[u8]) -> Self {
        Self(form_urlencoded::parse(body).into_owned().collect())
    }

    pub(crate) fn value(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }
}

/// Answers a request for a token.
pub(crate) fn answer(site: &Site, parts: &Parts, form: &Form) -> Answer {
    let credentials = Credentials::of(&parts.headers);
    if parts.method != "POST"
        || parts.uri.query().is_some_and(holds_parameters)
        || matches!(credentials, Credentials::Bearer(_))
    {
        return not_json();
    }
    let mut answer = match grant(site, &credentials, form) {
        Ok(tokens) => page::json(StatusCode::OK, &tokens),
        Err(body) => page::json(StatusCode::BAD_REQUEST, &body),
    };
    answer
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    answer
}

/// Tells parameters of the grant from what belongs to the endpoint's own address (RFC 6749 section 3.2).
fn holds_parameters(query: &str) -> bool {
    ["grant_type", "code", "refresh_token", "client_secret"]
        .iter()
        .any(|name| Form::parse(query.as_bytes()).value(name).is_some())
}

/// Bitbucket answers a page, not JSON, to parameters in the query and to Bearer (developer community, thread 22038).
fn not_json() -> Answer {
    page::html(
        StatusCode::BAD_REQUEST,
        "Bad request",
        "<p>Something went wrong with this request.</p>",
    )
}

fn grant(site: &Site, credentials: &Credentials, form: &Form) -> Result<Value, Value> {
    let consumer = client(site, credentials, form)?;
    if consumer.callback.is_none() {
        return Err(NO_CALLBACK.into());
    }
    let settings = site.settings();
    let now = site.clock.now_unix_s();
    let asked = form.value("grant_type").unwrap_or("None");
    let mut tokens = match asked {
        "client_credentials" => client_credentials(site, consumer, now, &settings),
        "authorization_code" => {
            let failures = [DEAD_CODE, OTHER_REDIRECT, WRONG_VERIFIER];
            exchange(site, consumer, form, now, &settings, failures).map_err(Value::from)
        }
        "refresh_token" => refresh_token(site, &consumer, form, now, &settings),
        "urn:bitbucket:oauth2:jwt" => Err(NO_JWT.into()),
        other => {
            let description = format!("Unsupported grant type: {other}");
            Err(json!({ "error_description": description, "error": "invalid_grant" }))
        }
    }?;
    // Bitbucket Cloud adds this.
    tokens["state"] = asked.into();
    Ok(tokens)
}

/// The consumer that proved itself by Basic or in the form (RFC 6749 section 2.3.1).
fn client(site: &Site, credentials: &Credentials, form: &Form) -> Result<Consumer, Failure> {
    let (key, secret) = match credentials {
        Credentials::Basic { user, secret } => (form_decoded(user), secret.as_str()),
        Credentials::Anonymous => match (form.value("client_id"), form.value("client_secret")) {
            (Some(key), Some(secret)) => (key.to_owned(), secret),
            _ => return Err(NO_CLIENT),
        },
        Credentials::Bearer(_) | Credentials::Malformed => return Err(NO_CLIENT),
    };
    let consumer = site
        .oauth
        .known()
        .consumers
        .get(&key)
        .cloned()
        .ok_or(UNKNOWN_CLIENT)?;
    // Many clients send Basic without the encoding that the RFC asks for; Bitbucket takes both.
    if consumer.secret == secret || consumer.secret == form_decoded(secret) {
        Ok(consumer)
    } else {
        Err(UNKNOWN_CLIENT)
    }
}

pub(crate) fn form_decoded(text: &str) -> String {
    percent_decode_str(&text.replace('+', " "))
        .decode_utf8_lossy()
        .into_owned()
}

fn client_credentials(
    site: &Site,
    consumer: Consumer,
    now: u64,
    settings: &Settings,
) -> Result<Value, Value> {
    if !consumer.private {
        return Err(NOT_PRIVATE.into());
    }
    let grant = Grant::new(
        TokenKind::Access,
        consumer.scopes.clone(),
        consumer,
        site.user(),
    );
    let mut known = site.oauth.known();
    let access = known.issue_access(&grant, now, settings);
    let refresh = settings
        .client_credentials_refresh
        .then(|| known.issue_refresh(&grant, now, settings));
    Ok(tokens(&grant, &access, refresh.as_deref(), settings))
}

/// Exchanges a code. `failures` are for a code that is not valid, another redirect URI and a wrong verifier.
pub(crate) fn exchange<F>(
    site: &Site,
    consumer: Consumer,
    form: &Form,
    now: u64,
    settings: &Settings,
    failures: [F; 3],
) -> Result<Value, F> {
    let [dead_code, other_redirect, wrong_verifier] = failures;
    let sent = form.value("code").unwrap_or("");
    let mut known = site.oauth.known();
    // Whatever is wrong with the request, the code is spent (RFC 6749 section 4.1.2).
    let code = known
        .codes
        .remove(&random::fingerprint(sent))
        .filter(|code| code.consumer == consumer.key && now < code.expires_at_unix_s)
        .ok_or(dead_code)?;
    if form.value("redirect_uri") != code.redirect_uri.as_deref() {
        return Err(other_redirect);
    }
    if settings.pkce_checked && !verifies(&code, form.value("code_verifier")) {
        return Err(wrong_verifier);
    }
    let grant = Grant::new(TokenKind::Access, code.scopes, consumer, code.user);
    let access = known.issue_access(&grant, now, settings);
    let refresh = known.issue_refresh(&grant, now, settings);
    Ok(tokens(&grant, &access, Some(&refresh), settings))
}

/// RFC 7636 section 4.6.
fn verifies(code: &Code, verifier: Option<&str>) -> bool {
    let Some(challenge) = &code.challenge else {
        return true;
    };
    let Some(verifier) = verifier else {
        return false;
    };
    if challenge.plain {
        return challenge.value == verifier;
    }
    challenge.value == URL_SAFE_NO_PAD.encode(digest(&SHA256, verifier.as_bytes()))
}

fn refresh_token(
    site: &Site,
    consumer: &Consumer,
    form: &Form,
    now: u64,
    settings: &Settings,
) -> Result<Value, Value> {
    let sent = form.value("refresh_token").unwrap_or("");
    let mut known = site.oauth.known();
    let token = known
        .refresh_tokens
        .get_mut(&random::fingerprint(sent))
        .ok_or(DEAD_REFRESH_TOKEN)?;
    if token.grant.consumer.key != consumer.key {
        return Err(DEAD_REFRESH_TOKEN.into());
    }
    let grace_s = settings.rotation.then_some(settings.refresh_grace_s);
    let grant = token.redeem(now, grace_s).ok_or(DEAD_REFRESH_TOKEN)?;
    let access = known.issue_access(&grant, now, settings);
    let next = if settings.rotation {
        known.issue_refresh(&grant, now, settings)
    } else {
        sent.to_owned()
    };
    let next = (!settings.refresh_token_omitted).then_some(next);
    Ok(tokens(&grant, &access, next.as_deref(), settings))
}

/// A successful answer (RFC 6749 section 5.1).
pub(crate) fn tokens(
    grant: &Grant,
    access: &str,
    refresh: Option<&str>,
    settings: &Settings,
) -> Value {
    let mut answer = json!({ "access_token": access, "token_type": "bearer" });
    let scope_field = match settings.scope_field {
        ScopeField::Scope => "scope",
        ScopeField::Scopes => "scopes",
    };
    answer[scope_field] = grant.scopes.join(" ").into();
    if !settings.expires_in_omitted {
        answer["expires_in"] = settings.access_token_lifetime_s.into();
    }
    if let Some(refresh) = refresh {
        answer["refresh_token"] = refresh.into();
    }
    answer
}

impl From<Failure> for Value {
    fn from(Failure(error, description): Failure) -> Self {
        json!({ "error_description": description, "error": error })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oauth::authorize::Challenge;

    #[test]
    fn a_verifier_must_hash_to_the_challenge() {
        // The example of RFC 7636 appendix B.
        let challenge = Challenge {
            value: "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM".to_owned(),
            plain: false,
        };
        let code = Code {
            consumer: String::new(),
            scopes: Vec::new(),
            user: String::new(),
            redirect_uri: None,
            challenge: Some(challenge),
            expires_at_unix_s: 0,
        };
        assert!(
            verifies(&code, Some("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk")),
            "the RFC's own verifier fits"
        );
        assert!(
            !verifies(&code, Some("another")),
            "another verifier does not"
        );
        assert!(!verifies(&code, None), "a challenge asks for a verifier");
    }

    #[test]
    fn client_credentials_may_be_form_encoded_inside_basic() {
        assert_eq!(
            form_decoded("a%3Ab+c"),
            "a:b c",
            "RFC 6749 section 2.3.1 asks for the encoding"
        );
    }
}
