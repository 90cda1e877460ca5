//! A person's login: got, kept, refreshed, ended; two accounts, a profile that pushes, the endpoint's errors.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, Instant},
};

use bitbucket_local::{Action, Consent, Consumer, Kind, Rule, ScopeField};

use crate::{
    inspect::{files, limited, names},
    person::{
        as_person, configure, configure_login, git, list, log_in, log_in_by, manage,
        nothing_was_used_too_late, person, refreshes, state,
    },
    support::{World, gits, on_every_git},
};

/// A world with one git: for what git has no part in.
fn world() -> World {
    World::new(gits().remove(0))
}

#[test]
fn a_login_works_for_every_command_after_it_until_it_is_forgotten() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        configure_login(world, "work", &world.consumer);
        let done = list(world).fails(128);
        assert_eq!(
            done.stderr,
            "error: cannot read repository 'ws/repo'\ncaused by: profile 'work' is not logged in\nhint: run 'git bbtoken login work' to authorize again\n"
        );
        let done = log_in(world, "work").expect(0);
        assert!(
            done.stdout.contains("\nProfile 'work' is logged in.\n"),
            "{}",
            done.stdout
        );
        assert!(
            done.stderr.starts_with("Next: git clone"),
            "{}",
            done.stderr
        );
        world.bitbucket.clear_requests();
        git(world, ["clone", "-q", "bbtoken::ws/repo", "tree"]).ok();
        assert_eq!(
            world.bitbucket.token_requests().len(),
            0,
            "the login's own token is used first"
        );
        for _ in 0..3 {
            world.bitbucket.advance_clock(Duration::from_secs(7_300));
            assert_eq!(
                git(world, ["fetch", "-q"])
                    .within(world.path("tree"))
                    .done()
                    .expect(0)
                    .stderr,
                ""
            );
        }
        assert_eq!(refreshes(world), 3);
        nothing_was_used_too_late(world);
        assert_eq!(
            fs::metadata(state(world))
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777,
            0o700
        );
        for path in files(&state(world)).keys() {
            let mode = fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode();
            assert_eq!(mode & 0o777, 0o600, "{}", path.display());
        }
        assert_eq!(
            manage(world, ["logout", "work"]).ok(),
            "Forgot of profile 'work': login, cached access token.\n"
        );
        assert_eq!(
            manage(world, ["logout"]).ok(),
            "Nothing was kept of profile 'work'.\n"
        );
        let left: Vec<_> = names(&state(world))
            .into_iter()
            .chain(names(&world.cache()))
            .collect();
        let without_secret = |name: &String| name.ends_with(".lock") || name == "git-version";
        assert!(left.iter().all(without_secret), "{left:?}");
        list(world).fails(128).says(&["is not logged in"]);
    });
}

#[test]
fn git_s_own_transport_works_with_a_login_and_so_does_an_older_protocol() {
    on_every_git(|world| {
        person(world);
        world.bitbucket.advance_clock(Duration::from_secs(7_300));
        fs::remove_dir_all(world.cache()).expect("it is there");
        list(world).env("BBTOKEN_TRANSPORT", "git").ok();
        git(
            world,
            ["-c", "protocol.version=0", "ls-remote", "bbtoken::ws/repo"],
        )
        .ok();
        assert_eq!(refreshes(world), 1);
    });
}

#[test]
fn a_login_that_cannot_be_kept_or_used_is_refused_before_the_browser_opens() {
    let world = &world();
    configure_login(world, "work", &world.consumer);
    let refused = |run: crate::support::Run, code, says: &[&str]| {
        let done = run.fails(code);
        done.says(says);
        assert_eq!(done.stdout, "", "no page is named");
    };
    let login = || manage(world, ["login", "work"]);
    refused(
        login().without("BBTOKEN_CLIENT_SECRET"),
        2,
        &["the client's secret is not said; give it on stdin with --with-secret"],
    );
    refused(
        login().env("BBTOKEN_STORE", "memory"),
        3,
        &["the store 'memory' keeps none; choose 'file'"],
    );
    let file = world.path("file");
    fs::write(&file, "").expect("the world can be written");
    refused(
        login().env("BBTOKEN_HOME", file.join("home")),
        7,
        &["error: cannot make room for a secret in '"],
    );
    assert!(world.bitbucket.requests().is_empty(), "nothing is sent");
    // One that needs no person is tried instead.
    configure(world, "ready", &[("clientId", "k")]);
    refused(
        manage(world, ["login", "ready"]),
        4,
        &["cannot get a token for profile 'ready' with client 'k': its id or secret is wrong"],
    );
}

