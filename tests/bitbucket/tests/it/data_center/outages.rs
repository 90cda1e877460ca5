//! Rate limits, maintenance, and a gateway for single sign-on.

use std::time::Duration;

use bitbucket_local::RateLimit;

use super::{PROPERTIES, REFS, TOKEN, ask, change, data_center};
use crate::client::{Client, bearer};

#[test]
fn a_user_who_asks_too_often_gets_retry_after() {
    let bitbucket = data_center();
    let limit = RateLimit {
        capacity: 3,
        per_second: 2,
    };
    change(&bitbucket, |settings| settings.rate_limit = Some(limit));
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let mut client = Client::http1(&bitbucket);
    for path in [REFS, PROPERTIES] {
        // After two seconds the bucket is full again.
        bitbucket.advance_clock(Duration::from_secs(2));
        let replies: Vec<_> = (0..20).map(|_| client.get(path, Some(&token))).collect();
        let refused = replies.iter().position(|reply| reply.status != 200);
        let refused = refused.expect("because twenty are too many");
        assert!(refused >= 3, "three requests may come at once");
        assert_eq!(
            (
                replies[refused].status,
                replies[refused].header("retry-after")
            ),
            (429, "1"),
            "'{path}' is limited"
        );
    }
    assert_eq!(client.get(REFS, None).status, 401, "only users are limited");
    let form = [("grant_type", "client_credentials"), ("scope", "REPO_READ")];
    let refused = (0..20)
        .map(|_| ask(&bitbucket, &mut client, &form))
        .find(|reply| reply.status != 200)
        .expect("because twenty are too many");
    assert_eq!(
        (refused.status, refused.header("retry-after")),
        (429, "1"),
        "so are clients that ask for tokens"
    );
    bitbucket.advance_clock(Duration::from_secs(1));
    assert_eq!(
        client.get(REFS, Some(&token)).status,
        200,
        "a second later there is room again"
    );
}

#[test]
fn during_maintenance_there_is_a_page_and_nothing_else() {
    let bitbucket = data_center();
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    change(&bitbucket, |settings| settings.maintenance = true);
    let mut client = Client::http1(&bitbucket);
    for path in [REFS, PROPERTIES, TOKEN, "/bitbucket/"] {
        let reply = client.get(path, Some(&token));
        assert_eq!(
            (reply.status, reply.header("content-type")),
            (503, "text/html; charset=utf-8"),
            "'{path}' has to wait"
        );
    }
    change(&bitbucket, |settings| settings.maintenance = false);
    assert_eq!(client.get(REFS, Some(&token)).status, 200, "it is over");
}

#[test]
fn a_gateway_sends_every_request_to_another_host() {
    let bitbucket = data_center();
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let gateway = "https://login.example/sso?app=git";
    change(&bitbucket, |settings| {
        settings.sso_gateway = Some(gateway.to_owned());
    });
    let mut client = Client::http1(&bitbucket);
    for path in [REFS, PROPERTIES, TOKEN, "/"] {
        let reply = client.get(path, Some(&token));
        assert_eq!(
            (reply.status, reply.header("location")),
            (302, gateway),
            "'{path}' is not reached"
        );
    }
    change(&bitbucket, |settings| settings.sso_gateway = None);
    assert_eq!(client.get(REFS, Some(&token)).status, 200, "it is gone");
}
