//! Servers that take no pushes: a mirror, and one whose license has expired.

use bitbucket_local::Bitbucket;

use super::{PROPERTIES, REFS_TO_PUSH, TOKEN, change, data_center};
use crate::client::{Client, basic, bearer};
use crate::support::Workplace;

/// What git at a mirror or a primary shows as `main`.
fn main_of(work: &Workplace, bitbucket: &Bitbucket) -> String {
    let url = bitbucket.repository_url("ws", "repo");
    let ca_file = format!("http.sslCAInfo={}", bitbucket.ca_file().display());
    let shown = work
        .command(&["-c", &ca_file, "ls-remote", &url, "main"])
        .env_remove("GIT_SSL_CAINFO")
        .output()
        .expect("because git is installed");
    let shown = String::from_utf8_lossy(&shown.stdout);
    shown.split('\t').next().unwrap_or("").to_owned()
}

#[test]
fn a_mirror_serves_what_was_copied_last_and_takes_no_pushes() {
    let primary = data_center();
    let mirror = primary.start_mirror().expect("because loopback is free");
    let token = primary.issue_api_token();
    let work = Workplace::sending(&primary, &basic("local", &token));
    let first = work.commit(b"content");
    assert!(work.push().status.success(), "the primary takes a push");
    let synchronize = || {
        mirror
            .synchronize_from(&primary)
            .expect("because both are on this machine");
    };
    synchronize();
    work.git(&["-C", "work", "commit", "-q", "--allow-empty", "-m", "more"]);
    assert!(work.push().status.success(), "and another one");
    let second = work.git(&["-C", "work", "rev-parse", "HEAD"]);
    assert_eq!(
        [main_of(&work, &primary), main_of(&work, &mirror)],
        [second.clone(), first],
        "the mirror is behind by one push, and takes the same token"
    );
    synchronize();
    assert_eq!(main_of(&work, &mirror), second, "it catches up");

    let mut client = Client::http1(&mirror);
    let reply = client.get(REFS_TO_PUSH, Some(&bearer(&token)));
    assert!(
        reply.status == 200 && reply.text().contains("ERR This is a mirror"),
        "a push is refused: {}",
        reply.text()
    );
    for path in [PROPERTIES, TOKEN, "/bitbucket/projects/WS/repos/repo"] {
        assert_eq!(
            client.get(path, Some(&bearer(&token))).status,
            404,
            "'{path}' is on the primary only"
        );
    }
    let wrong = basic("local", "wrong");
    client.get(REFS_TO_PUSH, Some(&wrong));
    assert_eq!(
        primary.failed_attempts("local"),
        1,
        "accounts are the primary's"
    );
}

#[test]
fn with_an_expired_license_reading_works_and_pushes_are_refused() {
    let bitbucket = data_center();
    let work = Workplace::new(&bitbucket);
    work.commit(b"content");
    assert!(work.push().status.success(), "the license is good at first");
    change(&bitbucket, |settings| settings.license_expired = true);
    work.git(&["clone", "-q", &work.url, "copy"]);
    let output = work.try_git(&["-C", "work", "push", &work.url, "main:other"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        stderr.contains("fatal: remote error: Pushing is disabled"),
        "git shows why: {stderr}"
    );
}
