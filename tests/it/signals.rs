//! Ctrl-C, a closed pipe, a killed git: every process ends, and no file stays incomplete.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::process::{CommandExt as _, ExitStatusExt as _},
    process::{Child, Stdio},
};

use bitbucket_local::{Action, Kind, Recorded, Rule};
use rustix::process::Signal;

use crate::{
    login::{self, Waiting},
    person,
    processes::{self, Process},
    support::{Run, World, gits, helper, on_every_git},
};

/// Holds the answer to the next request that matches and starts a command, which then waits for it.
pub(crate) fn start_and_hold(world: &World, rule: Rule, command: Run) -> Child {
    world.bitbucket.clear_requests();
    let (method, path) = (rule.method.clone(), rule.path.clone());
    let before = usize::try_from(rule.skip).expect("because it is small");
    world.bitbucket.script(rule);
    let rules = world.bitbucket.rules_left();
    let child = command
        .into_command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .expect("git starts");
    let is_asked = |request: &&Recorded| {
        method
            .as_ref()
            .is_none_or(|method| *method == request.method)
            && path.as_ref().is_none_or(|path| request.path.contains(path))
    };
    world
        .bitbucket
        .wait_for(|requests| {
            // A request is recorded a moment before a rule is found for it.
            let is_held = world.bitbucket.rules_left() < rules;
            is_held && requests.iter().filter(is_asked).count() > before
        })
        .expect("git asks for it");
    child
}

/// The answers that a person may have to wait for.
fn holds() -> [Rule; 3] {
    let hold = || Rule::new(Action::Hold);
    [
        hold().kind(Kind::Token),
        hold().method("GET").path("info/refs"),
        // Its list of refs comes first.
        hold().method("POST").path("git-upload-pack").skip(1),
    ]
}

pub(crate) fn stderr_of(mut child: Child) -> String {
    let mut text = String::new();
    child
        .stderr
        .take()
        .expect("because it is piped")
        .read_to_string(&mut text)
        .expect("it is text");
    text
}

fn helper_in(processes: &[Process]) -> &Process {
    processes
        .iter()
        .find(|process| process.is_helper())
        .expect("the helper waits for the server")
}

#[test]
fn an_interrupt_ends_everything_and_leaves_no_directory() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for rule in holds() {
            let shown = format!("{rule:?}");
            let clone = world.git(["clone", "-q", "bbtoken::ws/repo", "tree"]);
            let mut child = start_and_hold(world, rule, clone);
            let processes = processes::of(world);
            assert!(processes.len() >= 3, "git, its wrapper and the helper run");
            helper_in(&processes);
            processes::signal_group(child.id(), Signal::INT);
            processes::all_end(&processes);
            let status = child.wait().expect("it is ours");
            assert_eq!(status.signal(), Some(2), "{shown}");
            assert_eq!(stderr_of(child), "", "{shown}");
            assert!(!world.path("tree").exists(), "{shown}");
            assert_eq!(processes::of(world).len(), 0, "{shown}");
            world.bitbucket.release();
            assert_eq!(world.bitbucket.rules_left(), 0, "{shown}");
        }
        // The cache is whole: nothing is said of it, and the next command works.
        world
            .git(["clone", "-q", "bbtoken::ws/repo", "tree"])
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn an_interrupted_push_leaves_nothing_behind() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "file", "two\n");
        let rule = Rule::new(Action::Hold)
            .method("POST")
            .path("git-receive-pack");
        let mut child = start_and_hold(world, rule, world.git(["push", "-q"]).within(&tree));
        let processes = processes::of(world);
        helper_in(&processes);
        processes::signal_group(child.id(), Signal::INT);
        processes::all_end(&processes);
        assert_eq!(child.wait().expect("it is ours").signal(), Some(2));
        assert_eq!(processes::of(world).len(), 0);
        world.bitbucket.release();
        world
            .git(["push", "-q", "--force"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn a_helper_whose_git_is_killed_ends_before_the_server_answers() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for rule in holds() {
            let shown = format!("{rule:?}");
            let fetch = world.git(["clone", "-q", "bbtoken::ws/repo", "tree"]);
            let mut child = start_and_hold(world, rule, fetch);
            let processes = processes::of(world);
            helper_in(&processes);
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            processes::all_end(&processes);
            assert_eq!(stderr_of(child), "", "no time limit ended it: {shown}");
            // A git that is killed cannot clean up.
            fs::remove_dir_all(world.path("tree")).expect("it had begun to clone");
            world.bitbucket.release();
            assert_eq!(world.bitbucket.rules_left(), 0, "{shown}");
        }
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "file", "two\n");
        let rule = Rule::new(Action::Hold)
            .method("POST")
            .path("git-receive-pack");
        let mut child = start_and_hold(world, rule, world.git(["push", "-q"]).within(&tree));
        let processes = processes::of(world);
        child.kill().expect("it is ours");
        child.wait().expect("it is ours");
        processes::all_end(&processes);
        assert_eq!(stderr_of(child), "", "no time limit ended it");
        world.bitbucket.release();
    });
}

