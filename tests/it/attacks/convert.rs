//! `remote convert` changes this repository and its submodules, and no other.

use std::{fs, path::Path};

use crate::support::{Done, World, on_every_git};

const URL: &str = "https://bitbucket.org/ws/repo";

/// Makes a repository with one commit and a remote at Bitbucket.
fn repository(world: &World, path: &Path) {
    world.git(["init", "-q"]).arg(path).ok();
    let commit = ["commit", "-q", "--allow-empty", "-m", "one"];
    world.git(commit).within(path).ok();
    let remote = ["remote", "add", "origin", URL];
    world.git(remote).within(path).ok();
}

/// Puts a submodule into the index, as a clone has it.
fn gitlink(world: &World, tree: &Path, path: &str) {
    let id = world.rev(tree, "HEAD");
    let link = format!("160000,{id},{path}");
    world
        .git(["update-index", "--add", "--cacheinfo", &link])
        .within(tree)
        .ok();
}

fn convert(world: &World, tree: &Path) -> Done {
    world
        .bbtoken(["remote", "convert", "--submodules", "--yes"])
        .without("BBTOKEN_BASE_URL")
        .within(tree)
        .done()
}

fn url(world: &World, path: &Path) -> String {
    let get = ["config", "--local", "remote.origin.url"];
    world.git(get).within(path).ok().trim_end().to_owned()
}

/// Plants submodules of many kinds that lead to another repository; gives their number.
fn plant(world: &World, tree: &Path, other: &Path) -> usize {
    let git_file = |path: &str, to: &Path| {
        let place = tree.join(path);
        fs::create_dir_all(&place).expect("the tree can be written");
        fs::write(place.join(".git"), format!("gitdir: {}\n", to.display())).expect("it is new");
        gitlink(world, tree, path);
    };
    git_file("file", &other.join(".git"));
    git_file("self", &tree.join(".git"));
    // A git directory where git puts it, that shares another's configuration.
    let modules = tree.join(".git/modules");
    for name in ["common", "config", "worktree"] {
        let place = modules.join(name);
        world.git(["init", "-q", "--bare"]).arg(&place).ok();
        let set = ["config", "core.bare", "false"];
        world.git(set).within(&place).ok();
        git_file(name, &place);
    }
    let common = other.join(".git").display().to_string();
    fs::write(modules.join("common/commondir"), common).expect("it is new");
    let worktree = ["config", "core.worktree"];
    let away = world.git(worktree).arg(other);
    away.within(modules.join("worktree")).ok();
    #[cfg(unix)]
    {
        use std::os::unix::fs::symlink;
        let config = modules.join("config/config");
        fs::remove_file(&config).expect("it was made");
        symlink(other.join(".git/config"), config).expect("links can be made");
        symlink(other, tree.join("link")).expect("links can be made");
        gitlink(world, tree, "link");
        fs::create_dir_all(tree.join("dotgit")).expect("the tree can be written");
        symlink(other.join(".git"), tree.join("dotgit/.git")).expect("links can be made");
        gitlink(world, tree, "dotgit");
        symlink("..", tree.join("up")).expect("links can be made");
    }
    world
        .git(["-C", &tree.display().to_string(), "ls-files", "-s"])
        .ok()
        .lines()
        .filter(|line| line.starts_with("160000"))
        .count()
}

