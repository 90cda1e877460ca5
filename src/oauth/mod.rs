//! OAuth 2.0 for Bitbucket (RFC 6749; Bitbucket Cloud "OAuth 2.0"): grants and their responses.
//!
//! It opens no file, prints nothing and knows neither profiles nor repositories.

mod answer;
mod authorization;
mod error;
mod listener;

use std::time::Duration;

use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use crate::{
    clock::Clock,
    http::{Body, HttpClient, Request},
    secret::Secret,
    url::Url,
};

pub(crate) use answer::TokenAnswer;
pub(crate) use authorization::{Authorization, Callback, bare_code, random};
pub(crate) use error::{Error, Refusal};
pub(crate) use listener::{Listener, Shown, Visitor, is_of_listener};

/// The time limit for one call of the token endpoint.
const TIME_LIMIT: Duration = Duration::from_secs(30);
/// The longest response that is read. It has space for many tokens of a few kilobytes.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;
/// The characters that a form escapes (WHATWG URL, application/x-www-form-urlencoded). A space becomes a `+` instead.
const FORM_ESCAPED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b' ')
    .remove(b'*')
    .remove(b'-')
    .remove(b'.')
    .remove(b'_');

/// An OAuth client (Bitbucket: consumer) with its token endpoint.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The client's id (Bitbucket: key).
    pub(crate) id: String,
    /// The client's secret.
    pub(crate) secret: Secret,
    /// The token endpoint (RFC 6749 section 3.2).
    pub(crate) token_url: Url,
    /// Whether id and secret are in the body of a request instead of a Basic credential.
    pub(crate) is_in_body: bool,
    /// The scopes that requests name (RFC 6749 section 3.3).
    pub(crate) scope: Option<String>,
    /// The redirect URI that a refresh repeats.
    pub(crate) redirect_uri: Option<String>,
}

impl Client {
    /// Requests an access token for the client itself (RFC 6749 section 4.4).
    ///
    /// # Errors
    ///
    /// See [`Error`]. Redirects are not followed.
    pub(crate) fn client_credentials(
        &self,
        http: &dyn HttpClient,
        clock: &dyn Clock,
    ) -> Result<TokenAnswer, Error> {
        let scope = self.scope.as_deref().map(|scope| ("scope", scope));
        let form = [("grant_type", "client_credentials")].into_iter();
        self.ask(http, clock, form.chain(scope).collect())
    }

    /// Exchanges an authorization code (RFC 6749 section 4.1.3, RFC 7636 section 4.5).
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(crate) fn authorization_code(
        &self,
        http: &dyn HttpClient,
        clock: &dyn Clock,
        authorization: &Authorization,
        code: &Secret,
    ) -> Result<TokenAnswer, Error> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code.expose()),
            ("code_verifier", authorization.verifier.expose()),
        ];
        // Bitbucket requires it if, and only if, the authorization request had it.
        if let Some(redirect_uri) = &authorization.redirect_uri {
            form.push(("redirect_uri", redirect_uri));
        }
        self.ask(http, clock, form)
    }

    /// Exchanges a refresh token (RFC 6749 section 6). Since 2026, Bitbucket's tokens are valid once, and the response
    /// has the next one.
    ///
    /// # Errors
    ///
    /// See [`Error`].
    pub(crate) fn refresh(
        &self,
        http: &dyn HttpClient,
        clock: &dyn Clock,
        refresh_token: &Secret,
    ) -> Result<TokenAnswer, Error> {
        let redirect_uri = self.redirect_uri.as_deref();
        let form = [
            ("grant_type", "refresh_token"),
            ("refresh_token", refresh_token.expose()),
        ]
        .into_iter()
        .chain(redirect_uri.map(|uri| ("redirect_uri", uri)));
        self.ask(http, clock, form.collect())
    }

    fn ask<'s>(
        &'s self,
        http: &dyn HttpClient,
        clock: &dyn Clock,
        mut form: Vec<(&'s str, &'s str)>,
    ) -> Result<TokenAnswer, Error> {
        if self.is_in_body {
            form.extend([
                ("client_id", self.id.as_str()),
                ("client_secret", self.secret.expose()),
            ]);
        }
        let body = encode_form(&form);
        let mut request = Request::post(self.token_url.clone(), Body::Secret(Secret::new(body)))
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Accept", "application/json");
        request.authorization = (!self.is_in_body).then(|| self.basic());
        request.time_limit = Some(TIME_LIMIT);
        let asked_at_unix_s = clock.now_unix_s();
        let mut response = http.send(request).map_err(Error::Transport)?;
        let body = response.read_body(MAX_ANSWER_BYTES);
        let body = body.map_err(Error::Transport)?;
        let body = Secret::new(String::from_utf8_lossy(&body).into_owned());
        answer::read(&response, &body, asked_at_unix_s)
    }

    /// Makes the client's Basic credential. Both parts are form-encoded first (RFC 6749 section 2.3.1).
    fn basic(&self) -> Secret {
        let pair = Secret::new(format!(
            "{}:{}",
            form_encode(&self.id),
            form_encode(self.secret.expose())
        ));
        Secret::new(format!("Basic {}", BASE64.encode(pair.expose())))
    }
}

fn encode_form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{}={}", form_encode(name), form_encode(value)))
        .collect();
    pairs.join("&")
}

fn form_encode(text: &str) -> String {
    utf8_percent_encode(text, FORM_ESCAPED)
        .to_string()
        .replace(' ', "+")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn form_encoding_keeps_every_byte() {
        assert_eq!(
            encode_form(&[("a b", "c&d=é/+")]),
            "a+b=c%26d%3D%C3%A9%2F%2B"
        );
    }
}
