//! Superprojects in daily use: nested, many at once, fetched and pushed with their submodules, partial, in work trees.

use std::{fs, path::Path};

use crate::{
    lfs,
    needs::needs,
    submodules::{ALLOWED, are_there, record, superproject},
    support::{Run, World, on_every_git},
};

/// Makes git use us for every address of Bitbucket's, and start us for submodules.
fn set_up(world: &World) {
    let setup = world.bbtoken(["setup", "--everywhere", "--yes"]);
    setup.without("BBTOKEN_BASE_URL").ok();
}

fn quietly(run: Run) {
    run.done().expect(0).quiet();
}

/// Makes `ws/app` with the submodule `ws/lib`, and clones both.
fn app_with_lib(world: &World) -> std::path::PathBuf {
    set_up(world);
    world.repository("ws", "lib");
    superproject(world, "app", &[("lib", "../lib")]);
    let clone = world.git(["clone", "-q", "--recurse-submodules"]);
    quietly(clone.args(["bbtoken::ws/app", "tree"]));
    world.bitbucket.clear_requests();
    world.path("tree")
}

fn file(tree: &Path) -> Option<String> {
    fs::read_to_string(tree.join("file")).ok()
}

#[test]
fn nested_submodules_of_mixed_forms_come_eight_at_once() {
    on_every_git(|world| {
        set_up(world);
        for (workspace, name) in [("ws", "leaf"), ("ws2", "other"), ("ws", "lib")] {
            world.repository(workspace, name);
        }
        let of_mid = [
            ("leaf", "../leaf.git"),
            ("other", "git@bitbucket.org:ws2/other.git"),
        ];
        superproject(world, "mid", &of_mid);
        let of_app = [
            ("mid", "https://bitbucket.org/ws/mid.git"),
            ("lib", "ssh://git@bitbucket.org/ws/lib.git"),
        ];
        superproject(world, "app", &of_app);
        fs::remove_dir_all(world.cache()).expect("a token was cached");
        world.bitbucket.clear_requests();
        let clone = world.git(["clone", "-q", "--recurse-submodules", "--jobs", "8"]);
        quietly(clone.args(["git@bitbucket.org:ws/app.git", "tree"]));
        let all = ["mid", "lib", "mid/leaf", "mid/other"];
        are_there(world, &world.path("tree"), &all);
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        assert_eq!(world.git_requests().len(), 3 * (1 + all.len()));
    });
}

#[test]
fn a_fetch_recurses_if_a_setting_says_so() {
    on_every_git(|world| {
        let tree = app_with_lib(world);
        let seed = world.path("seed-ws-lib");
        let bare = world.bitbucket.repository_path("ws", "lib");
        for (number, recursion) in ["true", "on-demand"].iter().enumerate() {
            world.commit(&seed, "file", format!("{number}\n"));
            let push = world.git(["push", "-q"]).arg(&bare).arg("main");
            push.within(&seed).ok();
            record(world, "app", &["lib"]);
            let settings = match *recursion {
                "true" => "submodule.recurse=true",
                _ => "fetch.recurseSubmodules=on-demand",
            };
            let fetch = world.git(["-c", settings, "fetch", "-q", "--jobs", "8"]);
            quietly(fetch.within(&tree));
            let fetched = world.rev(&tree.join("lib"), "origin/main");
            assert_eq!(fetched, world.rev(&bare, "main"), "{recursion}");
        }
        let pull = world.git(["-c", "submodule.recurse=true", "pull", "-q"]);
        quietly(pull.within(&tree));
        assert_eq!(file(&tree.join("lib")).as_deref(), Some("1\n"));
        assert_eq!(world.bitbucket.token_requests().len(), 0);
    });
}

