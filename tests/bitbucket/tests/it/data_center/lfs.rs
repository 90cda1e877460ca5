//! Git LFS: the batch under `/scm`, the objects under `/rest`.

use bitbucket_local::{Bitbucket, TokenKind};
use serde_json::{Value, json};

use super::{change, data_center, limited};
use crate::client::{Client, Reply, basic, bearer};
use crate::support::{Workplace, noise};

const BATCH: &str = "/bitbucket/scm/ws/repo.git/info/lfs/objects/batch";
/// The SHA-256 of nothing.
const OID: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

fn batch(client: &mut Client, operation: &str, authorization: Option<&str>) -> Reply {
    let body = json!({ "operation": operation, "objects": [{ "oid": OID, "size": 0 }] });
    let headers: Vec<_> = authorization
        .map(|sent| ("authorization", sent))
        .into_iter()
        .collect();
    client
        .send("POST", BATCH, &headers, body.to_string())
        .expect("because the server answers")
}

fn upload_link(batch: &Value) -> &str {
    let link = &batch["objects"][0]["actions"]["upload"]["href"];
    link.as_str().expect("because the object is missing")
}

fn put(bitbucket: &Bitbucket, authorization: &str) -> u16 {
    let path = format!("/bitbucket/rest/git-lfs/storage/WS/repo/{OID}");
    Client::http1(bitbucket)
        .send("PUT", &path, &[("authorization", authorization)], "")
        .expect("because the server answers")
        .status
}

#[test]
fn git_lfs_pushes_and_pulls_with_a_personal_token() {
    let bitbucket = data_center();
    let token = bitbucket.issue_api_token();
    let senders = [basic("local", &token), bearer(&token)];
    for (number, authorization) in senders.iter().enumerate() {
        let work = Workplace::sending(&bitbucket, authorization);
        let content = noise(100_000);
        work.commit(b"content");
        work.git(&["-C", "work", "lfs", "install", "--local"]);
        work.git(&["-C", "work", "lfs", "track", "*.bin"]);
        std::fs::write(work.path("work/large.bin"), &content).expect("because it is writable");
        work.git(&["-C", "work", "add", "."]);
        work.git(&["-C", "work", "commit", "-q", "-m", "a large file"]);
        let branch = format!("main:branch-{number}");
        work.git(&["-C", "work", "push", "-q", &work.url, &branch]);
        let branch = format!("branch-{number}");
        work.git(&["lfs", "install", "--skip-repo"]);
        work.git(&["clone", "-q", "--branch", &branch, &work.url, "copy"]);
        let copied = std::fs::read(work.path("copy/large.bin"));
        assert_eq!(
            copied.expect("because git made it"),
            content,
            "the large file came back"
        );
    }
    let storage = "/bitbucket/rest/git-lfs/storage/WS/repo/";
    let seen = bitbucket.lfs_requests();
    for method in ["PUT", "GET"] {
        let found = seen
            .iter()
            .filter(|it| it.method == method && it.path.starts_with(storage));
        assert_eq!(found.count(), 2, "objects come and go below '{storage}'");
    }
}

#[test]
fn links_are_built_on_the_base_url_that_the_server_believes_it_has() {
    let bitbucket = data_center();
    let token = bearer(&bitbucket.issue_access_token(&["REPO_WRITE"]));
    let mut client = Client::http1(&bitbucket);
    let mut link = || {
        let answer = batch(&mut client, "upload", Some(&token)).json();
        upload_link(&answer).to_owned()
    };
    let below = format!("/rest/git-lfs/storage/WS/repo/{OID}");
    assert_eq!(
        link(),
        format!("{}{below}", bitbucket.base_url()),
        "the key is in capitals"
    );
    change(&bitbucket, |settings| {
        settings.base_url = Some("https://git.example/code".to_owned());
    });
    assert_eq!(
        link(),
        format!("https://git.example/code{below}"),
        "a wrong base URL makes wrong links"
    );
}

#[test]
fn every_request_of_git_lfs_needs_the_right() {
    let bitbucket = data_center();
    let reading = bearer(&bitbucket.issue_access_token(&["REPO_READ"]));
    let writing = bearer(&bitbucket.issue_access_token(&["REPO_WRITE"]));
    let elsewhere = limited(&bitbucket, TokenKind::Resource, "REPO_WRITE", "OTHER");
    let elsewhere = bearer(&elsewhere);
    let mut client = Client::http1(&bitbucket);
    let cases = [
        (None, "download", 401),
        (Some(&elsewhere), "download", 404),
        (Some(&reading), "download", 200),
        (Some(&reading), "upload", 403),
        (Some(&writing), "upload", 200),
    ];
    for (sent, operation, status) in cases {
        let reply = batch(&mut client, operation, sent.map(String::as_str));
        assert_eq!(reply.status, status, "{operation} with {sent:.14?}");
        assert_eq!(
            reply.header("lfs-authenticate").is_empty(),
            status != 401,
            "git-lfs is asked for credentials where they may help"
        );
    }
    let found = [&elsewhere, &reading, &writing].map(|sent| put(&bitbucket, sent));
    assert_eq!(found, [404, 403, 200], "the objects are guarded as well");
}

#[test]
fn git_lfs_can_be_off_for_a_repository() {
    let bitbucket = data_center();
    change(&bitbucket, |settings| {
        settings.lfs_off = vec!["WS/repo".to_owned()];
    });
    let token = bearer(&bitbucket.issue_access_token(&["REPO_WRITE"]));
    let mut client = Client::http1(&bitbucket);
    let reply = batch(&mut client, "upload", Some(&token));
    assert_eq!(
        (reply.status, reply.json()),
        (
            403,
            json!({ "message": "Git LFS is disabled for this repository." })
        ),
        "the response to git-lfs says why"
    );
    assert_eq!(put(&bitbucket, &token), 403, "objects are refused too");
    let refs = client.get(super::REFS, Some(&token));
    assert_eq!(refs.status, 200, "git is not concerned");
}
