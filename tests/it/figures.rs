//! The promised figures: requests, connections and token requests.

use std::{collections::BTreeSet, fs, thread};

use crate::{
    inspect::{limited, strace},
    needs::needs,
    support::{World, on_every_git},
};

/// How many commands run at the same time.
const PARALLEL: usize = 50;

#[test]
fn a_warm_token_costs_no_token_call_and_one_connection() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();

        world.bitbucket.clear_requests();
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        assert_eq!(world.git_requests(), ["POST git-upload-pack"]);
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );

        world.bitbucket.clear_requests();
        let tree = world.clone("ws/repo", "tree");
        assert_eq!(
            world.git_requests(),
            [
                "GET info/refs",
                "POST git-upload-pack",
                "POST git-upload-pack"
            ]
        );
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 1)
        );

        world.commit(&tree, "file", "two\n");
        world.bitbucket.clear_requests();
        world.git(["push", "-q"]).within(&tree).ok();
        assert_eq!(
            world.git_requests(),
            ["GET info/refs", "POST git-receive-pack"]
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
fn a_cold_token_costs_one_call_more_on_the_same_connection() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        let requests: Vec<_> = world
            .bitbucket
            .requests()
            .into_iter()
            .map(|request| (request.path, request.connection))
            .collect();
        let paths: Vec<_> = requests.iter().map(|(path, _)| path.clone()).collect();
        let repository = world.repository_path("ws", "repo");
        assert_eq!(
            paths,
            [
                world.token_path(),
                format!("{repository}/info/refs"),
                format!("{repository}/git-upload-pack"),
            ]
        );
        let connections: BTreeSet<_> = requests.iter().map(|(_, number)| number).collect();
        assert_eq!(
            (connections.len(), world.bitbucket.connections()),
            (1, 1),
            "the token comes by the connection that the repository is read by"
        );
    });
}

#[test]
fn doctor_asks_everything_of_a_server_over_one_connection() {
    on_every_git(|world| {
        world.bbtoken(["doctor"]).ok();
        let requests = world.bitbucket.requests();
        let used: BTreeSet<_> = requests.iter().map(|it| it.connection).collect();
        assert!(requests.len() > 1 && used.len() == 1, "{requests:?}");
        // Another one only shows that the port is open.
        assert_eq!(world.bitbucket.connections(), 2);
    });
}

/// Fetches in many repositories at the same time; expects that all succeed in silence.
#[track_caller]
fn fetch_in_parallel(world: &World) {
    // They share a token by our program's lock: with further gits, a few show that they take it.
    let count = if world.has_first_git() { PARALLEL } else { 8 };
    let trees: Vec<_> = (0..count)
        .map(|number| world.path(&format!("tree-{number}")))
        .collect();
    for tree in &trees {
        bitbucket_local::lay_out(tree, "[core]\n\tbare = true\n")
            .expect("the world can be written");
    }
    world.bitbucket.clear_requests();
    thread::scope(|scope| {
        let fetches: Vec<_> = trees
            .iter()
            .map(|tree| {
                let fetch = limited(world, ["fetch", "-q", "bbtoken::ws/repo", "main:main"]);
                scope.spawn(move || fetch.within(tree).done())
            })
            .collect();
        for fetch in fetches {
            let done = fetch.join().expect("the command ran").expect(0);
            // On a busy machine it may take seconds to get the token.
            let mut lines = done.stderr.lines();
            assert!(
                lines.all(|line| line.ends_with(", which is getting a token")),
                "the user sees no message about the other processes: {}",
                done.stderr
            );
        }
    });
    for tree in &trees {
        world.git(["cat-file", "-e", "main:file"]).within(tree).ok();
        fs::remove_dir_all(tree).expect("it is the test's");
    }
    let fetches = world
        .git_requests()
        .iter()
        .filter(|request| *request == "POST git-upload-pack")
        .count();
    assert!(fetches >= count, "all of them asked");
}

#[test]
fn many_commands_at_once_get_one_token_between_them() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        fetch_in_parallel(world);
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "on a cold cache one gets the token and the others wait for it"
        );
        fetch_in_parallel(world);
        assert_eq!(world.bitbucket.token_requests().len(), 0);
        world.bitbucket.revoke_access_tokens();
        fetch_in_parallel(world);
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "one replaces the revoked token and the others take it"
        );
    });
}

#[test]
fn a_warm_ls_remote_is_three_processes() {
    needs!("strace");
    on_every_git(|world| {
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world.bitbucket.clear_requests();
        let traced = strace(
            world,
            "execve,clone,clone3,fork,vfork",
            ["ls-remote", "bbtoken::ws/repo"],
            |run| run,
        );
        traced.done.expect(0);
        let programs: Vec<_> = traced
            .calls
            .lines()
            .filter(|call| call.contains("execve") && call.ends_with("= 0"))
            .collect();
        assert_eq!(
            programs.len(),
            3,
            "git, its wrapper and the helper: {}",
            traced.calls
        );
        let children = traced
            .calls
            .lines()
            .filter(|call| {
                ["clone(", "clone3(", "fork("]
                    .iter()
                    .any(|name| call.contains(name))
            })
            .filter(|call| !call.contains("CLONE_THREAD") && !call.contains("= -1"))
            .count();
        assert_eq!(
            children, 2,
            "no process without a program: {}",
            traced.calls
        );
        assert!(world.bitbucket.token_requests().is_empty());
    });
}

#[test]
fn every_request_names_git_and_this_program() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let ours = format!("git-remote-bbtoken/{}", env!("CARGO_PKG_VERSION"));
        let agents = |expected: &str| {
            world.bitbucket.clear_requests();
            world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
            for request in world.bitbucket.requests() {
                assert_eq!(request.user_agent.as_deref(), Some(expected));
            }
        };
        for _ in ["first command", "second command"] {
            agents(&format!("git/2 {ours}"));
        }
        world
            .git(["config", "--global", "http.userAgent", "mine/1"])
            .ok();
        agents("mine/1");
    });
}
