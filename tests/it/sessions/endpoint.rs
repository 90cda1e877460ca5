//! Responses of the token endpoint to a login, and their messages.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    net::TcpListener,
    process::Stdio,
    time::Duration,
};

use bitbucket_local::{Kind, Rule, ScopeField};

use crate::{
    inspect::limited,
    person::{configure, configure_login, list, log_in, person, refreshes},
};

use super::world;

#[test]
fn old_and_new_answers_are_understood() {
    let world = &world();
    person(world);
    let changes: [&dyn Fn(); 4] = [
        &|| world.bitbucket.set_rotation(false),
        &|| world.bitbucket.set_scope_field(ScopeField::Scopes),
        &|| world.bitbucket.set_expires_in_omitted(true),
        &|| {
            world
                .bitbucket
                .change_settings(|settings| settings.refresh_token_omitted = true)
        },
    ];
    for change in changes {
        change();
        for _ in 0..2 {
            world.bitbucket.advance_clock(Duration::from_secs(7_300));
            assert_eq!(list(world).done().expect(0).stderr, "");
        }
    }
    assert_eq!(refreshes(world), 8);
}

#[test]
fn every_refusal_of_the_token_endpoint_names_profile_client_cause_and_remedy() {
    let world = &world();
    person(world);
    let key = &world.consumer.key;
    let json = |error: &str, description: &str| {
        let description = description.replace('"', "\\\"");
        format!(r#"{{"error_description":"{description}","error":"{error}"}}"#)
    };
    // Bitbucket's own answers; (status, body, cause, what fixes it)
    let cases = [
        (
            400,
            json("unauthorized_client", "Invalid OAuth client credentials"),
            ": its id or secret is wrong",
            "hint: compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET",
        ),
        (
            400,
            json(
                "unauthorized_client",
                "Requests must be authenticated using OAuth client credentials",
            ),
            ": the server did not receive the client's id and secret",
            "hint: a proxy may have removed the Authorization header",
        ),
        (
            400,
            json(
                "invalid_grant",
                "Cannot use client_credentials with a consumer marked as \"public\". Calls for auto generated consumers should use urn:bitbucket:oauth2:jwt instead.",
            ),
            ": the client is not private",
            "hint: tick 'This is a private consumer'",
        ),
        (
            400,
            json(
                "invalid_request",
                "No callback uri defined for the OAuth client.",
            ),
            ": the client has no callback URL",
            "hint: set the callback URL",
        ),
        (
            400,
            json("invalid_grant", "Unsupported grant type: None"),
            ": the token endpoint does not support this grant",
            "hint: check bbtoken.tokenUrl",
        ),
        (
            400,
            json("invalid_request", "Invalid refresh_token"),
            ": its login has ended",
            "hint: run 'git bbtoken login work'",
        ),
        (
            400,
            json("invalid_grant", ""),
            ": its login has ended",
            "hint: run 'git bbtoken login work'",
        ),
        (
            400,
            json("unauthorized_client", "This client may not refresh"),
            ": the client may not use this grant",
            "hint: allow the authorization code and its refresh tokens for this client",
        ),
        (
            400,
            json("invalid_scope", "The requested scope is unknown"),
            ": the server does not accept the client's scopes",
            "hint: check the permissions that are ticked",
        ),
        (
            401,
            json("invalid_client", ""),
            ": its id or secret is wrong",
            "hint: compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET",
        ),
        // Those of gateways in front of the endpoint, which refuse nothing in its name.
        (401, String::new(), "\n", "hint: a proxy, a sign-on page"),
        (403, String::new(), "\n", "hint: a proxy, a sign-on page"),
        (
            403,
            r#"{"status":403,"error":"Forbidden"}"#.to_owned(),
            "\n",
            "hint: a proxy, a sign-on page",
        ),
        (
            403,
            "<html>".to_owned(),
            "\n",
            "hint: a proxy, a sign-on page",
        ),
        (
            500,
            "<html>".to_owned(),
            "\n",
            "hint: the problem is at 'localhost'",
        ),
        (
            500,
            json("server_error", "the database is away"),
            "\ncaused by: the token endpoint answered 500, server_error: the database is away\n",
            "hint: the problem is at 'localhost'",
        ),
    ];
    world.bitbucket.revoke_access_tokens();
    for (status, body, cause, remedy) in &cases {
        let mut rule = Rule::answer(*status)
            .body(body.as_bytes())
            .kind(Kind::Token)
            .forever();
        if body.starts_with('<') {
            rule = rule.header("Content-Type", "text/html");
        }
        world.bitbucket.script(rule);
        let done = list(world).fails(128);
        let who = format!(
            "error: cannot read repository 'ws/repo'\ncaused by: cannot get a token for profile 'work' with client '{key}'{cause}"
        );
        done.says(&[
            &who,
            &format!("caused by: the token endpoint answered {status}"),
            remedy,
        ]);
        world.bitbucket.clear_script();
    }
    assert_eq!(cases.len(), 16);
    assert_eq!(
        list(world).done().expect(0).stderr,
        "",
        "none of them cost the login"
    );
}

#[test]
fn an_id_and_a_secret_in_each_others_place_are_named_and_not_shown() {
    let world = &world();
    for (id, secret) in [
        ("q0JYbbxVam1FR1bRVDSNQuEvvhSjt7Ff", "Ab3dE5gH7jK9mN1pQr"),
        (&"q0JY".repeat(19), "q0JYbbxVam1FR1bRVDSNQuEvvhSjt7Ff"),
    ] {
        let run = world.bbtoken(["token", "--force"]);
        let run = run.env("BBTOKEN_CLIENT_ID", id);
        let done = run.env("BBTOKEN_CLIENT_SECRET", secret).fails(4);
        done.says(&[
            "error: cannot get a token for profile 'environment': its id or secret is wrong; the id is longer than the secret, so the two may be swapped\n",
            "hint: compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET",
        ]);
        assert!(!done.stderr.contains("q0JY"), "{}", done.stderr);
    }
}

#[test]
fn a_command_waits_a_limited_time_for_a_busy_endpoint_and_says_so() {
    let world = &world();
    person(world);
    for (status, why) in [
        (429, "received too many requests"),
        (503, "is not available"),
    ] {
        for by_login in [true, false] {
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.clear_requests();
            let busy = |seconds| {
                Rule::answer(status)
                    .header("Retry-After", seconds)
                    .kind(Kind::Token)
            };
            let run = || {
                if by_login {
                    list(world)
                } else {
                    limited(world, ["ls-remote", "bbtoken::ws/repo"])
                }
            };
            world.bitbucket.script(busy("1"));
            let done = run().done().expect(0);
            done.says(&[&format!(
                "warning: 'localhost' {why} (status {status}); trying again in 1."
            )]);
            assert_eq!(done.stderr.lines().count(), 1, "{}", done.stderr);
            assert_eq!(world.bitbucket.token_requests().len(), 2);
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.script(busy("3600"));
            // An hour is not waited for: a command that takes as long is ended otherwise.
            let done = run().fails(128);
            done.says(&["asks to wait 3600 seconds\n", "hint: Bitbucket is busy"]);
            assert!(!done.stderr.contains("trying again"), "{}", done.stderr);
            run().ok();
        }
    }
}

#[test]
fn a_dead_network_is_reported_with_the_host_and_only_once_for_parallel_commands() {
    let world = &world();
    person(world);
    // It accepts connections and sends nothing; then no process listens.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let port = silent.local_addr().expect("it is bound").port();
    let start = || {
        let run = limited(world, ["ls-remote", "bbtoken::ws/repo"]);
        let url = format!("https://localhost:{port}/token");
        let mut command = run.env("BBTOKEN_TOKEN_URL", url).into_command();
        let command = command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("git starts");
        let stderr = child.stderr.take().expect("it is a pipe");
        (child, BufReader::new(stderr))
    };
    let first = start();
    let (asked, _) = silent.accept().expect("it asks for a token");
    let mut others: Vec<_> = (0..3).map(|_| start()).collect();
    for (_, stderr) in &mut others {
        let mut waits = String::new();
        stderr.read_line(&mut waits).expect("it is text");
        assert!(waits.contains("waiting for "), "{waits}");
    }
    drop((asked, silent));
    let mut shared = 0;
    for (mut child, mut stderr) in others.into_iter().chain([first]) {
        let mut said = String::new();
        stderr.read_to_string(&mut said).expect("it is text");
        assert_eq!(child.wait().expect("it ends").code(), Some(128), "{said}");
        shared += said.matches("another command could not reach").count();
        for text in [
            "error: cannot read repository 'ws/repo'\ncaused by: cannot get a token for profile 'environment' with client '",
            "'localhost'",
            "hint: check the network, the proxy settings and the status of 'localhost'",
        ] {
            assert!(said.contains(text), "'{text}' is missing in: {said}");
        }
    }
    assert_eq!(shared, 3, "those who waited do not try it again");
    list(world).ok();
}

#[test]
fn one_secret_taken_for_another_is_explained_and_not_sent() {
    let world = &world();
    world.repository("ws", "repo");
    let (key, secret) = (&world.consumer.key, &world.consumer.secret);
    let pair = format!("{key}:{secret}");
    let tokens = [
        (
            pair.as_str(),
            "has the form 'key:secret' or 'user:password'",
        ),
        ("ann:ATBBcanary", "is an app password"),
        ("Bearer canary", "is a whole header"),
        (
            "oauth_token=canary&oauth_token_secret=canary",
            "is an OAuth 1 token",
        ),
        ("canary canary", "contains more than one word"),
        (secret.as_str(), "contains the client's secret"),
        (key.as_str(), "contains the client's id"),
    ];
    let run = || limited(world, ["ls-remote", "bbtoken::ws/repo"]);
    for (token, why) in tokens {
        let done = run().env("BBTOKEN_ACCESS_TOKEN", token).fails(128);
        done.says(&[why]);
        assert!(
            !done.stderr.contains("canary") && !done.stderr.contains(secret.as_str()),
            "{}",
            done.stderr
        );
    }
    let clients = [
        (key.as_str(), "ATBBcanary", "its secret is an app password"),
        (
            key.as_str(),
            "ATATTcanary",
            "its secret is an access token or API token",
        ),
        (
            key.as_str(),
            key.as_str(),
            "its id and its secret are the same",
        ),
        (
            pair.as_str(),
            secret.as_str(),
            "give its id and its secret separately",
        ),
        (
            key.as_str(),
            pair.as_str(),
            "give its id and its secret separately",
        ),
    ];
    for (id, secret, why) in clients {
        let run = run()
            .env("BBTOKEN_CLIENT_ID", id)
            .env("BBTOKEN_CLIENT_SECRET", secret);
        let done = run.fails(128);
        done.says(&[
            "error: cannot read repository 'ws/repo'\ncaused by: the client of profile 'environment' cannot be used: ",
            why,
        ]);
        assert!(!done.stderr.contains("canary"), "{}", done.stderr);
    }
    assert!(
        world.bitbucket.requests().is_empty(),
        "none of them is sent"
    );
    assert_eq!((tokens.len(), clients.len()), (7, 5));
}

#[test]
fn a_gateway_that_refuses_costs_neither_the_client_nor_the_login() {
    let world = &world();
    person(world);
    for status in [401, 403, 407] {
        for by_login in [true, false] {
            let run = || match by_login {
                true => list(world),
                false => {
                    limited(world, ["ls-remote", "bbtoken::ws/repo"]).env("BBTOKEN_STORE", "memory")
                }
            };
            world.bitbucket.revoke_access_tokens();
            let gate = Rule::answer(status).header("WWW-Authenticate", "Basic realm=\"gate\"");
            world.bitbucket.script(gate.kind(Kind::Token).forever());
            let done = run().fails(128);
            done.says(&[&format!(
                "caused by: the token endpoint answered {status} with an empty body\nhint: "
            )]);
            for blamed in ["is wrong", "has ended", "git bbtoken login"] {
                assert!(!done.stderr.contains(blamed), "{}", done.stderr);
            }
            world.bitbucket.clear_script();
            run().done().expect(0).quiet();
        }
    }
}

#[test]
fn an_error_that_oauth_does_not_define_costs_no_login() {
    let world = &world();
    person(world);
    for (status, error) in [
        (403, "forbidden"),
        (401, "unauthorized"),
        (400, "rate_limited"),
        (400, "invalid_request"),
    ] {
        world.bitbucket.revoke_access_tokens();
        let gate = Rule::answer(status).header("Content-Type", "application/json");
        let gate = gate.body(format!(r#"{{"error":"{error}"}}"#));
        world.bitbucket.script(gate.kind(Kind::Token).forever());
        let done = list(world).fails(128);
        for blamed in ["is wrong", "has ended", "git bbtoken login"] {
            assert!(!done.stderr.contains(blamed), "{error}: {}", done.stderr);
        }
        world.bitbucket.clear_script();
        list(world).done().expect(0).quiet();
    }
}

#[test]
fn a_token_of_another_type_is_not_sent_to_the_git_server() {
    let world = &world();
    world.repository("ws", "repo");
    let run = || limited(world, ["ls-remote", "bbtoken::ws/repo"]).env("BBTOKEN_STORE", "memory");
    for (kind, is_used) in [("mac", false), ("DPoP", false), ("Bearer", true)] {
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let body = format!(r#"{{"access_token":"{token}","token_type":"{kind}","expires_in":60}}"#);
        world.bitbucket.clear_requests();
        let rule = Rule::answer(200).header("Content-Type", "application/json");
        world.bitbucket.script(rule.body(body).kind(Kind::Token));
        let done = run().done();
        assert_eq!(done.code == Some(0), is_used, "{kind}: {}", done.stderr);
        assert_eq!(
            world.bitbucket.git_requests().is_empty(),
            !is_used,
            "{kind}"
        );
        if !is_used {
            done.says(&[
                &format!("returned a token of type '{kind}' instead of 'bearer'\n"),
                "hint: check bbtoken.tokenUrl",
            ]);
        }
    }
}

#[test]
fn a_client_id_may_hold_what_rfc_6749_lets_it_hold() {
    let world = &world();
    world.repository("ws", "repo");
    let consumer = bitbucket_local::Consumer {
        key: "app:one%41+two ü".to_owned(),
        secret: "s:e%2Bc+r/e=t".to_owned(),
        ..bitbucket_local::Consumer::new_private()
    };
    world.bitbucket.add_consumer(consumer.clone());
    limited(world, ["ls-remote", "bbtoken::ws/repo"])
        .env("BBTOKEN_CLIENT_ID", &consumer.key)
        .env("BBTOKEN_CLIENT_SECRET", &consumer.secret)
        .done()
        .expect(0)
        .quiet();
}

#[test]
fn endpoints_may_have_a_query_and_no_fragment() {
    let world = &world();
    world.repository("ws", "repo");
    configure_login(world, "work", &world.consumer);
    let base = world.bitbucket.base_url();
    let (token, authorize) = (
        format!("{base}/site/oauth2/access_token?tenant=a%26b"),
        format!("{base}/site/oauth2/authorize?tenant=a%26b"),
    );
    configure(
        world,
        "work",
        &[("tokenUrl", &token), ("authorizeUrl", &authorize)],
    );
    log_in(world, "work").expect(0);
    world.bitbucket.advance_clock(Duration::from_secs(7_300));
    list(world).done().expect(0).quiet();
    assert_eq!(refreshes(world), 1);
    for name in ["BBTOKEN_TOKEN_URL", "BBTOKEN_BASE_URL"] {
        let ending = if name == "BBTOKEN_BASE_URL" {
            "?a"
        } else {
            "#a"
        };
        let done = list(world)
            .env(name, format!("{base}/x{ending}"))
            .fails(128);
        done.says(&[&format!("/x{ending}' ({name}) cannot be used: it has a ")]);
    }
}
