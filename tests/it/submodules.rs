//! Submodules: relative addresses, absolute ones taken over by `insteadOf`, many at once.

use std::{fs, path::Path};

use crate::support::{World, on_every_git};

/// Lets git start our helper for what `.gitmodules` names.
const ALLOWED: [&str; 2] = ["-c", "protocol.bbtoken.allow=always"];

/// Pushes an application whose submodules are written as told.
fn application(world: &World, modules: &[(&str, &str)]) {
    world
        .bitbucket
        .create_repository("ws", "app")
        .expect("it can be made");
    let tree = world.path("app-seed");
    world.git(["init", "-q"]).arg(&tree).ok();
    for (path, url) in modules {
        let head = world
            .git(["ls-remote", "-q"])
            .arg(world.bitbucket.repository_path(workspace(path), path))
            .arg("refs/heads/main")
            .ok();
        let id = head.split('\t').next().unwrap_or_default();
        for (key, value) in [("path", *path), ("url", *url)] {
            world
                .git([
                    "config",
                    "-f",
                    ".gitmodules",
                    &format!("submodule.{path}.{key}"),
                    value,
                ])
                .within(&tree)
                .ok();
        }
        world
            .git([
                "update-index",
                "--add",
                "--cacheinfo",
                &format!("160000,{id},{path}"),
            ])
            .within(&tree)
            .ok();
    }
    world.git(["add", ".gitmodules"]).within(&tree).ok();
    world
        .git(["commit", "-q", "-m", "modules"])
        .within(&tree)
        .ok();
    world
        .git(["push", "-q", "bbtoken::ws/app", "main"])
        .within(&tree)
        .ok();
}

fn workspace(repository: &str) -> &str {
    if repository == "other" { "ws2" } else { "ws" }
}

fn are_there(world: &World, tree: &Path, modules: &[&str]) {
    for module in modules {
        assert_eq!(
            fs::read_to_string(tree.join(module).join("file"))
                .ok()
                .as_deref(),
            Some("one\n"),
            "{module}"
        );
    }
    let status = world
        .git(["submodule", "status", "--recursive"])
        .within(tree)
        .ok();
    assert_eq!(status.lines().count(), modules.len());
    assert!(
        status.lines().all(|line| line.starts_with(' ')),
        "each is at its commit: {status}"
    );
}

#[test]
fn submodules_with_relative_addresses_come_with_the_clone() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        world.repository("ws2", "other");
        application(
            world,
            &[("lib", "../lib"), ("other", "../../ws2/other.git")],
        );
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "bbtoken::ws/app",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let tree = world.path("tree");
        are_there(world, &tree, &["lib", "other"]);
        let url = world
            .git(["config", "submodule.lib.url"])
            .within(&tree)
            .ok();
        assert_eq!(url.trim_end(), "bbtoken::ws/lib");

        // Once cloned, they are fetched under git's default policy.
        let bare = world.bitbucket.repository_path("ws", "lib");
        world.git(["branch", "news", "main"]).within(&bare).ok();
        world
            .git(["fetch", "-q", "--recurse-submodules=yes"])
            .within(&tree)
            .done()
            .expect(0)
            .quiet();
        assert_eq!(
            world.rev(&tree.join("lib"), "origin/news"),
            world.rev(&bare, "main")
        );
        world.commit(&tree.join("lib"), "file", "two\n");
        world
            .git(["push", "-q", "origin", "HEAD:main"])
            .within(tree.join("lib"))
            .done()
            .expect(0)
            .quiet();
    });
}

#[test]
fn a_submodule_is_not_cloned_without_leave() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        application(world, &[("lib", "../lib")]);
        let refused = world
            .git([
                "clone",
                "-q",
                "--recurse-submodules",
                "bbtoken::ws/app",
                "tree",
            ])
            .done();
        assert_ne!(refused.code, Some(0));
        refused.says(&["fatal: transport 'bbtoken' not allowed"]);
    });
}

#[test]
fn submodules_with_https_addresses_are_taken_over_by_insteadof() {
    on_every_git(|world| {
        world.repository("ws", "lib");
        application(world, &[("lib", "https://bitbucket.org/ws/lib.git")]);
        world
            .git([
                "config",
                "--global",
                "url.bbtoken::.insteadOf",
                "https://bitbucket.org/",
            ])
            .ok();
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "https://bitbucket.org/ws/app.git",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        are_there(world, &world.path("tree"), &["lib"]);
    });
}

#[test]
fn eight_submodules_are_cloned_at_once_with_one_token() {
    on_every_git(|world| {
        let names: Vec<String> = (0..8).map(|number| format!("lib{number}")).collect();
        for name in &names {
            world.repository("ws", name);
        }
        let urls: Vec<String> = names.iter().map(|name| format!("../{name}")).collect();
        let modules: Vec<(&str, &str)> = names
            .iter()
            .map(String::as_str)
            .zip(urls.iter().map(String::as_str))
            .collect();
        application(world, &modules);
        world.bitbucket.clear_requests();
        world
            .git(ALLOWED)
            .args([
                "clone",
                "-q",
                "--recurse-submodules",
                "--jobs",
                "8",
                "bbtoken::ws/app",
                "tree",
            ])
            .done()
            .expect(0)
            .quiet();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        are_there(world, &world.path("tree"), &names);
        assert_eq!(
            (
                world.bitbucket.token_requests().len(),
                world.bitbucket.connections()
            ),
            (0, 9)
        );
        assert_eq!(world.git_requests().len(), 3 * 9);
    });
}