#[test]
fn convert_follows_only_submodules_of_the_index_that_lie_in_the_repository() {
    on_every_git(|world| {
        let (tree, other) = (world.path("tree"), world.path("other"));
        repository(world, &tree);
        repository(world, &other);
        // Paths that .gitmodules names and the index does not.
        let paths = [
            "../other",
            ".",
            "",
            "./",
            "/",
            "a/../../other",
            "link/.",
            "up/other",
        ];
        let mut modules: String = paths
            .iter()
            .enumerate()
            .map(|(n, path)| format!("[submodule \"s{n}\"]\n\tpath = {path}\n"))
            .collect();
        modules.push_str(&format!(
            "[submodule \"abs\"]\n\tpath = {}\n\turl = {URL}\n",
            other.display()
        ));
        fs::write(tree.join(".gitmodules"), modules).expect("the tree can be written");
        let planted = plant(world, &tree, &other);
        assert!(planted >= 5, "{planted}");
        let before = fs::read(other.join(".git/config")).expect("it is there");
        let done = convert(world, &tree).expect(0);
        let after = fs::read(other.join(".git/config")).expect("it is there");
        assert!(before == after, "another repository is not changed");
        assert_eq!(url(world, &tree), "bbtoken::ws/repo");
        let left = done.stderr.matches(" is not changed: ").count();
        // The one that leads back is the repository itself, which was visited.
        assert_eq!(left, planted, "{}", done.stderr);
        assert_eq!(done.stdout.matches("+ submodule.abs.url").count(), 1);
    });
}

#[test]
fn convert_changes_submodules_at_every_depth_once() {
    on_every_git(|world| {
        let (tree, middle, inner) = (world.path("tree"), world.path("middle"), world.path("in"));
        for path in [&tree, &middle, &inner] {
            repository(world, path);
        }
        let add = |to: &Path, from: &Path, path: &str| {
            world
                .git(["submodule", "--quiet", "add"])
                .arg(from)
                .arg(path)
                .within(to)
                .ok();
            world.git(["commit", "-q", "-m", path]).within(to).ok();
        };
        add(&middle, &inner, "deep/in");
        add(&tree, &middle, "middle");
        let update = ["submodule", "--quiet", "update", "--init", "--recursive"];
        world.git(update).within(&tree).ok();
        let places = [
            tree.clone(),
            tree.join("middle"),
            tree.join("middle/deep/in"),
        ];
        for place in &places {
            let set = ["config", "remote.origin.url", URL];
            world.git(set).within(place).ok();
        }
        // A work tree of its own keeps its submodules apart.
        let beside = world.path("beside");
        let add = ["worktree", "add", "-q", "--detach"];
        world.git(add).arg(&beside).within(&tree).ok();
        world.git(update).within(&beside).ok();
        let of_beside = beside.join("middle");
        let set = ["config", "remote.origin.url", URL];
        world.git(set).within(&of_beside).ok();

        let done = convert(world, &tree).expect(0);
        assert!(!done.stderr.contains("is not changed"), "{}", done.stderr);
        for place in &places {
            assert_eq!(url(world, place), "bbtoken::ws/repo", "{}", place.display());
        }
        assert_eq!(done.stdout.matches("configuration of ").count(), 3);
        assert_eq!(url(world, &of_beside), URL);
        convert(world, &beside).expect(0);
        assert_eq!(url(world, &of_beside), "bbtoken::ws/repo");
    });
}

#[test]
fn convert_refuses_a_repository_whose_work_tree_is_anothers() {
    on_every_git(|world| {
        let outer = world.path("outer");
        repository(world, &outer);
        let hostile = outer.join("hostile");
        repository(world, &hostile);
        let away = world.git(["config", "core.worktree", "../.."]);
        away.within(&hostile).ok();
        let done = convert(world, &hostile).expect(2);
        done.says(&["core.worktree of this repository names the work tree of another"]);
        assert_eq!(url(world, &outer), URL);
    });
}

#[cfg(unix)]
#[test]
fn convert_does_not_write_through_a_link_in_the_place_of_gitmodules() {
    on_every_git(|world| {
        let tree = world.path("tree");
        repository(world, &tree);
        let other = world.path("others-modules");
        let text = format!("[submodule \"a\"]\n\tpath = a\n\turl = {URL}\n");
        fs::write(&other, &text).expect("it is new");
        std::os::unix::fs::symlink(&other, tree.join(".gitmodules")).expect("links can be made");
        convert(world, &tree).expect(0);
        assert_eq!(fs::read_to_string(&other).expect("it is there"), text);
    });
}