#[test]
fn a_person_who_says_no_is_not_logged_in() {
    let world = &world();
    configure_login(world, "work", &world.consumer);
    world.bitbucket.set_consent(Consent::Denied);
    let page = |text: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix("  "))
            .map(str::to_owned)
    };
    let run = manage(world, ["login", "--no-browser", "work"]).done();
    assert_eq!(run.code, Some(2), "nobody pasted anything");
    assert!(page(&run.stdout).is_some_and(|page| page.contains("code_challenge_method=S256")));
    run.says(&["error: nothing was answered; nothing was changed"]);
    assert!(world.bitbucket.token_requests().is_empty());
    assert!(
        names(&state(world))
            .iter()
            .all(|name| !name.ends_with(".json"))
    );
}

#[test]
fn a_login_replaces_one_that_has_ended() {
    let world = &world();
    person(world);
    world.bitbucket.revoke_refresh_tokens();
    // The access token is still good: nobody has to know yet.
    assert_eq!(list(world).done().expect(0).stderr, "");
    world.bitbucket.revoke_access_tokens();
    let done = list(world).fails(128);
    let key = &world.consumer.key;
    assert_eq!(
        done.stderr,
        format!(
            "error: cannot read repository 'ws/repo'\ncaused by: cannot get a token for profile 'work' with client '{key}': its login has ended, because it was \
             revoked or not used for three months\n\
             caused by: the token endpoint answered 400, invalid_request: Invalid refresh_token\n\
             hint: run 'git bbtoken login work' to authorize again\n"
        )
    );
    assert!(
        !names(&state(world)).is_empty(),
        "a refusal deletes nothing"
    );
    log_in(world, "work").expect(0);
    assert_eq!(list(world).done().expect(0).stderr, "");
}

#[test]
fn a_lost_answer_is_asked_for_again_inside_the_same_command() {
    on_every_git(|world| {
        person(world);
        for action in [
            Action::AnswerLost,
            Action::CutAfter(40),
            Action::CloseWithoutAnswer,
            Action::Truncate(40),
        ] {
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.clear_requests();
            world
                .bitbucket
                .script(Rule::new(action.clone()).kind(Kind::Token));
            let done = list(world).done().expect(0);
            assert_eq!(
                (done.stderr.as_str(), refreshes(world)),
                ("", 2),
                "{action:?}"
            );
            world.bitbucket.advance_clock(Duration::from_secs(700));
        }
        nothing_was_used_too_late(world);
    });
}

#[test]
fn an_answer_that_stays_lost_is_made_up_for_by_the_next_command() {
    on_every_git(|world| {
        person(world);
        // The server refuses the good token: the repository is not there. The refresh is lost, and the token stays.
        world
            .bitbucket
            .script(Rule::new(Action::AnswerLost).kind(Kind::Token).times(3));
        git(world, ["ls-remote", "bbtoken::ws/missing"]).fails(128);
        assert_eq!(world.bitbucket.rules_left(), 0);
        world.bitbucket.clear_requests();
        assert_eq!(list(world).done().expect(0).stderr, "");
        assert_eq!(refreshes(world), 1, "though the token it has is good");
        list(world).ok();
        assert_eq!(refreshes(world), 1);
        world.bitbucket.advance_clock(Duration::from_secs(7_300));
        list(world).ok();
        nothing_was_used_too_late(world);
    });
}

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
    // Bitbucket's own answers; (status, body, cause, what mends it)
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
            ": the client's id and secret did not arrive",
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
            "hint: set a callback URL",
        ),
        (
            400,
            json("invalid_grant", "Unsupported grant type: None"),
            ": the endpoint does not know this grant",
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
            401,
            String::new(),
            ": its login has ended",
            "hint: run 'git bbtoken login work'",
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
            "hint: the fault is on the side of 'localhost'",
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
    assert_eq!(cases.len(), 10);
    assert_eq!(
        list(world).done().expect(0).stderr,
        "",
        "none of them cost the login"
    );
}

