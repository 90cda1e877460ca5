//! The token of a request: its source, and how long the helper uses it.

mod refused;

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::{Consumer, Kind, Rule, TokenKind};

use crate::{
    inspect::{files, limited, names},
    support::{Run, World, on_every_git},
};

/// What the stand-in calls the user of a Bearer token.
const BEARER: &str = "Bearer";

/// Leaves the client out of the environment.
fn without_client(run: Run) -> Run {
    run.without("BBTOKEN_CLIENT_ID")
        .without("BBTOKEN_CLIENT_SECRET")
}

fn list(world: &World) -> Run {
    limited(world, ["ls-remote", "bbtoken::ws/repo"])
}

/// The user names git requests came with, without repetition.
fn users(world: &World) -> Vec<String> {
    let requests = world.bitbucket.git_requests();
    let mut users: Vec<_> = requests
        .iter()
        .map(|request| request.user.clone().unwrap_or_default())
        .collect();
    users.dedup();
    users
}

fn token_calls(world: &World) -> usize {
    world.bitbucket.token_requests().len()
}

/// Writes a file that holds a secret, in the world's directory.
fn secret_file(world: &World, text: &str) -> PathBuf {
    let file = world.path("secret");
    fs::write(&file, text).expect("it can be written");
    file
}

/// The only token file in the cache.
fn cached(world: &World) -> PathBuf {
    let mut tokens = names(&world.cache());
    tokens.retain(|name| name.ends_with(".json"));
    assert_eq!(tokens.len(), 1, "one token is cached");
    world.cache().join(&tokens[0])
}

/// Changes when the cached token ends.
fn set_expiry(world: &World, from_now_s: i64) {
    let file = cached(world);
    let text = fs::read_to_string(&file).expect("it is text");
    let (before, rest) = text
        .split_once("\"expires_at_unix_s\":")
        .expect("the file says when the token ends");
    let end = rest.find([',', '}']).expect("the number ends");
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .expect("it is after 1970");
    let expiry = i64::try_from(now.as_secs()).expect("it fits") + from_now_s;
    fs::write(
        &file,
        format!("{before}\"expires_at_unix_s\":{expiry}{}", &rest[end..]),
    )
    .expect("it is ours");
}

#[test]
fn a_provided_token_is_sent_with_the_user_name_of_its_kind() {
    let kinds = [
        (TokenKind::Access, "x-token-auth"),
        (TokenKind::Api, "x-bitbucket-api-token-auth"),
        (TokenKind::Resource, "x-token-auth"),
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        for (kind, user) in kinds {
            let scopes = [
                "repository:write",
                "read:repository:bitbucket",
                "write:repository:bitbucket",
            ];
            let token = world.bitbucket.issue_token(kind, &scopes);
            let file = secret_file(world, &format!("  {token}\r\n"));
            for source in ["BBTOKEN_ACCESS_TOKEN", "BBTOKEN_ACCESS_TOKEN_FILE"] {
                world.bitbucket.clear_requests();
                let with_token = |run: Run| {
                    let run = without_client(run);
                    match source {
                        "BBTOKEN_ACCESS_TOKEN" => run.env(source, &token),
                        _ => run.env(source, &file),
                    }
                };
                with_token(limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"])).ok();
                let tree = world.path("tree");
                world.commit(&tree, "file", format!("{kind:?} {source}"));
                with_token(limited(world, ["push", "-q"]).within(&tree)).ok();
                let user = if world.is_data_center() { BEARER } else { user };
                assert_eq!(users(world), [user], "{kind:?} by {source}");
                assert_eq!(
                    token_calls(world),
                    0,
                    "a token of the environment needs no token request"
                );
                fs::remove_dir_all(&tree).expect("it is the test's");
            }
        }
        assert_eq!(
            names(&world.cache()),
            ["advertisements"],
            "a token of the environment is not cached"
        );
    });
    assert_eq!(kinds.len(), 3);
}

