//! The forms of addresses, and the errors for a missing repository and for one without access.

use std::path::Path;

use crate::support::{Done, World, on_every_git};

fn url(world: &World, tree: &Path) -> String {
    let url = world.git(["config", "remote.origin.url"]).within(tree).ok();
    url.trim_end().to_owned()
}

/// Fetches what somebody else pushed, and pushes.
fn works(world: &World, tree: &Path, bare: &Path) {
    let branch = world.rev(tree, "HEAD");
    world
        .git(["branch", "-f", "news", &branch])
        .within(bare)
        .ok();
    world.fetch(tree);
    assert_eq!(world.rev(tree, "origin/news"), branch);
    world.commit(tree, "file", format!("by {}\n", tree.display()));
    world
        .git(["push", "-q", "origin", "HEAD:main"])
        .within(tree)
        .done()
        .expect(0)
        .quiet();
    assert_eq!(world.rev(bare, "main"), world.rev(tree, "HEAD"));
}

#[test]
fn every_form_of_an_address_clones_fetches_and_pushes() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let forms = [
            "bbtoken::ws/repo",
            "bbtoken::ws/repo.git",
            "bbtoken://ws/repo",
            "bbtoken://ws/repo.git",
            "bbtoken::https://bitbucket.org/ws/repo.git",
            "bbtoken::https://joe@bitbucket.org/ws/repo/src/main/",
            "bbtoken::git@bitbucket.org:ws/repo.git",
            "bbtoken::git+ssh://git@bitbucket.org:22/ws/repo.git",
            "bbtoken::HTTPS://BitBucket.org:443//ws/repo",
            "bbtoken::bitbucket.org/ws/repo",
            "bbtoken://bitbucket.org/ws/repo",
            "bbtoken::environment@ws/repo",
        ];
        for (number, form) in forms.iter().enumerate() {
            let tree = world.path(&format!("tree{number}"));
            world
                .git(["clone", "-q", form])
                .arg(&tree)
                .done()
                .expect(0)
                .quiet();
            assert_eq!(url(world, &tree), *form, "git keeps what was written");
            works(world, &tree, &bare);
        }
    });
}

#[test]
fn a_remote_with_a_vcs_keeps_its_https_url() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let visible = "https://bitbucket.org/ws/repo.git";
        world
            .git([
                "clone",
                "-q",
                "-c",
                "remote.origin.vcs=bbtoken",
                visible,
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        assert_eq!(url(world, &tree), visible);
        let shown = world
            .git(["remote", "get-url", "origin"])
            .within(&tree)
            .ok();
        assert_eq!(shown.trim_end(), visible);
        works(world, &tree, &bare);

        world.bitbucket.clear_requests();
        world
            .git(["ls-remote", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests().len(), 2);
    });
}

#[test]
fn https_addresses_are_taken_over_by_insteadof() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        for prefix in [
            "https://bitbucket.org/",
            "git@bitbucket.org:",
            "ssh://git@bitbucket.org/",
        ] {
            world
                .git([
                    "config",
                    "--global",
                    "--add",
                    "url.bbtoken::.insteadOf",
                    prefix,
                ])
                .ok();
        }
        let forms = [
            "https://bitbucket.org/ws/repo.git",
            "https://bitbucket.org//ws/repo",
            "git@bitbucket.org:ws/repo.git",
            "ssh://git@bitbucket.org/ws/repo",
        ];
        for (number, form) in forms.iter().enumerate() {
            let tree = world.path(&format!("tree{number}"));
            world
                .git(["clone", "-q", form])
                .arg(&tree)
                .done()
                .expect(0)
                .quiet();
            assert_eq!(url(world, &tree), *form, "the configuration keeps it");
            works(world, &tree, &bare);
        }
        world
            .git(["ls-remote", "-q", "https://bitbucket.org/ws/repo.git"])
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn only_pushes_are_taken_over_by_pushinsteadof() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        let place = bare.display().to_string();
        world
            .git(["remote", "set-url", "origin", &place])
            .within(&tree)
            .ok();
        let key = "url.bbtoken::ws/repo.pushInsteadOf";
        world.git(["config", "--global", key, &place]).ok();
        world.bitbucket.clear_requests();
        works(world, &tree, &bare);
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-receive-pack"]
        );
    });
}

/// Expects one message of ours that ends git with its own status, and no directory.
fn is_one_clear_error(world: &World, done: &Done, texts: &[&str]) {
    assert_eq!(done.code, Some(128), "{}", done.stderr);
    done.says(texts);
    let errors = done
        .stderr
        .lines()
        .filter(|line| line.starts_with("error:") || line.starts_with("fatal:"));
    assert_eq!(errors.count(), 1, "one error is enough: {}", done.stderr);
    assert_eq!(done.stdout, "");
    assert!(
        !world.path("tree").exists(),
        "git leaves no directory behind"
    );
}

#[test]
fn a_missing_repository_is_reported_with_its_name_and_the_profile() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for status in [401, 404] {
            world.bitbucket.set_missing_repository_status(status);
            for address in ["bbtoken::ws/missing", "bbtoken::nobody/repo"] {
                let done = world.git(["clone", "-q", address, "tree"]).done();
                let name = address.trim_start_matches("bbtoken::");
                is_one_clear_error(
                    world,
                    &done,
                    &[&format!("'{name}'"), "profile 'environment'", "hint: "],
                );
            }
        }
        let done = world
            .git(["clone", "-q", "bbtoken::environment@ws/missing", "tree"])
            .done();
        is_one_clear_error(world, &done, &["'ws/missing'", "profile 'environment'"]);
    });
}

#[test]
fn a_profile_of_the_configuration_is_named_in_its_errors() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world
            .git([
                "config",
                "--global",
                "bbtoken.work.clientId",
                &world.consumer.key,
            ])
            .ok();
        let command = format!("printf %s {}", world.consumer.secret);
        world
            .git([
                "config",
                "--global",
                "bbtoken.work.clientSecretCommand",
                &command,
            ])
            .ok();
        let clone = |address: &str| {
            world
                .git(["clone", "-q", address, "tree"])
                .without("BBTOKEN_CLIENT_ID")
                .without("BBTOKEN_CLIENT_SECRET")
                .done()
        };
        let missing = clone("bbtoken::ws/missing");
        is_one_clear_error(world, &missing, &["'ws/missing'", "profile 'work'"]);
        let unknown = clone("bbtoken::play@ws/repo");
        is_one_clear_error(world, &unknown, &["'play'", "the profiles are: work"]);
        clone("bbtoken::ws/repo").expect(0).quiet();
    });
}

#[test]
fn a_wrong_token_or_secret_is_reported_with_the_repository_and_the_profile() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let token = world
            .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .without("BBTOKEN_CLIENT_ID")
            .without("BBTOKEN_CLIENT_SECRET")
            .env("BBTOKEN_ACCESS_TOKEN", "canary-of-a-bad-token")
            .done();
        is_one_clear_error(
            world,
            &token,
            &["'ws/repo'", "profile 'environment'", "hint: "],
        );
        assert!(!token.stderr.contains("canary"), "{}", token.stderr);

        let secret = world
            .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .env("BBTOKEN_CLIENT_SECRET", "canary-of-a-bad-secret")
            .done();
        is_one_clear_error(world, &secret, &["profile 'environment'", "hint: "]);
        assert!(!secret.stderr.contains("canary"), "{}", secret.stderr);
        assert!(
            secret.stderr.contains("ws/repo"),
            "the repository is named: {}",
            secret.stderr
        );
    });
}
