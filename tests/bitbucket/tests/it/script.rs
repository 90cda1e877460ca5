//! Scripted answers.

use std::time::{Duration, Instant};

use bitbucket_local::{Action, Kind, Options, Progress, Rule};

use crate::client::{Client, basic};
use crate::support::{
    REFS, REFS_TO_PUSH, TOKEN, Workplace, authorization, bitbucket, bitbucket_with, noise,
};

const CLIENT_CREDENTIALS: &[(&str, &str)] = &[("grant_type", "client_credentials")];

#[test]
fn a_rule_applies_to_what_it_names_as_often_as_it_says() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    bitbucket.script(
        Rule::answer(503)
            .header("Retry-After", "7")
            .body("later")
            .kind(Kind::Git)
            .skip(1)
            .times(2),
    );
    bitbucket.script(
        Rule::answer(429)
            .path("service=git-receive-pack")
            .method("GET")
            .forever(),
    );
    bitbucket.script(Rule::answer(500).grant("refresh_token"));
    let mut client = Client::http1(&bitbucket);
    let statuses: Vec<u16> = (0..4)
        .map(|_| client.get(REFS, Some(&token)).status)
        .collect();
    assert_eq!(
        statuses,
        [200, 503, 503, 200],
        "the first passes, two are answered, then it is over"
    );
    let push: Vec<u16> = (0..2)
        .map(|_| client.get(REFS_TO_PUSH, Some(&token)).status)
        .collect();
    assert_eq!(push, [429, 429], "another rule stays");
    let own = basic(&bitbucket.consumer().key, &bitbucket.consumer().secret);
    let refresh = [("grant_type", "refresh_token")];
    assert_eq!(
        client
            .post_form(TOKEN, Some(&own), CLIENT_CREDENTIALS)
            .status,
        200,
        "the grant is another"
    );
    assert_eq!(
        client.post_form(TOKEN, Some(&own), &refresh).status,
        500,
        "the grant is the one named"
    );
    assert_eq!(bitbucket.rules_left(), 1, "only the lasting rule is left");
    bitbucket.clear_script();
    assert_eq!(
        client.get(REFS_TO_PUSH, Some(&token)).status,
        200,
        "rules can be forgotten"
    );
    assert_eq!(
        bitbucket.connections(),
        1,
        "none of this closed the connection"
    );
}

#[test]
fn a_scripted_answer_has_its_headers_and_body() {
    let bitbucket = bitbucket();
    bitbucket.script(
        Rule::answer(429)
            .header("Retry-After", "7")
            .body("slow down"),
    );
    let reply = Client::http2(&bitbucket).get(REFS, None);
    assert_eq!(
        (
            reply.status,
            reply.header("retry-after"),
            reply.text().as_str()
        ),
        (429, "7", "slow down"),
        "as scripted"
    );
}

#[test]
fn an_early_answer_comes_before_the_body_is_read() {
    let bitbucket = bitbucket_with(Options {
        http2: false,
        ..Options::default()
    });
    let work = Workplace::new(&bitbucket);
    work.commit(&noise(20 << 20));
    bitbucket.script(
        Rule::answer(413)
            .early()
            .method("POST")
            .path("git-receive-pack"),
    );
    let push = work.push();
    assert!(!push.status.success(), "the push fails");
    let seen = bitbucket.git_requests();
    let refused = seen.last().expect("because git has asked");
    assert_eq!(refused.status, Some(413), "it got the answer");
    assert!(
        refused.request_bytes < 1 << 20,
        "and the body was not read: {}",
        refused.request_bytes
    );
}

#[test]
fn a_delay_comes_before_the_usual_answer() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    bitbucket.script(Rule::new(Action::Delay(Duration::from_millis(50))));
    let start = Instant::now();
    assert_eq!(
        Client::http1(&bitbucket).get(REFS, Some(&token)).status,
        200,
        "the answer is the usual one"
    );
    assert!(
        start.elapsed() >= Duration::from_millis(50),
        "after the delay"
    );
}

