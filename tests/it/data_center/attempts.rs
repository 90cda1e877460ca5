//! A secret that Bitbucket refuses is sent once: five failed logins lock a person's account.

use std::{collections::BTreeMap, fs};

use super::{configured, data_center, log_in, one, token};
use crate::{
    lfs::{content, install},
    needs::needs,
    support::{Run, World, gits},
};

/// A world whose user has a clone `tree` over bbtoken::, a clone `plain` over https, and a token that ends.
fn ended(world: World) -> World {
    log_in(&world);
    let base = world.bitbucket.base_url();
    configured(world.bbtoken(["setup", "--yes"])).ok();
    let plain = format!("{base}/scm/PROJ/repo.git");
    for (address, name) in [("bbtoken::dc@PROJ/repo", "tree"), (&plain, "plain")] {
        configured(world.git(["clone", "-q", address, name])).ok();
        world.commit(&world.path(name), "file", name);
    }
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.clear_requests();
    world
}

/// How often each secret was sent since the last call.
fn sent(world: &World) -> BTreeMap<String, usize> {
    let mut sent = BTreeMap::new();
    for request in world.bitbucket.requests() {
        if let Some(secret) = request.secret {
            *sent.entry(secret).or_default() += 1;
        }
    }
    world.bitbucket.clear_requests();
    sent
}

/// Runs a command with a refused token, which it sends `times` times at most.
#[track_caller]
fn sends_at_most(world: &World, times: usize, run: Run) {
    world.bitbucket.clear_requests();
    let done = configured(run).done();
    assert_ne!(done.code, Some(0), "the token has ended: {done:?}");
    let sent = sent(world);
    assert!(
        sent.values().all(|count| *count <= times),
        "{sent:?}: {done:?}"
    );
}

#[test]
fn the_helper_sends_a_refused_token_once_and_never_as_a_password() {
    for git in gits() {
        let world = ended(data_center(git));
        let tree = world.path("tree");
        for arguments in [
            &["fetch", "-q"][..],
            &["push", "-q"],
            &["ls-remote", "-q"],
            &["clone", "-q", "bbtoken::dc@PROJ/repo", "again"],
        ] {
            sends_at_most(&world, 1, world.git(arguments).within(&tree));
        }
        for arguments in [&["whoami"][..], &["doctor", "PROJ/repo"]] {
            sends_at_most(&world, 1, world.bbtoken(arguments));
        }
        assert_eq!(world.bitbucket.failed_attempts("local"), 0);
    }
}

#[test]
fn a_login_sends_the_token_that_it_tries_once() {
    let world = one();
    let wrong = token(&world, "REPO_READ");
    world.bitbucket.revoke_access_tokens();
    let base = world.bitbucket.base_url();
    for tried in [&[][..], &["--try", "PROJ/repo"]] {
        let login = ["login", "dc", "--data-center", base, "--with-token"];
        let login = world.bbtoken(login).args(tried).input(&wrong);
        sends_at_most(&world, 1, login);
    }
    assert_eq!(world.bitbucket.failed_attempts("local"), 0);
}

#[test]
fn gits_own_https_sends_a_refused_token_once_however_often_it_is_started() {
    for git in gits() {
        let world = ended(data_center(git));
        let plain = world.path("plain");
        for _ in 0..3 {
            for arguments in [&["fetch", "-q"][..], &["push", "-q"], &["ls-remote", "-q"]] {
                let run = configured(world.git(arguments).within(&plain));
                let done = run.done();
                assert_ne!(done.code, Some(0), "{done:?}");
                assert!(!done.stderr.contains("Username"), "{}", done.stderr);
            }
        }
        let sent = sent(&world);
        assert_eq!(
            sent.values().max(),
            Some(&1),
            "once in nine commands: {sent:?}"
        );
        assert_eq!(world.bitbucket.failed_attempts("local"), 1);
        world
            .git(["config", "--global", "bbtoken.transport", "git"])
            .ok();
        let tree = world.path("tree");
        for arguments in [&["fetch", "-q"][..], &["push", "-q"]] {
            configured(world.git(arguments).within(&tree)).fails(128);
        }
        assert_eq!(world.bitbucket.failed_attempts("local"), 1);
        // A new token is used at once.
        log_in(&world);
        for name in ["plain", "tree"] {
            configured(world.git(["fetch", "-q"]).within(world.path(name))).ok();
        }
        assert_eq!(world.bitbucket.failed_attempts("local"), 1);
    }
}

#[test]
fn a_refused_password_is_asked_about_before_it_is_sent_again() {
    let world = ended(one());
    let fetch = || configured(world.git(["fetch", "-q"]).within(world.path("plain")));
    fetch().fails(128);
    assert_eq!(world.bitbucket.failed_attempts("local"), 1);
    fetch()
        .fails(128)
        .says(&["Bitbucket refused the token of profile 'dc', and the profile has no other token"]);
    // The refusal was long ago.
    let mut aged = 0;
    for entry in fs::read_dir(world.cache()).expect("there is a cache") {
        let path = entry.expect("it stays").path();
        if path.extension().is_some_and(|it| it == "owner") {
            let text = fs::read_to_string(&path).expect("it is there");
            let mut note: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
            note["told_at_unix_s"] = 1_700_000_000.into();
            fs::write(&path, note.to_string()).expect("it is the user's");
            aged += 1;
        }
    }
    assert_eq!(aged, 1);
    world.bitbucket.clear_requests();
    fetch().fails(128);
    assert_eq!(sent(&world).values().sum::<usize>(), 1, "once as Bearer");
    assert_eq!(world.bitbucket.failed_attempts("local"), 1);
}

#[test]
fn git_lfs_sends_a_refused_token_once() {
    needs!("git-lfs");
    for git in gits() {
        let world = data_center(git);
        install(&world);
        let world = ended(world);
        for name in ["plain", "tree"] {
            let tree = world.path(name);
            let run = |arguments: &[&str]| configured(world.git(arguments).within(&tree));
            run(&["lfs", "track", "*.bin"]).ok();
            fs::write(tree.join("a.bin"), content("a.bin")).expect("it can be written");
            run(&["add", "."]).ok();
            run(&["commit", "-q", "-m", "large"]).ok();
            for arguments in [
                // Here, git-lfs asks before git does.
                &["lfs", "locks"][..],
                &["lfs", "push", "origin", "main"],
                &["lfs", "fetch"],
                &["push", "-q"],
            ] {
                world.bitbucket.clear_requests();
                let done = run(arguments).done();
                let sent = sent(&world);
                assert!(
                    sent.values().all(|count| *count <= 1),
                    "{arguments:?}: {sent:?}: {done:?}"
                );
            }
        }
        assert_eq!(world.bitbucket.failed_attempts("local"), 1);
    }
}
