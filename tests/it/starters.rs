//! Programs around git that start it; rows of docs/programs.md.

use std::{fs, path::Path};

use crate::{
    needs::needs,
    programs::{https, installed, program, set_up, world},
    support::on_every_git,
};

#[test]
fn pre_commit_gets_hooks_from_a_private_repository() {
    needs!("programs/tools");
    let world = world();
    let tree = world.clone("ws/repo", "hooks");
    let hooks = "- id: greet\n  name: greet\n  entry: greet.sh\n  language: script\n";
    world.commit(&tree, ".pre-commit-hooks.yaml", hooks);
    let script = "#!/bin/sh\necho hello from a hook\nexit 1\n";
    world.commit(&tree, "greet.sh", script);
    world
        .git(["update-index", "--chmod=+x", "greet.sh"])
        .within(&tree)
        .ok();
    world
        .git(["commit", "-q", "-m", "executable"])
        .within(&tree)
        .ok();
    world.git(["push", "-q"]).within(&tree).ok();
    let rev = world.rev(&tree, "HEAD");
    set_up(&world, &[]);
    world.git(["init", "-q", "project"]).ok();
    let project = world.path("project");
    for (number, url) in ["bbtoken::ws/repo", &https(&world)].into_iter().enumerate() {
        let configuration =
            format!("repos:\n- repo: {url}\n  rev: {rev}\n  hooks:\n  - id: greet\n");
        world.commit(&project, ".pre-commit-config.yaml", configuration);
        let arguments = ["run", "--all-files"];
        let done = program(&world, &installed("tools/bin/pre-commit"), &arguments)
            .env(
                "PRE_COMMIT_HOME",
                world.path(&format!("pre-commit-{number}")),
            )
            .within(&project)
            .done()
            .expect(1);
        assert!(done.stdout.contains("hello from a hook"), "{done:?}");
    }
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}

#[test]
fn scalar_clones_and_fetches() {
    on_every_git(|world| {
        let bare = world.repository("ws", "repo");
        world
            .git(["config", "uploadpack.allowFilter", "true"])
            .within(&bare)
            .ok();
        let scalar = world.git.program.with_file_name("scalar");
        let run = |arguments: &[&str]| {
            // It would add jobs to the user's crontab.
            program(world, &scalar, arguments)
                .env("GIT_TEST_MAINT_SCHEDULER", "crontab:true")
                .done()
        };
        run(&["clone", "--full-clone", "bbtoken::ws/repo", "tree"]).expect(0);
        let tree = world.path("tree/src");
        assert_eq!(
            fs::read_to_string(tree.join("file")).ok().as_deref(),
            Some("one\n")
        );
        run(&["run", "fetch", "tree"]).expect(0);
        run(&["delete", "tree"]);
        assert_eq!(world.bitbucket.token_requests().len(), 1);
    });
}

#[test]
fn git_remote_gcrypt_pushes_and_clones() {
    needs!("git-remote-gcrypt", "gpg");
    let world = world();
    set_up(&world, &[]);
    let ann = "ann@example.org";
    let key = ["--batch", "--passphrase", "", "--quick-gen-key", ann];
    world.run(Path::new("gpg"), key).ok();
    world.git(["init", "-q", "plain"]).ok();
    let tree = world.path("plain");
    world.commit(&tree, "secret", "hidden\n");
    for key in ["gcrypt.participants", "user.signingKey"] {
        world.git(["config", "--global", key, ann]).ok();
    }
    let base = world.bitbucket.base_url();
    for (name, url) in [
        ("ours", "bbtoken::ws/ours".to_owned()),
        ("https", format!("{base}/ws/https.git")),
    ] {
        let made = world.bitbucket.create_repository("ws", name);
        made.expect("the name is free");
        let address = format!("gcrypt::{url}");
        world.git(["push", &address, "main"]).within(&tree).ok();
        world.git(["clone", &address, name]).ok();
        let clear = fs::read_to_string(world.path(name).join("secret"));
        assert_eq!(clear.ok().as_deref(), Some("hidden\n"));
    }
    world.run(Path::new("gpgconf"), ["--kill", "all"]).ok();
    assert_eq!(world.bitbucket.token_requests().len(), 1);
}
