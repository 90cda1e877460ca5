//! The authorize page: a login first, exact redirect URIs, known scopes, and a code that lives for seconds.

use std::time::Duration;

use bitbucket_local::{Consent, Consumer};

use super::{CALLBACK, ask, authorize, change, code, data_center, parameter};
use crate::client::{Client, Reply};

/// The value of a hidden field.
fn field<'a>(page: &'a str, name: &str) -> &'a str {
    let (_, rest) = page
        .split_once(&format!("name=\"{name}\" value=\""))
        .unwrap_or_else(|| panic!("the page has no field '{name}': {page}"));
    rest.split('"').next().unwrap_or("")
}

/// The path and query that a redirect on this server leads to.
fn followed(reply: &Reply, base_url: &str) -> String {
    let location = reply.header("location");
    let below = location.strip_prefix(base_url);
    let below = below.unwrap_or_else(|| panic!("'{location}' is on this server"));
    format!("/bitbucket{below}")
}

#[test]
fn a_browser_signs_in_first_and_then_comes_back_with_a_code_and_the_state() {
    let bitbucket = data_center();
    bitbucket.set_consent(Consent::Ask);
    let mut client = Client::http1(&bitbucket);
    let asked = [
        ("redirect_uri", CALLBACK),
        ("scope", "REPO_READ REPO_WRITE"),
        ("state", "x&y"),
    ];
    let page = authorize(&bitbucket, &asked);
    let to_login = client.get(&page, None);
    assert_eq!(to_login.status, 302, "no user has signed in yet");
    let login = client.get(&followed(&to_login, bitbucket.base_url()), None);
    let html = login.text();
    let next = field(&html, "next").replace("&amp;", "&");
    let check = "/bitbucket/j_atl_security_check";
    let mut form = vec![("next", next.as_str()), ("j_username", "local")];
    form.push(("j_password", "wrong"));
    let wrong = client.post_form(check, None, &form);
    assert_eq!(
        (wrong.status, wrong.header("set-cookie")),
        (200, ""),
        "a wrong password shows the page again"
    );
    form[2] = ("j_password", "local password");
    let right = client.post_form(check, None, &form);
    let cookie = right.header("set-cookie").split(';').next().unwrap_or("");
    let consent = client
        .send(
            "GET",
            &followed(&right, bitbucket.base_url()),
            &[("cookie", cookie)],
            "",
        )
        .expect("because the server answers");
    let html = consent.text();
    assert!(html.contains("REPO_WRITE"), "the page names the scopes");
    let form = [("consent", field(&html, "consent")), ("decision", "grant")];
    let back = client.post_form("/bitbucket/rest/oauth2/latest/authorize", None, &form);
    assert!(
        back.header("location")
            .starts_with(&format!("{CALLBACK}?code=")),
        "the browser goes to the registered address: {}",
        back.header("location")
    );
    assert_eq!(
        parameter(&back, "state").as_deref(),
        Some("x&y"),
        "with the state"
    );
    change(&bitbucket, |settings| settings.signed_in = true);
    assert_eq!(
        client.get(&page, None).status,
        200,
        "a browser that is signed in sees the page at once"
    );
}

#[test]
fn only_the_registered_redirect_uri_is_taken_to_the_letter() {
    let bitbucket = data_center();
    bitbucket.set_consent(Consent::Granted);
    let mut client = Client::http1(&bitbucket);
    let scope = ("scope", "REPO_READ");
    for other in [
        "https://localhost:8443/callback",
        "https://localhost/callback/more",
        "https://localhost/callback?x=y",
        "https://LOCALHOST/callback",
        "http://localhost/callback",
    ] {
        let reply = client.get(
            &authorize(&bitbucket, &[("redirect_uri", other), scope]),
            None,
        );
        assert_eq!(
            (reply.status, reply.header("location")),
            (400, ""),
            "'{other}' is not followed"
        );
    }
    let reply = client.get(&authorize(&bitbucket, &[scope]), None);
    assert_eq!(reply.status, 400, "it must be sent");
    let right = [("redirect_uri", CALLBACK), scope];
    let reply = client.get(&authorize(&bitbucket, &right), None);
    assert!(
        parameter(&reply, "code").is_some(),
        "the registered one is followed"
    );
}

#[test]
fn a_redirect_uri_over_plain_http_is_refused_unless_the_administrator_allows_it() {
    let bitbucket = data_center();
    bitbucket.set_consent(Consent::Granted);
    let callback = "http://127.0.0.1:49152/callback";
    bitbucket.add_consumer(Consumer {
        callback: Some(callback.to_owned()),
        ..bitbucket.consumer().clone()
    });
    let mut client = Client::http1(&bitbucket);
    let page = authorize(
        &bitbucket,
        &[("redirect_uri", callback), ("scope", "REPO_READ")],
    );
    assert_eq!(client.get(&page, None).status, 400, "the default is https");
    change(&bitbucket, |settings| settings.http_redirects = true);
    assert_eq!(
        client.get(&page, None).status,
        302,
        "with the switch it is followed"
    );
}

#[test]
fn a_scope_that_is_unknown_or_not_ticked_is_refused() {
    let bitbucket = data_center();
    bitbucket.set_consent(Consent::Granted);
    bitbucket.add_consumer(Consumer {
        scopes: vec!["REPO_WRITE".to_owned()],
        ..bitbucket.consumer().clone()
    });
    let mut client = Client::http1(&bitbucket);
    let cases = [
        ("REPO_WRITE", None),
        ("REPO_READ", None),
        ("PUBLIC_REPOS REPO_READ REPO_WRITE", None),
        ("REPO_ADMIN", Some("invalid_scope")),
        ("REPO_READ ACCOUNT_WRITE", Some("invalid_scope")),
        ("repository:write", Some("invalid_scope")),
        ("repo_read", Some("invalid_scope")),
    ];
    for (scope, error) in cases {
        let asked = [("redirect_uri", CALLBACK), ("scope", scope)];
        let reply = client.get(&authorize(&bitbucket, &asked), None);
        assert_eq!(
            parameter(&reply, "error").as_deref(),
            error,
            "the scope '{scope}'"
        );
    }
}

#[test]
fn a_code_is_good_once_and_for_ten_seconds() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let exchange = |code: &str| {
        let form = [
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", CALLBACK),
        ];
        ask(&bitbucket, &mut Client::http1(&bitbucket), &form)
    };
    let once = code(&bitbucket, &mut client, &[]);
    assert_eq!(exchange(&once).status, 200, "a code is exchanged");
    let again = exchange(&once);
    assert_eq!(
        (again.status, again.json()["error"].as_str()),
        (400, Some("invalid_grant")),
        "once"
    );
    let late = code(&bitbucket, &mut client, &[]);
    bitbucket.advance_clock(Duration::from_secs(10));
    assert_eq!(exchange(&late).status, 400, "after ten seconds it is dead");
    change(&bitbucket, |settings| settings.code_lifetime_s = 600);
    let late = code(&bitbucket, &mut client, &[]);
    bitbucket.advance_clock(Duration::from_secs(10));
    assert_eq!(
        exchange(&late).status,
        200,
        "the administrator may give it more time"
    );
}
