//! Git over HTTP.

use bitbucket_local::{Bitbucket, Consumer, ObjectFormat, Options, Progress, TokenKind};

use crate::client::{Client, basic, bearer};
use crate::support::{
    REFS, REFS_TO_PUSH, TOKEN, Workplace, authorization, bitbucket, bitbucket_with, gits, noise,
};

const NO_ACCESS: &str = "You may not have access to this repository";

#[test]
fn every_git_pushes_to_and_clones_from_the_backend_of_every_git() {
    let gits = gits();
    let mut pairs = 0;
    for server in &gits {
        for client in &gits {
            let bitbucket = bitbucket_with(Options {
                git: Some(server.clone()),
                ..Options::default()
            });
            let work = Workplace::with_git(&bitbucket, client);
            let commit = work.commit(b"content");
            assert!(
                work.push().status.success(),
                "{client:?} pushes to {server:?}"
            );
            work.git(&["clone", "-q", &work.url, "copy"]);
            assert_eq!(
                work.git(&["-C", "copy", "rev-parse", "HEAD"]),
                commit,
                "{client:?} clones from {server:?}"
            );
            pairs += 1;
        }
    }
    assert_eq!(pairs, gits.len() * gits.len(), "every pair was tried");
}

#[test]
fn both_http_versions_and_plain_http_carry_git() {
    let cases = [
        (true, true, "HTTP/2.0"),
        (true, false, "HTTP/1.1"),
        (false, false, "HTTP/1.1"),
    ];
    for (tls, http2, version) in cases {
        let bitbucket = bitbucket_with(Options {
            tls,
            http2,
            ..Options::default()
        });
        let work = Workplace::new(&bitbucket);
        work.commit(b"content");
        assert!(
            work.push().status.success(),
            "a push works with tls {tls} and http2 {http2}"
        );
        let seen = bitbucket.git_requests();
        assert!(
            seen.iter().all(|request| request.http_version == version),
            "all of it is {version}: {seen:?}"
        );
        let alpn = tls.then_some(if http2 { "h2" } else { "http/1.1" });
        assert!(
            seen.iter().all(|request| request.alpn.as_deref() == alpn),
            "TLS agreed on {alpn:?}"
        );
    }
}

#[test]
fn a_large_push_is_streamed_in_chunks_and_a_large_clone_back() {
    for http2 in [false, true] {
        let bitbucket = bitbucket_with(Options {
            http2,
            ..Options::default()
        });
        let work = Workplace::new(&bitbucket);
        let commit = work.commit(&noise(8 << 20));
        assert!(
            work.push().status.success(),
            "a push of 8 MiB works with http2 {http2}"
        );
        let seen = bitbucket.git_requests();
        let push = seen.last().expect("because git has asked");
        assert_eq!(
            push.content_length, None,
            "git sends a large pack without its length"
        );
        assert!(
            push.request_bytes > 8 << 20,
            "all of it is counted: {}",
            push.request_bytes
        );
        assert_eq!(
            (push.status, push.progress),
            (Some(200), Progress::Complete),
            "the push is recorded to its end"
        );
        work.git(&["clone", "-q", &work.url, "copy"]);
        assert_eq!(
            work.git(&["-C", "copy", "rev-parse", "HEAD"]),
            commit,
            "the clone has the commit"
        );
    }
}

#[test]
fn a_compressed_request_is_understood() {
    let bitbucket = bitbucket();
    let work = Workplace::new(&bitbucket);
    work.commit(b"content");
    for number in 0..40 {
        work.git(&[
            "-C",
            "work",
            "commit",
            "-q",
            "--allow-empty",
            "-m",
            &format!("commit {number}"),
        ]);
        work.git(&["-C", "work", "branch", &format!("branch-{number}")]);
    }
    work.git(&["-C", "work", "push", "-q", "--all", &work.url]);
    bitbucket.clear_requests();
    work.git(&["clone", "-q", &work.url, "copy"]);
    let seen = bitbucket.git_requests();
    assert!(
        seen.iter()
            .any(|request| request.content_encoding.as_deref() == Some("gzip")),
        "git compresses a request for 40 branches"
    );
}

