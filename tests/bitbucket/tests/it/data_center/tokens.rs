//! Which token counts with which header, and where.

use std::time::Duration;

use bitbucket_local::{NewToken, TokenKind};

use super::{PROPERTIES, REFS, change, data_center, limited, statuses};
use crate::client::{Client, basic, bearer};

#[test]
fn each_kind_of_token_has_its_headers() {
    let bitbucket = data_center();
    change(&bitbucket, |settings| settings.captcha_after = None);
    let mut client = Client::http1(&bitbucket);
    let cases = [
        // Bearer, the owner's name, x-token-auth, another name.
        (bitbucket.issue_access_token(&["REPO_READ"]), [200; 4]),
        (bitbucket.issue_api_token(), [200, 200, 401, 401]),
        (bitbucket.issue_resource_token(), [200, 401, 401, 401]),
        ("local password".to_owned(), [401, 200, 401, 401]),
    ];
    let with = |secret: &str| {
        let named = ["local", "x-token-auth", "ann"].map(|name| basic(name, secret));
        [vec![bearer(secret)], named.to_vec()].concat()
    };
    for (secret, expected) in &cases {
        for path in [REFS, PROPERTIES] {
            let sent = with(secret);
            let sent: Vec<_> = sent.iter().map(String::as_str).collect();
            assert_eq!(
                statuses(&mut client, path, &sent),
                expected,
                "'{path}' with '{secret:.8}'"
            );
        }
    }
    change(&bitbucket, |settings| {
        settings.resource_tokens_over_basic = true;
    });
    let resource = with(&cases[2].0);
    let resource: Vec<_> = resource.iter().map(String::as_str).collect();
    assert_eq!(
        statuses(&mut client, REFS, &resource),
        [200, 401, 200, 401],
        "newer versions take a project's token with 'x-token-auth'"
    );
}

#[test]
fn a_token_of_a_project_or_a_repository_reaches_no_further() {
    let bitbucket = data_center();
    for (key, slug) in [("WS", "other"), ("OTHER", "repo")] {
        bitbucket
            .create_repository(key, slug)
            .expect("because it is new");
    }
    let mut client = Client::http1(&bitbucket);
    let cases = [
        ("ws", [true, true, false]),
        ("WS/repo", [true, false, false]),
    ];
    for (reached, expected) in cases {
        let token = limited(&bitbucket, TokenKind::Resource, "REPO_READ", reached);
        let found = ["ws/repo", "ws/other", "other/repo"].map(|repository| {
            let path = REFS.replace("ws/repo", repository);
            let reply = client.get(&path, Some(&bearer(&token)));
            !reply.text().contains("ERR Repository not found")
        });
        assert_eq!(found, expected, "a token for '{reached}'");
    }
}

#[test]
fn an_http_access_token_has_its_form_and_expires_on_time() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    for kind in [TokenKind::Api, TokenKind::Resource] {
        let token = bitbucket.issue(NewToken {
            scopes: vec!["REPO_READ".to_owned()],
            lifetime_s: Some(60),
            ..NewToken::new(kind)
        });
        assert!(
            token.starts_with("BBDC-") && token.contains('/') && token.contains('+'),
            "its characters need encoding in an address"
        );
        assert_eq!(client.get(REFS, Some(&bearer(&token))).status, 200, "first");
        bitbucket.advance_clock(Duration::from_secs(60));
        assert_eq!(client.get(REFS, Some(&bearer(&token))).status, 401, "then");
    }
    let misplaced = basic(&bitbucket.issue_api_token(), "");
    client.get(REFS, Some(&misplaced));
    let seen = bitbucket.git_requests();
    let user = seen.last().and_then(|request| request.user.as_deref());
    assert_eq!(
        user,
        Some("(not shown)"),
        "a token in the place of a user name stays a secret"
    );
}

#[test]
fn outside_rest_and_scm_a_token_is_worth_nothing_and_basic_counts_against_its_owner() {
    let bitbucket = data_center();
    let token = bitbucket.issue_api_token();
    let (by_bearer, by_basic) = (bearer(&token), basic("local", &token));
    let mut client = Client::http1(&bitbucket);
    let whoami = "/bitbucket/plugins/servlet/applinks/whoami";
    for (path, attempts) in [(whoami, 1), ("/bitbucket/projects/WS/repos/repo", 2)] {
        let reply = client.get(path, Some(&by_bearer));
        let login = format!("{}/login?next=", bitbucket.base_url());
        assert!(
            reply.status == 302 && reply.header("location").starts_with(&login),
            "Bearer at '{path}' leads to the login"
        );
        let reply = client.get(path, Some(&by_basic));
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (401, "Basic realm=\"Atlassian Bitbucket\""),
            "Basic at '{path}' is refused"
        );
        assert_eq!(
            bitbucket.failed_attempts("local"),
            attempts,
            "and counts towards the CAPTCHA"
        );
    }
    let anonymous = client.get(whoami, None);
    assert_eq!(
        (anonymous.status, anonymous.text().as_str()),
        (200, ""),
        "whoami names no user"
    );
    let person = basic("local", "local password");
    assert_eq!(
        client.get(whoami, Some(&person)).text(),
        "local",
        "but people"
    );
    change(&bitbucket, |settings| settings.tokens_everywhere = true);
    for sent in [&by_bearer, &by_basic] {
        let reply = client.get(whoami, Some(sent));
        assert_eq!(reply.text(), "local", "older versions took tokens as well");
    }
}
