//! Refused tokens: the helper replaces one once, at any point of a command.

use std::{fs, thread};

use bitbucket_local::{Action, Consumer, Kind, Rule};

use crate::{
    inspect::{Gate, hook, limited, noise, stores_uncompressed},
    support::{Done, Run, World, on_every_git},
};

use super::*;

/// More than is sent as one body of known length.
const LARGE: usize = 3 << 20;

#[test]
fn a_revoked_token_is_replaced_once_inside_the_same_command() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        let repaired = |run: Run| {
            world.bitbucket.revoke_access_tokens();
            world.bitbucket.clear_requests();
            let done = run.done().expect(0);
            assert_eq!(token_calls(world), 1, "one new token");
            let refused = world
                .bitbucket
                .git_requests()
                .iter()
                .filter(|request| request.status == Some(401))
                .count();
            assert_eq!(refused, 1, "refused once");
            assert_eq!(world.bitbucket.connections(), 1, "on the same connection");
            done
        };
        assert_eq!(repaired(list(world)).stderr, "", "the user sees no message");
        repaired(limited(world, ["clone", "-q", "bbtoken::ws/repo", "two"]));
        repaired(limited(world, ["fetch", "-q"]).within(&tree));
        for bytes in [100, LARGE] {
            world.commit(&tree, "noise", noise(bytes));
            let pushed = repaired(limited(world, ["push", "-q"]).within(&tree));
            assert_eq!(pushed.stderr, "", "the user sees no message");
        }
        world.bitbucket.clear_requests();
        list(world).ok();
        assert_eq!(token_calls(world), 0, "the new token is kept");
    });
}

/// Runs a command, revokes all tokens while a request is held, and lets it go on.
fn revoked_at(world: &World, request: Rule, run: Run) -> Done {
    world.bitbucket.clear_requests();
    world.bitbucket.script(request);
    thread::scope(|scope| {
        let command = scope.spawn(|| run.done());
        // The rule is gone as soon as the request is held.
        world
            .bitbucket
            .wait_for(|_| world.bitbucket.rules_left() == 0)
            .expect("the command comes so far");
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.release();
        command.join().expect("the command ran")
    })
}

#[test]
fn a_token_revoked_between_two_requests_is_replaced() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        let other = world.clone("ws/repo", "other");
        let listing = || list(world).without_memory();
        let cloning =
            || limited(world, ["clone", "-q", "bbtoken::ws/repo", "two"]).without_memory();
        let fetching = || {
            limited(world, ["fetch", "-q"])
                .within(&tree)
                .without_memory()
        };
        let pushing = || limited(world, ["push", "-q"]).within(&other);
        let cases: [(&str, u64, &dyn Fn() -> Run); 6] = [
            ("the list of refs", 1, &listing),
            ("a clone's list of refs", 1, &cloning),
            ("a clone's pack", 2, &cloning),
            ("a fetch's list of refs", 1, &fetching),
            ("a fetch's pack", 2, &fetching),
            ("a small push", 1, &pushing),
        ];
        for (name, before, run) in cases {
            // So that there is something to fetch and to push.
            let side = world.path("side");
            world.clone("ws/repo", "side");
            if name == "a small push" {
                world.git(["pull", "-q"]).within(&other).ok();
                world.commit(&other, "pushed", name);
            } else {
                world.commit(&side, "side", name);
                world.git(["push", "-q"]).within(&side).ok();
            }
            let hold = Rule::new(Action::Hold).kind(Kind::Git).skip(before);
            let done = revoked_at(world, hold, run()).expect(0);
            assert_eq!(done.stderr, "", "the user sees no message about {name}");
            assert_eq!(token_calls(world), 1, "one new token for {name}");
            fs::remove_dir_all(&side).expect("it is the test's");
            // Only a clone has made it.
            let _ = fs::remove_dir_all(world.path("two"));
        }
        assert_eq!(cases.len(), 6);
    });
}

#[test]
fn a_token_revoked_while_a_large_push_is_sent_is_replaced_for_the_next_one() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        stores_uncompressed(&tree.join(".git"));
        world.commit(&tree, "noise", noise(LARGE));
        let gate = Gate::to(world);
        gate.between(world, list(world)).ok();
        let push = || gate.between(world, limited(world, ["push", "-q"]).within(&tree));
        let hold = Rule::new(Action::Hold).method("POST").streamed();
        let done = revoked_at(world, hold, push()).expect(1);
        done.says(&[
            "error: the server refused the token during the push; nothing was changed on the server\n\
             hint: push again: the helper has a new token\n",
        ]);
        assert_eq!(token_calls(world), 1);
        push().ok();
        assert_eq!(token_calls(world), 1, "the new token was kept");
    });
}

