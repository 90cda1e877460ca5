//! Time limits: a stalled or slow transfer ends as git's settings say, compared with git's own https.

use std::fs;

use bitbucket_local::{Action, Kind, Rule};

use crate::{
    inspect::{SPANS_S, low_speed, noise},
    support::on_every_git,
};

const PUSH: &str = "POST git-receive-pack";

fn too_slow(span_s: u32) -> String {
    format!(
        "caused by: less than 1000 bytes a second for {span_s} seconds (http.lowSpeedLimit, http.lowSpeedTime)\n"
    )
}

#[test]
fn a_server_that_does_not_answer_is_given_up() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/other"]).fails(128);
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let https = world.bitbucket.repository_url("ws", "repo");
        for (address, setting) in [
            ("bbtoken::ws/repo", "core.x=y".to_owned()),
            (&https, world.with_header(&token)),
        ] {
            world.bitbucket.clear_script();
            world
                .bitbucket
                .script(Rule::new(Action::Hold).path("info/refs"));
            let done = world
                .git(low_speed(1))
                .args(["-c", &setting, "ls-remote", address])
                .fails(128);
            if address.starts_with("bbtoken") {
                done.says(&[
                    "error: cannot reach repository 'ws/repo'\n",
                    "caused by: 'localhost' did not answer in time\n",
                    &too_slow(1),
                    "hint: ",
                ]);
            }
            world.bitbucket.release();
        }
    });
}

#[test]
fn a_token_endpoint_that_does_not_answer_is_given_up() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world
            .bitbucket
            .script(Rule::new(Action::Hold).kind(Kind::Token));
        world
            .git(low_speed(1))
            .args(["ls-remote", "bbtoken::ws/repo"])
            .fails(128)
            .says(&[
                "caused by: cannot get a token for profile 'environment'",
                &too_slow(1),
            ]);
        world.bitbucket.release();
    });
}

#[test]
fn a_pack_that_stops_is_given_up_and_leaves_nothing() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world
            .bitbucket
            .script(Rule::new(Action::Stall(100)).method("POST").skip(1));
        let done = world
            .git(low_speed(1))
            .args(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .fails(128);
        done.says(&[&too_slow(1)]);
        assert!(!world.path("tree").exists());
        world.bitbucket.release();
    });
}

#[test]
fn a_push_without_a_response_in_time_is_reported_as_unknown() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        world.commit(&tree, "file", "two\n");
        let is_sent = || world.git_requests().iter().any(|asked| asked == PUSH);
        let stall = Rule::new(Action::Stall(0)).path("git-receive-pack");
        world.bitbucket.script(stall.method("POST").forever());
        for span_s in SPANS_S {
            world.bitbucket.clear_requests();
            let push = world.git(low_speed(span_s)).args(["push", "-q"]);
            let done = push.within(&tree).fails(1);
            done.says(&[&too_slow(span_s)]);
            if is_sent() {
                done.says(&["the server may or may not have done the push\n"]);
                break;
            }
        }
        assert!(is_sent(), "the server gets the push");
        world.bitbucket.release();
    });
}

#[test]
fn a_transfer_above_the_speed_limit_goes_on() {
    // What is slow on a busy machine is not slow here; `http::speed_limit` has tests of the arithmetic.
    let limit = ["-c", "http.lowSpeedLimit=1", "-c", "http.lowSpeedTime=120"];
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let noise = noise(3 << 20);
        world.commit(&tree, "large", &noise);
        let push = world.git(limit).args(["push", "-q"]);
        push.within(&tree).done().expect(0).quiet();
        let clone = ["clone", "-q", "bbtoken::ws/repo", "again"];
        world.git(limit).args(clone).done().expect(0).quiet();
        assert_eq!(fs::read(world.path("again/large")).ok(), Some(noise));
    });
}

#[test]
fn one_of_the_two_settings_alone_means_nothing() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for setting in ["http.lowSpeedLimit=1000000000", "http.lowSpeedTime=1"] {
            world
                .git(["-c", setting, "ls-remote", "bbtoken::ws/repo"])
                .done()
                .expect(0)
                .quiet();
        }
    });
}

#[test]
fn a_server_that_accepts_a_connection_but_never_answers_times_out() {
    on_every_git(|world| {
        // The system completes the connection; no process speaks TLS or HTTP on it.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
        let place = listener.local_addr().expect("it has one").to_string();
        world
            .git(low_speed(1))
            .args(["ls-remote", "bbtoken::ws/repo"])
            .env("BBTOKEN_BASE_URL", format!("https://{place}"))
            .fails(128)
            .says(&[
                "caused by: '127.0.0.1' did not answer in time\n",
                &too_slow(1),
            ]);
        world
            .git(low_speed(1))
            .args(["ls-remote", "bbtoken::ws/repo"])
            .env("https_proxy", &place)
            .fails(128)
            .says(&[
                "caused by: 'localhost' did not answer in time\n",
                &too_slow(1),
            ]);
    });
}