#[test]
fn a_busy_endpoint_is_waited_for_within_bounds_and_the_person_is_told() {
    let world = &world();
    person(world);
    for (status, why) in [
        (429, "has had too many requests"),
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
            assert_eq!(
                done.stderr,
                format!(
                    "warning: waiting 1 s for a token, because 'localhost' {why} (status {status})\n"
                )
            );
            assert_eq!(world.bitbucket.token_requests().len(), 2);
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.script(busy("3600"));
            let begun = Instant::now();
            let done = run().fails(128);
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "an hour is not waited for"
            );
            done.says(&["asks to wait 3600 seconds\n", "hint: Bitbucket is busy"]);
            assert!(!done.stderr.contains("waiting"), "{}", done.stderr);
            run().ok();
        }
    }
}

#[test]
fn a_dead_network_is_told_in_seconds_with_the_host() {
    let world = &world();
    person(world);
    let port = {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        listener.local_addr().expect("it is bound").port()
    };
    // Nobody listens; and somebody who takes connections and never says a word.
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
    let silent_port = silent.local_addr().expect("it is bound").port();
    for (port, limit_s) in [(port, 5), (silent_port, 25)] {
        let url = format!("https://localhost:{port}/token");
        let begun = Instant::now();
        // Others who wait for the first one share its failure, instead of waiting one after the other.
        std::thread::scope(|scope| {
            let run =
                || limited(world, ["ls-remote", "bbtoken::ws/repo"]).env("BBTOKEN_TOKEN_URL", &url);
            let commands: Vec<_> = (0..4)
                .map(|_| {
                    let run = run();
                    scope.spawn(move || run.fails(128))
                })
                .collect();
            for command in commands {
                let done = command.join().expect("it ran");
                done.says(&[
                    "error: cannot read repository 'ws/repo'\ncaused by: cannot get a token for profile 'environment' with client '",
                    "'localhost'",
                    "hint: check the network, the proxy settings and the status of 'localhost'",
                ]);
            }
        });
        assert!(
            begun.elapsed() < Duration::from_secs(limit_s),
            "{:?}",
            begun.elapsed()
        );
    }
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
            "is one of OAuth 1",
        ),
        ("canary canary", "is more than one word"),
        (secret.as_str(), "holds the client's secret"),
        (key.as_str(), "holds the client's id"),
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
        (key.as_str(), "ATATTcanary", "its secret is a ready token"),
        (
            key.as_str(),
            key.as_str(),
            "its id and its secret are the same",
        ),
        (
            pair.as_str(),
            secret.as_str(),
            "id and secret have to be given apart",
        ),
        (
            key.as_str(),
            pair.as_str(),
            "id and secret have to be given apart",
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
fn two_accounts_of_one_client_are_kept_apart_and_one_account_of_two_profiles_is_shared() {
    let world = &world();
    world.repository("ws", "repo");
    for profile in ["ann", "bob"] {
        configure_login(world, profile, &world.consumer);
    }
    configure_login(world, "alias", &world.consumer);
    configure(world, "alias", &[("account", "ann")]);
    let as_profile =
        |profile: &str| git(world, ["ls-remote", &format!("bbtoken::{profile}@ws/repo")]);
    log_in(world, "ann").expect(0);
    as_profile("ann").ok();
    as_profile("alias").ok();
    as_profile("bob")
        .fails(128)
        .says(&["hint: run 'git bbtoken login bob'"]);
    log_in(world, "bob").expect(0);
    let kept = names(&state(world))
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .count();
    assert_eq!(kept, 2);
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.clear_requests();
    for profile in ["ann", "bob", "alias"] {
        as_profile(profile).ok();
    }
    assert_eq!(refreshes(world), 2);
    manage(world, ["logout", "bob"]).ok();
    as_profile("ann").ok();
    as_profile("bob").fails(128);
}

#[test]
fn workspaces_directories_and_submodules_find_their_profile() {
    on_every_git(|world| {
        let other = Consumer {
            workspaces: Some(vec!["theirs".into()]),
            ..Consumer::new_private()
        };
        let mine = Consumer {
            workspaces: Some(vec!["ours".into()]),
            ..Consumer::new_private()
        };
        for (profile, consumer, workspace) in [("work", &mine, "ours"), ("play", &other, "theirs")]
        {
            world.bitbucket.add_consumer(consumer.clone());
            let secret = world.path(profile);
            fs::write(&secret, &consumer.secret).expect("the world can be written");
            let command = format!("cat '{}'", secret.display());
            configure(
                world,
                profile,
                &[
                    ("clientId", &consumer.key),
                    ("clientSecretCommand", &command),
                    ("workspace", workspace),
                ],
            );
            world.repository(workspace, "repo");
        }
        let run = |run: crate::support::Run| as_person(run).without("BBTOKEN_CLIENT_SECRET");
        world
            .git(["config", "--global", "protocol.bbtoken.allow", "always"])
            .ok();
        run(limited(
            world,
            ["clone", "-q", "bbtoken::ours/repo", "tree"],
        ))
        .ok();
        let tree = world.path("tree");
        run(limited(
            world,
            ["submodule", "-q", "add", "bbtoken::theirs/repo", "sub"],
        )
        .within(&tree))
        .ok();
        assert!(
            tree.join("sub/file").exists(),
            "each part comes with its own profile"
        );
        // A directory of another profile, by git's own includeIf.
        world
            .git(["config", "--global", "bbtoken.profile", "work"])
            .ok();
        let included = world.path("included");
        fs::write(&included, "[bbtoken]\n\tprofile = play\n").expect("the world can be written");
        let condition = format!(
            "includeIf.gitdir:{}/.path",
            world.path("elsewhere").display()
        );
        world
            .git(["config", "--global", &condition])
            .arg(&included)
            .ok();
        world.repository("third", "repo");
        world.git(["init", "-q", "elsewhere"]).ok();
        world.bitbucket.clear_requests();
        let third =
            limited(world, ["ls-remote", "bbtoken::third/repo"]).within(world.path("elsewhere"));
        run(third).fails(128).says(&["with profile 'play'"]);
        run(limited(world, ["ls-remote", "bbtoken::third/repo"]))
            .fails(128)
            .says(&["with profile 'work'"]);
        run(limited(world, ["ls-remote", "bbtoken::nobody@third/repo"]))
            .fails(128)
            .says(&["hint: the profiles are: play, work\n"]);
    });
}

#[test]
fn a_fetch_never_holds_the_token_that_can_write() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let scopes = |scope: &str| Consumer {
            scopes: vec![scope.into()],
            ..Consumer::new_private()
        };
        let clients = [
            ("reader", scopes("repository")),
            ("writer", scopes("repository:write")),
        ];
        for (profile, consumer) in &clients {
            world.bitbucket.add_consumer(consumer.clone());
            let secret = world.path(profile);
            fs::write(&secret, &consumer.secret).expect("the world can be written");
            let command = format!("cat '{}'", secret.display());
            configure(
                world,
                profile,
                &[
                    ("clientId", &consumer.key),
                    ("clientSecretCommand", &command),
                ],
            );
        }
        configure(
            world,
            "reader",
            &[("workspace", "ws"), ("pushProfile", "writer")],
        );
        for transport in ["native", "git"] {
            let _ = fs::remove_dir_all(world.cache());
            let run = |run: crate::support::Run| {
                as_person(run)
                    .without("BBTOKEN_CLIENT_SECRET")
                    .env("BBTOKEN_TRANSPORT", transport)
            };
            world.bitbucket.clear_requests();
            let tokens = |expected: &[usize]| {
                let asked: Vec<_> = world
                    .bitbucket
                    .token_requests()
                    .iter()
                    .map(|request| {
                        let place = clients.iter().position(|(_, consumer)| {
                            request.user.as_deref() == Some(&consumer.key)
                        });
                        place.expect("it is one of the two")
                    })
                    .collect();
                assert_eq!(asked, expected, "0 reads and 1 writes, by {transport}");
            };
            let tree = world.path(transport);
            run(limited(
                world,
                ["clone", "-q", "bbtoken::ws/repo", transport],
            ))
            .ok();
            run(limited(world, ["fetch", "-q"]).within(&tree)).ok();
            tokens(&[0]);
            assert_eq!(
                names(&world.cache())
                    .iter()
                    .filter(|name| name.ends_with(".json"))
                    .count(),
                1
            );
            assert!(tree.join("file").exists(), "the clone is not empty");
            world.commit(&tree, "file", transport);
            run(limited(world, ["push", "-q"]).within(&tree)).ok();
            tokens(&[0, 1]);
            run(limited(world, ["fetch", "-q"]).within(&tree)).ok();
            tokens(&[0, 1]);
        }
    });
}

