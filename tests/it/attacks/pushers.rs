//! A profile that only pushes serves a fetch only if the user has typed its name.

use std::{
    fs,
    path::{Path, PathBuf},
};

use bitbucket_local::Consumer;

use crate::{
    person::{configure, configure_client},
    submodules::{ALLOWED, superproject},
    support::{Done, Run, World, on_every_git},
};

/// A user whose profile `reader` fetches and has `writer` push, and a superproject with one submodule, `ws/lib`.
struct Project {
    writer: Consumer,
    /// A bare repository on the server.
    lib: PathBuf,
}

fn project(world: &World, address: &str) -> Project {
    let lib = world.repository("ws", "lib");
    superproject(world, "app", &[("lib", address)]);
    let of_scope = |scope: &str| Consumer {
        scopes: vec![scope.into()],
        ..Consumer::new_private()
    };
    let (reader, writer) = (of_scope("repository"), of_scope("repository:write"));
    configure_client(world, "reader", &reader);
    configure_client(world, "writer", &writer);
    let settings = [("workspace", "ws"), ("pushProfile", "writer")];
    configure(world, "reader", &settings);
    world.bitbucket.clear_requests();
    Project { writer, lib }
}

fn run<const N: usize>(world: &World, arguments: [&str; N]) -> Run {
    world.git(ALLOWED).args(arguments).without_client()
}

/// How many tokens the profile that pushes has got.
fn tokens_of(world: &World, project: &Project) -> usize {
    let requests = world.bitbucket.token_requests();
    let is_its = |user: &Option<String>| user.as_deref() == Some(&project.writer.key);
    requests.iter().filter(|it| is_its(&it.user)).count()
}

#[track_caller]
fn is_refused(done: &Done, who: &str) {
    done.says(&[
        "profile 'writer' is for pushes only (bbtoken.reader.pushProfile in ",
        &format!(
            "{who} must not make a fetch use it; to fetch with it, set BBTOKEN_PROFILE=writer"
        ),
    ]);
}

#[test]
fn an_address_of_a_superproject_does_not_make_a_fetch_use_the_profile_that_pushes() {
    on_every_git(|world| {
        let project = project(world, "bbtoken::writer@ws/lib");
        let clone = ["clone", "--recurse-submodules", "bbtoken::ws/app", "tree"];
        let done = run(world, clone).done();
        assert_ne!(done.code, Some(0));
        is_refused(&done, "the address of a submodule");
        let tree = world.path("tree");
        let update = || run(world, ["submodule", "update", "--init"]).within(&tree);
        let done = update().done();
        assert_ne!(done.code, Some(0));
        is_refused(&done, "the address of a submodule");
        assert_eq!(tokens_of(world, &project), 0);
        // The user types its name, as the error says.
        update().env("BBTOKEN_PROFILE", "writer").ok();
        assert_eq!(tokens_of(world, &project), 1);
        // For a fetch, git does not say that the address comes from the repository.
        world
            .git(["branch", "news", "main"])
            .within(&project.lib)
            .ok();
        let fetch = || run(world, ["fetch", "--recurse-submodules=yes"]).within(&tree);
        let done = fetch().done();
        assert_ne!(done.code, Some(0));
        is_refused(&done, "the address of a submodule");
        let within = run(world, ["fetch"]).within(tree.join("lib")).fails(128);
        is_refused(&within, "the address of a submodule");
        fetch().env("BBTOKEN_PROFILE", "writer").ok();
        // By git's own transport, too.
        let own = run(world, ["fetch"]).env("BBTOKEN_TRANSPORT", "git");
        is_refused(
            &own.within(tree.join("lib")).fails(128),
            "the address of a submodule",
        );
        // A credential helper gets no GIT_DIR from a person's command.
        let host = world.bitbucket.base_url().replace("https://", "");
        let request = format!("protocol=https\nhost={host}\npath=ws/lib.git\n\n");
        let get = world.bbtoken(["credential", "get"]).without_client();
        let done = get.within(tree.join("lib")).input(&request).done();
        assert_eq!(done.stdout, "quit=1\n", "a refusal gives no token");
        is_refused(&done, "the address of a submodule");
        // A push is what it is for.
        let lib = tree.join("lib");
        for (transport, content) in [("native", "two\n"), ("git", "three\n")] {
            world.commit(&lib, "file", content);
            let push = run(world, ["push", "-q", "origin", "HEAD:main"]);
            push.within(&lib).env("BBTOKEN_TRANSPORT", transport).ok();
            assert_eq!(world.rev(&project.lib, "main"), world.rev(&lib, "HEAD"));
        }
    });
}

#[test]
fn a_user_name_of_a_superprojects_https_address_does_not_either() {
    on_every_git(|world| {
        let site = world
            .bitbucket
            .base_url()
            .replace("https://", "https://writer@");
        let project = project(world, &format!("{site}/ws/lib.git"));
        world.bbtoken(["setup", "--yes"]).ok();
        let clone = ["clone", "--recurse-submodules", "bbtoken::ws/app", "tree"];
        let done = run(world, clone).done();
        assert_ne!(done.code, Some(0));
        is_refused(&done, "the address of a submodule");
        assert_eq!(tokens_of(world, &project), 0);
        let typed = run(world, ["ls-remote", &format!("{site}/ws/lib.git")]);
        typed.ok();
        assert_eq!(tokens_of(world, &project), 1, "this address was typed");
    });
}