#[test]
fn a_token_revoked_during_a_long_hook_is_replaced_before_a_large_push() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.clone("ws/repo", "tree");
        stores_uncompressed(&tree.join(".git"));
        world.commit(&tree, "noise", noise(LARGE));
        // Longer than a connection and its token are trusted unasked.
        hook(&tree.join(".git"), "pre-push", "sleep 2.2");
        world.bitbucket.clear_requests();
        let push = limited(world, ["push", "-q"]).within(&tree);
        let done = thread::scope(|scope| {
            let push = scope.spawn(|| push.done());
            world
                .bitbucket
                .wait_for(|seen| seen.iter().any(|request| request.status == Some(200)))
                .expect("the refs are asked for before the hook runs");
            world.bitbucket.revoke_access_tokens();
            push.join().expect("the command ran")
        });
        assert_eq!(done.expect(0).stderr, "", "the user sees no message");
        let statuses: Vec<_> = world
            .bitbucket
            .git_requests()
            .iter()
            .map(|request| (request.status, request.request_bytes > 4))
            .collect();
        assert_eq!(
            statuses,
            [
                (Some(200), false),
                (Some(401), false),
                (Some(200), false),
                (Some(200), true)
            ],
            "a request without content finds out first"
        );
        assert_eq!(token_calls(world), 1);
    });
}

#[test]
fn an_access_token_that_its_owner_replaced_meanwhile_is_read_again() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let issue = || world.bitbucket.issue_access_token(&["repository"]);
        let file = secret_file(world, &issue());
        let run = without_client(list(world)).env("BBTOKEN_ACCESS_TOKEN_FILE", &file);
        world.bitbucket.clear_requests();
        world
            .bitbucket
            .script(Rule::new(Action::Hold).kind(Kind::Git));
        let done = thread::scope(|scope| {
            let command = scope.spawn(|| run.done());
            let asked = world.bitbucket.wait_for(|seen| seen.len() == 1);
            asked.expect("the refs are asked for");
            world.bitbucket.revoke_access_tokens();
            fs::write(&file, issue()).expect("it can be written");
            world.bitbucket.release();
            command.join().expect("the command ran")
        });
        assert_eq!(done.expect(0).stderr, "");
        assert_eq!(token_calls(world), 0);
    });
}

#[test]
fn a_new_token_that_is_refused_too_is_the_end() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        list(world).ok();
        world.bitbucket.clear_requests();
        let done = limited(world, ["ls-remote", "bbtoken::ws/missing"]).fails(128);
        done.says(&[
            "remote: You may not have access",
            "\nerror: cannot read repository 'ws/missing' with profile 'environment'\ncaused by: 'localhost' answered 401\n",
            "; to check, run 'git bbtoken doctor ws/missing'\n",
        ]);
        assert_eq!(token_calls(world), 1, "one try with a new token, no more");
        assert_eq!(world.git_requests(), ["GET info/refs", "GET info/refs"]);
        world.bitbucket.clear_requests();
        list(world).ok();
        assert_eq!(token_calls(world), 0, "the new token is kept");
    });
}

#[test]
fn a_missing_scope_is_no_reason_for_another_token() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let reader = Consumer {
            scopes: vec!["repository".into()],
            ..Consumer::new_private()
        };
        world.bitbucket.add_consumer(reader.clone());
        let as_reader = |run: Run| {
            run.env("BBTOKEN_CLIENT_ID", &reader.key)
                .env("BBTOKEN_CLIENT_SECRET", &reader.secret)
        };
        as_reader(limited(world, ["clone", "-q", "bbtoken::ws/repo", "tree"])).ok();
        let tree = world.path("tree");
        world.commit(&tree, "file", "two");
        world.bitbucket.clear_requests();
        let done = as_reader(limited(world, ["push", "-q"]).within(&tree)).fails(128);
        assert_eq!(
            done.stderr,
            "remote: Your credentials lack one or more required privilege scopes.\n\
             error: cannot push to repository 'ws/repo' with profile 'environment'\n\
             caused by: 'localhost' answered 403\n\
             hint: tick the permission 'Repositories: Write' at the OAuth consumer (workspace settings, OAuth consumers) and log in again, \
             or use a token that has it\n"
        );
        assert_eq!(token_calls(world), 0, "a 403 costs no token");
        assert_eq!(world.git_requests(), ["GET info/refs"]);
    });
}
