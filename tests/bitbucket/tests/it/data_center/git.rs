//! Git under `/scm`.

use bitbucket_local::{Kind, Scheme, TokenKind, fingerprint};

use super::{REFS, REFS_TO_PUSH, change, data_center, limited, statuses};
use crate::client::{Client, basic, bearer};
use crate::support::Workplace;

const MISSING: &str = "ERR Repository not found\nThe requested repository does not exist, or you do not have permission to\naccess it.\n";

#[test]
fn the_response_without_credentials_has_the_realm_and_the_number_of_the_request() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    for sent in [None, Some("Bearer wrong"), Some("Digest x")] {
        let reply = client.get(REFS, sent);
        assert_eq!(
            (reply.status, reply.header("www-authenticate")),
            (401, "Basic realm=\"Atlassian Bitbucket\""),
            "only Basic is offered, with {sent:?}"
        );
        assert!(
            reply.header("x-arequestid").starts_with('@'),
            "the request has a number"
        );
    }
}

#[test]
fn a_public_repository_is_read_without_credentials_but_not_written() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    change(&bitbucket, |settings| {
        settings.public_repositories = vec!["ws/repo".to_owned()];
    });
    assert_eq!(client.get(REFS, None).status, 200, "everybody may read it");
    assert_eq!(
        client.get(REFS_TO_PUSH, None).status,
        401,
        "a push asks for credentials"
    );
}

#[test]
fn a_key_is_read_in_any_case_and_a_user_has_repositories_too() {
    let bitbucket = data_center();
    bitbucket
        .create_repository("~Ann_B.c", "own")
        .expect("because it is new");
    assert!(
        bitbucket.create_repository("WS", "Repo").is_err(),
        "another case is the same repository"
    );
    assert!(
        bitbucket.repository_path("ws", "repo.git").is_dir(),
        "its path is found in any case"
    );
    let mut client = Client::http1(&bitbucket);
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    for path in ["ws/repo.git", "WS/repo", "Ws/REPO.git", "~ann_b.c/own.git"] {
        let refs = format!("/bitbucket/scm/{path}/info/refs?service=git-upload-pack");
        let reply = client.get(&refs, Some(&token));
        assert_eq!(
            reply.header("content-type"),
            "application/x-git-upload-pack-advertisement",
            "'{path}' is a repository"
        );
        assert!(!reply.text().contains("ERR"), "'{path}' is there");
    }
    for path in ["~/repo.git", "../repo.git", "ws/.git", "ws"] {
        let refs = format!("/bitbucket/scm/{path}/info/refs?service=git-upload-pack");
        let status = client.get(&refs, Some(&token)).status;
        assert_eq!(status, 404, "'{path}' is no repository");
    }
}

#[test]
fn version_2_and_partial_clones_are_served() {
    let bitbucket = data_center();
    let token = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let headers = [
        ("authorization", token.as_str()),
        ("git-protocol", "version=2"),
    ];
    let reply = Client::http1(&bitbucket)
        .send("GET", REFS, &headers, "")
        .expect("because the server answers");
    for capability in ["version 2", "fetch=", "filter"] {
        assert!(
            reply.text().contains(capability),
            "'{capability}' is announced: {}",
            reply.text()
        );
    }
}

#[test]
fn a_repository_that_is_missing_or_may_not_be_read_is_an_error_line_with_status_200() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let reading = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let elsewhere = bearer(&limited(
        &bitbucket,
        TokenKind::Resource,
        "REPO_WRITE",
        "OTHER",
    ));
    let public = bearer(&bitbucket.issue_access_token(&["PUBLIC_REPOS"]));
    let missing = REFS.replace("repo.git", "missing.git");
    let expected = format!("{:04x}{MISSING}", MISSING.len() + 4);
    for (path, token) in [
        (missing.as_str(), &reading),
        (REFS, &elsewhere),
        (REFS, &public),
    ] {
        let reply = client.get(path, Some(token));
        assert_eq!(
            (reply.status, reply.header("content-type"), reply.text()),
            (
                200,
                "application/x-git-upload-pack-advertisement",
                expected.clone()
            ),
            "'{path}' is not shown"
        );
    }
    let missing = "/bitbucket/scm/ws/missing.git/git-upload-pack";
    let headers = [("authorization", reading.as_str())];
    let reply = client
        .send("POST", missing, &headers, "0000")
        .expect("because the server answers");
    assert_eq!(
        (reply.status, reply.header("content-type")),
        (200, "application/x-git-upload-pack-result"),
        "also to a POST"
    );
    let work = Workplace::new(&bitbucket);
    let output = work.try_git(&["ls-remote", &bitbucket.repository_url("ws", "missing")]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("fatal: remote error: Repository not found"),
        "git shows it as the server's: {stderr}"
    );
}