#[test]
fn an_app_password_is_explained_and_not_sent() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let done = without_client(limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"]))
            .env("BBTOKEN_ACCESS_TOKEN", "ATBBcanary")
            .fails(128);
        assert_eq!(
            done.stderr,
            "error: cannot read repository 'ws/repo'\n\
             caused by: the access token of profile 'environment' is an app password\n\
             hint: Bitbucket removed app passwords in July 2026; use an OAuth consumer (BBTOKEN_CLIENT_ID and \
             BBTOKEN_CLIENT_SECRET) or an API token with scopes\n"
        );
        assert!(world.bitbucket.requests().is_empty(), "it is not sent");
    });
}

#[test]
fn an_api_token_wins_over_a_client() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        list(world)
            .env("BBTOKEN_ACCESS_TOKEN", world.bitbucket.issue_api_token())
            .ok();
        let user = match world.is_data_center() {
            true => BEARER,
            false => "x-bitbucket-api-token-auth",
        };
        assert_eq!(users(world), [user]);
        assert_eq!(token_calls(world), 0);
    });
}

#[test]
fn an_access_token_that_is_refused_is_an_error_without_a_second_try() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let done = without_client(list(world))
            .env("BBTOKEN_ACCESS_TOKEN", "canary")
            .fails(128);
        done.says(&[
            "\nerror: cannot read repository 'ws/repo' with profile 'environment'\ncaused by: 'localhost' answered 401\n",
        ]);
        done.says(match world.is_data_center() {
            true => &[
                "remote: Authentication failed.",
                "hint: the token is wrong, revoked or expired: make a new one and set BBTOKEN_ACCESS_TOKEN to it",
            ],
            false => &[
                "remote: You may not have access",
                "hint: the token is wrong, revoked or expired (then make a new one and set BBTOKEN_ACCESS_TOKEN to it), or the name is wrong, or the token has no access",
            ],
        });
        assert!(!done.stderr.contains("canary"));
        assert_eq!(world.git_requests(), ["GET info/refs"]);
    });
}

#[test]
fn the_client_secret_comes_from_a_variable_a_file_or_a_command() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let file = secret_file(world, &format!("{}\n", world.consumer.secret));
        let shown = file.display().to_string();
        let plain = format!("cat '{shown}'");
        let shell = format!("!cat '{shown}' | tr -d '\\n'");
        for (variable, command) in [
            (Some(&file), None),
            (None, Some(&plain)),
            (None, Some(&shell)),
        ] {
            world.bitbucket.clear_requests();
            let mut run = list(world)
                .without("BBTOKEN_CLIENT_SECRET")
                .env("BBTOKEN_STORE", "memory");
            if let Some(file) = variable {
                run = run.env("BBTOKEN_CLIENT_SECRET_FILE", file);
            }
            if let Some(command) = command {
                world
                    .git(["config", "--global", "bbtoken.clientSecretCommand", command])
                    .ok();
            }
            run.ok();
            assert_eq!(token_calls(world), 1);
        }
    });
}

#[test]
fn a_command_that_gives_no_secret_is_named() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let origin = format!(
            "bbtoken.clientSecretCommand in {}/.gitconfig",
            world.home().display()
        );
        let cases = [
            (
                "false",
                format!("the command of {origin} failed (exit status: 1); see its output above\n"),
            ),
            ("true", format!("the secret from {origin} is empty\n")),
            (
                "/does/not/exist",
                format!(
                    "the command of {origin} cannot be started: '/does/not/exist'\n\
                     caused by: No such file or directory (os error 2)\n"
                ),
            ),
            (
                "cat '",
                format!("the command of {origin} has an unclosed quote\n"),
            ),
        ];
        for (command, why) in &cases {
            world
                .git(["config", "--global", "bbtoken.clientSecretCommand", command])
                .ok();
            let done = list(world).without("BBTOKEN_CLIENT_SECRET").fails(128);
            assert_eq!(
                done.stderr,
                format!(
                    "error: cannot read repository 'ws/repo'\n\
                     caused by: cannot read the client secret of profile 'environment'\ncaused by: {why}"
                )
            );
            assert!(world.bitbucket.requests().is_empty());
        }
        assert_eq!(cases.len(), 4);
    });
}

