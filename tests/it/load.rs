//! Many parallel commands, with a server that sometimes fails and a token that expires: all succeed, and their memory
//! does not grow.

use std::{
    fs,
    process::{Child, Stdio},
};

use bitbucket_local::{Action, Kind, Rule};

use crate::{
    processes,
    support::{World, on_every_git},
};

/// How many clones run at once, unless `BBTOKEN_TEST_CLONES` says otherwise.
const CLONES: usize = 40;
/// What one helper may need, however many there are.
const MAX_MEMORY_BYTES: u64 = 16 << 20;
/// Pipes, sockets and files of one helper.
const MAX_HANDLES: usize = 24;

/// Lets every hundredth request for a repository fail, one way and the other.
fn fail_now_and_then(world: &World, requests: usize) {
    for number in 0..(requests / 100).max(2) {
        let rule = match number % 2 {
            0 => Rule::answer(503),
            _ => Rule::new(Action::CloseWithoutAnswer),
        };
        let skip = (7 + number * 50).min(requests - 10);
        world
            .bitbucket
            .script(rule.kind(Kind::Git).skip(skip as u64));
    }
}

fn clones(world: &World, wave: &str, count: usize) -> Vec<Child> {
    let clone = |number| {
        let tree = format!("{wave}-{number}");
        let mut command = world
            .git(["clone", "-q", "bbtoken::ws/repo", &tree])
            .into_command();
        let child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
        child.expect("git starts")
    };
    (0..count).map(clone).collect()
}

fn all_succeed(world: &World, wave: &str, children: Vec<Child>) {
    for (number, child) in children.into_iter().enumerate() {
        let output = child.wait_with_output().expect("it is ours");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{wave}, clone {number}: {stderr}");
        let file = fs::read_to_string(world.path(&format!("{wave}-{number}/file")));
        assert_eq!(file.ok().as_deref(), Some("one\n"));
    }
}

/// The most memory and handles of one helper, looked at as the server gets on.
fn look(world: &World, clones: usize) -> (u64, usize) {
    let (mut memory, mut handles) = (0, 0);
    for part in 1..=4 {
        let served = part * clones / 2;
        world
            .bitbucket
            .wait_for(|requests| requests.len() > served)
            .expect("the clones go on");
        for helper in processes::of(world)
            .iter()
            .filter(|process| process.is_helper())
        {
            memory = memory.max(helper.peak_memory().unwrap_or(0));
            handles = handles.max(helper.handles());
        }
    }
    (memory, handles)
}

#[test]
fn many_parallel_clones_survive_faults_and_an_expired_token_with_one_token_request() {
    let count = std::env::var("BBTOKEN_TEST_CLONES")
        .map_or(CLONES, |count| count.parse().expect("it is a number"));
    on_every_git(|world| {
        world.repository("ws", "repo");
        fail_now_and_then(world, 2 * count);
        // However slow this machine is, one helper is there to be looked at.
        world
            .bitbucket
            .script(Rule::new(Action::Hold).method("POST").skip(1));
        let children = clones(world, "cold", count);
        let (memory, handles) = look(world, count);
        world.bitbucket.release();
        all_succeed(world, "cold", children);
        assert_eq!(world.bitbucket.rules_left(), 0, "every fault happened");
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "one token for all"
        );
        assert!(memory > 1 << 20 && handles > 3, "helpers were looked at");
        assert!(
            memory < MAX_MEMORY_BYTES && handles < MAX_HANDLES,
            "of {count}: {memory} bytes, {handles} handles"
        );

        // Some are under way when the token ends, one of them for certain.
        world
            .bitbucket
            .script(Rule::new(Action::Hold).method("POST").skip(2));
        let children = clones(world, "warm", count / 4);
        world
            .bitbucket
            .wait_for(|_| world.bitbucket.rules_left() == 0)
            .expect("one is held");
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.release();
        all_succeed(world, "warm", children);
        assert_eq!(
            world.bitbucket.token_requests().len(),
            2,
            "one more after its end"
        );
    });
}
