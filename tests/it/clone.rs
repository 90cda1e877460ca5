//! Cloning: whole, shallow, partial, mirrored, from a bundle, and of empty and SHA-256 repositories.

use std::fs;

use bitbucket_local::{ObjectFormat, Rule};

use crate::support::{World, on_every_git};

const CLONE: [&str; 3] = [
    "GET info/refs",
    "POST git-upload-pack",
    "POST git-upload-pack",
];

#[test]
fn a_clone_takes_three_requests_on_one_connection_and_is_silent() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        world
            .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), CLONE);
        assert_eq!(world.bitbucket.connections(), 1);
        let tree = world.path("tree");
        assert_eq!(world.rev(&tree, "HEAD"), world.rev(&bare, "main"));
        assert_eq!(
            fs::read_to_string(tree.join("file")).ok().as_deref(),
            Some("one\n")
        );
        let checked = world.git(["fsck", "--strict"]).within(&tree).done();
        assert_eq!(checked.code, Some(0), "{}", checked.stderr);
    });
}

#[test]
fn ls_remote_shows_what_the_server_has_in_two_requests() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let id = world.rev(&bare, "main");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        let shown = world
            .git(["ls-remote", "--symref", "bbtoken::ws/repo"])
            .without_memory()
            .done()
            .expect(0);
        assert_eq!(
            shown.stdout,
            format!("ref: refs/heads/main\tHEAD\n{id}\tHEAD\n{id}\trefs/heads/main\n")
        );
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-upload-pack"]
        );
        assert_eq!(world.bitbucket.connections(), 1);
        assert_eq!(
            world
                .git(["ls-remote", "-q", "bbtoken::ws/repo", "none"])
                .done()
                .expect(0)
                .quiet()
                .stdout,
            ""
        );
        world
            .git(["ls-remote", "--exit-code", "bbtoken::ws/repo", "none"])
            .fails(2);
    });
}

/// Counts the commits that a revision reaches.
fn depth(world: &World, tree: &std::path::Path) -> String {
    let count = world.git(["rev-list", "--count", "HEAD"]).within(tree).ok();
    count.trim_end().to_owned()
}

#[test]
fn a_shallow_clone_is_deepened_and_made_whole() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        world.commits(&seed, 9, "day");
        world.publish(&bare, &seed);

        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        world
            .git(["clone", "-q", "--depth", "2", "bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.git_requests(), CLONE);
        let tree = world.path("tree");
        assert_eq!(depth(world, &tree), "2");

        for (option, expected) in [
            ("--deepen=3", "5"),
            ("--depth=1", "1"),
            // Half a day after the fourth of nine daily commits.
            ("--shallow-since=1700302400", "5"),
            ("--unshallow", "10"),
        ] {
            world.bitbucket.clear_requests();
            world
                .git(["fetch", "-q", option])
                .within(&tree)
                .without_memory()
                .done()
                .expect(0)
                .quiet();
            assert_eq!(depth(world, &tree), expected, "{option}");
            assert_eq!(world.git_requests(), CLONE, "{option}");
        }
        assert!(!tree.join(".git/shallow").exists());

        world
            .git([
                "clone",
                "-q",
                "--shallow-since=1700302400",
                "bbtoken::ws/repo",
                "since",
            ])
            .done()
            .expect(0)
            .quiet();
        assert_eq!(depth(world, &world.path("since")), "5");

        // A commit from a shallow clone can be pushed.
        let shallow = world.path("shallow");
        world
            .git(["clone", "-q", "--depth=1", "bbtoken::ws/repo"])
            .arg(&shallow)
            .ok();
        world.commit(&shallow, "file", "shallow\n");
        world
            .git(["push", "-q"])
            .within(&shallow)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&shallow, "HEAD"), world.rev(&bare, "main"));
    });
}