#[test]
fn a_sha256_repository_is_served() {
    let bitbucket = Bitbucket::start(Options::default()).expect("because loopback is free");
    let made = bitbucket.create_repository_with("ws", "repo", ObjectFormat::Sha256);
    assert_eq!(
        made.expect("because it is new"),
        bitbucket.repository_path("ws", "repo"),
        "it is where it should be"
    );
    let reply = Client::http1(&bitbucket).get(REFS_TO_PUSH, Some(&authorization(&bitbucket)));
    assert!(
        reply.text().contains("object-format=sha256"),
        "the server announces the hash function"
    );
}

#[test]
fn a_server_of_version_0_ignores_the_protocol_header() {
    for (protocol_v2, announced) in [(true, true), (false, false)] {
        let bitbucket = bitbucket_with(Options {
            protocol_v2,
            ..Options::default()
        });
        let token = authorization(&bitbucket);
        let headers = [
            ("authorization", token.as_str()),
            ("git-protocol", "version=2"),
        ];
        let reply = Client::http1(&bitbucket)
            .send("GET", REFS, &headers, "")
            .expect("because the server answers");
        assert_eq!(
            reply.text().contains("version 2"),
            announced,
            "version 2 is spoken: {protocol_v2}"
        );
        assert_eq!(
            reply.header("content-type"),
            "application/x-git-upload-pack-advertisement",
            "it is smart HTTP"
        );
    }
}

#[test]
fn a_repository_answers_with_and_without_its_suffix() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    let mut client = Client::http1(&bitbucket);
    for path in ["/ws/repo/info/refs", "/ws/repo.git/info/refs"] {
        let reply = client.get(&format!("{path}?service=git-upload-pack"), Some(&token));
        assert_eq!(reply.status, 200, "'{path}' is the repository");
    }
    assert_eq!(bitbucket.connections(), 1, "the connection is kept alive");
}

#[test]
fn a_secret_counts_only_with_the_user_name_of_its_kind() {
    let bitbucket = bitbucket();
    let access = bitbucket.issue_access_token(&["repository"]);
    let (api, resource) = (
        bitbucket.issue_api_token(),
        bitbucket.issue_resource_token(),
    );
    let consumer = bitbucket.consumer();
    let cases = [
        (basic("x-token-auth", &access), 200),
        (basic("x-token-auth", &resource), 200),
        (basic("x-bitbucket-api-token-auth", &api), 200),
        (basic("someone", &api), 200),
        (bearer(&access), 200),
        (basic("someone", &access), 401),
        (basic("x-bitbucket-api-token-auth", &access), 401),
        (basic("x-token-auth", &api), 401),
        (basic("someone@example.com", &api), 401),
        (bearer(&api), 401),
        (basic("x-token-auth", "unknown"), 401),
        (basic(&consumer.key, &consumer.secret), 401),
        ("JWT something".to_owned(), 401),
        (basic("someone", "ATBBxyz"), 410),
    ];
    let mut client = Client::http1(&bitbucket);
    for (authorization, status) in &cases {
        let reply = client.get(REFS, Some(authorization));
        assert_eq!(reply.status, *status, "case '{authorization:.40}'");
        if *status == 401 {
            assert!(
                reply.text().starts_with(NO_ACCESS),
                "the text names neither cause"
            );
            assert_eq!(
                reply.header("www-authenticate"),
                "Basic realm=\"Bitbucket.org HTTP\"",
                "git may ask for another"
            );
        }
    }
    let shown = format!("{:?}", bitbucket.requests());
    assert_eq!(
        bitbucket.requests().len(),
        cases.len(),
        "every request is recorded"
    );
    for secret in [&access, &api, &resource, &consumer.secret] {
        assert!(!shown.contains(secret.as_str()), "no secret is recorded");
    }
}

#[test]
fn app_passwords_are_gone_with_a_text_that_says_so() {
    let bitbucket = bitbucket();
    let reply = Client::http1(&bitbucket).get(REFS, Some(&basic("someone", "ATBBxyz")));
    let text = "App passwords are deprecated and must be replaced with API tokens.";
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (410, text),
        "git can show why"
    );
    assert_eq!(
        reply.header("content-type"),
        "text/plain",
        "git shows only plain text"
    );
}

