//! The token endpoint.

use std::time::Duration;

use bitbucket_local::{Bitbucket, Consent, Consumer, ScopeField};
use serde_json::Value;

use crate::client::{Client, Reply, basic, bearer};
use crate::support::{REFS, TOKEN, bitbucket};

type Pairs<'a> = &'a [(&'a str, &'a str)];

const CLIENT_CREDENTIALS: Pairs<'_> = &[("grant_type", "client_credentials")];

fn own(bitbucket: &Bitbucket) -> String {
    basic(&bitbucket.consumer().key, &bitbucket.consumer().secret)
}

fn text<'a>(answer: &'a Value, field: &str) -> &'a str {
    answer[field]
        .as_str()
        .unwrap_or_else(|| panic!("the answer must have the text '{field}'"))
}

/// A refresh token as a user's consent yields it.
fn first_refresh_token(bitbucket: &Bitbucket, client: &mut Client) -> String {
    bitbucket.set_consent(Consent::Granted);
    let authorize = format!(
        "/site/oauth2/authorize?response_type=code&client_id={}",
        bitbucket.consumer().key
    );
    let back = client.get(&authorize, None);
    let code = back
        .header("location")
        .rsplit("code=")
        .next()
        .unwrap_or("")
        .to_owned();
    let form = [
        ("grant_type", "authorization_code"),
        ("code", code.as_str()),
    ];
    let answer = client.post_form(TOKEN, Some(&own(bitbucket)), &form).json();
    text(&answer, "refresh_token").to_owned()
}

fn refresh(bitbucket: &Bitbucket, client: &mut Client, token: &str) -> Reply {
    let form = [("grant_type", "refresh_token"), ("refresh_token", token)];
    client.post_form(TOKEN, Some(&own(bitbucket)), &form)
}

#[test]
fn client_credentials_yield_a_long_access_token_and_no_refresh_token() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let reply = client.post_form(TOKEN, Some(&own(&bitbucket)), CLIENT_CREDENTIALS);
    let answer = reply.json();
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/json"),
        "the answer is JSON"
    );
    let token = text(&answer, "access_token");
    assert!(
        token.len() > 2_500 && token.ends_with('='),
        "tokens are long and may end in '='"
    );
    assert_eq!(answer["expires_in"], 7_200, "they live two hours");
    assert_eq!(
        text(&answer, "token_type"),
        "bearer",
        "they are bearer tokens"
    );
    assert_eq!(
        text(&answer, "scope"),
        "account repository repository:write",
        "scopes are separated by spaces"
    );
    assert_eq!(
        text(&answer, "state"),
        "client_credentials",
        "Bitbucket names the grant"
    );
    assert!(
        answer.get("refresh_token").is_none(),
        "this grant has no refresh token since 2026"
    );
    assert_eq!(
        client.get(REFS, Some(&basic("x-token-auth", token))).status,
        200,
        "git may use it"
    );
    let recorded = bitbucket.token_requests();
    assert_eq!(
        recorded[0].grant.as_deref(),
        Some("client_credentials"),
        "the grant is recorded"
    );
    assert_eq!(recorded[0].query, None, "no query is");
}

#[test]
fn a_client_may_prove_itself_by_basic_or_in_the_form() {
    let bitbucket = bitbucket();
    let odd = Consumer {
        key: "a b:c".to_owned(),
        secret: "d%e&f".to_owned(),
        ..Consumer::new_private()
    };
    bitbucket.add_consumer(odd);
    let consumer = bitbucket.consumer();
    let mut client = Client::http1(&bitbucket);
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &consumer.key),
        ("client_secret", &consumer.secret),
    ];
    assert_eq!(
        client.post_form(TOKEN, None, &form).status,
        200,
        "in the form"
    );
    let encoded = basic("a+b%3Ac", "d%25e%26f");
    let answer = client.post_form(TOKEN, Some(&encoded), CLIENT_CREDENTIALS);
    assert_eq!(
        answer.status, 200,
        "by Basic, encoded as RFC 6749 section 2.3.1 asks"
    );
}

