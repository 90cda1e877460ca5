//! Fetching: nothing, a divergence, tags, without a remote, from work trees, and from many remotes at once.

use std::fs;

use bitbucket_local::{Action, Kind, Rule};

use crate::support::on_every_git;

#[test]
fn a_fetch_with_nothing_new_takes_two_requests() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.bitbucket.clear_requests();
        let fetched = world.git(["fetch"]).within(&tree).done().expect(0).quiet();
        assert_eq!(fetched.stdout, "");
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-upload-pack"]
        );
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );
    });
}

#[test]
fn a_fetch_after_divergence_negotiates_in_several_rounds_on_one_connection() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.commits(&tree, 700, "ours");
        let seed = world.path("seed-ws-repo");
        world.commits(&seed, 700, "theirs");
        world.publish(&bare, &seed);

        world.bitbucket.clear_requests();
        world.fetch(&tree);
        let requests = world.git_requests();
        let posts = requests
            .iter()
            .filter(|request| *request == "POST git-upload-pack")
            .count();
        assert_eq!(requests[0], "GET info/refs");
        assert_eq!(requests.len(), posts + 1);
        assert!(
            posts > 3,
            "one request lists refs, several negotiate: {requests:?}"
        );
        assert_eq!(world.bitbucket.connections(), 1);
        let recorded = world.bitbucket.git_requests();
        let compressed = recorded
            .iter()
            .filter(|request| request.content_encoding.as_deref() == Some("gzip"));
        assert!(
            compressed.count() > 0,
            "long requests are compressed, as git compresses them"
        );
        assert_eq!(world.rev(&tree, "origin/main"), world.rev(&bare, "main"));
        assert_eq!(
            world
                .git(["rev-list", "--count", "origin/main...HEAD"])
                .within(&tree)
                .ok()
                .trim(),
            "1400"
        );
    });
}

#[test]
fn refs_are_requested_with_gzip_and_packs_are_not() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.git(["tag", "one", "main"]).within(&bare).ok();
        let asked = || {
            let requests = world.bitbucket.git_requests();
            let asked = requests
                .into_iter()
                .map(|request| request.accept_encoding.unwrap_or_default());
            world.bitbucket.clear_requests();
            asked.collect::<Vec<_>>()
        };
        // The answers that are asked for so come so.
        let in_gzip = Rule::new(Action::Gzip { percent: 100 });
        world.bitbucket.script(in_gzip.kind(Kind::Git).times(2));
        let tree = world.clone("ws/repo", "tree");
        assert_eq!(
            asked(),
            ["gzip", "gzip", ""],
            "discovery, ls-refs and fetch"
        );
        assert_eq!(world.rev(&tree, "HEAD"), world.rev(&bare, "one"));
        world.commits(&tree, 1, "more");
        world.git(["push", "-q"]).within(&tree).ok();
        assert_eq!(asked(), ["gzip", ""], "discovery and push");
    });
}

#[test]
fn a_fetch_gets_tags_and_prunes_deleted_refs() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.git(["branch", "side", "main"]).within(&bare).ok();
        let tree = world.clone("ws/repo", "tree");
        let seed = world.path("seed-ws-repo");
        world.commit(&seed, "file", "two\n");
        world
            .git(["tag", "-a", "-m", "note", "v2"])
            .within(&seed)
            .ok();
        world
            .git(["push", "-q", "--follow-tags"])
            .arg(&bare)
            .arg("main")
            .within(&seed)
            .ok();
        world.git(["tag", "elsewhere", "main~1"]).within(&bare).ok();
        world.git(["branch", "-D", "side"]).within(&bare).ok();

        let dry = world
            .git(["fetch", "--prune", "--dry-run"])
            .within(&tree)
            .done()
            .expect(0);
        dry.says(&["v2", "origin/side"]);
        assert_eq!(world.git(["tag"]).within(&tree).ok(), "");

        world
            .git(["fetch", "-q", "--prune"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            world.git(["branch", "-r"]).within(&tree).ok(),
            "  origin/HEAD -> origin/main\n  origin/main\n"
        );
        assert!(world.git(["tag"]).within(&tree).ok().contains("v2\n"));
        world
            .git(["fetch", "-q", "--tags"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git(["tag"]).within(&tree).ok(), "elsewhere\nv2\n");
    });
}