#[test]
fn a_cut_answer_ends_after_so_many_bytes_with_its_connection() {
    for (tls, http2) in [(false, false), (true, false), (true, true)] {
        let bitbucket = bitbucket_with(Options {
            tls,
            ..Options::default()
        });
        let token = authorization(&bitbucket);
        for bytes in [0, 10, 100] {
            bitbucket.clear_requests();
            bitbucket.script(Rule::new(Action::CutAfter(bytes)));
            let mut client = if http2 {
                Client::http2(&bitbucket)
            } else {
                Client::http1(&bitbucket)
            };
            let reply = client.get(REFS, Some(&token));
            assert_eq!(
                (reply.status, reply.whole),
                (200, false),
                "the answer begins well (tls {tls}, http2 {http2})"
            );
            assert_eq!(
                reply.body.len() as u64,
                bytes,
                "and ends after {bytes} bytes"
            );
            assert!(
                client.send("GET", REFS, &[], "").is_err(),
                "the connection is gone"
            );
            assert_eq!(
                bitbucket.requests()[0].progress,
                Progress::Broken,
                "it is recorded as broken"
            );
            assert_eq!(
                bitbucket.requests()[0].response_bytes,
                bytes,
                "with the bytes that went out"
            );
        }
    }
}

#[test]
fn a_large_answer_is_cut_where_the_rule_says() {
    let bitbucket = bitbucket_with(Options {
        http2: false,
        ..Options::default()
    });
    let work = Workplace::new(&bitbucket);
    work.commit(&noise(4 << 20));
    assert!(work.push().status.success(), "there is something to clone");
    for action in [Action::CutAfter(1 << 20), Action::Truncate(1 << 20)] {
        bitbucket.clear_requests();
        // The first request is for the references.
        bitbucket.script(
            Rule::new(action.clone())
                .method("POST")
                .path("git-upload-pack")
                .skip(1),
        );
        let clone = work.try_git(&["clone", "-q", &work.url, "copy"]);
        assert!(!clone.status.success(), "the clone fails with {action:?}");
        let seen = bitbucket.git_requests();
        let pack = seen.last().expect("because git has asked");
        assert_eq!(
            pack.response_bytes,
            1 << 20,
            "exactly so much went out with {action:?}"
        );
    }
}

#[test]
fn a_truncated_answer_ends_properly_after_so_many_bytes() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    for http2 in [false, true] {
        let mut client = if http2 {
            Client::http2(&bitbucket)
        } else {
            Client::http1(&bitbucket)
        };
        bitbucket.script(Rule::new(Action::Truncate(10)));
        let reply = client.get(REFS, Some(&token));
        assert_eq!(
            (reply.whole, reply.body.len()),
            (true, 10),
            "HTTP sees nothing wrong"
        );
        assert_eq!(
            client.get(REFS, Some(&token)).status,
            200,
            "the connection lives"
        );
        bitbucket.script(Rule::new(Action::Truncate(3)));
        let refused = client.get(REFS, None);
        assert_eq!(
            (refused.whole, refused.text().as_str()),
            (true, "Aut"),
            "answers of known length are shortened too"
        );
    }
}

#[test]
fn a_connection_is_closed_without_an_answer() {
    let bitbucket = bitbucket();
    bitbucket.script(Rule::new(Action::CloseWithoutAnswer).forever());
    for mut client in [Client::http1(&bitbucket), Client::http2(&bitbucket)] {
        assert!(
            client.send("GET", REFS, &[], "").is_err(),
            "there is no answer"
        );
    }
    bitbucket
        .wait_for(|requests| {
            requests.len() == 2
                && requests
                    .iter()
                    .all(|request| request.progress == Progress::Broken)
        })
        .expect("because both are recorded as broken");
    assert_eq!(bitbucket.requests()[0].status, None, "without a status");
}