#[test]
fn a_token_is_replaced_before_it_ends() {
    let cases = [
        // (seconds left, by git's own transport, a new token is got)
        (-10, false, true),
        (60, false, true),
        (110, false, true),
        (200, false, false),
        (200, true, true),
        (400, true, false),
    ];
    on_every_git(|world| {
        world.repository("ws", "repo");
        list(world).ok();
        for (left_s, by_git, renewed) in cases {
            set_expiry(world, left_s);
            world.bitbucket.clear_requests();
            let transport = if by_git { "git" } else { "native" };
            list(world).env("BBTOKEN_TRANSPORT", transport).ok();
            assert_eq!(
                token_calls(world),
                usize::from(renewed),
                "{left_s} seconds before its end, by {transport}"
            );
        }
    });
    assert_eq!(cases.len(), 6);
}

#[test]
fn a_short_lived_token_is_used_for_most_of_its_life() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.bitbucket.set_access_token_lifetime(100);
        list(world).ok();
        list(world).ok();
        assert_eq!(
            token_calls(world),
            1,
            "the margin is no more than a quarter of its life"
        );
        set_expiry(world, 20);
        list(world).ok();
        assert_eq!(token_calls(world), 2);
    });
}

#[test]
fn a_life_longer_than_any_clock_counts_is_no_error() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let token = world.bitbucket.issue_access_token(&["repository"]);
        let answer = format!(r#"{{"access_token":"{token}","expires_in":1e300}}"#);
        let rule = Rule::answer(200).header("Content-Type", "application/json");
        world.bitbucket.script(rule.kind(Kind::Token).body(answer));
        list(world).ok();
        list(world).done().expect(0).quiet();
        assert_eq!(token_calls(world), 1, "it is kept");
    });
}

#[test]
fn a_token_that_ended_by_the_servers_clock_is_replaced() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        list(world).ok();
        let day = std::time::Duration::from_secs(86_400);
        world.bitbucket.advance_clock(day);
        world.bitbucket.clear_requests();
        assert_eq!(list(world).done().expect(0).stderr, "");
        assert_eq!(token_calls(world), 1);
    });
}

#[test]
fn two_clients_do_not_share_a_token() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let other = Consumer::new_private();
        world.bitbucket.add_consumer(other.clone());
        let as_other = |run: Run| {
            run.env("BBTOKEN_CLIENT_ID", &other.key)
                .env("BBTOKEN_CLIENT_SECRET", &other.secret)
        };
        list(world).ok();
        let one = files(&world.cache());
        as_other(list(world)).ok();
        assert_eq!(token_calls(world), 2, "each has its own");
        let mut tokens = names(&world.cache());
        tokens.retain(|name| name.ends_with(".json"));
        assert_eq!(tokens.len(), 2);
        for (path, content) in one {
            assert_eq!(
                fs::read(&path).expect("it is there"),
                content,
                "one leaves the other's alone"
            );
        }
        list(world).ok();
        as_other(list(world)).ok();
        assert_eq!(token_calls(world), 2, "both are kept");
    });
}

#[test]
fn a_changed_secret_does_not_invalidate_a_cached_token() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        list(world).ok();
        world.bitbucket.clear_requests();
        let without_secret_file = world.path("nothing");
        list(world)
            .without("BBTOKEN_CLIENT_SECRET")
            .env("BBTOKEN_CLIENT_SECRET_FILE", &without_secret_file)
            .ok();
        assert_eq!(
            token_calls(world),
            0,
            "the secret is read only when a token is needed"
        );
        assert!(!Path::new(&without_secret_file).exists());
    });
}
