//! Pushes with faults: each is reported correctly as refused, done or unknown.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use bitbucket_local::{Action, Rule};

use crate::{
    inspect::{Gate, hook, is_sound, limited, noise, stores_uncompressed},
    support::{Done, World},
};

use super::*;

/// More than is sent as one body of known length.
const LARGE: usize = 3 << 20;

/// A clone of `ws/repo` with something to push: a small commit, or one larger than what is sent as one body.
fn tree_to_push(world: &World, bytes: usize) -> PathBuf {
    let tree = world.clone("ws/repo", "tree");
    stores_uncompressed(&tree.join(".git"));
    world.commit(&tree, "noise", noise(bytes));
    world.bitbucket.clear_requests();
    tree
}

/// The commit that the server has on `main`.
fn on_server(world: &World) -> String {
    let bare = world.bitbucket.repository_path("ws", "repo");
    world.git(["rev-parse", "main"]).within(bare).ok()
}

fn head(world: &World, tree: &Path) -> String {
    world.git(["rev-parse", "HEAD"]).within(tree).ok()
}

#[test]
fn a_push_that_may_have_been_done_says_so() {
    let cases = [
        (Action::CloseWithoutAnswer, false),
        (Action::AnswerLost, true),
        (Action::CutAfter(10), true),
        (Action::Truncate(10), true),
        (Action::ReplaceBody(PAGE.into()), true),
        (
            Action::Answer {
                status: 504,
                headers: Vec::new(),
                body: Vec::new(),
                early: false,
            },
            false,
        ),
        // A gateway says so, too, when it has lost the answer of the server behind it.
        (
            Action::Answer {
                status: 503,
                headers: Vec::new(),
                body: Vec::new(),
                early: false,
            },
            false,
        ),
    ];
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 100);
        for (action, is_done) in &cases {
            let before = on_server(world);
            world.commit(&tree, "file", format!("{action:?}"));
            let rule = Rule::new(action.clone()).path("git-receive-pack");
            world.bitbucket.script(rule.method("POST"));
            // Git dies inside a report of which it has a part.
            let is_begun = matches!(action, Action::CutAfter(_) | Action::Truncate(_));
            let code = if is_begun { 128 } else { 1 };
            let done = limited(world, ["push", "-q"]).within(&tree).fails(code);
            assert_eq!(world.bitbucket.rules_left(), 0, "the fault happened");
            assert!(
                done.stderr.contains("error: the response to the push to 'ws/repo' was lost: the server may or may not have done the push\ncaused by: "),
                "{action:?}: {}",
                done.stderr
            );
            assert!(done.stderr.contains(COMPARE), "{}", done.stderr);
            assert_eq!(on_server(world) != before, *is_done, "{action:?}");
            is_sound(world, &tree);
            world.git(["fetch", "-q"]).within(&tree).ok();
            world.git(["push", "-q"]).within(&tree).ok();
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
    assert_eq!(cases.len(), 7);
}

#[test]
fn a_push_that_was_refused_is_not_called_unknown() {
    let cases = [
        (400, "caused by: 'localhost' answered 400\n"),
        (
            403,
            "hint: tick the permission 'Repositories: Write' at the OAuth consumer",
        ),
        (404, "hint: the name is wrong, or this profile"),
        (
            413,
            "hint: push in smaller steps, an older commit first: git push <remote> <commit>:refs/heads/<branch>\n",
        ),
        (429, LATER),
        (503, LATER),
    ];
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 100);
        for (status, hint) in cases {
            for method in ["GET", "POST"] {
                let rule = Rule::answer(status).header("Retry-After", "3600");
                world
                    .bitbucket
                    .script(rule.path("git-receive-pack").method(method));
                let done = limited(world, ["push", "-q"])
                    .within(&tree)
                    .fails(ends(method));
                done.says(&[
                    "error: cannot push to repository 'ws/repo' with profile 'environment'\n",
                    &match status {
                        429 | 503 => format!(
                            "caused by: 'localhost' answered {status} and asks to wait 3600 seconds\n"
                        ),
                        _ => format!("caused by: 'localhost' answered {status}\n"),
                    },
                    hint,
                ]);
                is_known(&done);
            }
        }
        assert!(world.bitbucket.token_requests().is_empty());
        world.git(["push", "-q"]).within(&tree).ok();
    });
    assert_eq!(cases.len(), 6);
}

