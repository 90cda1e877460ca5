//! Pages for people: the login, and those that a browser must be signed in for.

use hyper::StatusCode;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};
use hyper::http::request::Parts;
use percent_encoding::utf8_percent_encode;

use super::access::{self, Place};
use super::{PLAIN, url};
use crate::access::Credentials;
use crate::git::header;
use crate::oauth::token_endpoint::Form;
use crate::page::{self, Answer, escape};
use crate::site::Site;

/// The cookie of a browser that is signed in.
const SESSION: &str = "BITBUCKETSESSIONID";

/// Answers what follows the context path, and tells who asked.
pub(super) fn answer(
    site: &Site,
    parts: &Parts,
    form: &Form,
    path: &str,
) -> (Answer, Option<String>) {
    match (parts.method.as_str(), path) {
        ("GET", "/login") => (login(parts, ""), None),
        ("POST", "/j_atl_security_check") => (sign_in(site, parts, form), None),
        _ => page(site, parts, path),
    }
}

/// The page for an address that is none.
pub(super) fn nothing() -> Answer {
    let text = "<p>There is nothing here.</p>";
    page::html(StatusCode::NOT_FOUND, "Not found", text)
}

fn page(site: &Site, parts: &Parts, path: &str) -> (Answer, Option<String>) {
    let credentials = Credentials::of(&parts.headers);
    let is_bearer = matches!(credentials, Credentials::Bearer(_));
    let user = match access::caller(site, &credentials, Place::Pages) {
        Ok(token) => token
            .map(|token| token.user)
            .or_else(|| session(site, parts)),
        Err(_) if is_bearer => return (to_login(site, path), None),
        Err(refusal) => {
            let text = escape(&refusal.text(&site.base_url()));
            let page = page::html(refusal.status(), "Unauthorized", &format!("<p>{text}</p>"));
            return (refusal.marked(page), None);
        }
    };
    if path == "/plugins/servlet/applinks/whoami" {
        let text = user.as_deref().unwrap_or("");
        return (page::text(StatusCode::OK, text), user);
    }
    let answer = match (path, &user) {
        ("", _) => page::redirect(&url(site, "/")),
        (_, None) => to_login(site, path),
        (_, Some(_)) if is_page(path) => page::html(StatusCode::OK, "Bitbucket", "<p>Welcome.</p>"),
        _ => nothing(),
    };
    (answer, user)
}

/// The dashboard, and what belongs to projects and users.
fn is_page(path: &str) -> bool {
    path == "/" || path.starts_with("/projects/") || path.starts_with("/users/")
}

/// Sends the browser to the login, and from there back to this address below the context path.
pub(super) fn to_login(site: &Site, next: &str) -> Answer {
    let next = utf8_percent_encode(next, PLAIN);
    page::redirect(&url(site, &format!("/login?next={next}")))
}

fn login(parts: &Parts, problem: &str) -> Answer {
    let query = Form::parse(parts.uri.query().unwrap_or("").as_bytes());
    form(query.value("next").unwrap_or("/"), problem)
}

fn form(next: &str, problem: &str) -> Answer {
    let body = format!(
        "<p>{problem}</p>\n<form method=\"post\" action=\"j_atl_security_check\">\n\
         <input type=\"hidden\" name=\"next\" value=\"{}\">\n\
         <input name=\"j_username\">\n<input type=\"password\" name=\"j_password\">\n\
         <button type=\"submit\">Log in</button>\n</form>",
        escape(next)
    );
    page::html(StatusCode::OK, "Log in", &body)
}

/// Begins a session for the right password, which also ends a lock: a person has solved the CAPTCHA.
fn sign_in(site: &Site, parts: &Parts, sent: &Form) -> Answer {
    let user = sent.value("j_username").unwrap_or("");
    let secret = sent.value("j_password").unwrap_or("");
    let next = sent.value("next").filter(|next| next.starts_with('/'));
    let next = next.unwrap_or("/");
    let Some(token) = access::password(&site.settings().data_center, user, secret) else {
        site.accounts.failed(user);
        let problem = "Invalid username or password.";
        return form(next, problem);
    };
    site.accounts.forget_failures(user);
    let session = site.accounts.sign_in(&token.user);
    let path = parts.uri.path();
    let context_path = path.strip_suffix("j_atl_security_check").unwrap_or("/");
    let cookie = format!("{SESSION}={session}; Path={context_path}; HttpOnly");
    let mut answer = page::redirect(&url(site, next));
    let cookie = HeaderValue::from_str(&cookie).expect("because an address is printable ASCII");
    answer.headers_mut().insert(SET_COOKIE, cookie);
    answer
}

/// Who has signed in with this browser.
pub(super) fn session(site: &Site, parts: &Parts) -> Option<String> {
    let cookies = header(&parts.headers, COOKIE.as_str())?;
    let session = cookies
        .split("; ")
        .find_map(|cookie| cookie.strip_prefix(SESSION)?.strip_prefix('='))?;
    site.accounts.session(session)
}
