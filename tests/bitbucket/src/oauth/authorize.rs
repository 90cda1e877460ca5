//! The authorize endpoint: a consent page and the way back to the consumer's callback.

use hyper::StatusCode;
use hyper::http::request::Parts;
use url::{Host, Url};

use super::Consumer;
use super::token_endpoint::Form;
use crate::page::{self, Answer, escape};
use crate::random;
use crate::settings::Consent;
use crate::site::Site;

/// How long a code may wait to be exchanged (RFC 6749 section 4.1.2 recommends this maximum).
const CODE_LIFETIME_S: u64 = 600;
const UNKNOWN_CLIENT: &str =
    "Invalid client_id. This integration is misconfigured. Contact the vendor for assistance.";

/// A consent that waits for the user.
pub(crate) struct Request {
    pub(crate) consumer: Consumer,
    /// What the token may do if the user agrees.
    pub(crate) scopes: Vec<String>,
    /// As it was sent; the token request must repeat it exactly.
    pub(crate) redirect_uri: Option<String>,
    pub(crate) callback: Url,
    pub(crate) state: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) code_lifetime_s: u64,
}

/// A PKCE challenge (RFC 7636 section 4.3).
pub(crate) struct Challenge {
    pub(super) value: String,
    /// `plain` rather than `S256`.
    pub(super) plain: bool,
}

impl Challenge {
    pub(crate) fn of(query: &Form) -> Option<Self> {
        query.value("code_challenge").map(|value| Self {
            value: value.to_owned(),
            plain: query.value("code_challenge_method") != Some("S256"),
        })
    }
}

/// An authorization code without its secret.
pub(crate) struct Code {
    pub(crate) consumer: String,
    pub(crate) scopes: Vec<String>,
    /// Who agreed.
    pub(crate) user: String,
    pub(crate) redirect_uri: Option<String>,
    pub(crate) challenge: Option<Challenge>,
    pub(crate) expires_at_unix_s: u64,
}

/// Answers the browser: `GET` shows the page, `POST` is one of its buttons.
pub(crate) fn answer(site: &Site, parts: &Parts, form: &Form) -> Answer {
    if parts.method == "POST" {
        return decide(site, form);
    }
    let query = Form::parse(parts.uri.query().unwrap_or("").as_bytes());
    let request = match request(site, &query) {
        Ok(request) => request,
        Err(text) => return problem(text),
    };
    conclude(site, request, "/site/oauth2/authorize")
}

/// Asks the user with a page whose form goes to `action`, or does what the settings say.
pub(crate) fn conclude(site: &Site, request: Request, action: &str) -> Answer {
    match site.settings().consent {
        Consent::Ask => ask(site, request, action),
        Consent::Granted => granted(site, request),
        Consent::Denied => denied(&request),
    }
}

fn request(site: &Site, query: &Form) -> Result<Request, &'static str> {
    let consumer = query
        .value("client_id")
        .and_then(|key| site.oauth.known().consumers.get(key).cloned());
    let consumer = consumer.ok_or(UNKNOWN_CLIENT)?;
    let registered = consumer
        .callback
        .as_deref()
        .and_then(|callback| Url::parse(callback).ok());
    let registered = registered.ok_or("No callback uri defined for the OAuth client.")?;
    let redirect_uri = query.value("redirect_uri").map(str::to_owned);
    let callback = match &redirect_uri {
        None => registered,
        Some(sent) => {
            let sent = Url::parse(sent)
                .ok()
                .filter(|sent| extends(sent, &registered));
            sent.ok_or("Invalid redirect_uri. It does not match the registered callback.")?
        }
    };
    if query.value("response_type") != Some("code") {
        return Err("Unsupported response_type. Only code is supported.");
    }
    Ok(Request {
        scopes: consumer.scopes.clone(),
        consumer,
        redirect_uri,
        callback,
        state: query.value("state").map(str::to_owned),
        challenge: Challenge::of(query),
        code_lifetime_s: CODE_LIFETIME_S,
    })
}

