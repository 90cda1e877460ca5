//! A user's login, from its start over refreshes to its end.

mod accounts;
mod endpoint;

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, time::Duration};

use bitbucket_local::{Action, Consent, Kind, Rule};

use crate::{
    inspect::{files, names},
    needs::needs,
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
            format!(
                "error: cannot read repository 'ws/repo'\ncaused by: profile 'work' is not logged in (looked in '{}')\nhint: run 'git bbtoken login work'\n",
                state(world).display()
            )
        );
        let done = log_in(world, "work").expect(0);
        assert!(
            done.stdout.contains("\nProfile 'work' is logged in.\n"),
            "{}",
            done.stdout
        );
        assert!(
            done.stderr
                .starts_with("  saved in a file that only you can read\nNext: git clone"),
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
            "Removed from profile 'work': login, cached access token.\n"
        );
        assert_eq!(
            manage(world, ["logout"]).ok(),
            "Nothing was stored for profile 'work'.\n"
        );
        let left: Vec<_> = names(&state(world))
            .into_iter()
            .chain(names(&world.cache()))
            .collect();
        let without_secret = |name: &String| name.ends_with(".lock");
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
fn a_login_that_cannot_be_saved_or_used_is_refused_before_the_browser_opens() {
    let world = &world();
    configure_login(world, "work", &world.consumer);
    let refused = |run: crate::support::Run, code, says: &[&str]| {
        let done = run.fails(code);
        done.says(says);
        assert_eq!(done.stdout, "", "no page is named");
    };
    let login = || manage(world, ["login", "work", "--port", "0"]);
    refused(
        login().without("BBTOKEN_CLIENT_SECRET"),
        2,
        &["the client secret is missing; give it on stdin with --with-secret"],
    );
    refused(
        login().env("BBTOKEN_STORE", "memory"),
        3,
        &["the store 'memory' saves none; choose 'file'"],
    );
    let file = world.path("file");
    fs::write(&file, "").expect("the world can be written");
    refused(
        login().env("BBTOKEN_HOME", file.join("home")),
        7,
        &["error: cannot reserve space for a secret in '"],
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
    assert_eq!(run.code, Some(2), "the user pasted nothing");
    assert!(page(&run.stdout).is_some_and(|page| page.contains("code_challenge_method=S256")));
    run.says(&["error: no answer was given; nothing was changed"]);
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
    // The access token is still good: the user need not know yet.
    assert_eq!(list(world).done().expect(0).stderr, "");
    world.bitbucket.revoke_access_tokens();
    let done = list(world).fails(128);
    let key = &world.consumer.key;
    let answer = match world.is_data_center() {
        true => "invalid_grant: The refresh token is not valid",
        false => "invalid_request: Invalid refresh_token",
    };
    assert_eq!(
        done.stderr,
        format!(
            "error: cannot read repository 'ws/repo'\ncaused by: cannot get a token for profile 'work' with client '{key}': its login has ended, because it was \
             revoked or not used for three months\n\
             caused by: the token endpoint answered 400, {answer}\n\
             hint: run 'git bbtoken login work'\n"
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
fn a_refresh_with_a_lost_response_is_repeated_in_the_same_command() {
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
            done.says(&["; trying again in 0."]);
            assert_eq!(
                (done.stderr.lines().count(), refreshes(world)),
                (1, 2),
                "{action:?}"
            );
            world.bitbucket.advance_clock(Duration::from_secs(700));
        }
        nothing_was_used_too_late(world);
    });
}

#[test]
fn the_next_command_recovers_a_refresh_whose_responses_were_lost() {
    on_every_git(|world| {
        person(world);
        // The server refuses the good token: the repository is not there. The refresh is lost, and the token stays.
        world
            .bitbucket
            .script(Rule::new(Action::AnswerLost).kind(Kind::Token).times(4));
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
fn a_login_that_variables_hide_is_named_with_both_directories() {
    let world = &world();
    person(world);
    let (home, moved) = (world.home(), world.path("moved"));
    let usual = state(world).display().to_string();
    // (what sets them, the variables, the directory that is looked in)
    let cases = [
        (
            "a flatpak",
            vec![("XDG_STATE_HOME", &moved)],
            moved.join("git-remote-bbtoken"),
        ),
        (
            "a snap",
            vec![
                ("HOME", &moved),
                ("SNAP_REAL_HOME", &home),
                ("GIT_CONFIG_GLOBAL", &home),
            ],
            moved.join(".local/state/git-remote-bbtoken"),
        ),
        ("a job", vec![("BBTOKEN_HOME", &moved)], moved.join("state")),
    ];
    for (what, variables, looked) in cases {
        let mut run = list(world).env("XDG_CACHE_HOME", moved.join("cache"));
        for (name, path) in variables {
            run = match name {
                "GIT_CONFIG_GLOBAL" => run.env(name, path.join(".gitconfig")),
                name => run.env(name, path),
            };
        }
        let says = format!(
            "caused by: profile 'work' is not logged in (looked in '{}'); it is in '{usual}', but BBTOKEN_HOME, XDG_STATE_HOME or HOME points elsewhere\nhint: ",
            looked.display()
        );
        let done = run.done().expect(128);
        assert!(done.stderr.contains(&says), "{what}: {}", done.stderr);
    }
    list(world).ok();
}

#[test]
fn a_login_that_others_could_read_is_not_used_and_each_remedy_of_the_hint_works() {
    let world = &world();
    person(world);
    let refused = || {
        let done = list(world).done().expect(128);
        done.says(&["' is not used, because other users may read it\nhint: if another user may have read it, run 'git bbtoken logout work' and log in again; otherwise run: chmod 600 "]);
        done.stderr
    };
    let open = |path: &std::path::Path, mode| {
        // A token that is kept needs no login.
        let _ = fs::remove_dir_all(world.cache());
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
    };
    open(&login_file(world), 0o644);
    let hint = refused();
    let (_, command) = hint.rsplit_once("otherwise run: ").expect("it is there");
    world
        .run(std::path::Path::new("sh"), ["-c", command.trim_end()])
        .ok();
    list(world).ok();
    open(&login_file(world), 0o644);
    refused();
    assert_eq!(
        manage(world, ["logout"]).ok(),
        "Removed from profile 'work': login.\n"
    );
    log_in(world, "work").expect(0);
    list(world).ok();
    // A command that gets the lock closes the directory; the file in it was closed.
    open(&state(world), 0o755);
    list(world).ok();
    open(&state(world), 0o775);
    let done = list(world).done().expect(128);
    let (_, command) = done.stderr.rsplit_once("hint: run: ").expect("it is there");
    assert!(command.starts_with("chmod 700 "), "{command}");
    world
        .run(std::path::Path::new("sh"), ["-c", command.trim_end()])
        .ok();
    list(world).ok();
}

/// The file of the only login.
fn login_file(world: &World) -> std::path::PathBuf {
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
    needs!("faketime");
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