#[test]
fn a_page_in_the_place_of_an_answer_to_a_push_is_recognized() {
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 100);
        let before = on_server(world);
        for (method, kind) in [("GET", "advertisement"), ("POST", "result")] {
            let rule = page(200).path("git-receive-pack").method(method);
            world.bitbucket.script(rule);
            let done = limited(world, ["push", "-q"])
                .within(&tree)
                .fails(ends(method));
            done.says(&[&format!(
                "error: cannot use repository 'ws/repo': 'localhost' did not answer as a git server\n\
                 caused by: it answered with 'text/html'{TITLED} 'application/x-git-receive-pack-{kind}'\n{PORTAL}"
            )]);
            is_known(&done);
        }
        assert_eq!(on_server(world), before, "nothing is changed");
    });
}

/// How git ends when a request of a push gets no good answer, as over https.
fn ends(method: &str) -> i32 {
    match method {
        "POST" => 1,
        _ => 128,
    }
}

#[track_caller]
fn is_known(done: &Done) {
    assert!(
        !done.stderr.contains("may or may not"),
        "a push that cannot have been done is not called unknown: {}",
        done.stderr
    );
}

/// A way that keeps the connection open until the answer is read, as RFC 9112 section 9.6 asks of a server that does
/// not read the rest of a request; the local Bitbucket drops it at once, which may destroy its answer.
fn gentle(world: &World) -> Gate {
    let gate = Gate::to(world);
    // Tokens are kept for each base URL.
    let list = world.git(["ls-remote", "bbtoken::ws/repo"]);
    gate.between(world, list).ok();
    world.bitbucket.clear_requests();
    gate
}

#[test]
fn an_early_refusal_of_a_large_push_is_reported_without_sending_the_rest() {
    let cases = [
        (
            403,
            "hint: tick the permission 'Repositories: Write' at the OAuth consumer",
        ),
        (
            413,
            "hint: push in smaller steps, an older commit first: git push <remote> <commit>:refs/heads/<branch>\n",
        ),
    ];
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 20 << 20);
        let before = on_server(world);
        let gate = gentle(world);
        for (status, hint) in cases {
            let rule = Rule::answer(status)
                .header("Content-Type", "text/plain")
                .body("words of the server")
                .early();
            let rule = rule.path("git-receive-pack").method("POST");
            world.bitbucket.script(rule.streamed());
            let push = limited(world, ["push", "-q"]).within(&tree);
            let done = gate.between(world, push).fails(1);
            done.says(&[
                "error: cannot push to repository 'ws/repo' with profile 'environment'\n",
                "remote: words of the server\n",
                &format!("caused by: 'localhost' answered {status}\n"),
                hint,
            ]);
            is_known(&done);
            let post = world.bitbucket.git_requests().pop().expect("git has asked");
            assert_eq!(post.status, Some(status), "it is the answer to the push");
            assert!(
                post.request_bytes < 1 << 20,
                "the rest is not sent: {}",
                post.request_bytes
            );
            assert_eq!(on_server(world), before, "nothing is changed");
            is_sound(world, &tree);
        }
        assert!(world.bitbucket.token_requests().is_empty());
    });
    assert_eq!(cases.len(), 2);
}

#[test]
fn an_early_401_to_a_large_push_gets_a_token_for_the_next_one() {
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 20 << 20);
        let before = on_server(world);
        let gate = gentle(world);
        let push = || gate.between(world, limited(world, ["push", "-q"]).within(&tree));
        let rule = Rule::answer(401).early();
        let rule = rule.path("git-receive-pack").method("POST");
        world.bitbucket.script(rule.streamed());
        let done = push().fails(1);
        done.says(&[
            "error: the server refused the token during the push; nothing was changed on the server\n\
             hint: push again: the helper has a new token\n",
        ]);
        is_known(&done);
        assert_eq!(on_server(world), before, "nothing is changed");
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        push().ok();
        assert_eq!(on_server(world), head(world, &tree));
        assert_eq!(
            world.bitbucket.token_requests().len(),
            1,
            "the new token is ready"
        );
    });
}