#[test]
fn gits_own_helper_behind_ours_ends_with_a_killed_git() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.git(["branch", "news", "main"]).within(&bare).ok();
        world.commits(&world.path("seed-ws-repo"), 3, "news");
        world
            .git(["push", "-q"])
            .arg(&bare)
            .arg("main")
            .within(world.path("seed-ws-repo"))
            .ok();
        let holds = [
            Rule::new(Action::Hold).method("GET").path("info/refs"),
            Rule::new(Action::Hold)
                .method("POST")
                .path("git-upload-pack"),
        ];
        for rule in holds {
            let shown = format!("{rule:?}");
            let fetch = world
                .git(["-c", "protocol.version=0", "fetch", "-q"])
                .within(&tree);
            let mut child = start_and_hold(world, rule, fetch);
            let processes = processes::of(world);
            helper_in(&processes);
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            processes::all_end(&processes);
            assert_eq!(processes::of(world).len(), 0, "{shown}");
            world.bitbucket.release();
        }
    });
}

#[test]
fn a_reader_that_has_seen_enough_ends_git_and_the_helper_in_silence() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let id = world.rev(&bare, "main");
        let refs: String = (0..5_000)
            .map(|number| format!("{id} refs/heads/branch-{number:05}\n"))
            .collect();
        fs::write(
            bare.join("packed-refs"),
            format!("# pack-refs with: sorted \n{refs}"),
        )
        .expect("the server's directory can be written");
        let mut child = world
            .git(["ls-remote", "bbtoken::ws/repo"])
            .into_command()
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("git starts");
        let mut output = BufReader::new(child.stdout.take().expect("because it is piped"));
        let mut first = String::new();
        output.read_line(&mut first).expect("git prints refs");
        assert_eq!(first, format!("{id}\tHEAD\n"));
        let processes = processes::of(world);
        drop(output);
        processes::all_end(&processes);
        assert_eq!(
            child.wait().expect("it is ours").signal(),
            Some(13),
            "there was more to print than a pipe holds"
        );
        assert_eq!(stderr_of(child), "");
        assert_eq!(processes::of(world).len(), 0);
    });
}

#[test]
fn a_pipe_that_closes_inside_a_pack_ends_the_helper_in_silence() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        // What does not compress fills the pipe many times over, so that the helper is still writing when it closes.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state >> 32) as u8
        })
        .take(4 << 20)
        .collect();
        world.commit(&seed, "noise", noise);
        world.publish(&bare, &seed);
        let mut child = world
            .run(&helper(), ["origin", "ws/repo"])
            .into_command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the helper starts");
        let mut input = child.stdin.take().expect("because it is piped");
        let want = format!("want {}\n", world.rev(&bare, "main"));
        let request = format!(
            "0011command=fetch0001{:04x}{want}0009done\n0000",
            want.len() + 4
        );
        input
            .write_all(format!("connect git-upload-pack\n{request}").as_bytes())
            .expect("the helper reads");
        let mut output = BufReader::new(child.stdout.take().expect("because it is piped"));
        let mut line = Vec::new();
        while !line.ends_with(b"packfile\n") {
            line.clear();
            let length = output
                .read_until(b'\n', &mut line)
                .expect("the helper answers");
            assert!(length > 0, "the pack comes");
        }
        drop(output);
        let status = child.wait().expect("it is ours");
        assert_eq!(status.code(), Some(1));
        assert_eq!(stderr_of(child), "", "a closed pipe is quiet");
        drop(input);
    });
}

