//! The token endpoint: forms only, clients in the body, strict refreshes, and service accounts.

use std::time::Duration;

use bitbucket_local::Consumer;

use super::{CALLBACK, REFS, TOKEN, ask, change, code, data_center, granted};
use crate::client::{Client, Reply, basic, bearer};

/// RFC 7636 appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CLIENT_CREDENTIALS: (&str, &str) = ("grant_type", "client_credentials");

fn error(reply: &Reply) -> (u16, String) {
    let error = reply.json()["error"].as_str().unwrap_or("").to_owned();
    (reply.status, error)
}

fn invalid(error: &str) -> (u16, String) {
    (400, error.to_owned())
}

fn refresh(
    bitbucket: &bitbucket_local::Bitbucket,
    client: &mut Client,
    token: &str,
    more: &[(&str, &str)],
) -> Reply {
    let mut form = vec![("grant_type", "refresh_token"), ("refresh_token", token)];
    form.extend_from_slice(more);
    ask(bitbucket, client, &form)
}

#[test]
fn the_body_is_a_form_and_nothing_else() {
    let bitbucket = data_center();
    let Consumer { key, secret, .. } = bitbucket.consumer();
    let body = serde_json::json!({ "grant_type": "client_credentials", "scope": "REPO_READ", "client_id": key, "client_secret": secret });
    let headers = [("content-type", "application/json")];
    let mut client = Client::http1(&bitbucket);
    let reply = client
        .send("POST", TOKEN, &headers, body.to_string())
        .expect("because the server answers");
    assert_eq!(reply.status, 500, "JSON is not understood");
    let form = [CLIENT_CREDENTIALS, ("scope", "REPO_READ")];
    let reply = ask(&bitbucket, &mut client, &form);
    assert_eq!(reply.status, 200, "the same as a form is");
}

#[test]
fn a_client_proves_itself_in_the_body_and_by_basic_only_with_the_switch() {
    let bitbucket = data_center();
    let Consumer { key, secret, .. } = bitbucket.consumer();
    let by_basic = basic(key, secret);
    let form = [CLIENT_CREDENTIALS, ("scope", "REPO_READ")];
    let mut client = Client::http1(&bitbucket);
    let reply = client.post_form(TOKEN, Some(&by_basic), &form);
    assert_eq!(
        error(&reply),
        (401, "invalid_client".to_owned()),
        "Basic alone is not taken"
    );
    change(&bitbucket, |settings| settings.basic_client_auth = true);
    let reply = client.post_form(TOKEN, Some(&by_basic), &form);
    assert_eq!(reply.status, 200, "the switch allows it");
    let wrong = [("client_id", key.as_str()), ("client_secret", "wrong")];
    let reply = client.post_form(TOKEN, None, &[&form[..], &wrong].concat());
    assert_eq!(
        error(&reply),
        (401, "invalid_client".to_owned()),
        "a wrong secret is refused"
    );
}

#[test]
fn a_code_needs_the_same_redirect_uri_and_the_verifier() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let challenge = [
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ];
    let cases: [(&[(&str, &str)], u16); 4] = [
        (
            &[("redirect_uri", CALLBACK), ("code_verifier", VERIFIER)],
            200,
        ),
        (&[("code_verifier", VERIFIER)], 400),
        (
            &[("redirect_uri", CALLBACK), ("code_verifier", "another")],
            400,
        ),
        (&[("redirect_uri", CALLBACK)], 400),
    ];
    for (more, status) in cases {
        let code = code(&bitbucket, &mut client, &challenge);
        let mut form = vec![("grant_type", "authorization_code"), ("code", &code)];
        form.extend_from_slice(more);
        let reply = ask(&bitbucket, &mut client, &form);
        assert_eq!(reply.status, status, "exchanged with {more:?}");
    }
}

#[test]
fn the_answer_has_an_hour_and_scopes_in_capitals() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let code = code(&bitbucket, &mut client, &[]);
    let form = [
        ("grant_type", "authorization_code"),
        ("code", &code),
        ("redirect_uri", CALLBACK),
    ];
    let mut answer = ask(&bitbucket, &mut client, &form).json();
    for secret in ["access_token", "refresh_token"] {
        assert!(answer[secret].is_string(), "there is an {secret}");
        answer[secret] = "…".into();
    }
    assert_eq!(
        answer,
        serde_json::json!({
            "access_token": "…",
            "refresh_token": "…",
            "token_type": "bearer",
            "expires_in": 3_600,
            "scope": "REPO_READ REPO_WRITE",
        }),
        "these are all the fields"
    );
}

