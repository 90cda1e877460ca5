//! Problems of Git LFS: a protected configuration, and a server with other error responses.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use bitbucket_local::{Kind, Rule};

use crate::{
    lfs::{ENDPOINT, content, get, install, repository},
    needs::needs,
    support::{World, on_every_git},
};

/// A repository that has a remote and was never used.
fn unused(world: &World) -> PathBuf {
    world.git(["init", "-q", "tree"]).ok();
    let tree = world.path("tree");
    let add = world.git(["remote", "add", "origin", "bbtoken::ws/repo"]);
    add.within(&tree).ok();
    tree
}

#[test]
fn a_configuration_keeps_its_mode() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        world.repository("ws", "repo");
        let tree = unused(world);
        let config = tree.join(".git/config");
        fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("it can be written");
        for mode in [0o444, 0o600, 0o640] {
            let before = fs::read(&config).expect("it is there");
            let permissions = fs::Permissions::from_mode(mode);
            fs::set_permissions(&config, permissions).expect("it is the test's");
            world.git(["fetch", "-q", "origin"]).within(&tree).ok();
            assert_eq!(get(world, &tree, "remote.origin.lfsurl"), ENDPOINT);
            let now = fs::metadata(&config).expect("it is there").permissions();
            assert_eq!(now.mode() & 0o777, mode, "as with git's own 'config'");
            fs::remove_file(&config).expect("it is the test's");
            fs::write(&config, before).expect("it is the test's");
            let unset = ["config", "--unset", "remote.origin.lfsurl"];
            world.git(unset).within(&tree).done();
        }
    });
}

#[test]
fn a_token_that_lfs_refuses_with_403_is_replaced_by_the_next_fetch() {
    needs!("git-lfs");
    on_every_git(|world| {
        install(world);
        repository(world, "ws", "repo", &["a.bin"]);
        let clone = world.git(["clone", "-q", "bbtoken::ws/repo", "tree"]);
        clone.env("GIT_LFS_SKIP_SMUDGE", "1").ok();
        let tree = world.path("tree");
        let pull = || world.git(["lfs", "pull"]).within(&tree).done();
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        let refusal = Rule::answer(403).kind(Kind::Lfs);
        world.bitbucket.script(refusal.forever());
        for _ in 0..2 {
            let refused = pull().expect(2);
            refused.says(&["batch response: "]);
            assert!(
                !refused.stderr.contains("Username"),
                "git-lfs asks no question"
            );
        }
        let asked = world.bitbucket.token_requests().len();
        assert_eq!(asked, 0, "403 says nothing of the token");
        // Git gets 401, whatever git-lfs gets.
        world.git(["fetch", "-q"]).within(&tree).ok();
        assert_eq!(world.bitbucket.token_requests().len(), 1);
        world.bitbucket.clear_script();
        world.bitbucket.clear_requests();
        pull().expect(0);
        let lfs = world.bitbucket.lfs_requests();
        assert!(lfs.iter().all(|request| request.status == Some(200)));
        assert!(fs::read(Path::new(&tree).join("a.bin")).is_ok_and(|it| it == content("a.bin")));
    });
}