/// Whether a callback equals or extends the registered one; the port does not count on loopback (RFC 8252 section 7.3).
fn extends(sent: &Url, registered: &Url) -> bool {
    let same_port = sent.port_or_known_default() == registered.port_or_known_default()
        || is_loopback(registered);
    sent.scheme() == registered.scheme()
        && sent.host() == registered.host()
        && sent.username() == registered.username()
        && same_port
        && path_and_query(sent).starts_with(&path_and_query(registered))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        _ => false,
    }
}

fn path_and_query(url: &Url) -> String {
    match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    }
}

fn ask(site: &Site, request: Request, action: &str) -> Answer {
    let name = escape(&request.consumer.name);
    let scopes: String = request
        .scopes
        .iter()
        .map(|scope| format!("<li>{}</li>", escape(scope)))
        .collect();
    let consent = random::alphanumeric(32);
    let body = format!(
        "<p><strong>{name}</strong> is requesting access to the following:</p>\n<ul>{scopes}</ul>\n\
         <form method=\"post\" action=\"{action}\">\n\
         <input type=\"hidden\" name=\"consent\" value=\"{consent}\">\n\
         <button type=\"submit\" name=\"decision\" value=\"grant\">Grant access</button>\n\
         <button type=\"submit\" name=\"decision\" value=\"cancel\">Cancel</button>\n</form>"
    );
    site.oauth.known().requests.insert(consent, request);
    page::html(StatusCode::OK, "Confirm access to your account", &body)
}

pub(crate) fn decide(site: &Site, form: &Form) -> Answer {
    let request = form
        .value("consent")
        .and_then(|consent| site.oauth.known().requests.remove(consent));
    let Some(request) = request else {
        return problem("This page was used already. Start again.");
    };
    match form.value("decision") {
        Some("grant") => granted(site, request),
        _ => denied(&request),
    }
}

fn granted(site: &Site, request: Request) -> Answer {
    let secret = random::alphanumeric(32);
    let back = callback(&request, "code", &secret);
    let code = Code {
        consumer: request.consumer.key,
        scopes: request.scopes,
        user: site.user(),
        redirect_uri: request.redirect_uri,
        challenge: request.challenge,
        expires_at_unix_s: site.clock.now_unix_s() + request.code_lifetime_s,
    };
    site.oauth
        .known()
        .codes
        .insert(random::fingerprint(&secret), code);
    page::redirect(back.as_str())
}

/// RFC 6749 section 4.1.2.1.
fn denied(request: &Request) -> Answer {
    let mut back = callback(request, "error", "access_denied");
    back.query_pairs_mut()
        .append_pair("error_description", "The resource owner denied the request");
    page::redirect(back.as_str())
}

pub(crate) fn callback(request: &Request, name: &str, value: &str) -> Url {
    let mut back = request.callback.clone();
    back.query_pairs_mut().append_pair(name, value);
    if let Some(state) = &request.state {
        back.query_pairs_mut().append_pair("state", state);
    }
    back
}

pub(crate) fn problem(text: &str) -> Answer {
    page::html(
        StatusCode::BAD_REQUEST,
        "Error",
        &format!("<p>{}</p>", escape(text)),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_callback_equals_or_extends_the_registered_one_and_its_port_is_free_on_loopback() {
        let cases = [
            (
                "http://127.0.0.1/callback",
                "http://127.0.0.1/callback",
                true,
            ),
            (
                "http://127.0.0.1/callback",
                "http://127.0.0.1:49152/callback",
                true,
            ),
            (
                "http://127.0.0.1/callback",
                "http://127.0.0.1:49152/callback/more?x=y",
                true,
            ),
            ("http://[::1]/callback", "http://[::1]:49152/callback", true),
            (
                "http://127.0.0.1/callback",
                "http://localhost:49152/callback",
                false,
            ),
            (
                "http://localhost:34106/",
                "http://localhost:34106/done",
                true,
            ),
            ("http://localhost:34106/", "http://localhost:34107/", false),
            ("https://example.com/", "https://example.com:8443/", false),
            ("https://example.com/", "http://example.com/", false),
            ("https://example.com/a", "https://example.com/", false),
        ];
        for (registered, sent, fits) in cases {
            let [registered, sent] =
                [registered, sent].map(|url| Url::parse(url).expect("because the cases are URLs"));
            assert_eq!(
                extends(&sent, &registered),
                fits,
                "'{sent}' for the registered '{registered}'"
            );
        }
    }
}
