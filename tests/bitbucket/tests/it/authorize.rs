//! The authorize endpoint and the codes it gives.

use std::time::Duration;

use bitbucket_local::{Bitbucket, Consent};
use url::Url;
use url::form_urlencoded::Serializer;

use crate::client::{Client, Reply, basic};
use crate::support::{TOKEN, bitbucket};

const CALLBACK: &str = "http://127.0.0.1:49152/callback";
/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

fn authorize(bitbucket: &Bitbucket, more: &[(&str, &str)]) -> String {
    let mut query = Serializer::new(String::new());
    query
        .append_pair("response_type", "code")
        .append_pair("client_id", &bitbucket.consumer().key);
    format!(
        "/site/oauth2/authorize?{}",
        query.extend_pairs(more).finish()
    )
}

fn parameter(reply: &Reply, name: &str) -> Option<String> {
    let location = Url::parse(reply.header("location")).expect("because the answer is a redirect");
    location
        .query_pairs()
        .find(|(key, _)| key == name)
        .map(|(_, value)| value.into_owned())
}

/// A code from a user who has granted access before.
fn code(bitbucket: &Bitbucket, client: &mut Client, more: &[(&str, &str)]) -> String {
    bitbucket.set_consent(Consent::Granted);
    let back = client.get(&authorize(bitbucket, more), None);
    parameter(&back, "code").expect("because access was granted")
}

fn exchange(
    bitbucket: &Bitbucket,
    client: &mut Client,
    code: &str,
    more: &[(&str, &str)],
) -> Reply {
    let mut form = vec![("grant_type", "authorization_code"), ("code", code)];
    form.extend_from_slice(more);
    client.post_form(
        TOKEN,
        Some(&basic(
            &bitbucket.consumer().key,
            &bitbucket.consumer().secret,
        )),
        &form,
    )
}

#[test]
fn the_page_asks_and_its_buttons_lead_back_to_the_callback() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    for (button, name) in [("grant", "code"), ("cancel", "error")] {
        let page = client.get(
            &authorize(&bitbucket, &[("state", "x&y"), ("redirect_uri", CALLBACK)]),
            None,
        );
        assert_eq!(page.status, 200, "the page is shown");
        let html = page.text();
        for part in [
            &bitbucket.consumer().name,
            "repository:write",
            "Grant access",
            "Cancel",
            "method=\"post\"",
        ] {
            assert!(html.contains(part), "the page shows '{part}'");
        }
        let (_, rest) = html
            .split_once("name=\"consent\" value=\"")
            .expect("because the form has a hidden field");
        let consent = rest.split('"').next().unwrap_or("");
        let form = [("consent", consent), ("decision", button)];
        let back = client.post_form("/site/oauth2/authorize", None, &form);
        assert_eq!(back.status, 302, "the browser is sent back");
        assert!(
            back.header("location").starts_with(CALLBACK),
            "to the callback it named"
        );
        assert_eq!(
            parameter(&back, "state").as_deref(),
            Some("x&y"),
            "with the state"
        );
        assert!(parameter(&back, name).is_some(), "and '{name}'");
        let again = client.post_form("/site/oauth2/authorize", None, &form);
        assert_eq!(again.status, 400, "a page works once");
    }
}

#[test]
fn consent_can_be_given_or_denied_without_a_page() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    bitbucket.set_consent(Consent::Denied);
    let back = client.get(&authorize(&bitbucket, &[]), None);
    assert_eq!(
        parameter(&back, "error").as_deref(),
        Some("access_denied"),
        "a denied request says so"
    );
    assert!(
        back.header("location")
            .starts_with("http://127.0.0.1/callback?"),
        "the registered callback is the default"
    );
}

#[test]
fn unknown_clients_and_foreign_callbacks_get_a_page() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let unknown = client.get(
        "/site/oauth2/authorize?response_type=code&client_id=nobody",
        None,
    );
    assert!(
        unknown
            .text()
            .contains("Invalid client_id. This integration is misconfigured"),
        "the page names the problem"
    );
    for callback in [
        "https://example.com/callback",
        "http://127.0.0.1/other",
        "nonsense",
    ] {
        let reply = client.get(&authorize(&bitbucket, &[("redirect_uri", callback)]), None);
        assert_eq!(
            (reply.status, reply.header("location")),
            (400, ""),
            "'{callback}' is not followed"
        );
    }
    let implicit = format!(
        "/site/oauth2/authorize?response_type=token&client_id={}",
        bitbucket.consumer().key
    );
    assert_eq!(
        client.get(&implicit, None).status,
        400,
        "the implicit grant is gone"
    );
}

#[test]
fn a_code_is_good_once_and_for_ten_minutes() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let once = code(&bitbucket, &mut client, &[]);
    let reply = exchange(&bitbucket, &mut client, &once, &[]);
    let answer = reply.json();
    assert_eq!(reply.status, 200, "a code is exchanged for tokens");
    assert!(
        answer["refresh_token"]
            .as_str()
            .is_some_and(|token| token.len() > 2_500),
        "a long refresh token is one"
    );
    assert_eq!(
        exchange(&bitbucket, &mut client, &once, &[]).status,
        400,
        "the code is spent"
    );
    let late = code(&bitbucket, &mut client, &[]);
    bitbucket.advance_clock(Duration::from_secs(600));
    assert_eq!(
        exchange(&bitbucket, &mut client, &late, &[]).status,
        400,
        "a code expires"
    );
}

#[test]
fn the_callback_must_be_repeated_if_and_only_if_it_was_sent() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let sent = [("redirect_uri", CALLBACK)];
    let other = [("redirect_uri", "http://127.0.0.1:49153/callback")];
    let cases: [(&[_], &[_], u16); 5] = [
        (&sent, &sent, 200),
        (&sent, &[], 400),
        (&sent, &other, 400),
        (&[], &sent, 400),
        (&[], &[], 200),
    ];
    for (asked, repeated, status) in cases {
        let code = code(&bitbucket, &mut client, asked);
        let reply = exchange(&bitbucket, &mut client, &code, repeated);
        assert_eq!(
            reply.status, status,
            "authorized with {asked:?}, exchanged with {repeated:?}"
        );
    }
}

#[test]
fn the_verifier_must_fit_the_challenge_unless_that_is_only_tolerated() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let s256 = [
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let plain = [
        ("code_challenge", VERIFIER),
        ("code_challenge_method", "plain"),
    ];
    let right = [("code_verifier", VERIFIER)];
    let wrong = [("code_verifier", "another")];
    let cases: [(&[_], &[_], bool, u16); 6] = [
        (&s256, &right, true, 200),
        (&s256, &wrong, true, 400),
        (&s256, &[], true, 400),
        (&plain, &right, true, 200),
        (&[], &right, true, 200),
        (&s256, &wrong, false, 200),
    ];
    for (challenge, verifier, checked, status) in cases {
        bitbucket.set_pkce_checked(checked);
        let code = code(&bitbucket, &mut client, challenge);
        let reply = exchange(&bitbucket, &mut client, &code, verifier);
        assert_eq!(
            reply.status, status,
            "{challenge:?} with {verifier:?}, checked: {checked}"
        );
    }
}
