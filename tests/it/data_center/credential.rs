//! Git's credential protocol at a Data Center: user names, paths and hosts.

use bitbucket_local::{NewToken, Scheme, TokenKind};

use super::{answers::change, configured, data_center, log_in, one, token};
use crate::support::{Run, World, gits};

/// Git's question about a path of the server.
fn asked(world: &World, path: &str) -> Run {
    let base = world.bitbucket.base_url();
    let host = base.trim_start_matches("https://").split('/').next();
    let host = host.unwrap_or_default();
    let question = format!("protocol=https\nhost={host}\npath={path}\n\n");
    configured(world.bbtoken(["credential", "get"])).input(&question)
}

/// The user name in the answer; empty without an answer.
#[track_caller]
fn user(world: &World, path: &str) -> String {
    let answer = asked(world, path).ok();
    let user = answer
        .lines()
        .find_map(|line| line.strip_prefix("username="));
    user.unwrap_or_default().to_owned()
}

fn log_in_with(world: &World, name: &str, secret: &str, more: &[&str]) {
    let base = world.bitbucket.base_url();
    let login = ["login", name, "--data-center", base, "--with-token"];
    let login = world.bbtoken(login).args(more);
    configured(login).input(secret).ok();
}

const CLONE: &str = "git/bitbucket/scm/PROJ/repo.git";

#[test]
fn a_personal_token_has_its_owners_name_and_other_tokens_none() {
    let world = one();
    change(&world, |it| it.user = "a@b.c".to_owned());
    log_in_with(&world, "dc", &token(&world, "REPO_READ"), &[]);
    assert_eq!(user(&world, CLONE), "a@b.c");
    let project = world.bitbucket.issue(NewToken {
        scopes: vec!["REPO_READ".to_owned()],
        ..NewToken::new(TokenKind::Resource)
    });
    log_in_with(&world, "dc", &project, &[]);
    assert_eq!(user(&world, CLONE), "x-token-auth");
}

#[test]
fn the_owner_of_an_unchecked_token_is_asked_for_once() {
    let world = one();
    log_in_with(&world, "dc", &token(&world, "REPO_READ"), &["--no-check"]);
    world.bitbucket.clear_requests();
    for _ in 0..3 {
        assert_eq!(user(&world, CLONE), "local");
    }
    let requests = world.bitbucket.requests();
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].scheme, Scheme::Bearer);
    // The user's own setting is enough.
    log_in_with(
        &world,
        "named",
        &token(&world, "REPO_READ"),
        &["--no-check", "--account", "ann"],
    );
    world.bitbucket.clear_requests();
    let ask = ["--profile", "named"];
    let answer = asked(&world, CLONE).args(ask).ok();
    assert!(answer.contains("username=ann\n"), "{answer}");
    assert!(world.bitbucket.requests().is_empty());
}

#[test]
fn only_paths_below_the_context_path_are_answered() {
    let world = one();
    log_in(&world);
    for path in [
        "",
        "git/bitbucket",
        "git/bitbucket/scm/PROJ/repo.git",
        "git/bitbucket/scm/PROJ/repo.git/info/lfs",
        "git/bitbucket/rest/git-lfs/storage/PROJ/repo/abc",
    ] {
        assert_eq!(user(&world, path), "local", "'{path}'");
    }
    for path in [
        "git",
        "git/bitbucketx/scm/PROJ/repo.git",
        "git/bitbucket2",
        "other/scm/PROJ/repo.git",
        "git/bitbucket/../other/scm/PROJ/repo.git",
        "git/bitbucket/%2e%2e/other/repo.git",
    ] {
        assert_eq!(user(&world, path), "", "'{path}'");
    }
}

#[test]
fn the_project_in_a_path_chooses_the_profile() {
    let world = one();
    change(&world, |it| it.user = "ann".to_owned());
    log_in_with(
        &world,
        "one",
        &token(&world, "REPO_READ"),
        &["--workspace", "PROJ"],
    );
    change(&world, |it| it.user = "bob".to_owned());
    log_in_with(
        &world,
        "two",
        &token(&world, "REPO_READ"),
        &["--workspace", "~bob"],
    );
    for (path, name) in [
        ("git/bitbucket/scm/proj/repo.git", "ann"),
        ("git/bitbucket/scm/~bob/repo.git", "bob"),
        ("git/bitbucket/rest/git-lfs/storage/PROJ/repo/abc", "ann"),
        ("git/bitbucket/rest/git-lfs/storage/~bob/repo/abc", "bob"),
    ] {
        assert_eq!(user(&world, path), name, "{path}");
    }
}

#[test]
fn plain_https_works_with_each_kind_of_token() {
    for git in gits() {
        let world = data_center(git);
        change(&world, |it| it.resource_tokens_over_basic = true);
        let url = format!("{}/scm/PROJ/repo.git", world.bitbucket.base_url());
        configured(world.bbtoken(["setup", "--yes"])).ok();
        for kind in [TokenKind::Api, TokenKind::Resource] {
            let secret = world.bitbucket.issue(NewToken {
                scopes: vec!["REPO_WRITE".to_owned()],
                ..NewToken::new(kind)
            });
            log_in_with(&world, "dc", &secret, &[]);
            configured(world.bbtoken(["setup", "--yes"])).ok();
            let name = format!("{kind:?}");
            configured(world.git(["clone", "-q", &url, &name])).ok();
            let tree = world.path(&name);
            world.commit(&tree, "file", &name);
            configured(world.git(["push", "-q"]).within(&tree)).ok();
        }
        assert_eq!(world.bitbucket.failed_attempts("local"), 0);
        assert_eq!(world.bitbucket.failed_attempts("x-token-auth"), 0);
    }
}