/// Counts the objects that a partial clone has promised but not got.
fn missing(world: &World, tree: &std::path::Path) -> usize {
    let listed = world
        .git(["rev-list", "--objects", "--all", "--missing=print"])
        .within(tree)
        .ok();
    listed.lines().filter(|line| line.starts_with('?')).count()
}

#[test]
fn a_blobless_clone_fetches_blobs_at_checkout_and_later() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        world.commit(&seed, "file", "two\n");
        world.publish(&bare, &seed);

        world
            .git([
                "clone",
                "-q",
                "--filter=blob:none",
                "--no-checkout",
                "bbtoken::ws/repo",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        assert_eq!(missing(world, &tree), 2, "no blob came with the clone");

        world.bitbucket.clear_requests();
        world
            .git(["checkout", "-q", "main"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            fs::read_to_string(tree.join("file")).ok().as_deref(),
            Some("two\n")
        );
        assert_eq!(missing(world, &tree), 1, "the checkout got what it needs");
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-upload-pack"],
            "blobs are wanted by name, without a list of refs"
        );

        world.bitbucket.clear_requests();
        assert_eq!(
            world
                .git(["show", "HEAD~1:file"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet()
                .stdout,
            "one\n"
        );
        assert_eq!(world.git_requests().len(), 2);
        assert_eq!(missing(world, &tree), 0);
        assert_eq!(
            world.bitbucket.token_requests().len(),
            0,
            "a lazy fetch takes the cached token"
        );
    });
}

#[test]
fn a_mirror_has_every_ref() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        for (name, at) in [
            ("refs/heads/side", "main"),
            ("refs/tags/light", "main"),
            ("refs/pull-requests/1/from", "main"),
        ] {
            world.git(["update-ref", name, at]).within(&bare).ok();
        }
        world
            .git(["tag", "-a", "-m", "note", "heavy", "main"])
            .within(&bare)
            .ok();
        world
            .git(["clone", "-q", "--mirror", "bbtoken::ws/repo", "mirror"])
            .done()
            .expect(0)
            .quiet();
        let refs = |at: &std::path::Path| world.git(["for-each-ref"]).within(at).ok();
        assert_eq!(refs(&world.path("mirror")), refs(&bare));
        assert_eq!(refs(&bare).lines().count(), 5);

        let tree = world.clone("ws/repo", "tree");
        assert_eq!(
            world.git(["tag"]).within(&tree).ok(),
            "heavy\nlight\n",
            "tags come with the commits they name"
        );
        world
            .git([
                "clone",
                "-q",
                "--no-tags",
                "--single-branch",
                "--branch",
                "side",
                "bbtoken::ws/repo",
                "side",
            ])
            .done()
            .expect(0)
            .quiet();
        let side = world.path("side");
        assert_eq!(world.git(["tag"]).within(&side).ok(), "");
        assert_eq!(
            world.git(["branch", "-r"]).within(&side).ok().trim(),
            "origin/side"
        );
    });
}