#[test]
fn a_login_that_others_could_read_is_not_used() {
    let world = &world();
    person(world);
    for (path, mode) in [(state(world), 0o755), (kept(world), 0o644)] {
        fs::remove_dir_all(world.cache()).expect("it is there");
        let before = fs::metadata(&path).expect("it is there").permissions();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        // A command that gets the lock closes the directory; who was able to read it has read it.
        let done = list(world).done();
        if path == kept(world) {
            assert_eq!(done.code, Some(128), "{}", done.stderr);
            done.says(&["is not used, because other users may read it; whoever could read it may have the login: log out and in again"]);
        }
        fs::set_permissions(&path, before).expect("it is ours");
    }
    assert_eq!(
        manage(world, ["logout"]).ok(),
        "Forgot of profile 'work': login.\n"
    );
}

/// The file of the only login.
fn kept(world: &World) -> std::path::PathBuf {
    let mut logins = names(&state(world));
    logins.retain(|name| name.ends_with(".json"));
    assert_eq!(logins.len(), 1);
    state(world).join(&logins[0])
}

#[test]
fn a_login_under_way_and_commands_do_not_disturb_each_other() {
    let world = &world();
    person(world);
    // The login has made its room; commands refresh before it goes on.
    world.bitbucket.revoke_access_tokens();
    std::thread::scope(|scope| {
        let login = scope.spawn(|| log_in_by(world, manage(world, ["login"])));
        let commands: Vec<_> = (0..10)
            .map(|_| scope.spawn(|| list(world).done()))
            .collect();
        for command in commands {
            command.join().expect("it ran").expect(0);
        }
        login.join().expect("it ran").expect(0);
    });
    world.bitbucket.advance_clock(Duration::from_secs(700));
    world.bitbucket.revoke_access_tokens();
    assert_eq!(list(world).done().expect(0).stderr, "");
    nothing_was_used_too_late(world);
    let left: Vec<_> = names(&state(world))
        .into_iter()
        .filter(|name| {
            Path::new(name)
                .extension()
                .is_none_or(|kind| kind != "lock")
        })
        .collect();
    assert_eq!(left.len(), 1, "nothing but the login is left: {left:?}");
}