#[test]
fn a_refresh_token_is_good_once_and_ends_the_older_access_token() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let callback = [("redirect_uri", CALLBACK)];
    let (old, first) = granted(&bitbucket, &mut client);
    let (other, _) = granted(&bitbucket, &mut client);
    let reply = refresh(&bitbucket, &mut client, &first, &callback);
    let answer = reply.json();
    let new = answer["access_token"].as_str().unwrap_or("");
    let second = answer["refresh_token"].as_str().unwrap_or("");
    assert_ne!(second, first, "the refresh token rotates");
    let mut status = |token: &str| client.get(REFS, Some(&bearer(token))).status;
    assert_eq!(
        [status(&old), status(new), status(&other)],
        [401, 200, 200],
        "the access token of before is dead, that of another grant is not"
    );
    let again = refresh(&bitbucket, &mut client, &first, &callback);
    assert_eq!(
        error(&again),
        invalid("invalid_grant"),
        "a used one is declined"
    );
    let uses = bitbucket.refresh_uses();
    assert!(
        uses.iter().any(|it| it.uses == 2 && it.used_after_grace),
        "the uses are counted: {uses:?}"
    );
    change(&bitbucket, |settings| settings.refresh_ends_access = false);
    let reply = refresh(&bitbucket, &mut client, second, &callback);
    assert_eq!(reply.status, 200, "the new one is good");
    assert_eq!(
        client.get(REFS, Some(&bearer(new))).status,
        200,
        "with the switch, older access tokens live on"
    );
}

#[test]
fn a_refresh_repeats_the_redirect_uri_unless_that_is_switched_off() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let (_, token) = granted(&bitbucket, &mut client);
    for more in [&[][..], &[("redirect_uri", "https://localhost/other")]] {
        let reply = refresh(&bitbucket, &mut client, &token, more);
        assert_eq!(error(&reply), invalid("invalid_grant"), "with {more:?}");
    }
    change(&bitbucket, |settings| {
        settings.refresh_needs_redirect_uri = false;
    });
    let reply = refresh(&bitbucket, &mut client, &token, &[]);
    assert_eq!(reply.status, 200, "the token was not spent");
}

#[test]
fn an_unused_refresh_token_lives_for_ninety_days() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let day = Duration::from_secs(24 * 3_600);
    let (_, token) = granted(&bitbucket, &mut client);
    bitbucket.advance_clock(day * 89);
    let callback = [("redirect_uri", CALLBACK)];
    let reply = refresh(&bitbucket, &mut client, &token, &callback);
    assert_eq!(reply.status, 200, "on the last day it is good");
    let next = reply.json()["refresh_token"]
        .as_str()
        .unwrap_or("")
        .to_owned();
    bitbucket.advance_clock(day * 90);
    let reply = refresh(&bitbucket, &mut client, &next, &callback);
    assert_eq!(error(&reply), invalid("invalid_grant"), "then it is dead");
}

#[test]
fn a_service_account_names_its_scope_and_gets_no_refresh_token() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let reply = ask(&bitbucket, &mut client, &[CLIENT_CREDENTIALS]);
    assert_eq!(
        error(&reply),
        invalid("invalid_request"),
        "the scope must be there"
    );
    let form = [CLIENT_CREDENTIALS, ("scope", "REPO_ADMIN")];
    let reply = ask(&bitbucket, &mut client, &form);
    assert_eq!(error(&reply), invalid("invalid_scope"), "and be ticked");
    let form = [CLIENT_CREDENTIALS, ("scope", "REPO_READ")];
    let answer = ask(&bitbucket, &mut client, &form).json();
    assert!(
        answer.get("refresh_token").is_none(),
        "there is no refresh token"
    );
    let token = bearer(answer["access_token"].as_str().unwrap_or(""));
    let repository = "/bitbucket/rest/api/latest/projects/WS/repos/repo";
    let mut statuses = || [REFS, repository].map(|path| client.get(path, Some(&token)).status);
    assert_eq!(statuses(), [200, 200], "git and REST take it");
    change(&bitbucket, |settings| {
        settings.service_accounts_on_scm = false;
    });
    assert_eq!(statuses(), [401, 200], "with the switch, git does not");
}

#[test]
fn a_consumer_that_is_no_service_account_and_an_unknown_grant_are_refused() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    bitbucket.add_consumer(Consumer {
        private: false,
        ..bitbucket.consumer().clone()
    });
    let cases = [
        ("client_credentials", "unauthorized_client"),
        ("password", "unsupported_grant_type"),
    ];
    for (grant, expected) in cases {
        let form = [("grant_type", grant), ("scope", "REPO_READ")];
        let reply = ask(&bitbucket, &mut client, &form);
        assert_eq!(error(&reply), invalid(expected), "the grant '{grant}'");
    }
}