#[test]
fn a_push_without_the_right_is_forbidden() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let reading = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let writing = bearer(&bitbucket.issue_access_token(&["REPO_WRITE"]));
    let found = statuses(&mut client, REFS_TO_PUSH, &[&reading, &writing]);
    assert_eq!(found, [403, 200], "REPO_WRITE is the right to push");
    let found = statuses(&mut client, REFS, &[&reading, &writing]);
    assert_eq!(found, [200, 200], "and holds the right to read");
}

#[test]
fn basic_authentication_can_be_switched_off() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let token = bitbucket.issue_api_token();
    let (by_basic, by_bearer) = (basic("local", &token), bearer(&token));
    let both = [by_basic.as_str(), &by_bearer];
    let found = statuses(&mut client, REFS, &both);
    assert_eq!(found, [200, 200], "it is on at first");
    change(&bitbucket, |settings| settings.basic_authentication = false);
    let found = statuses(&mut client, REFS, &both);
    assert_eq!(found, [403, 200], "Bearer is fine without it");
    assert_eq!(
        bitbucket.failed_attempts("local"),
        0,
        "that is no failed attempt"
    );
}

#[test]
fn the_scopes_of_bitbucket_cloud_stand_for_those_of_data_center() {
    let bitbucket = data_center();
    let mut client = Client::http1(&bitbucket);
    let reading = bearer(&bitbucket.issue_access_token(&["account", "repository"]));
    let writing = bearer(&bitbucket.issue_access_token(&["repository:write"]));
    let found = statuses(&mut client, REFS_TO_PUSH, &[&reading, &writing]);
    assert_eq!(found, [403, 200], "a test for both issues the same tokens");
}

#[test]
fn git_itself_clones_and_pushes_with_a_personal_token() {
    let bitbucket = data_center();
    let token = bitbucket.issue_api_token();
    let work = Workplace::sending(&bitbucket, &basic("local", &token));
    let commit = work.commit(b"content");
    let pushed = work.push();
    assert!(
        pushed.status.success(),
        "the push works: {}",
        String::from_utf8_lossy(&pushed.stderr)
    );
    work.git(&["clone", "-q", &work.url, "copy"]);
    assert_eq!(
        work.git(&["-C", "copy", "rev-parse", "HEAD"]),
        commit,
        "the clone has the commit"
    );
}

#[test]
fn git_itself_asks_for_a_password_with_percent_encoding_in_the_address() {
    let bitbucket = data_center();
    let token = bitbucket.issue_api_token();
    assert!(
        token.starts_with("BBDC-") && token.contains('/') && token.contains('+'),
        "the token needs encoding"
    );
    let encoded = token.replace('/', "%2F").replace('+', "%2B");
    let url = bitbucket.repository_url("ws", "repo");
    let url = url.replace("https://", &format!("https://local:{encoded}@"));
    let work = Workplace::sending(&bitbucket, "");
    work.git(&["ls-remote", &url]);
    let seen: Vec<_> = bitbucket
        .git_requests()
        .iter()
        .map(|it| {
            (
                it.kind,
                it.scheme,
                it.user.clone(),
                it.secret.clone(),
                it.status,
            )
        })
        .collect();
    let sent = (Some("local".to_owned()), Some(fingerprint(&token)));
    assert_eq!(
        seen[..2],
        [
            (Kind::Git, Scheme::None, None, None, Some(401)),
            (Kind::Git, Scheme::Basic, sent.0, sent.1, Some(200)),
        ],
        "the journal tells how the credentials came, and which, without the secret"
    );
}