#[test]
fn a_large_push_with_a_broken_connection_is_not_reported_as_unknown() {
    on_every_git_with_a_token(|world| {
        let tree = tree_to_push(world, 20 << 20);
        let before = on_server(world);
        let rule = Rule::new(Action::CloseWithoutAnswer);
        let rule = rule.path("git-receive-pack").method("POST");
        world.bitbucket.script(rule.streamed());
        let done = limited(world, ["push", "-q"]).within(&tree).fails(1);
        done.says(&[
            "error: the push to 'ws/repo' was interrupted before it was complete; nothing was changed on the server\ncaused by: ",
            STATUS,
        ]);
        is_known(&done);
        assert_eq!(on_server(world), before, "nothing is changed");
        is_sound(world, &tree);
        world.git(["push", "-q"]).within(&tree).ok();
        assert_eq!(on_server(world), head(world, &tree));
    });
}

#[test]
fn a_connection_that_dies_during_a_long_hook_is_replaced() {
    on_every_git_with_a_token(|world| {
        for bytes in [100, LARGE] {
            let tree = tree_to_push(world, bytes);
            // Longer than a connection is trusted unasked.
            hook(&tree.join(".git"), "pre-push", "sleep 2.2");
            let rule = Rule::new(Action::CloseIdle).path("service=git-receive-pack");
            world.bitbucket.script(rule);
            let done = limited(world, ["push", "-q"])
                .within(&tree)
                .done()
                .expect(0);
            assert_eq!(done.stderr, "", "the user sees no message");
            assert_eq!(world.bitbucket.rules_left(), 0, "the connection was closed");
            assert_eq!(on_server(world), head(world, &tree));
            let connections: Vec<_> = world
                .bitbucket
                .git_requests()
                .iter()
                .map(|request| request.connection)
                .collect();
            assert_ne!(
                connections.first(),
                connections.last(),
                "the push took another connection"
            );
            assert!(world.bitbucket.token_requests().is_empty());
            fs::remove_dir_all(&tree).expect("it is the test's");
        }
    });
}

/// Starts a push through a gate and, while its pre-push hook waits, lets something happen to the gate.
fn push_with_interruption(world: &World, tree: &Path, interrupt: impl FnOnce(&mut Gate)) -> Done {
    let mut gate = Gate::to(world);
    let (reached, go_on) = (world.path("reached"), world.path("go-on"));
    for pipe in [&reached, &go_on] {
        let made = Command::new("mkfifo").arg(pipe).status();
        assert!(made.expect("mkfifo is there").success());
    }
    // Both ends wait for each other at a pipe's opening, so that no time has to be guessed.
    let script = format!(
        "echo >'{}'; read -r line <'{}'",
        reached.display(),
        go_on.display()
    );
    hook(&tree.join(".git"), "pre-push", &script);
    let push = gate.between(world, limited(world, ["push", "-q"]).within(tree));
    let pushed = std::thread::scope(|scope| {
        let pushed = scope.spawn(|| push.done());
        fs::read(&reached).expect("the hook writes");
        interrupt(&mut gate);
        fs::write(&go_on, "\n").expect("the hook reads");
        pushed.join().expect("the command ran")
    });
    for pipe in [&reached, &go_on] {
        fs::remove_file(pipe).expect("it is the test's");
    }
    pushed
}

#[test]
fn a_connection_that_dies_during_a_short_hook_is_replaced() {
    on_every_git_with_a_token(|world| {
        for bytes in [100, LARGE] {
            let tree = tree_to_push(world, bytes);
            let done = push_with_interruption(world, &tree, |gate| gate.end_connections());
            let done = done.expect(0);
            assert_eq!(done.stderr, "", "the user sees no message");
            assert_eq!(on_server(world), head(world, &tree));
            fs::remove_dir_all(&tree).expect("it is the test's");
        }
    });
}

#[test]
fn a_server_that_cannot_be_reached_any_more_is_no_unknown_push() {
    on_every_git_with_a_token(|world| {
        for bytes in [100, LARGE] {
            let tree = tree_to_push(world, bytes);
            let before = on_server(world);
            let done = push_with_interruption(world, &tree, Gate::close).expect(1);
            done.says(&[
                "error: cannot reach repository 'ws/repo'\ncaused by: cannot connect to 'localhost'\n",
                STATUS,
            ]);
            is_known(&done);
            assert_eq!(on_server(world), before, "nothing is changed");
            fs::remove_dir_all(&tree).expect("it is the test's");
        }
    });
}
