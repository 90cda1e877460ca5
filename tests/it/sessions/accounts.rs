//! Several accounts and profiles at once: each command gets the right token.

use std::fs;

use bitbucket_local::Consumer;

use crate::{
    inspect::{limited, names},
    person::{
        as_person, configure, configure_client, configure_login, git, log_in, manage, refreshes,
        state,
    },
    support::on_every_git,
};

use super::world;

#[test]
fn two_accounts_of_one_client_are_kept_apart_and_one_account_of_two_profiles_is_shared() {
    let world = &world();
    world.repository("ws", "repo");
    for profile in ["ann", "bob"] {
        configure_login(world, profile, &world.consumer);
    }
    configure_login(world, "alias", &world.consumer);
    configure(world, "alias", &[("account", "ann")]);
    let as_profile =
        |profile: &str| git(world, ["ls-remote", &format!("bbtoken::{profile}@ws/repo")]);
    log_in(world, "ann").expect(0);
    as_profile("ann").ok();
    as_profile("alias").ok();
    as_profile("bob")
        .fails(128)
        .says(&["hint: run 'git bbtoken login bob'"]);
    log_in(world, "bob").expect(0);
    let kept = names(&state(world))
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .count();
    assert_eq!(kept, 2);
    world.bitbucket.revoke_access_tokens();
    world.bitbucket.clear_requests();
    for profile in ["ann", "bob", "alias"] {
        as_profile(profile).ok();
    }
    assert_eq!(refreshes(world), 2);
    manage(world, ["logout", "bob"]).ok();
    as_profile("ann").ok();
    as_profile("bob").fails(128);
}

#[test]
fn workspaces_directories_and_submodules_find_their_profile() {
    on_every_git(|world| {
        let other = Consumer {
            workspaces: Some(vec!["theirs".into()]),
            ..Consumer::new_private()
        };
        let mine = Consumer {
            workspaces: Some(vec!["ours".into()]),
            ..Consumer::new_private()
        };
        for (profile, consumer, workspace) in [("work", &mine, "ours"), ("play", &other, "theirs")]
        {
            configure_client(world, profile, consumer);
            configure(world, profile, &[("workspace", workspace)]);
            world.repository(workspace, "repo");
        }
        let run = |run: crate::support::Run| as_person(run).without("BBTOKEN_CLIENT_SECRET");
        world
            .git(["config", "--global", "protocol.bbtoken.allow", "always"])
            .ok();
        run(limited(
            world,
            ["clone", "-q", "bbtoken::ours/repo", "tree"],
        ))
        .ok();
        let tree = world.path("tree");
        run(limited(
            world,
            ["submodule", "-q", "add", "bbtoken::theirs/repo", "sub"],
        )
        .within(&tree))
        .ok();
        assert!(
            tree.join("sub/file").exists(),
            "each part comes with its own profile"
        );
        // A directory of another profile, by git's own includeIf.
        world
            .git(["config", "--global", "bbtoken.profile", "work"])
            .ok();
        let included = world.path("included");
        fs::write(&included, "[bbtoken]\n\tprofile = play\n").expect("the world can be written");
        let condition = format!(
            "includeIf.gitdir:{}/.path",
            world.path("elsewhere").display()
        );
        world
            .git(["config", "--global", &condition])
            .arg(&included)
            .ok();
        world.repository("third", "repo");
        world.git(["init", "-q", "elsewhere"]).ok();
        world.bitbucket.clear_requests();
        let third =
            limited(world, ["ls-remote", "bbtoken::third/repo"]).within(world.path("elsewhere"));
        run(third).fails(128).says(&["with profile 'play'"]);
        run(limited(world, ["ls-remote", "bbtoken::third/repo"]))
            .fails(128)
            .says(&["with profile 'work'"]);
        run(limited(world, ["ls-remote", "bbtoken::nobody@third/repo"]))
            .fails(128)
            .says(&["hint: the profiles are: play, work; to add this one, run 'git bbtoken login nobody'\n"]);
    });
}

#[test]
fn a_fetch_never_holds_the_token_that_can_write() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let scopes = |scope: &str| Consumer {
            scopes: vec![scope.into()],
            ..Consumer::new_private()
        };
        let clients = [
            ("reader", scopes("repository")),
            ("writer", scopes("repository:write")),
        ];
        for (profile, consumer) in &clients {
            configure_client(world, profile, consumer);
        }
        configure(
            world,
            "reader",
            &[("workspace", "ws"), ("pushProfile", "writer")],
        );
        for transport in ["native", "git"] {
            let _ = fs::remove_dir_all(world.cache());
            let run = |run: crate::support::Run| {
                as_person(run)
                    .without("BBTOKEN_CLIENT_SECRET")
                    .env("BBTOKEN_TRANSPORT", transport)
            };
            world.bitbucket.clear_requests();
            let tokens = |expected: &[usize]| {
                let asked: Vec<_> = world
                    .bitbucket
                    .token_requests()
                    .iter()
                    .map(|request| {
                        let place = clients.iter().position(|(_, consumer)| {
                            request.user.as_deref() == Some(&consumer.key)
                        });
                        place.expect("it is one of the two")
                    })
                    .collect();
                assert_eq!(asked, expected, "0 reads and 1 writes, by {transport}");
            };
            let tree = world.path(transport);
            run(limited(
                world,
                ["clone", "-q", "bbtoken::ws/repo", transport],
            ))
            .ok();
            run(limited(world, ["fetch", "-q"]).within(&tree)).ok();
            tokens(&[0]);
            assert_eq!(
                names(&world.cache())
                    .iter()
                    .filter(|name| name.ends_with(".json"))
                    .count(),
                1
            );
            assert!(tree.join("file").exists(), "the clone is not empty");
            world.commit(&tree, "file", transport);
            run(limited(world, ["push", "-q"]).within(&tree)).ok();
            tokens(&[0, 1]);
            run(limited(world, ["fetch", "-q"]).within(&tree)).ok();
            tokens(&[0, 1]);
        }
    });
}
