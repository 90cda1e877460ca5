//! Retries: which requests, how often, and with which message.

use bitbucket_local::{
    Action, Kind, Rule,
    proxy::{Options, Proxy},
};

use crate::{
    inspect::{Gate, is_sound, limited},
    support::{Done, World, on_every_git_without_memory},
};

/// A busy server that wants to be asked again at once, so that no test has to wait.
fn busy(status: u16) -> Rule {
    Rule::answer(status)
        .header("Retry-After", "0")
        .kind(Kind::Git)
}

/// How often a person was told of another attempt.
fn announcements(done: &Done) -> usize {
    let lines = done.stderr.lines();
    lines
        .filter(|line| line.starts_with("warning: ") && line.contains("; trying again in "))
        .count()
}

#[test]
fn requests_that_only_read_are_retried_if_the_server_is_busy() {
    on_every_git_without_memory(|world| {
        for status in [429, 502, 503, 504] {
            for (method, skip) in [("GET", 0), ("POST", 0), ("POST", 1)] {
                let rule = busy(status).method(method).skip(skip).times(2);
                world.bitbucket.script(rule);
                let tree = format!("tree-{status}-{method}-{skip}");
                let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", &tree]);
                let done = done.done().expect(0);
                assert_eq!(world.bitbucket.rules_left(), 0, "the fault happened");
                assert_eq!(announcements(&done), 1, "{}", done.stderr);
                done.says(&[&format!("(status {status}); trying again in 0.0 s\n")]);
                assert_eq!(done.stderr.lines().count(), 1, "one line for all attempts");
                is_sound(world, &world.path(&tree));
            }
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
}

#[test]
fn a_request_to_a_busy_server_is_sent_four_times_in_all() {
    on_every_git_without_memory(|world| {
        world.bitbucket.script(busy(503).forever());
        let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"]).fails(128);
        assert_eq!(announcements(&done), 1, "{}", done.stderr);
        done.says(&["caused by: 'localhost' answered 503\n"]);
        assert_eq!(world.git_requests(), ["GET info/refs"; 4]);
        assert!(!world.path("tree").exists());
    });
}

#[test]
fn a_time_that_is_too_far_off_is_not_waited_for() {
    on_every_git_without_memory(|world| {
        for when in ["3600", "Fri, 31 Dec 2100 23:59:59 GMT"] {
            world.bitbucket.clear_requests();
            world
                .bitbucket
                .script(Rule::answer(429).header("Retry-After", when));
            let done = limited(world, ["ls-remote", "bbtoken::ws/repo"]).fails(128);
            assert_eq!(announcements(&done), 0, "{when}: {}", done.stderr);
            assert_eq!(world.git_requests().len(), 1, "{when}");
        }
    });
}

#[test]
fn a_connection_that_breaks_before_git_has_seen_anything_is_made_again() {
    on_every_git_without_memory(|world| {
        // The advertisement is read as a whole before git gets any of it.
        for (method, skip, length) in [
            ("GET", 0, 0),
            ("GET", 0, 60),
            ("POST", 0, 0),
            ("POST", 1, 0),
        ] {
            let cut = Rule::new(Action::CutAfter(length)).kind(Kind::Git);
            world.bitbucket.script(cut.method(method).skip(skip));
            let tree = format!("tree-{method}-{skip}-{length}");
            let done = limited(world, ["clone", "-q", "bbtoken::ws/repo", &tree]);
            let done = done.done().expect(0);
            assert_eq!(world.bitbucket.rules_left(), 0, "the fault happened");
            assert_eq!(announcements(&done), 1, "{}", done.stderr);
            done.says(&["warning: the response of 'localhost' was cut off; trying again in 0."]);
            is_sound(world, &world.path(&tree));
        }
    });
}

#[test]
fn a_connection_that_is_refused_is_tried_again_and_then_named() {
    on_every_git_without_memory(|world| {
        let mut gate = Gate::to(world);
        let list = || gate_list(world);
        gate.between(world, list()).ok();
        let base = gate.base_url();
        gate.close();
        world.bitbucket.clear_requests();
        let token_url = world.bitbucket.token_url();
        let done = list()
            .env("BBTOKEN_BASE_URL", base)
            .env("BBTOKEN_TOKEN_URL", token_url)
            .fails(128);
        assert_eq!(announcements(&done), 1, "{}", done.stderr);
        done.says(&[
            "warning: cannot connect to 'localhost'; trying again in 0.",
            "error: cannot reach repository 'ws/repo'\ncaused by: cannot connect to 'localhost'\n",
        ]);
    });
}

#[test]
fn a_proxy_that_cannot_connect_at_the_moment_is_retried() {
    on_every_git_without_memory(|world| {
        let proxy = Proxy::start(Options {
            fails_with: vec![502, 503, 504],
            ..Options::default()
        });
        let proxy = proxy.expect("a proxy starts on loopback");
        let place = format!("127.0.0.1:{}", proxy.port());
        let done = gate_list(world).env("https_proxy", &place).done().expect(0);
        assert_eq!(announcements(&done), 1, "{}", done.stderr);
        done.says(&[&format!(
            "warning: cannot connect to 'localhost' through proxy '{place}' (https_proxy); trying again in 0."
        )]);
        assert_eq!(proxy.asked().len(), 4);
    });
}

/// What HTTP/2 has for this (GOAWAY, REFUSED_STREAM; RFC 9113 section 8.7) cannot come where HTTP/1.1 is spoken.
#[test]
fn a_server_of_http_2_is_spoken_to_in_http_1_1() {
    on_every_git_without_memory(|world| {
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "file", "two\n");
        world.git(["push", "-q"]).within(&tree).ok();
        let requests = world.bitbucket.git_requests();
        assert!(requests.len() > 4);
        for request in requests {
            assert_eq!(request.http_version, "HTTP/1.1");
            assert_eq!(request.alpn.as_deref(), Some("http/1.1"));
        }
        world.bitbucket.clear_requests();
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let address = world.bitbucket.repository_url("ws", "repo");
        let plain = world.git(["-c", &world.with_header(&token), "ls-remote", &address]);
        plain.ok();
        let gits = world.bitbucket.git_requests().pop().expect("git has asked");
        assert_eq!(gits.http_version, "HTTP/2.0", "the server can do it");
    });
}

#[test]
fn a_server_that_ends_each_connection_after_its_answer_is_no_trouble() {
    on_every_git_without_memory(|world| {
        let announced = ("Connection".to_owned(), "close".to_owned());
        for (name, action) in [
            ("announced", Action::Alter(vec![announced])),
            ("unannounced", Action::CloseIdle),
        ] {
            world.bitbucket.clear_requests();
            world.bitbucket.clear_script();
            let rule = Rule::new(action).kind(Kind::Git).forever();
            world.bitbucket.script(rule);
            let clone = limited(world, ["clone", "-q", "bbtoken::ws/repo", name]).done();
            assert_eq!(
                clone.expect(0).stderr,
                "",
                "the user sees no message: {name}"
            );
            let requests = world.bitbucket.git_requests();
            let connections: std::collections::BTreeSet<_> =
                requests.iter().map(|request| request.connection).collect();
            assert_eq!(connections.len(), requests.len(), "{name}");
        }
    });
}

fn gate_list(world: &World) -> crate::support::Run {
    limited(world, ["ls-remote", "bbtoken::ws/repo"])
}

#[test]
fn a_push_is_sent_again_only_when_the_server_has_refused_to_look_at_it() {
    on_every_git_without_memory(|world| {
        let tree = world.clone("ws/repo", "tree");
        let bare = world.bitbucket.repository_path("ws", "repo");
        for (status, posts) in [(429, 2), (502, 1), (503, 1), (504, 1)] {
            world.commit(&tree, "file", format!("{status}"));
            let before = world.rev(&bare, "main");
            world.bitbucket.clear_requests();
            world.bitbucket.script(busy(status).method("POST"));
            let done = limited(world, ["push", "-q"]).within(&tree).done();
            let sent = world.git_requests();
            let sent = sent.iter().filter(|request| request.starts_with("POST"));
            assert_eq!(sent.count(), posts, "{status}: {}", done.stderr);
            assert_eq!(announcements(&done), posts - 1, "{status}");
            let is_pushed = world.rev(&bare, "main") != before;
            assert_eq!((done.code == Some(0), is_pushed), (posts == 2, posts == 2));
            world.git(["push", "-q"]).within(&tree).ok();
        }
    });
}

#[test]
fn the_cause_of_a_403_follows_from_the_servers_message() {
    let of_cloud = [
        (
            "Your credentials lack one or more required privilege scopes.",
            "hint: tick the permission 'Repositories: Read' at the OAuth consumer",
        ),
        (
            "To access this repository, an admin must whitelist your IP.",
            "hint: the workspace accepts only listed IP addresses: ",
        ),
        (
            "This repository has exceeded its size limit.",
            "hint: the repository or its workspace exceeds a limit of its plan: ",
        ),
    ];
    let of_data_center = [
        (
            "You are not permitted to access this resource",
            "hint: the token has no permission to read repositories: ",
        ),
        (
            "Basic Authentication has been disabled on this instance.",
            "hint: Bitbucket does not accept Basic authentication; ",
        ),
        (
            "CAPTCHA required",
            "hint: Bitbucket has locked the account after failed logins: ",
        ),
    ];
    on_every_git_without_memory(|world| {
        let cases = match world.is_data_center() {
            true => of_data_center,
            false => of_cloud,
        };
        for (words, hint) in cases {
            world.bitbucket.clear_requests();
            let rule = Rule::answer(403).header("Content-Type", "text/plain");
            world.bitbucket.script(rule.body(words));
            let done = limited(world, ["ls-remote", "bbtoken::ws/repo"]).fails(128);
            done.says(&[words, hint]);
            assert_eq!(world.git_requests().len(), 1, "a 403 is the last word");
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
}

/// A fault of the token endpoint that passes, and what the user sees of it.
fn token_faults() -> Vec<(Rule, &'static str)> {
    vec![
        (
            Rule::answer(429),
            "'localhost' received too many requests (status 429)",
        ),
        (
            Rule::answer(502),
            "'localhost' is not available (status 502)",
        ),
        (
            Rule::answer(503),
            "'localhost' is not available (status 503)",
        ),
        (
            Rule::answer(504),
            "'localhost' is not available (status 504)",
        ),
        (
            Rule::new(Action::CloseWithoutAnswer),
            "'localhost' closed the connection without a response",
        ),
        (
            Rule::new(Action::AnswerLost),
            "'localhost' closed the connection without a response",
        ),
        (
            Rule::new(Action::CutAfter(10)),
            "the response of 'localhost' was cut off",
        ),
    ]
}

#[test]
fn token_requests_are_retried_by_the_same_policy() {
    on_every_git_without_memory(|world| {
        let faults = token_faults();
        for (rule, why) in &faults {
            world.bitbucket.clear_requests();
            world
                .bitbucket
                .script(rule.clone().kind(Kind::Token).times(2));
            let done = gate_list(world)
                .env("BBTOKEN_STORE", "memory")
                .done()
                .expect(0);
            assert_eq!(world.bitbucket.token_requests().len(), 3, "{why}");
            assert_eq!(announcements(&done), 1, "one line for all: {}", done.stderr);
            done.says(&[&format!("warning: {why}; trying again in ")]);
        }
        assert_eq!(faults.len(), 7);
    });
}

#[test]
fn a_request_to_an_unreachable_token_endpoint_is_sent_four_times_in_all() {
    on_every_git_without_memory(|world| {
        let lost = Rule::new(Action::CloseWithoutAnswer).kind(Kind::Token);
        world.bitbucket.script(lost.forever());
        let done = gate_list(world).env("BBTOKEN_STORE", "memory").fails(128);
        assert_eq!(world.bitbucket.token_requests().len(), 4);
        assert_eq!(announcements(&done), 1, "{}", done.stderr);
        done.says(&["hint: check the network, the proxy settings and the status of 'localhost'"]);
    });
}
