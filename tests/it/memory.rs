//! A large pack, both ways: the helper's memory stays flat.

use std::{fs, path::Path, process::Stdio, time::Duration};

use crate::{
    processes::{self, Process},
    support::{Run, World, on_every_git},
};

const PACK_BYTES: usize = 200 << 20;
const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// How often the helper's peak is read: it only grows, so that the last reading counts.
const LOOK: Duration = Duration::from_millis(2);

/// Runs git and gives the most memory its helper had.
fn peak_of_helper(world: &World, command: Run) -> u64 {
    world.bitbucket.clear_requests();
    let child = command
        .into_command()
        .stderr(Stdio::piped())
        .spawn()
        .expect("git starts");
    // It runs at least until its transfer is over.
    world
        .bitbucket
        .wait_for(|requests| requests.len() > 1)
        .expect("git asks for the transfer");
    let processes = processes::of(world);
    let helper = processes
        .iter()
        .find(|process| process.is_helper())
        .expect("the helper transfers");
    let peak = follow(helper);
    let output = child.wait_with_output().expect("it is ours");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    assert_eq!(stderr, "");
    peak
}

fn follow(helper: &Process) -> u64 {
    let (mut peak, mut looks) = (0, 0);
    while !helper.ends_within(LOOK) {
        if let Some(memory) = helper.peak_memory() {
            peak = peak.max(memory);
            looks += 1;
        }
    }
    assert!(looks > 20, "the transfer was watched, {looks} times");
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
fn two_hundred_megabytes_go_both_ways_in_sixteen_of_memory() {
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
        let pushing = peak_of_helper(world, world.git(["push", "-q"]).within(&tree));
        assert_eq!(world.rev(&bare, "main"), world.rev(&tree, "HEAD"));
        let sent = world.bitbucket.git_requests()[1].request_bytes;

        let clone = world.git(["clone", "-q", "--bare", "bbtoken::ws/repo", "copy"]);
        let cloning = peak_of_helper(world, clone);
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