#[test]
fn an_error_of_a_client_has_bitbuckets_text() {
    let bitbucket = bitbucket();
    let public = Consumer::new_public();
    let without_callback = Consumer {
        callback: None,
        ..Consumer::new_private()
    };
    bitbucket.add_consumer(public.clone());
    bitbucket.add_consumer(without_callback.clone());
    let own = own(&bitbucket);
    let cases: [(Option<String>, Pairs<'_>, &str, &str); 8] = [
        (
            Some(basic(&public.key, "wrong")),
            CLIENT_CREDENTIALS,
            "unauthorized_client",
            "Invalid OAuth client credentials",
        ),
        (
            Some(basic("nobody", "x")),
            CLIENT_CREDENTIALS,
            "unauthorized_client",
            "Invalid OAuth client credentials",
        ),
        (
            None,
            CLIENT_CREDENTIALS,
            "unauthorized_client",
            "Requests must be authenticated using OAuth client credentials",
        ),
        (
            Some(basic(&public.key, &public.secret)),
            CLIENT_CREDENTIALS,
            "invalid_grant",
            "Cannot use client_credentials with a consumer marked as \"public\".",
        ),
        (
            Some(basic(&without_callback.key, &without_callback.secret)),
            CLIENT_CREDENTIALS,
            "invalid_request",
            "No callback uri defined for the OAuth client.",
        ),
        (
            Some(own.clone()),
            &[],
            "invalid_grant",
            "Unsupported grant type: None",
        ),
        (
            Some(own.clone()),
            &[("grant_type", "password")],
            "invalid_grant",
            "Unsupported grant type: password",
        ),
        (
            Some(own),
            &[("grant_type", "urn:bitbucket:oauth2:jwt")],
            "invalid_grant",
            "The grant urn:bitbucket:oauth2:jwt",
        ),
    ];
    let mut client = Client::http1(&bitbucket);
    for (authorization, form, error, description) in cases {
        let reply = client.post_form(TOKEN, authorization.as_deref(), form);
        let answer = reply.json();
        assert_eq!(
            (reply.status, text(&answer, "error")),
            (400, error),
            "case '{description}'"
        );
        assert!(
            text(&answer, "error_description").starts_with(description),
            "case '{description}': {answer}"
        );
    }
}

#[test]
fn parameters_in_the_query_and_bearer_get_a_page() {
    let bitbucket = bitbucket();
    let consumer = bitbucket.consumer();
    let mut client = Client::http1(&bitbucket);
    let in_query = client.post_form(
        &format!("{TOKEN}?grant_type=client_credentials"),
        Some(&own(&bitbucket)),
        &[],
    );
    let bearer = bearer(&format!("{}:{}", consumer.key, consumer.secret));
    let by_bearer = client.post_form(TOKEN, Some(&bearer), CLIENT_CREDENTIALS);
    for reply in [in_query, by_bearer] {
        assert_eq!(reply.status, 400, "there is no token in it");
        assert!(
            reply.header("content-type").starts_with("text/html"),
            "it is a page, not JSON"
        );
    }
}

#[test]
fn a_refresh_token_rotates_and_dies_its_grace_after_the_first_use() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let first = first_refresh_token(&bitbucket, &mut client);
    bitbucket.advance_clock(Duration::from_secs(3_600));
    let answer = refresh(&bitbucket, &mut client, &first).json();
    let second = text(&answer, "refresh_token").to_owned();
    assert_ne!(first, second, "every use issues a new refresh token");
    // The server's clock goes on, too: the grace is 600 s.
    bitbucket.advance_clock(Duration::from_secs(300));
    assert_eq!(
        refresh(&bitbucket, &mut client, &first).status,
        200,
        "the old one works within its grace"
    );
    bitbucket.advance_clock(Duration::from_secs(300));
    let dead = refresh(&bitbucket, &mut client, &first);
    assert_eq!(
        (dead.status, text(&dead.json(), "error_description")),
        (400, "Invalid refresh_token"),
        "then it is dead"
    );
    assert_eq!(
        refresh(&bitbucket, &mut client, &second).status,
        200,
        "its successor lives"
    );

    let mut uses: Vec<_> = bitbucket
        .refresh_uses()
        .iter()
        .map(|token| (token.uses, token.used_after_grace))
        .collect();
    uses.sort_unstable();
    assert_eq!(
        uses,
        [(0, false), (0, false), (1, false), (3, true)],
        "every use is counted, the late one is marked"
    );
}

#[test]
fn an_unused_refresh_token_expires_and_a_foreign_one_is_refused() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    bitbucket.set_refresh_lifetime(100);
    let token = first_refresh_token(&bitbucket, &mut client);
    let other = Consumer::new_private();
    bitbucket.add_consumer(other.clone());
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", token.as_str()),
    ];
    let foreign = client.post_form(TOKEN, Some(&basic(&other.key, &other.secret)), &form);
    assert_eq!(
        foreign.status, 400,
        "a refresh token belongs to its consumer"
    );
    bitbucket.advance_clock(Duration::from_secs(100));
    assert_eq!(
        refresh(&bitbucket, &mut client, &token).status,
        400,
        "it expires unused"
    );
    let revoked = first_refresh_token(&bitbucket, &mut client);
    bitbucket.revoke_refresh_tokens();
    assert_eq!(
        refresh(&bitbucket, &mut client, &revoked).status,
        400,
        "it can be revoked"
    );
}

#[test]
fn the_old_behavior_can_be_had() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    bitbucket.set_rotation(false);
    bitbucket.set_scope_field(ScopeField::Scopes);
    bitbucket.set_expires_in_omitted(true);
    bitbucket.change_settings(|settings| settings.client_credentials_refresh = true);
    let answer = client
        .post_form(TOKEN, Some(&own(&bitbucket)), CLIENT_CREDENTIALS)
        .json();
    assert!(
        answer.get("scope").is_none() && answer.get("scopes").is_some(),
        "scopes were 'scopes'"
    );
    assert!(
        answer.get("expires_in").is_none(),
        "the lifetime may be left out"
    );
    let token = text(&answer, "refresh_token").to_owned();
    for _ in 0..2 {
        bitbucket.advance_clock(Duration::from_secs(3_600));
        let answer = refresh(&bitbucket, &mut client, &token).json();
        assert_eq!(
            text(&answer, "refresh_token"),
            token,
            "the refresh token stayed the same"
        );
    }
    bitbucket.change_settings(|settings| settings.refresh_token_omitted = true);
    let answer = refresh(&bitbucket, &mut client, &token).json();
    assert!(answer.get("refresh_token").is_none(), "or was not repeated");
}

#[test]
fn the_date_of_an_answer_follows_the_servers_clock() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    bitbucket.advance_clock(Duration::from_secs(1_000_000));
    let reply = client.post_form(TOKEN, None, CLIENT_CREDENTIALS);
    let date =
        httpdate::parse_http_date(reply.header("date")).expect("because every answer has a date");
    assert!(
        date > std::time::SystemTime::now() + Duration::from_secs(990_000),
        "the clock was moved"
    );
}
