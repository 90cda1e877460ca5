//! `doctor`: each finding with its mend, what it mends itself, and a report for the public.

use std::time::Duration;

use crate::support::{World, gits};

fn world() -> World {
    World::new(gits().remove(0))
}

#[test]
fn a_healthy_setup_has_no_problem() {
    let world = world();
    world.repository("ws", "repo");
    world.bbtoken(["setup", "--yes"]).ok();
    let shown = world
        .bbtoken(["doctor", "ws/repo"])
        .done()
        .expect(0)
        .quiet()
        .stdout;
    for text in [
        "ok       programs: git-remote-bbtoken 0.1.0 in '",
        "ok       git: version 2.",
        "ok       submodules: bbtoken:: addresses are allowed",
        "ok       credential helper: ours answers for https://localhost:",
        "ok       profile: 'environment' (client-credentials), since BBTOKEN_CLIENT_ID is set",
        "ok       store: file",
        "ok       network: 'localhost' answers",
        "ok       clock: it is right",
        "ok       token: scopes account, repository, repository:write",
        "ok       repository: 'ws/repo' can be read",
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    assert!(!shown.contains("problem"), "{shown}");
}

#[test]
fn fix_mends_what_setup_can() {
    let world = world();
    let found = world.bbtoken(["doctor"]).ok();
    assert_eq!(
        found.matches("-> git bbtoken setup\n").count(),
        2,
        "{found}"
    );
    let fixed = world.bbtoken(["doctor", "--fix"]).ok();
    assert!(
        fixed.contains("+ protocol.bbtoken.allow = always"),
        "what is written is shown: {fixed}"
    );
    let found = world.bbtoken(["doctor"]).ok();
    assert_eq!(
        found.matches("-> git bbtoken setup\n").count(),
        0,
        "{found}"
    );
}

#[test]
fn problems_are_found_with_their_mends() {
    let world = world();
    let finds = |run: crate::support::Run, texts: &[&str]| {
        let shown = run.fails(1).stdout;
        for text in texts {
            assert!(shown.contains(text), "'{text}' in {shown}");
        }
    };
    finds(
        world.bbtoken(["doctor"]).without_client(),
        &[
            "problem  profile: no OAuth client and no token is configured\n         -> git bbtoken login",
        ],
    );
    finds(
        world.bbtoken(["doctor"]).env("PATH", "/usr/bin"),
        &[
            "problem  programs: git-remote-bbtoken is not on your PATH",
            "-> put the directory with both programs on PATH",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_CLIENT_SECRET", "wrong")
            .env("BBTOKEN_HOME", world.path("fresh")),
        &[
            "problem  token: cannot get a token for profile 'environment'",
            "-> git bbtoken login environment",
        ],
    );
    finds(
        world.bbtoken(["doctor", "ws/missing"]),
        &[
            "problem  repository: cannot read 'bbtoken::ws/missing'",
            "-> check the address",
        ],
    );
    finds(
        world
            .bbtoken(["doctor"])
            .env("BBTOKEN_BASE_URL", "https://localhost:1"),
        &[
            "problem  network: cannot connect to 'localhost'",
            "-> check http.proxy, http.sslCAInfo",
        ],
    );
    world
        .git(["config", "--global", "protocol.bbtoken.allow", "never"])
        .ok();
    world
        .git([
            "config",
            "--global",
            "url.https://bitbucket.org/.insteadOf",
            "bbtoken::",
        ])
        .ok();
    world.bitbucket.advance_clock(Duration::from_secs(7_200));
    finds(
        world.bbtoken(["doctor"]),
        &[
            "problem  submodules: protocol.bbtoken.allow is 'never' in ",
            "-> git config --global protocol.bbtoken.allow always",
            "problem  addresses: url.https://bitbucket.org/.insteadof in ",
            "problem  clock: it is off by ",
            "-> set the clock of this machine",
        ],
    );
}

#[test]
fn a_secret_in_a_remote_is_found_and_not_shown() {
    let world = world();
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    for (name, url) in [
        ("a", "https://joe:ATBBcanary@bitbucket.org/ws/repo"),
        ("b", "https://x-token-auth:canary@bitbucket.org/ws/repo"),
    ] {
        world.git(["remote", "add", name, url]).within(&tree).ok();
    }
    let shown = world.bbtoken(["doctor"]).within(&tree).fails(1).stdout;
    for text in [
        "problem  remotes: remote.a.url holds an app password, which no longer works: https://joe:***@bitbucket.org/ws/repo",
        "problem  remotes: remote.b.url holds a password or token: https://x-token-auth:***@bitbucket.org/ws/repo",
        "-> git bbtoken remote convert; then revoke it at Bitbucket",
    ] {
        assert!(shown.contains(text), "'{text}' in {shown}");
    }
    assert!(!shown.contains("canary"));
}

#[test]
fn a_remote_that_git_lfs_cannot_follow_is_found_with_its_mend() {
    let world = world();
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    world
        .git(["remote", "add", "origin", "bbtoken::ws/repo"])
        .within(&tree)
        .ok();
    std::fs::write(
        tree.join(".gitattributes"),
        "*.bin filter=lfs diff=lfs merge=lfs -text\n",
    )
    .expect("it can be written");
    let shown = world.bbtoken(["doctor"]).within(&tree).fails(1).stdout;
    let url = format!("{}/ws/repo.git/info/lfs", world.bitbucket.base_url());
    let expected = format!(
        "problem  git-lfs: it cannot follow remote.origin.url = bbtoken::ws/repo\n         -> git config remote.origin.lfsurl {url}\n"
    );
    assert!(shown.contains(&expected), "{shown}");
    world
        .git(["config", "remote.origin.lfsurl", &url])
        .within(&tree)
        .ok();
    world.bbtoken(["doctor"]).within(&tree).ok();
}

#[test]
fn a_report_holds_nothing_of_the_user() {
    let world = world();
    world
        .git([
            "config",
            "--global",
            "bbtoken.secretname.clientId",
            "secretid",
        ])
        .ok();
    world
        .git(["config", "--global", "credential.helper", "secrethelper"])
        .ok();
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    world
        .git([
            "remote",
            "add",
            "origin",
            "https://secretuser:secretpassword@bitbucket.org/secretws/repo",
        ])
        .within(&tree)
        .ok();
    let run = world
        .bbtoken(["doctor", "--report", "secretname@secretws/secretrepo"])
        .without_client();
    let done = run
        .env("BBTOKEN_BASE_URL", "https://localhost:1/secretpath")
        .within(&tree)
        .fails(1);
    let report = done.stdout;
    for part in [
        "secret",
        "localhost",
        world.home().to_str().expect("it is text"),
        "/",
    ] {
        assert!(!report.contains(part), "'{part}' in {report}");
    }
    let first = format!("git-bbtoken {} on linux\n", env!("CARGO_PKG_VERSION"));
    assert!(
        report.starts_with(&first)
            && report.contains("problem  network: Bitbucket cannot be reached"),
        "{report}"
    );
}
