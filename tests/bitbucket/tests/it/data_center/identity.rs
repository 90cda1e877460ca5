//! Who is asking.

use bitbucket_local::TokenKind;

use super::{PROPERTIES, change, data_center, limited};
use crate::client::{Client, bearer};

#[test]
fn answers_name_only_an_authenticated_user() {
    let bitbucket = data_center();
    change(&bitbucket, |settings| {
        settings.user = "ann/b c@example.com".to_owned();
    });
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let mut client = Client::http1(&bitbucket);
    let cases = [
        (None, 200, ""),
        (Some(token.as_str()), 200, "ann%2Fb%20c%40example.com"),
        (Some("Bearer wrong"), 401, ""),
    ];
    for (sent, status, user) in cases {
        let reply = client.get(PROPERTIES, sent);
        assert_eq!(
            (reply.status, reply.header("x-ausername")),
            (status, user),
            "with {sent:.10?}"
        );
    }
    let properties = client.get(PROPERTIES, None).json();
    assert_eq!(
        (&properties["displayName"], &properties["version"]),
        (&"Bitbucket".into(), &"10.2.1".into()),
        "the response names the product and its version"
    );
    let refs = client.get(super::REFS, Some(&token));
    assert_eq!(
        refs.header("x-ausername"),
        "ann%2Fb%20c%40example.com",
        "a response to git names the user, too"
    );
}

#[test]
fn rest_tells_who_is_signed_in_and_who_may_read_a_repository() {
    let bitbucket = data_center();
    change(&bitbucket, |settings| {
        settings.user = "Ann@example.com".to_owned();
        settings.public_repositories = vec!["WS/public".to_owned()];
    });
    bitbucket
        .create_repository("ws", "public")
        .expect("because it is new");
    let reading = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let elsewhere = limited(&bitbucket, TokenKind::Resource, "REPO_READ", "OTHER");
    let elsewhere = bearer(&elsewhere);
    let api = "/bitbucket/rest/api/latest";
    let cases = [
        ("inbox/pull-requests/count", [200, 200, 401]),
        ("users/ann_example.com", [200, 404, 401]),
        ("users/Ann@example.com", [404, 404, 401]),
        ("projects/WS/repos/repo", [200, 401, 401]),
        ("projects/WS/repos/public", [200, 200, 200]),
        ("projects/WS/repos/missing", [404, 404, 401]),
        ("elsewhere", [404, 404, 404]),
    ];
    let mut client = Client::http1(&bitbucket);
    for (path, expected) in cases {
        let path = format!("{api}/{path}");
        let found = [Some(&reading), Some(&elsewhere), None].map(|sent| {
            let reply = client.get(&path, sent.map(String::as_str));
            let errors = reply.json()["errors"][0]["exceptionName"].is_string();
            assert_eq!(errors, reply.status != 200, "'{path}' names its errors");
            reply.status
        });
        assert_eq!(found, expected, "'{path}' for three callers");
    }
    let path = format!("{api}/projects/ws/repos/repo");
    let shown = client.get(&path, Some(&reading)).json();
    let clone = format!("{}/scm/ws/repo.git", bitbucket.base_url());
    assert_eq!(
        (
            &shown["project"]["key"],
            &shown["links"]["clone"][0]["href"]
        ),
        (&"WS".into(), &clone.into()),
        "the key is in capitals, and in the clone link it is not"
    );
}
