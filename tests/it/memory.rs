//! Fetches and pushes a large pack: the helper's memory does not grow.

use std::{fs, path::Path, process::Stdio};

use bitbucket_local::{Action, Rule};

use crate::{
    processes,
    support::{Run, World, on_every_git},
};

const PACK_BYTES: usize = 200 << 20;
const MAX_MEMORY_BYTES: u64 = 16 << 20;

/// Runs git and gives the most memory its helper had, read while the server holds the rest of an answer back.
fn peak_of_helper(world: &World, service: &str, bytes: u64, command: Run) -> u64 {
    world.bitbucket.clear_requests();
    let rule = Rule::new(Action::Stall(bytes)).method("POST").path(service);
    let rule = match service {
        "git-receive-pack" => rule.streamed(),
        // Its list of refs comes first.
        _ => rule.skip(1),
    };
    world.bitbucket.script(rule);
    let child = command
        .into_command()
        .stderr(Stdio::piped())
        .spawn()
        .expect("git starts");
    world
        .bitbucket
        .wait_for(|requests| {
            requests
                .iter()
                .any(|request| request.path.ends_with(service) && request.response_bytes >= bytes)
        })
        .expect("the transfer comes so far");
    let processes = processes::of(world);
    let helper = processes
        .iter()
        .find(|process| process.is_helper())
        .expect("the helper waits for the rest");
    let peak = helper.peak_memory().expect("it runs");
    world.bitbucket.release();
    let output = child.wait_with_output().expect("it is ours");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "");
    peak
}

/// Writes what no compression makes smaller.
fn write_noise(path: &Path) {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    // Longer than zlib's window, so that it may be repeated.
    let piece: Vec<u8> = (0..(1 << 17)).flat_map(|_| next()).collect();
    fs::write(path, piece.repeat(PACK_BYTES / piece.len()))
        .expect("the world's directory can be written");
}

#[test]
fn two_hundred_megabytes_are_fetched_and_pushed_with_sixteen_of_memory() {
    on_every_git(|world| {
        for (key, value) in [
            ("core.compression", "0"),
            // Streamed by git, too, and not searched for deltas.
            ("core.bigFileThreshold", "1m"),
        ] {
            world.git(["config", "--global", key, value]).ok();
        }
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        write_noise(&tree.join("noise"));
        world.git(["add", "noise"]).within(&tree).ok();
        world
            .git(["commit", "-q", "-m", "noise"])
            .within(&tree)
            .ok();
        // The server says nothing before it has the whole pack.
        let push = world.git(["push", "-q"]).within(&tree);
        let pushing = peak_of_helper(world, "git-receive-pack", 1, push);
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        let requests = world.bitbucket.git_requests();
        let sent = requests.last().map_or(0, |push| push.request_bytes);

        let clone = world.git(["clone", "-q", "--bare", "bbtoken::ws/repo", "copy"]);
        let cloning = peak_of_helper(world, "git-upload-pack", PACK_BYTES as u64, clone);
        assert_eq!(
            world.rev(&world.path("copy"), "main"),
            world.rev(&tree, "HEAD")
        );
        let requests = world.bitbucket.git_requests();
        let received = requests.last().map_or(0, |pack| pack.response_bytes);

        for (way, bytes, peak) in [("push", sent, pushing), ("clone", received, cloning)] {
            assert!(bytes >= PACK_BYTES as u64, "the {way} moved {bytes} bytes");
            assert!(
                peak > 1 << 20 && peak < MAX_MEMORY_BYTES,
                "the helper needs less than {MAX_MEMORY_BYTES} bytes to {way}: {peak}"
            );
        }
    });
}