#[test]
fn a_repository_is_fetched_without_a_remote() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        world
            .git(["fetch", "-q", "bbtoken::ws/repo", "main"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&tree, "FETCH_HEAD"), world.rev(&bare, "main"));

        let by_id = world.rev(&bare, "main");
        world.git(["init", "-q", "other"]).ok();
        let other = world.path("other");
        world
            .git(["fetch", "-q", "bbtoken://ws/repo", &by_id])
            .within(&other)
            .done()
            .expect(0)
            .quiet();
        world
            .git(["checkout", "-q", "FETCH_HEAD"])
            .within(&other)
            .ok();
        world.commit(&other, "file", "two\n");
        world
            .git(["push", "-q", "bbtoken::ws/repo", "HEAD:main"])
            .within(&other)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&other, "HEAD"), world.rev(&bare, "main"));
    });
}

#[test]
fn work_trees_and_directories_below_fetch_pull_and_push() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        let second = world.path("second");
        world
            .git(["worktree", "add", "-q", "-b", "side"])
            .arg(&second)
            .within(&tree)
            .ok();
        world.commit(&second, "file", "side\n");
        world
            .git(["push", "-q", "-u", "origin", "side"])
            .within(&second)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&bare, "side"), world.rev(&second, "HEAD"));

        let seed = world.path("seed-ws-repo");
        world.commit(&seed, "file", "two\n");
        world.publish(&bare, &seed);
        let below = tree.join("below");
        fs::create_dir(&below).expect("the work tree can be written");
        world
            .git(["pull", "-q", "--ff-only"])
            .within(&below)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&tree, "HEAD"), world.rev(&bare, "main"));
        world.fetch(&second);
    });
}

#[test]
fn eight_remotes_are_fetched_at_once() {
    on_every_git(|world| {
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        for number in 0..8 {
            let name = format!("repo{number}");
            world.repository("ws", &name);
            world
                .git(["remote", "add", &name, &format!("bbtoken::ws/{name}")])
                .within(&tree)
                .ok();
        }
        world.bitbucket.clear_requests();
        world
            .git(["fetch", "-q", "--all", "--jobs", "8"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        let branches = world.git(["branch", "-r"]).within(&tree).ok();
        // Git 2.48 and later set the remote's HEAD, too.
        let branches = branches.lines().filter(|line| !line.contains(" -> "));
        assert_eq!(branches.count(), 8);
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (1, 8),
            "one of them gets the token for all, and each keeps one connection"
        );
    });
}

#[test]
fn every_option_of_fetch_is_gits_own() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        world.commits(&seed, 5, "day");
        world.git(["tag", "three", "main~2"]).within(&seed).ok();
        world
            .git(["push", "-q"])
            .arg(&bare)
            .args(["main", "three"])
            .within(&seed)
            .ok();
        let tree = world.clone("ws/repo", "tree");
        let cases: [&[&str]; 8] = [
            &["fetch", "-q", "--refetch"],
            &["fetch", "-q", "--atomic"],
            &["fetch", "-q", "--server-option=x"],
            &["fetch", "-q", "--shallow-exclude=three"],
            &["fetch", "-q", "--unshallow"],
            &["fetch", "-q", "origin", "+refs/heads/*:refs/copies/*"],
            &["remote", "set-head", "origin", "-a"],
            &["remote", "update"],
        ];
        for case in cases {
            let done = world.git(case.iter().copied()).within(&tree).done();
            assert_eq!(done.code, Some(0), "{case:?}: {}", done.stderr);
        }
        let common = world
            .git([
                "fetch",
                "-q",
                "--negotiate-only",
                "--negotiation-tip=HEAD",
                "origin",
            ])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert!(
            common
                .stdout
                .lines()
                .any(|line| line == world.rev(&tree, "HEAD")),
            "the tip is known to both sides"
        );
        let shown = world.git(["remote", "show", "origin"]).within(&tree).ok();
        assert!(
            shown.contains("Fetch URL: bbtoken::ws/repo") && shown.contains("HEAD branch: main"),
            "{shown}"
        );
    });
}