#[test]
fn a_git_that_gives_up_inside_a_pack_ends_the_helper_without_a_word_of_ours() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let seed = world.path("seed-ws-repo");
        // A commit that `fsck` does not let through: its author has no e-mail address.
        let tree = world.rev(&seed, "HEAD^{tree}");
        let file = world.path("odd-commit");
        fs::write(
            &file,
            format!("tree {tree}\nauthor A 1 +0000\ncommitter A <a@b> 1 +0000\n\nodd\n"),
        )
        .expect("the world's directory can be written");
        let odd = world
            .git(["hash-object", "--literally", "-t", "commit", "-w"])
            .arg(&file)
            .within(&bare)
            .ok();
        world
            .git(["update-ref", "refs/heads/odd", odd.trim_end()])
            .within(&bare)
            .ok();
        let done = world
            .git([
                "-c",
                "fetch.fsckObjects=true",
                "clone",
                "-q",
                "bbtoken::ws/repo",
                "tree",
            ])
            .fails(128);
        done.says(&["missingEmail"]);
        assert!(!done.stderr.contains("hint:"), "{}", done.stderr);
        assert!(!world.path("tree").exists());
        assert_eq!(processes::of(world).len(), 0);
    });
}

#[test]
fn the_helper_ends_if_git_is_killed_during_a_response() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        world.commit(&tree, "file", "two\n");
        // More than fits into the pipe, so that git is in the middle of it.
        let id = format!("{}\n", world.rev(&tree, "HEAD~1"));
        for number in 0..2000 {
            let name = format!("refs/heads/branch-{number:04}");
            fs::write(bare.join(&name), &id).expect("it is the test's");
        }
        let cases = [
            (
                "POST",
                "git-upload-pack",
                40_000,
                vec!["ls-remote", "bbtoken::ws/repo"],
            ),
            (
                "GET",
                "service=git-receive-pack",
                40_000,
                vec!["-C", "tree", "push", "-q"],
            ),
            (
                "POST",
                "git-receive-pack",
                10,
                vec!["-C", "tree", "push", "-q"],
            ),
        ];
        for (method, path, bytes, arguments) in cases {
            world.bitbucket.clear_requests();
            world
                .bitbucket
                .script(Rule::new(Action::Stall(bytes)).method(method).path(path));
            let mut child = world
                .git(&arguments)
                .into_command()
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .expect("git starts");
            world
                .bitbucket
                .wait_for(|requests| {
                    requests
                        .iter()
                        .any(|request| request.method == method && request.response_bytes >= bytes)
                })
                .unwrap_or_else(|error| {
                    panic!(
                        "{method} {path} stalls: {error}\n{:?}",
                        world.bitbucket.requests()
                    )
                });
            let processes = processes::of(world);
            helper_in(&processes);
            child.kill().expect("it is ours");
            child.wait().expect("it is ours");
            processes::all_end(&processes);
            assert_eq!(world.bitbucket.rules_left(), 0, "{path}");
        }
    });
}

#[test]
fn a_login_that_is_interrupted_at_the_exchange_keeps_nothing() {
    let world = World::new(gits().remove(0));
    person::configure_login(&world, "me", &world.consumer);
    let mut command = person::manage(&world, ["login", "me", "--browser"]).into_command();
    command.process_group(0);
    let mut login = Waiting::of(command);
    let rule = Rule::new(Action::Hold).kind(Kind::Token);
    world.bitbucket.clear_requests();
    world.bitbucket.script(rule);
    let callback = person::callback_of(&world, &login.page);
    let _browser = login::bring(&callback);
    let is_exchange = |request: &Recorded| request.kind == Kind::Token;
    world
        .bitbucket
        .wait_for(|requests| requests.iter().any(is_exchange))
        .expect("the code is exchanged");
    let records = || {
        let entries = fs::read_dir(person::state(&world)).expect("it was made");
        let names = entries.map(|entry| entry.expect("it can be read").file_name());
        let names = names.map(|name| name.to_string_lossy().into_owned());
        names.filter(|name| !name.ends_with(".lock")).count()
    };
    assert_eq!(records(), 1, "the space for the next login is reserved");
    processes::signal_group(login.child.id(), Signal::INT);
    let status = login.child.wait().expect("it ends");
    assert_eq!(
        status.signal(),
        Some(Signal::INT.as_raw()),
        "a shell sees it"
    );
    assert_eq!(records(), 0, "the room is given back");
    world.bitbucket.release();
}
