//! Bitbucket Cloud and Data Center side by side: the same costs. What is unknown of Data Center works in either way.

#![expect(
    clippy::print_stdout,
    reason = "a test that fails shows the switch that it was about"
)]

use std::{fs, thread, time::Duration};

use bitbucket_local::{Action, Kind, LfsLinks, Options, Rule, Settings};

use crate::{
    inspect::names,
    lfs,
    needs::needs,
    person::{self, list, person, refreshes},
    support::{CONTEXT_PATH, Git, Run, World, gits, on_every_git},
};

/// Longer than an access token lives.
const TOKEN_LIFE: Duration = Duration::from_secs(3_600);

fn data_center(git: Git) -> World {
    World::with(git, Options::data_center(CONTEXT_PATH))
}

fn one() -> World {
    data_center(gits().remove(0))
}

/// What a command costs.
#[derive(Debug, PartialEq, Eq)]
struct Cost {
    command: String,
    git: Vec<String>,
    tokens: usize,
    connections: u64,
}

/// The costs of each command in a world, without anything cached and with it.
fn costs(world: &World, ready: Option<&str>) -> Vec<Cost> {
    let bare = world.repository("ws", "repo");
    let as_user = |run: Run| match ready {
        Some(token) => run.without_client().env("BBTOKEN_ACCESS_TOKEN", token),
        None => run,
    };
    let git = |arguments: &[&str]| as_user(world.git(arguments));
    git(&["clone", "-q", "bbtoken::ws/repo", "tree"]).ok();
    let (tree, seed) = (world.path("tree"), world.path("seed-ws-repo"));
    let mut costs = Vec::new();
    for state in ["cold", "warm"] {
        for command in ["ls-remote", "clone", "fetch", "no-op fetch", "push"] {
            let run = match command {
                "ls-remote" => git(&["ls-remote", "bbtoken::ws/repo"]),
                "clone" => git(&["clone", "-q", "bbtoken::ws/repo", state]),
                "push" => {
                    git(&["pull", "-q"]).within(&tree).ok();
                    world.commit(&tree, "pushed", state);
                    git(&["push", "-q"]).within(&tree)
                }
                _ => git(&["fetch", "-q"]).within(&tree),
            };
            if command == "fetch" {
                world.commit(&seed, "file", format!("{state}\n"));
                world.publish(&bare, &seed);
            }
            if state == "cold" {
                let _ = fs::remove_dir_all(world.cache());
            }
            world.bitbucket.clear_requests();
            run.ok();
            if command == "push" {
                world.git(["pull", "-q"]).arg(&bare).within(&seed).ok();
            }
            costs.push(Cost {
                command: format!("{state} {command}"),
                git: world.git_requests(),
                tokens: world.bitbucket.token_requests().len(),
                connections: world.bitbucket.connections(),
            });
        }
    }
    costs
}

#[test]
fn a_command_costs_the_same_at_a_data_center() {
    on_every_git(|cloud| {
        for is_ready in [false, true] {
            let worlds = [
                World::with(cloud.git.clone(), Options::default()),
                data_center(cloud.git.clone()),
            ];
            let [at_cloud, at_data_center] = worlds.map(|world| {
                let token = world.bitbucket.issue_api_token();
                costs(&world, is_ready.then_some(&*token))
            });
            assert_eq!(at_cloud, at_data_center);
            assert_eq!(at_cloud.len(), 2 * 5);
            for cost in at_cloud {
                let is_asked_for = cost.command.starts_with("cold") && !is_ready;
                assert_eq!(cost.tokens, usize::from(is_asked_for), "{cost:?}");
                assert_eq!(cost.connections, 1, "{cost:?}");
                assert!(!cost.git.is_empty(), "{cost:?}");
            }
        }
    });
}

/// A user with a login by browser clones, refreshes, pushes, and fetches by git's own transport.
fn a_person_works(world: &World) {
    person(world);
    person::git(world, ["clone", "-q", "bbtoken::ws/repo", "tree"]).ok();
    let tree = world.path("tree");
    for number in 0..2 {
        world.bitbucket.advance_clock(TOKEN_LIFE);
        world.commit(&tree, "file", format!("{number}\n"));
        let push = person::git(world, ["push", "-q"]).within(&tree);
        push.done().expect(0).quiet();
        let fetch = person::git(world, ["fetch", "-q"]).within(&tree);
        fetch.env("BBTOKEN_TRANSPORT", "git").ok();
    }
    assert_eq!(refreshes(world), 2, "one for each token that has ended");
}

