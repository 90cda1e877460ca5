//! Git's progress is the same through the helper as over plain https.

use std::{collections::BTreeSet, fs};

use crate::support::{World, on_every_git};

/// What was shown, with digits, rates, and the order of what git and the server say at the same time taken out.
fn shape(stderr: &str) -> BTreeSet<String> {
    let mut lines = BTreeSet::new();
    for line in stderr.split(['\r', '\n']) {
        let line = line.replace("\u{1b}[K", "");
        // A rate stands behind "|" and depends on the time that passed.
        let line = line.split(" | ").next().unwrap_or_default();
        let line = line.split(", ").next().unwrap_or_default();
        let mut words: Vec<String> = Vec::new();
        for word in line.split_whitespace() {
            let has_digit = word.contains(|character: char| character.is_ascii_digit());
            words.push(if has_digit { "#".into() } else { word.into() });
        }
        let line = words.join(" ");
        if !line.is_empty() {
            lines.insert(line);
        }
    }
    lines
}

/// Runs the same git command through the helper and over https, and gives what both show.
fn both(world: &World, before: &[&str], after: &[&str], directory: &str) -> [BTreeSet<String>; 2] {
    let token = world
        .bitbucket
        .issue_access_token(&["repository", "repository:write"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let run = |address: &str, place: &str| {
        let at = world.path(place);
        fs::create_dir_all(&at).expect("the world's directory can be written");
        let at = if directory.is_empty() {
            at
        } else {
            at.join(directory)
        };
        let done = world
            .git(["-c", &world.with_header(&token)])
            .args(before)
            .arg(address)
            .args(after)
            .within(at)
            .done()
            .expect(0);
        shape(&without_address(&done.stderr, address))
    };
    [run("bbtoken::ws/repo", "ours"), run(&https, "gits")]
}

#[test]
fn progress_quiet_and_verbose_are_as_with_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        world.commits(&seed, 60, "day");
        world.publish(&bare, &seed);

        let [ours, gits] = both(world, &["clone", "--progress"], &["tree"], "");
        assert_eq!(ours, gits, "clone --progress");
        assert!(
            ours.iter()
                .any(|line| line.starts_with("Receiving objects:"))
                && ours
                    .iter()
                    .any(|line| line.starts_with("remote: Counting objects:")),
            "there was progress: {ours:?}"
        );
        let [ours, gits] = both(world, &["clone"], &["plain"], "");
        assert_eq!(ours, gits, "clone");
        assert!(ours.iter().eq(["Cloning into 'plain'..."]), "{ours:?}");
        let [ours, gits] = both(world, &["clone", "-q"], &["quiet"], "");
        assert_eq!((ours.len(), gits.len()), (0, 0), "clone -q");
        let [ours, gits] = both(world, &["clone", "-v"], &["verbose"], "");
        assert_eq!(ours, gits, "clone -v");

        world.commits(&seed, 3, "more");
        world.publish(&bare, &seed);
        let fetch = ["fetch", "--progress", "-v"];
        let [ours, gits] = both(world, &fetch, &["main"], "tree");
        assert_eq!(ours, gits, "fetch -v");

        // What is asked for is long enough to be compressed.
        for (tree, place) in [("ours", "ours/tree"), ("gits", "gits/tree")] {
            let tree = (world.path(place), tree);
            world.commits(&tree.0, 200, tree.1);
        }
        world.commits(&seed, 3, "late");
        world.publish(&bare, &seed);
        let [ours, gits] = both(world, &["fetch", "-v"], &["main"], "tree");
        assert_eq!(ours, gits, "a long fetch -v");
        assert!(
            ours.iter()
                .any(|line| line == "POST git-upload-pack (gzip # to # bytes)"),
            "{ours:?}"
        );

        for tree in ["ours/tree", "gits/tree"] {
            let tree = world.path(tree);
            world.git(["branch", "-q", "mine"]).within(&tree).ok();
            world.git(["checkout", "-q", "mine"]).within(&tree).ok();
            world.commits(&tree, 30, "mine");
        }
        for (number, options) in [
            &["push", "--progress"][..],
            &["push", "-v"],
            &["push", "-v", "-v"],
            &["push", "-q"],
        ]
        .iter()
        .enumerate()
        {
            for at in ["refs/heads/mine", "refs/heads/again"] {
                world.git(["update-ref", "-d", at]).within(&bare).ok();
            }
            let branch = format!("mine:to-{number}");
            let token = world
                .bitbucket
                .issue_access_token(&["repository", "repository:write"]);
            let https = world.bitbucket.repository_url("ws", "repo");
            let push = |address: &str| {
                let done = world
                    .git(["-c", &world.with_header(&token)])
                    .args(*options)
                    .args([address, &branch])
                    .within(world.path("ours/tree"))
                    .done()
                    .expect(0);
                world
                    .git(["update-ref", "-d", &format!("refs/heads/to-{number}")])
                    .within(&bare)
                    .ok();
                let text = format!("{}{}", done.stdout, done.stderr);
                shape(&without_address(&text, address))
            };
            assert_eq!(push("bbtoken::ws/repo"), push(&https), "{options:?}");
        }
    });
}

/// Takes the address out, also as git shortens it.
fn without_address(text: &str, address: &str) -> String {
    let short = address.trim_end_matches(".git");
    text.replace(address, "ADDRESS").replace(short, "ADDRESS")
}