#[test]
fn a_push_checks_or_pushes_its_submodules() {
    on_every_git(|world| {
        let tree = app_with_lib(world);
        let lib = tree.join("lib");
        world.git(["checkout", "-q", "main"]).within(&lib).ok();
        world.commit(&lib, "file", "two\n");
        world.git(["commit", "-qam", "lib"]).within(&tree).ok();
        let push = |how: &str| {
            let option = format!("--recurse-submodules={how}");
            world.git(["push", "-q", &option]).within(&tree).done()
        };
        let on_server = |name| {
            let bare = world.bitbucket.repository_path("ws", name);
            world.rev(&bare, "main")
        };
        let before = on_server("app");
        let refused = push("check").expect(128);
        refused.says(&["changes that can\nnot be found on any remote"]);
        assert_eq!(on_server("app"), before);
        push("on-demand").expect(0);
        assert_eq!(on_server("lib"), world.rev(&lib, "HEAD"));
        assert_eq!(on_server("app"), world.rev(&tree, "HEAD"));
        push("check").expect(0).quiet();
        assert_eq!(world.bitbucket.token_requests().len(), 0);
    });
}

#[test]
fn a_partial_clone_fetches_what_a_submodule_lacks_later() {
    on_every_git(|world| {
        set_up(world);
        let bare = world.repository("ws", "lib");
        let seed = world.path("seed-ws-lib");
        world.commit(&seed, "file", "two\n");
        let push = world.git(["push", "-q"]).arg(&bare).arg("main");
        push.within(&seed).ok();
        superproject(world, "app", &[("lib", "../lib")]);
        let clone = world.git(["clone", "-q", "--recurse-submodules", "--filter=blob:none"]);
        quietly(clone.args(["--also-filter-submodules", "bbtoken::ws/app", "tree"]));
        let lib = world.path("tree/lib");
        assert_eq!(file(&lib).as_deref(), Some("two\n"));
        let missing = || {
            let list = ["rev-list", "--objects", "--all", "--missing=print"];
            let listed = world.git(list).within(&lib).ok();
            listed.matches('?').count()
        };
        assert_eq!(missing(), 1, "the older blob did not come along");
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        let show = world.git(["show", "HEAD~:file"]).within(&lib);
        assert_eq!(show.done().expect(0).quiet().stdout, "one\n");
        assert_eq!(missing(), 0);
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn a_linked_work_tree_has_submodules_of_its_own() {
    on_every_git(|world| {
        let tree = app_with_lib(world);
        let linked = world.path("linked");
        let add = world.git(["worktree", "add", "-q", "--detach"]);
        add.arg(&linked).within(&tree).ok();
        quietly(world.git(["submodule", "update", "-q"]).within(&linked));
        are_there(world, &linked, &["lib"]);
        let fetch = world.git(["fetch", "-q", "--recurse-submodules"]);
        quietly(fetch.within(&linked));
        world.commit(&linked.join("lib"), "file", "linked\n");
        let push = world.git(["push", "-q", "origin", "HEAD:refs/heads/news"]);
        quietly(push.within(linked.join("lib")));
        let bare = world.bitbucket.repository_path("ws", "lib");
        assert_eq!(
            world.rev(&bare, "news"),
            world.rev(&linked.join("lib"), "HEAD")
        );
        assert_eq!(world.bitbucket.token_requests().len(), 0);
    });
}

#[test]
fn lfs_files_of_a_submodule_are_pulled_from_within() {
    needs!("git-lfs");
    on_every_git(|world| {
        lfs::install(world);
        lfs::repository(world, "ws", "lib", &["a.bin"]);
        superproject(world, "app", &[("lib", "../lib")]);
        let clone = world.git(ALLOWED).args(["clone", "-q"]);
        let clone = clone.args(["--recurse-submodules", "bbtoken::ws/app", "tree"]);
        quietly(clone.env("GIT_LFS_SKIP_SMUDGE", "1"));
        let lib = world.path("tree/lib");
        let is_there = || fs::read(lib.join("a.bin")).is_ok_and(|it| it == lfs::content("a.bin"));
        assert!(!is_there());
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        world.git(["lfs", "pull"]).within(&lib).ok();
        assert!(is_there());
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        let others = world.git(["lfs", "pull"]).within(world.path("tree"));
        others.ok();
        let every = world.git(["submodule", "foreach", "-q", "git lfs fsck"]);
        assert_eq!(every.within(world.path("tree")).ok(), "Git LFS fsck OK\n");
    });
}
