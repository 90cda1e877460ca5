//! Errors in git's own commands, each with its cause.

use std::fs;

use bitbucket_local::{Action, Rule};

use super::{Transcript, is_expected, world};
use crate::support::{helper, put_program};

#[test]
fn of_commands_of_git() {
    let world = world();
    let tree = world.clone_of_new("ws", "repo");
    let mut said = Transcript::new(&world);
    let refusal = Rule::answer(200)
        .header(
            "content-type",
            "application/x-git-upload-pack-advertisement",
        )
        .body("0019ERR under maintenance0000");
    world.bitbucket.script(refusal.path("info/refs"));
    let list = world.git(["ls-remote", "bbtoken::ws/repo"]);
    let done = list.without_memory().done().expect(128);
    said.note("git ls-remote bbtoken::ws/repo", &done);

    world.commit(&tree, "file", "two\n");
    let cut = Rule::new(Action::Truncate(0)).method("POST");
    world.bitbucket.script(cut.path("git-receive-pack"));
    let push = world.git(["push", "-q"]).within(&tree);
    let done = push.done().expect(1);
    said.note("git push -q", &done);
    assert_eq!(world.bitbucket.rules_left(), 0, "all of it happened");

    let programs = world.path("programs");
    fs::create_dir(&programs).expect("the name is free");
    let program = programs.join("git");
    // What is written after its answer has no reader.
    put_program(&program, "#!/bin/sh\nexec <&-\necho ok\n");
    world
        .git(["config", "--global", "protocol.version", "0"])
        .ok();
    let options = "option verbosity 1\noption progress false\noption cloning true\n";
    let fetch = world
        .run(&helper(), ["origin", "bbtoken::ws/repo"])
        .env("PATH", &programs)
        .input(&format!("{options}connect git-upload-pack\nlist\n"));
    let done = fetch.done();
    said.note("git-remote-bbtoken origin bbtoken::ws/repo", &done);
    is_expected(
        &expect_test::expect_file!["../expected/errors-relayed.txt"],
        &said.text,
    );
}