#[test]
fn a_clock_that_is_wrong_by_hours_and_jumps_costs_one_token_call_and_no_login() {
    let world = &world();
    person(world);
    let git = world.git.program.to_str().expect("its path is text");
    // By clocks ahead of the server's and behind it; each of them jumps against the one before.
    let clocks = ["+5h", "-5h", "+0", "-20h", "+20d", "-1h", "+1h"];
    for clock in clocks {
        world.bitbucket.clear_requests();
        for command in 1..=3 {
            // faketime(1); time limits go by the clock that does not jump.
            let arguments = ["-f", clock, git, "ls-remote", "bbtoken::ws/repo"];
            let run = as_person(world.run(Path::new("faketime"), arguments));
            let done = run.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").done();
            assert_eq!((done.code, done.stderr.as_str()), (Some(0), ""), "{clock}");
            let calls = world.bitbucket.token_requests().len();
            assert!(
                calls <= 1,
                "{clock}, command {command}: {calls} token calls"
            );
        }
        // By a wrong clock, too, a token is used until it ends, and then replaced once.
        world.bitbucket.advance_clock(Duration::from_secs(7_300));
        let arguments = ["-f", clock, git, "ls-remote", "bbtoken::ws/repo"];
        let run = as_person(world.run(Path::new("faketime"), arguments));
        run.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").ok();
    }
    nothing_was_used_too_late(world);
    assert_eq!(clocks.len(), 7);
}
