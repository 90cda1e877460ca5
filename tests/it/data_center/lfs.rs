//! Git LFS at a Data Center: the objects are below `/rest`, and a repository may have it off.

use std::fs;

use super::{
    answers::{change, is_for_data_center},
    configured, data_center, log_in,
};
use crate::{
    lfs::{content, install},
    needs::needs,
    support::{World, gits},
};

/// Makes a clone `tree` with a file in LFS that is not pushed.
fn with_file(world: &World) {
    install(world);
    log_in(world);
    configured(world.git(["clone", "-q", "bbtoken::dc@PROJ/repo", "tree"])).ok();
    let tree = world.path("tree");
    let run = |arguments: &[&str]| configured(world.git(arguments).within(&tree)).ok();
    run(&["lfs", "track", "*.bin"]);
    fs::write(tree.join("a.bin"), content("a.bin")).expect("it can be written");
    run(&["add", "."]);
    run(&["commit", "-q", "-m", "large"]);
}

#[test]
fn files_are_pushed_cloned_and_pulled() {
    needs!("git-lfs");
    for git in gits() {
        for is_set_up in [false, true] {
            let world = data_center(git.clone());
            with_file(&world);
            if is_set_up {
                configured(world.bbtoken(["setup", "--everywhere", "--yes"])).ok();
            }
            let tree = world.path("tree");
            configured(world.git(["push", "-q"]).within(&tree)).ok();
            configured(world.git(["clone", "-q", "bbtoken::dc@PROJ/repo", "again"])).ok();
            let again = world.path("again");
            let read = || fs::read(again.join("a.bin")).expect("it is there");
            assert_eq!(read(), content("a.bin"));
            fs::write(tree.join("a.bin"), content("b.bin")).expect("it can be written");
            for arguments in [&["commit", "-q", "-a", "-m", "more"][..], &["push", "-q"]] {
                configured(world.git(arguments).within(&tree)).ok();
            }
            configured(world.git(["pull", "-q"]).within(&again)).ok();
            assert_eq!(read(), content("b.bin"));
            let paths = world.bitbucket.lfs_requests();
            let storage = "/git/bitbucket/rest/git-lfs/storage/PROJ/repo/";
            assert!(paths.iter().any(|it| it.path.starts_with(storage)));
            assert_eq!(world.bitbucket.failed_attempts("local"), 0);
        }
    }
}

#[test]
fn git_lfs_and_doctor_report_that_lfs_is_off() {
    needs!("git-lfs");
    for git in gits() {
        let world = data_center(git);
        with_file(&world);
        change(&world, |it| it.lfs_off = vec!["PROJ/repo".to_owned()]);
        let tree = world.path("tree");
        let push = configured(world.git(["push", "-q"]).within(&tree)).done();
        assert_ne!(push.code, Some(0));
        push.says(&["Git LFS is disabled for this repository."]);
        let doctor = configured(world.bbtoken(["doctor"]).within(&tree)).done();
        for text in [
            "note     server: Git LFS is off for this repository: git-lfs can neither fetch nor push files\n",
            "-> ask an administrator of the repository to turn it on (repository settings, Large File Storage)\n",
        ] {
            assert!(doctor.stdout.contains(text), "{text}: {doctor:?}");
        }
        is_for_data_center(&doctor);
    }
}