#[test]
fn an_empty_repository_is_cloned_and_accepts_the_first_push() {
    on_every_git(|world| {
        let bare = world
            .bitbucket
            .create_repository("ws", "new")
            .expect("it can be made");
        let cloned = world
            .git(["clone", "-q", "bbtoken::ws/new", "tree"])
            .done()
            .expect(0);
        assert_eq!(
            cloned.stderr,
            "warning: You appear to have cloned an empty repository.\n"
        );
        let tree = world.path("tree");
        assert_eq!(
            world
                .git(["symbolic-ref", "HEAD"])
                .within(&tree)
                .ok()
                .trim_end(),
            "refs/heads/main"
        );
        world.commit(&tree, "file", "first\n");
        world.bitbucket.clear_requests();
        world
            .git(["push", "-q", "-u", "origin", "main"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-receive-pack"]
        );
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
    });
}

fn object_format(world: &World, repository: &std::path::Path) -> String {
    world
        .git(["rev-parse", "--show-object-format"])
        .within(repository)
        .ok()
        .trim_end()
        .to_owned()
}

#[test]
fn a_sha256_repository_works_both_ways() {
    on_every_git(|world| {
        let bare = world
            .bitbucket
            .create_repository_with("ws", "repo", ObjectFormat::Sha256)
            .expect("it can be made");
        let seed = world.path("seed");
        world
            .git(["init", "-q", "--object-format=sha256"])
            .arg(&seed)
            .ok();
        world.commit(&seed, "file", "one\n");
        world
            .git(["push", "-q", "bbtoken::ws/repo", "main"])
            .within(&seed)
            .done()
            .expect(0)
            .quiet();

        world
            .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        assert_eq!(object_format(world, &tree), "sha256");
        world.commit(&tree, "file", "two\n");
        world
            .git(["push", "-q"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        assert_eq!(world.rev(&bare, "main").len(), 64);
        world
            .git(["push", "-q", "origin", "HEAD:side"])
            .within(&tree)
            .ok();
        world
            .git(["push", "-q", "--delete", "origin", "side"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn an_empty_sha256_repository_is_cloned_as_this_git_clones_it_over_https() {
    on_every_git(|world| {
        world
            .bitbucket
            .create_repository_with("ws", "new", ObjectFormat::Sha256)
            .expect("it can be made");
        world
            .git(["clone", "-q", "bbtoken::ws/new", "ours"])
            .done()
            .expect(0);
        let token = world.bitbucket.issue_access_token(&["repository"]);
        world
            .git(["-c", &world.with_header(&token), "clone", "-q"])
            .arg(world.bitbucket.repository_url("ws", "new"))
            .arg("gits")
            .done()
            .expect(0);
        let ours = object_format(world, &world.path("ours"));
        assert_eq!(ours, object_format(world, &world.path("gits")));
        // Git 2.39 takes an empty repository for one with SHA-1.
        let expected = if world.git.version >= (2, 47) {
            "sha256"
        } else if world.git.version <= (2, 39) {
            "sha1"
        } else {
            &ours
        };
        assert_eq!(ours, expected);
    });
}

#[test]
fn a_bundle_gives_the_clone_a_start() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let bundle = world.path("start.bundle");
        world
            .git(["bundle", "create", "-q"])
            .arg(&bundle)
            .arg("main")
            .within(&bare)
            .ok();
        let seed = world.path("seed-ws-repo");
        world.commit(&seed, "file", "two\n");
        world.publish(&bare, &seed);
        world.bitbucket.script(
            Rule::answer(200)
                .path("/start.bundle")
                .body(fs::read(&bundle).expect("it was just made"))
                .forever(),
        );
        let served = format!("{}/downloads/start.bundle", world.bitbucket.base_url());
        for (number, uri) in [bundle.display().to_string(), served].iter().enumerate() {
            world.bitbucket.clear_requests();
            let directory = format!("tree-{number}");
            world
                .git([
                    "clone",
                    "-q",
                    &format!("--bundle-uri={uri}"),
                    "bbtoken::ws/repo",
                    &directory,
                ])
                .done()
                .expect(0)
                .quiet();
            let tree = world.path(&directory);
            assert_eq!(world.rev(&tree, "HEAD"), world.rev(&bare, "main"));
            // Git 2.50 and later call it refs/bundles/heads/main.
            let list = ["for-each-ref", "--format=%(objectname)", "refs/bundles"];
            let bundled = world.git(list).within(&tree).ok();
            assert_eq!(
                bundled.trim_end(),
                world.rev(&bare, "main~1"),
                "the bundle was used: {uri}"
            );
            let requests = world.bitbucket.requests();
            let of_bundle: Vec<_> = requests
                .iter()
                .filter(|request| request.path.ends_with(".bundle"))
                .collect();
            assert_eq!(of_bundle.len(), number, "{uri}");
            assert!(
                of_bundle.iter().all(|request| request.user.is_none()),
                "a bundle's server is not told our credential"
            );
        }
    });
}