#[test]
fn a_lost_answer_is_to_something_that_was_done() {
    let bitbucket = bitbucket_with(Options {
        http2: false,
        ..Options::default()
    });
    let work = Workplace::new(&bitbucket);
    let commit = work.commit(b"content");
    bitbucket.script(
        Rule::new(Action::AnswerLost)
            .method("POST")
            .path("git-receive-pack"),
    );
    assert!(
        !work.push().status.success(),
        "git gets no response to its push"
    );
    let repository = bitbucket.repository_path("ws", "repo");
    let head = work.git(&["-C", &repository.to_string_lossy(), "rev-parse", "main"]);
    assert_eq!(head, commit, "which was done");

    bitbucket.change_settings(|settings| settings.client_credentials_refresh = true);
    let own = basic(&bitbucket.consumer().key, &bitbucket.consumer().secret);
    bitbucket.script(Rule::new(Action::AnswerLost).kind(Kind::Token));
    let lost = Client::http1(&bitbucket).try_post_form(TOKEN, Some(&own), CLIENT_CREDENTIALS);
    assert!(lost.is_err(), "the tokens are lost");
    assert_eq!(bitbucket.refresh_uses().len(), 1, "but were issued");
}

#[test]
fn a_held_request_waits_for_its_release() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    bitbucket.script(Rule::new(Action::Hold));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| Client::http1(&bitbucket).get(REFS, Some(&token)).status);
        bitbucket
            .wait_for(|requests| requests.len() == 1)
            .expect("because the request arrives");
        let held = &bitbucket.requests()[0];
        assert_eq!(
            (held.status, held.progress),
            (None, Progress::Open),
            "it is recorded while it waits"
        );
        bitbucket.release();
        assert_eq!(
            asking.join().expect("because it does not panic"),
            200,
            "then the answer is the usual one"
        );
    });
}

#[cfg(unix)]
#[test]
fn a_client_that_gives_up_while_it_is_held_is_recorded_as_broken() {
    let bitbucket = bitbucket_with(Options {
        http2: false,
        ..Options::default()
    });
    bitbucket.script(Rule::new(Action::Hold));
    let work = Workplace::new(&bitbucket);
    let mut listing = work.command(&["ls-remote", &work.url]);
    std::os::unix::process::CommandExt::process_group(&mut listing, 0);
    let mut listing = listing.spawn().expect("because git is installed");
    bitbucket
        .wait_for(|requests| requests.len() == 1)
        .expect("because the request arrives");
    crate::support::kill_group(&mut listing);
    let broken = bitbucket.wait_for(|requests| requests[0].progress == Progress::Broken);
    broken.expect("because the server notices");
}

#[test]
fn a_replaced_body_keeps_status_and_headers() {
    let bitbucket = bitbucket();
    let token = authorization(&bitbucket);
    bitbucket.script(Rule::new(Action::ReplaceBody(b"<html>".to_vec())));
    let reply = Client::http1(&bitbucket).get(REFS, Some(&token));
    assert_eq!(
        (reply.status, reply.text().as_str()),
        (200, "<html>"),
        "the body is the rule's"
    );
    assert_eq!(
        reply.header("content-type"),
        "application/x-git-upload-pack-advertisement",
        "the rest is the server's"
    );
}

#[test]
fn an_idle_connection_is_closed_unannounced() {
    for tls in [false, true] {
        let bitbucket = bitbucket_with(Options {
            tls,
            ..Options::default()
        });
        let token = authorization(&bitbucket);
        for path in [REFS, "/2.0/user"] {
            bitbucket.script(Rule::new(Action::CloseIdle));
            let mut client = Client::http1(&bitbucket);
            let reply = client.get(path, Some(&token));
            assert_eq!(
                (reply.whole, reply.header("connection")),
                (true, ""),
                "the answer is whole and announces nothing"
            );
            assert!(
                client.send("GET", REFS, &[], "").is_err(),
                "the connection is closed all the same"
            );
        }
    }
}