#[test]
fn a_setting_of_a_repository_does_not_make_a_fetch_use_the_profile_that_pushes() {
    on_every_git(|world| {
        let project = project(world, "../lib");
        run(world, ["clone", "-q", "bbtoken::ws/lib", "tree"]).ok();
        let tree = world.path("tree");
        for (key, wins) in [
            ("remote.origin.bbtokenProfile", true),
            ("bbtoken.profile", false),
        ] {
            world.git(["config", key, "writer"]).within(&tree).ok();
            if !wins {
                // The workspace of a profile is stronger than the setting.
                let unset = ["config", "--global", "--unset", "bbtoken.reader.workspace"];
                world.git(unset).ok();
            }
            let fetch = || run(world, ["fetch"]).within(&tree);
            is_refused(&fetch().fails(128), &format!("{key} in .git/config"));
            assert_eq!(tokens_of(world, &project), 0);
            let unset = ["config", "--unset", key];
            world.git(unset).within(&tree).ok();
        }
        let key = "remote.origin.bbtokenProfile";
        world.git(["config", key, "writer"]).within(&tree).ok();
        world.commit(&tree, "file", "two\n");
        run(world, ["push", "-q"]).within(&tree).ok();
        assert_eq!(tokens_of(world, &project), 1, "a push may use it");
        world.git(["config", "--unset", key]).within(&tree).ok();
        // What the user types counts.
        let typed = format!("{key}=writer");
        for run in [
            run(world, ["-c", &typed, "fetch"]),
            run(world, ["-c", "bbtoken.profile=writer", "fetch"]),
            run(world, ["fetch", "bbtoken::writer@ws/lib"]),
            run(world, ["fetch"]).env("BBTOKEN_PROFILE", "writer"),
        ] {
            let _ = fs::remove_dir_all(world.cache());
            let before = tokens_of(world, &project);
            run.within(&tree).ok();
            assert_eq!(tokens_of(world, &project), before + 1);
        }
        let token = world.bbtoken(["token", "--profile", "writer"]);
        token.within(&tree).without_client().ok();
    });
}

/// Sets a rule of the repository that gives an address the name of the profile that pushes.
fn plant(world: &World, tree: &Path, key: &str, value: &str) {
    world.git(["config", key, value]).within(tree).ok();
}

#[test]
fn a_repositorys_user_name_for_https_does_not_make_a_fetch_use_the_profile_that_pushes() {
    on_every_git(|world| {
        let project = project(world, "../lib");
        world.bbtoken(["setup", "--yes"]).ok();
        let site = world.bitbucket.base_url().to_owned();
        let url = format!("{site}/ws/lib.git");
        let https = |user: &str| site.replace("https://", &format!("https://{user}"));
        world.git(["init", "-q", "tree"]).ok();
        let tree = world.path("tree");
        let (by_rule, encoded) = (https("writer@"), https("%77riter@"));
        let rule = |base: &str| format!("url.{base}.insteadOf");
        for (key, value, shown) in [
            ("credential.username", "writer", "credential.username"),
            (
                &*format!("credential.{site}.username"),
                "writer",
                "credential.<url>.username",
            ),
            (&*rule(&by_rule), &*site, "url.<base>.insteadOf"),
            (&*rule(&encoded), &*site, "url.<base>.insteadOf"),
        ] {
            plant(world, &tree, key, value);
            let list = || run(world, ["ls-remote", &url]).within(&tree);
            is_refused(&list().fails(128), &format!("{shown} in .git/config"));
            assert_eq!(tokens_of(world, &project), 0, "{key} gets no token");
            world.git(["config", "--unset", key]).within(&tree).ok();
        }
        // The error's advice works.
        plant(world, &tree, "credential.username", "writer");
        let list = run(world, ["ls-remote", &url]).within(&tree);
        list.env("BBTOKEN_PROFILE", "writer").ok();
        assert_eq!(tokens_of(world, &project), 1, "the user typed its name");
    });
}

#[test]
fn a_repositorys_rule_for_addresses_does_not_make_a_fetch_use_the_profile_that_pushes() {
    on_every_git(|world| {
        let project = project(world, "../lib");
        run(world, ["clone", "-q", "bbtoken::ws/lib", "tree"]).ok();
        let tree = world.path("tree");
        for (base, start, address) in [
            ("bbtoken::writer@", "bbtoken::", "bbtoken::ws/lib"),
            // The address has the '@'.
            (
                "bbtoken::writer",
                "bbtoken::reader",
                "bbtoken::reader@ws/lib",
            ),
        ] {
            let key = format!("url.{base}.insteadOf");
            plant(world, &tree, &key, start);
            let list = || run(world, ["ls-remote", address]).within(&tree);
            let who = "url.<base>.insteadOf in .git/config";
            is_refused(&list().fails(128), who);
            is_refused(&list().env("BBTOKEN_TRANSPORT", "git").fails(128), who);
            assert_eq!(tokens_of(world, &project), 0, "{key} gets no token");
            world.git(["config", "--unset", &key]).within(&tree).ok();
        }
        let key = "url.bbtoken::writer@.insteadOf";
        plant(world, &tree, key, "bbtoken::");
        world.commit(&tree, "file", "two\n");
        run(world, ["push", "-q"]).within(&tree).ok();
        assert_eq!(tokens_of(world, &project), 1, "a push may use it");
        world.git(["config", "--unset", key]).within(&tree).ok();
        // The same rule of the user's own counts as typed.
        let _ = fs::remove_dir_all(world.cache());
        let own = format!("{key}=bbtoken::");
        let fetch = run(world, ["-c", &own, "fetch"]);
        fetch.within(&tree).ok();
        assert_eq!(tokens_of(world, &project), 2, "the user's own rule counts");
    });
}
