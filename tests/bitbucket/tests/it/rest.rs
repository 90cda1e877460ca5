//! The REST calls.

use std::time::Duration;

use crate::client::{Client, basic, bearer};
use crate::support::bitbucket;

#[test]
fn the_user_and_the_repository_are_shown_to_who_may_see_them() {
    let bitbucket = bitbucket();
    let full = bearer(&bitbucket.issue_access_token(&["account", "repository"]));
    let account = bearer(&bitbucket.issue_access_token(&["account"]));
    let repository = bearer(&bitbucket.issue_access_token(&["repository"]));
    let token = bitbucket.issue_api_token();
    let api = basic("someone@example.com", &token);
    let git_user = basic("x-bitbucket-api-token-auth", &token);
    let cases = [
        (&full, "/2.0/user", 200),
        (&api, "/2.0/user", 200),
        (&git_user, "/2.0/user", 401),
        (&repository, "/2.0/user", 403),
        (&full, "/2.0/repositories/ws/repo", 200),
        (&api, "/2.0/repositories/ws/repo", 200),
        (&account, "/2.0/repositories/ws/repo", 403),
        (&full, "/2.0/repositories/ws/missing", 404),
        (&full, "/2.0/elsewhere", 404),
    ];
    let mut client = Client::http1(&bitbucket);
    for (authorization, path, status) in cases {
        let reply = client.get(path, Some(authorization));
        assert_eq!(reply.status, status, "'{path}' with '{authorization:.10}'");
        assert_eq!(
            reply.header("content-type"),
            "application/json",
            "REST speaks JSON"
        );
        if status == 403 {
            let detail = &reply.json()["error"]["detail"];
            assert!(
                detail["granted"].is_array() && detail["required"].is_array(),
                "the scopes are named: {detail}"
            );
        }
    }
}

#[test]
fn the_error_for_an_expired_token_says_so() {
    let bitbucket = bitbucket();
    let token = bearer(&bitbucket.issue_access_token(&["account"]));
    bitbucket.advance_clock(Duration::from_secs(7_200));
    let reply = Client::http1(&bitbucket).get("/2.0/user", Some(&token));
    let text = "Access token expired. Use your refresh token to obtain a new access token.";
    assert_eq!(
        (reply.status, reply.json()["error"]["message"].as_str()),
        (401, Some(text)),
        "Bitbucket says what to do"
    );
}
