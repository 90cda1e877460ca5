//! Requests larger than `http.postBuffer`: sent in chunks, as over plain https.

use std::path::Path;

use bitbucket_local::Recorded;

use crate::{
    inspect::noise,
    support::{Done, World, on_every_git},
};

/// Posts that git sends before a large one, to see whether it would be let in (git: `probe_rpc` in remote-curl.c).
const FLUSH_BYTES: u64 = 4;

/// What a post looked like: its path, its length if it has one, its encoding, and how long it was.
type Post = (String, Option<u64>, Option<String>, u64);

/// Runs a command in two work trees that are alike, through the helper and over https; gives how it ended and what was
/// posted, without git's probes. A length of what is compressed says nothing: each has its own compressor.
fn both(
    world: &World,
    trees: [&Path; 2],
    buffer: &str,
    command: &[&str],
    prepare: &dyn Fn(),
) -> [(Done, Vec<Post>); 2] {
    let token = world
        .bitbucket
        .issue_access_token(&["repository", "repository:write"]);
    let https = world.bitbucket.repository_url("ws", "repo");
    let buffer = format!("http.postBuffer={buffer}");
    let run = |tree: &Path, address: &str, setting: &str| {
        prepare();
        world.bitbucket.clear_requests();
        let words = command.iter().map(|word| word.replace("ADDRESS", address));
        let done = world
            .git(["-c", setting, "-c", &buffer])
            .args(words)
            .within(tree)
            .without_client()
            .without_memory()
            .env("BBTOKEN_ACCESS_TOKEN", &token)
            .env("BBTOKEN_STORE", "memory")
            .done();
        let requests = world.bitbucket.git_requests().into_iter();
        let posts = requests.filter(|it| it.method == "POST" && !is_probe(it));
        (done, posts.map(post).collect())
    };
    [
        run(trees[0], "bbtoken::ws/repo", "core.x=y"),
        run(trees[1], &https, &world.with_header(&token)),
    ]
}

fn is_probe(request: &Recorded) -> bool {
    request.content_length == Some(FLUSH_BYTES)
}

fn post(request: Recorded) -> Post {
    let is_compressed = request.content_encoding.is_some();
    (
        request.path,
        request
            .content_length
            .map(|length| if is_compressed { 0 } else { length }),
        request.content_encoding,
        if is_compressed {
            0
        } else {
            request.request_bytes
        },
    )
}

fn in_chunks(posts: &[Post]) -> usize {
    posts
        .iter()
        .filter(|(_, length, ..)| length.is_none())
        .count()
}

#[test]
fn a_long_negotiation_goes_out_in_chunks_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let names = ["ours", "gits"];
        let trees = names.map(|name| world.clone("ws/repo", name));
        for tree in &trees {
            world.commits(tree, 1500, "mine");
        }
        let seed = world.path("seed-ws-repo");
        // With less than 65,524 bytes git's own helper aborts.
        for (buffer, expected) in [("1048576", 0..=0), ("70000", 2..=8), ("66000", 5..=20)] {
            world.commit(&seed, "file", buffer);
            world.publish(&bare, &seed);
            let command = ["fetch", "-v", "-v", "ADDRESS", "main"];
            let trees = [trees[0].as_path(), &trees[1]];
            let [ours, gits] = both(world, trees, buffer, &command, &|| {});
            assert_eq!((ours.0.code, gits.0.code), (Some(0), Some(0)));
            assert_eq!(ours.1, gits.1, "{buffer}");
            assert!(
                expected.contains(&in_chunks(&ours.1)),
                "{buffer}: {:?}",
                ours.1
            );
            assert!(ours.1.len() > 5, "there are many rounds: {:?}", ours.1);
            let told = |done: &Done| {
                done.stderr
                    .matches("POST git-upload-pack (chunked)\n")
                    .count()
            };
            assert_eq!(told(&ours.0), in_chunks(&ours.1), "{}", ours.0.stderr);
            assert_eq!(told(&gits.0), in_chunks(&gits.1), "{}", gits.0.stderr);
        }
    });
}

#[test]
fn a_push_is_sent_as_a_whole_as_long_as_it_fits_as_over_https() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "noise", noise(200_000));
        for (buffer, expected) in [("1", 1), ("200k", 1), ("300k", 0), ("1m", 0)] {
            let branch = ["update-ref", "-d", "refs/heads/side"];
            let forget = || world.git(branch).within(&bare).ok();
            let command = ["push", "-v", "-v", "ADDRESS", "main:refs/heads/side"];
            let [ours, gits] = both(world, [&tree, &tree], buffer, &command, &|| drop(forget()));
            assert_eq!((ours.0.code, gits.0.code), (Some(0), Some(0)));
            assert_eq!(ours.1, gits.1, "{buffer}");
            assert_eq!(in_chunks(&ours.1), expected, "{buffer}: {:?}", ours.1);
            let told = |done: &Done| {
                let lines = done.stderr.lines().filter(|line| line.starts_with("POST "));
                lines.map(str::to_owned).collect::<Vec<_>>()
            };
            assert_eq!(told(&ours.0), told(&gits.0), "{buffer}");
            assert_eq!(told(&ours.0).len(), 1, "{buffer}");
        }
    });
}