#[test]
fn a_request_without_credentials_or_with_a_token_in_the_query_is_refused() {
    let bitbucket = bitbucket();
    let token = bitbucket.issue_access_token(&["repository"]);
    let mut client = Client::http1(&bitbucket);
    for path in [REFS.to_owned(), format!("{REFS}&access_token={token}")] {
        let reply = client.get(&path, None);
        assert_eq!(reply.status, 401, "a header must carry the token");
        assert!(
            reply.header("www-authenticate").starts_with("Basic"),
            "git is asked for one"
        );
    }
}

#[test]
fn scopes_decide_between_reading_and_writing() {
    let bitbucket = bitbucket();
    let cases: [(&[&str], u16, u16); 5] = [
        (&["repository"], 200, 403),
        (&["repository:write"], 200, 200),
        (&["account"], 403, 403),
        (&["read:repository:bitbucket"], 200, 403),
        (&[], 403, 403),
    ];
    let mut client = Client::http1(&bitbucket);
    for (scopes, read, write) in cases {
        let token = basic("x-token-auth", &bitbucket.issue_access_token(scopes));
        assert_eq!(
            client.get(REFS, Some(&token)).status,
            read,
            "reading with {scopes:?}"
        );
        let reply = client.get(REFS_TO_PUSH, Some(&token));
        assert_eq!(reply.status, write, "writing with {scopes:?}");
        if write == 403 {
            let text = "Your credentials lack one or more required privilege scopes.";
            assert_eq!(reply.text(), text, "the text is the one that git shows");
        }
    }
    let read_only = bitbucket.issue_token(TokenKind::Resource, &["repository"]);
    let reply = client.get(REFS_TO_PUSH, Some(&basic("x-token-auth", &read_only)));
    assert_eq!(reply.status, 403, "a resource token has scopes too");
}

#[test]
fn a_missing_repository_looks_like_one_without_access_by_default() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    let mut client = Client::http1(&bitbucket);
    let missing = "/ws/missing.git/info/refs?service=git-upload-pack";
    assert_eq!(
        client.get(missing, Some(&token)).status,
        401,
        "Bitbucket does not tell the two apart"
    );
    bitbucket.set_missing_repository_status(404);
    let reply = client.get(missing, Some(&token));
    assert_eq!(reply.status, 404, "older texts say 404");
    assert!(reply.text().starts_with(NO_ACCESS), "with the same text");
}

#[test]
fn a_consumer_reaches_only_its_workspaces() {
    let bitbucket = bitbucket();
    bitbucket
        .create_repository("other", "repo")
        .expect("because it is new");
    let consumer = Consumer {
        workspaces: Some(vec!["ws".to_owned()]),
        ..Consumer::new_private()
    };
    bitbucket.add_consumer(consumer.clone());
    let mut client = Client::http1(&bitbucket);
    let client_credentials = [("grant_type", "client_credentials")];
    let answer = client.post_form(
        TOKEN,
        Some(&basic(&consumer.key, &consumer.secret)),
        &client_credentials,
    );
    let token = bearer(
        answer.json()["access_token"]
            .as_str()
            .expect("because a token was granted"),
    );
    assert_eq!(
        client.get(REFS, Some(&token)).status,
        200,
        "its own workspace is open"
    );
    let other = "/other/repo.git/info/refs?service=git-upload-pack";
    assert_eq!(
        client.get(other, Some(&token)).status,
        401,
        "another one is not"
    );
}

#[test]
fn a_revoked_token_and_an_expired_one_are_refused() {
    let bitbucket = bitbucket();
    let mut client = Client::http1(&bitbucket);
    let revoked = authorization(&bitbucket);
    bitbucket.revoke_access_tokens();
    assert_eq!(
        client.get(REFS, Some(&revoked)).status,
        401,
        "a revoked token is refused"
    );
    bitbucket.set_access_token_lifetime(60);
    let short = authorization(&bitbucket);
    assert_eq!(
        client.get(REFS, Some(&short)).status,
        200,
        "a token issued afterwards is good"
    );
    bitbucket.advance_clock(std::time::Duration::from_secs(60));
    assert_eq!(
        client.get(REFS, Some(&short)).status,
        401,
        "it dies at its expiry"
    );
}