#[test]
fn a_login_works_under_either_answer_to_what_is_unknown() {
    type Switch = (&'static str, fn(&mut Settings, bool));
    let switches: [Switch; 6] = [
        ("a refresh needs the redirect URI", |settings, is_on| {
            settings.data_center.refresh_needs_redirect_uri = is_on;
        }),
        ("a refresh ends access tokens", |settings, is_on| {
            settings.data_center.refresh_ends_access = is_on;
        }),
        ("clients may use Basic", |settings, is_on| {
            settings.data_center.basic_client_auth = is_on;
        }),
        ("the server knows protocol version 2", |settings, is_on| {
            settings.protocol_v2 = is_on;
        }),
        ("refresh tokens rotate", |settings, is_on| {
            settings.rotation = is_on;
        }),
        ("tokens count on each page", |settings, is_on| {
            settings.data_center.tokens_everywhere = is_on;
        }),
    ];
    for (name, switch) in switches {
        for is_on in [false, true] {
            println!("{name}: {is_on}");
            let world = one();
            world
                .bitbucket
                .change_settings(|settings| switch(settings, is_on));
            a_person_works(&world);
        }
    }
}

#[test]
fn a_clone_survives_the_refresh_of_another_command() {
    for ends_access in [false, true] {
        let world = one();
        person(&world);
        world
            .bitbucket
            .change_settings(|settings| settings.data_center.refresh_ends_access = ends_access);
        let held = Rule::new(Action::Hold).kind(Kind::Git).method("GET");
        world.bitbucket.script(held);
        let clone = person::git(&world, ["clone", "-q", "bbtoken::ws/repo", "tree"]);
        thread::scope(|scope| {
            let clone = scope.spawn(|| clone.without_memory().done());
            let is_held = |_: &[_]| world.bitbucket.rules_left() == 0;
            world.bitbucket.wait_for(is_held).expect("it comes so far");
            world.bitbucket.advance_clock(TOKEN_LIFE);
            list(&world).ok();
            world.bitbucket.release();
            clone.join().expect("it ran").expect(0).quiet();
        });
        assert_eq!(
            refreshes(&world),
            1,
            "the clone uses the token of the other"
        );
    }
}

#[test]
fn a_lost_response_to_a_refresh_ends_the_login_says_so_and_a_new_login_works() {
    let world = one();
    person(&world);
    world.bitbucket.revoke_access_tokens();
    let lost = Rule::new(Action::AnswerLost).kind(Kind::Token);
    world.bitbucket.script(lost);
    let done = list(&world).fails(128);
    done.says(&[
        "its login has ended, because a command was interrupted while it renewed the login, and this Bitbucket accepts a refresh token only once\n",
        "hint: run 'git bbtoken login work'\n",
    ]);
    assert_eq!(refreshes(&world), 2, "the response may be lost before it");
    person::log_in(&world, "work").expect(0);
    list(&world).done().expect(0).quiet();
}

#[test]
fn a_renewed_login_that_cannot_be_saved_is_a_warning_and_needs_a_new_login() {
    let world = one();
    person(&world);
    world.bitbucket.revoke_access_tokens();
    let held = Rule::new(Action::Hold).kind(Kind::Token);
    world.bitbucket.script(held);
    let done = thread::scope(|scope| {
        let list = scope.spawn(|| list(&world).done());
        let is_held = |_: &[_]| world.bitbucket.rules_left() == 0;
        world.bitbucket.wait_for(is_held).expect("it comes so far");
        // The place that is reserved for the new login.
        let state = person::state(&world);
        let is_next = |name: &&String| name.ends_with(".next");
        let next = names(&state)
            .iter()
            .find(is_next)
            .map(|name| state.join(name));
        let next = next.expect("room is reserved");
        fs::remove_file(&next).expect("it is the user's");
        fs::create_dir(&next).expect("the name is free");
        world.bitbucket.release();
        list.join().expect("it ran").expect(0)
    });
    done.says(&[
        "warning: cannot save the refreshed login of profile 'work'; fix this and log in again: cannot write '",
    ]);
    let state = person::state(&world);
    let left = names(&state)
        .into_iter()
        .find(|name| name.ends_with(".next"));
    fs::remove_dir(state.join(left.expect("it is still in the way"))).expect("it is empty");
    world.bitbucket.revoke_access_tokens();
    list(&world)
        .fails(128)
        .says(&["its login has ended, because a command was interrupted"]);
    person::log_in(&world, "work").expect(0);
    list(&world).done().expect(0).quiet();
}

#[test]
fn a_request_for_a_refresh_that_never_arrives_costs_no_login() {
    let world = one();
    person(&world);
    world.bitbucket.revoke_access_tokens();
    let lost = Rule::new(Action::CloseWithoutAnswer).kind(Kind::Token);
    world.bitbucket.script(lost);
    list(&world).ok();
    assert_eq!(refreshes(&world), 2);
}

#[test]
fn a_service_account_works_for_git_or_the_message_names_what_does() {
    for is_accepted in [true, false] {
        let world = one();
        world.repository("ws", "repo");
        world
            .bitbucket
            .change_settings(|settings| settings.data_center.service_accounts_on_scm = is_accepted);
        let list = world.git(["ls-remote", "-q", "bbtoken::ws/repo"]);
        if is_accepted {
            list.ok();
            continue;
        }
        list.fails(128)
            .says(&["if it is the token of a service account, use an HTTP access token instead\n"]);
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        assert_eq!(world.git_requests().len(), 1, "a new token is sent once");
        let token = world.bitbucket.issue_api_token();
        let list = world.git(["ls-remote", "-q", "bbtoken::ws/repo"]);
        list.without_client()
            .env("BBTOKEN_ACCESS_TOKEN", token)
            .ok();
    }
}

#[test]
fn lfs_files_come_with_each_kind_of_link() {
    needs!("git-lfs");
    for links in [LfsLinks::Plain, LfsLinks::Header, LfsLinks::Signed] {
        let world = one();
        world.bitbucket.set_lfs_links(links);
        lfs::install(&world);
        lfs::repository(&world, "ws", "repo", &["a.bin"]);
        let tree = world.clone("ws/repo", "tree");
        let there = fs::read(tree.join("a.bin")).expect("it is there");
        assert_eq!(there, lfs::content("a.bin"), "{links:?}");
    }
}
