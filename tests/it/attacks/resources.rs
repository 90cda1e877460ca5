//! Huge files, endless files and loops of links: each command ends with an error.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use crate::support::{Done, Run, World, helper, on_every_git};

fn pipe(path: &Path) {
    let directory = rustix::fs::CWD;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    rustix::fs::mkfifoat(directory, path, mode).expect("the path is free");
}

/// Runs the helper in a repository without git, which waits for pipes itself.
fn ask(world: &World, tree: &Path) -> Done {
    let run: Run = world.run(&helper(), ["origin", "bbtoken::ws/repo"]);
    run.env("GIT_DIR", tree.join(".git"))
        .within(tree)
        .input("connect git-upload-pack\n\n")
        .done()
}

/// Expects that the server was asked, and that no command goes on with its answer.
#[track_caller]
fn is_served(done: &Done) {
    assert!(done.stdout.contains("version 2"), "{}", done.stderr);
}

#[test]
fn a_configuration_of_any_size_is_read_or_refused() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let config = tree.join(".git/config");
        let usual = fs::read_to_string(&config).expect("git wrote it");
        let with = |text: &str| {
            fs::write(&config, format!("{usual}{text}")).expect("it is ours");
            ask(world, &tree)
        };
        let many = |lines: usize| format!("[a]\n{}", "b=c\n".repeat(lines));
        is_served(&with(&many(100_000)));
        let refused = with(&many(1_000_000)).expect(128);
        refused.says(&[
            ".git/config",
            "git's configuration is too large: it has more than 250000 settings; remove some",
        ]);
        let long = format!("[a]\nb={}\n", "c".repeat(17 << 20));
        with(&long)
            .expect(128)
            .says(&["it has more than 16 MiB; shorten it"]);
        fs::write(tree.join(".git/x"), "").expect("it is ours");
        let includes = format!("[include]\n{}", "path=x\n".repeat(1001));
        with(&includes)
            .expect(128)
            .says(&["it has more than 1000 files; remove includes"]);
    });
}

#[test]
fn a_pipe_instead_of_a_file_does_not_block_a_command() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let git = tree.join(".git");
        pipe(&git.join("pipe"));
        let include = ["config", "includeIf.onbranch:main.path", "pipe"];
        world.git(include).within(&tree).ok();
        let done = ask(world, &tree).expect(128);
        done.says(&[".git/pipe", "caused by: it is not a regular file"]);
        for name in ["HEAD", "commondir"] {
            let _ = fs::remove_file(git.join(name));
            pipe(&git.join(name));
            // Without a branch nothing is included.
            is_served(&ask(world, &tree));
        }
        fs::remove_file(git.join("config")).expect("git wrote it");
        pipe(&git.join("config"));
        ask(world, &tree)
            .expect(128)
            .says(&["it is not a regular file"]);
    });
}

#[test]
fn the_attributes_of_a_repository_are_read_within_bounds() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        // It says that git-lfs is there.
        let filter = ["config", "filter.lfs.process", "git-lfs filter-process"];
        world.git(filter).within(&tree).ok();
        // Where it is, the clone was told about it.
        let unset = ["config", "--unset", "remote.origin.lfsurl"];
        world.git(unset).within(&tree).done();
        let config = tree.join(".git/config");
        let usual = fs::read_to_string(&config).expect("git wrote it");
        let is_lfs_set_up = || {
            is_served(&ask(world, &tree));
            let now = fs::read_to_string(&config).expect("it is there");
            fs::write(&config, &usual).expect("it is ours");
            now != usual
        };
        let names_lfs = "* filter=lfs\n";
        let own = tree.join(".git/info/attributes");
        let tracked = tree.join(".gitattributes");
        let elsewhere = world.path("attributes");
        fs::create_dir_all(tree.join(".git/info")).expect("it is ours");
        fs::write(&elsewhere, names_lfs).expect("it is ours");
        for file in [&own, &tracked] {
            fs::write(file, names_lfs).expect("it is ours");
            assert!(is_lfs_set_up(), "'{}' is read", file.display());
            let long = fs::OpenOptions::new().write(true).open(file);
            long.and_then(|file| file.set_len(101 << 20))
                .expect("it is ours");
            assert!(!is_lfs_set_up(), "'{}' is too long", file.display());
            fs::remove_file(file).expect("it is ours");
            pipe(file);
            assert!(!is_lfs_set_up(), "'{}' is a pipe", file.display());
            fs::remove_file(file).expect("it is ours");
        }
        symlink(&elsewhere, &tracked).expect("the name is free");
        assert!(!is_lfs_set_up(), "git follows no such link either");
    });
}

#[test]
fn doctor_follows_no_link_and_waits_for_no_pipe() {
    on_every_git(|world| {
        let tree = world.clone_of_new("ws", "repo");
        let modules = tree.join(".git/modules");
        let secret = "https://x-token-auth:ATCTTcanary@bitbucket.org/ws/lib.git";
        let mut at: PathBuf = modules.join("lib");
        // Repositories within repositories, deeper than any superproject.
        for _ in 0..20 {
            fs::create_dir_all(&at).expect("it is ours");
            fs::write(at.join("HEAD"), "ref: refs/heads/main\n").expect("it is ours");
            fs::write(at.join("config"), "[core]\n").expect("it is ours");
            at = at.join("modules/x");
        }
        for name in ["a", "b", "lib/modules/loop"] {
            symlink(&modules, modules.join(name)).expect("the name is free");
        }
        let elsewhere = world.path("elsewhere");
        fs::create_dir(&elsewhere).expect("it is new");
        fs::write(elsewhere.join("HEAD"), "ref: refs/heads/main\n").expect("it is ours");
        let config = format!("[remote \"origin\"]\n\turl = {secret}\n");
        fs::write(elsewhere.join("config"), &config).expect("it is ours");
        symlink(&elsewhere, modules.join("foreign")).expect("the name is free");
        pipe(&tree.join(".gitmodules"));
        let done = world.bbtoken(["doctor"]).within(&tree).done();
        assert!(done.code.is_some(), "it ends");
        assert!(
            !done.stdout.contains("elsewhere"),
            "a link leads to it: {}",
            done.stdout
        );
        assert!(
            !done.stdout.contains("/config contains"),
            "a link leads to it: {}",
            done.stdout
        );
        let aside = tree.join(".git/aside");
        fs::rename(&modules, &aside).expect("the name is free");
        symlink(world.path("."), &modules).expect("the name is free");
        let done = world.bbtoken(["doctor"]).within(&tree).done();
        assert!(!done.stdout.contains("elsewhere"), "{}", done.stdout);
        fs::remove_file(&modules).expect("it is ours");
        fs::rename(&aside, &modules).expect("the name is free");
        fs::write(modules.join("lib/config"), &config).expect("it is ours");
        let done = world.bbtoken(["doctor"]).within(&tree).done();
        assert!(
            done.stdout.contains("modules/lib/config contains"),
            "{}",
            done.stdout
        );
    });
}