#[test]
fn a_refused_upload_keeps_its_connection_when_short_and_is_not_read_when_long() {
    let bitbucket = bitbucket();
    let path = "/ws/repo.git/git-receive-pack";
    let mut client = Client::http1(&bitbucket);
    let short = client
        .send("POST", path, &[], noise(1000))
        .expect("because a short body is read");
    assert_eq!(
        (short.status, short.header("connection")),
        (401, ""),
        "the connection stays"
    );
    assert_eq!(
        client.get(REFS, Some(&authorization(&bitbucket))).status,
        200,
        "and carries the next request"
    );
    let long = Client::http2(&bitbucket).send("POST", path, &[], noise(16 << 20));
    assert_eq!(
        long.expect("because the answer does not wait for the body")
            .status,
        401,
        "a long body is refused too"
    );
    let read = bitbucket
        .git_requests()
        .last()
        .map_or(0, |request| request.request_bytes);
    assert!(read < 2 << 20, "and not read to its end: {read}");
}

#[cfg(unix)]
#[test]
fn dropping_the_server_kills_what_it_runs_for_git() {
    let bitbucket = bitbucket();
    let work = Workplace::new(&bitbucket);
    let mut push = HangingPush::start(&bitbucket, &work);
    drop(bitbucket);
    push.wait_for_hook();
    assert!(
        !push.git.wait().expect("because it was started").success(),
        "the push fails with the server"
    );
}

#[cfg(unix)]
#[test]
fn a_client_that_gives_up_ends_what_the_server_runs_for_it() {
    for http2 in [false, true] {
        let bitbucket = bitbucket_with(Options {
            http2,
            ..Options::default()
        });
        let work = Workplace::new(&bitbucket);
        let mut push = HangingPush::start(&bitbucket, &work);
        crate::support::kill_group(&mut push.git);
        push.wait_for_hook();
        let broken = bitbucket.wait_for(|requests| {
            requests
                .iter()
                .any(|request| request.progress == Progress::Broken)
        });
        broken.expect("because the push is recorded as broken");
    }
}

/// A push whose hook on the server never ends by itself.
#[cfg(unix)]
struct HangingPush {
    git: std::process::Child,
    /// Ends when the hook does.
    hook: std::fs::File,
}

#[cfg(unix)]
impl HangingPush {
    fn start(bitbucket: &Bitbucket, work: &Workplace) -> Self {
        use std::os::unix::fs::PermissionsExt;

        work.commit(b"content");
        let pipe = work.path("alive");
        let made = std::process::Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("because mkfifo is installed");
        assert!(made.success(), "the pipe is made");
        let hook = bitbucket
            .repository_path("ws", "repo")
            .join("hooks/pre-receive");
        let hooks = hook.parent().expect("because it is in 'hooks'");
        std::fs::create_dir_all(hooks).expect("because the repository exists");
        let script = format!("#!/bin/sh\nexec sleep 600 >'{}'\n", pipe.display());
        std::fs::write(&hook, script).expect("because it is ours");
        std::fs::set_permissions(&hook, PermissionsExt::from_mode(0o755))
            .expect("because it is ours");

        let mut push = work.command(&["-C", "work", "push", &work.url, "main"]);
        std::os::unix::process::CommandExt::process_group(&mut push, 0);
        let git = push
            .stderr(std::process::Stdio::null())
            .spawn()
            .expect("because git is installed");
        Self {
            git,
            hook: std::fs::File::open(pipe).expect("because the hook opens the other end"),
        }
    }

    fn wait_for_hook(&mut self) {
        use std::io::Read as _;

        self.hook
            .read_to_end(&mut Vec::new())
            .expect("because the pipe ends when the hook dies");
    }
}
