//! A command for people says what it waits for. A helper of git does not.

use std::{io::Read, path::Path, process::Stdio, thread};

use bitbucket_local::{Action, Kind, Rule};

use crate::{
    needs::needs,
    support::{Run, World, gits},
};

const SAID: &str = "Waiting for localhost \u{2026}";

fn world() -> World {
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    world
}

/// Runs a command whose request is held until the command says what it waits for; gives all of its output.
fn held(world: &World, run: Run, kind: Kind) -> String {
    world.bitbucket.script(Rule::new(Action::Hold).kind(kind));
    let (mut reader, writer) = std::io::pipe().expect("there are descriptors");
    let mut command = run.env("GIT_PROGRESS_DELAY", "0").into_command();
    command
        .stdin(Stdio::null())
        .stdout(writer.try_clone().expect("there are descriptors"))
        .stderr(writer);
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut shown = Vec::new();
    let mut byte = [0];
    while !String::from_utf8_lossy(&shown).contains("Waiting") {
        let length = reader.read(&mut byte).expect("it can be read");
        assert!(
            length > 0,
            "it is said: {}",
            String::from_utf8_lossy(&shown)
        );
        shown.extend_from_slice(&byte);
    }
    release(world);
    reader.read_to_end(&mut shown).expect("it ends");
    assert!(child.wait().expect("it ends").success());
    String::from_utf8(shown).expect("it is text")
}

/// Lets the request go on as soon as it is held.
fn release(world: &World) {
    let is_held = |_: &[_]| world.bitbucket.rules_left() == 0;
    world.bitbucket.wait_for(is_held).expect("it is requested");
    world.bitbucket.release();
}

#[test]
fn a_command_says_once_what_it_waits_for() {
    let world = world();
    let shown = held(&world, world.bbtoken(["token"]), Kind::Token);
    let token = world.bbtoken(["token"]).ok();
    assert_eq!(shown, format!("{SAID}\n{token}"));
    let shown = held(&world, world.bbtoken(["doctor", "ws/repo"]), Kind::Git);
    assert!(shown.starts_with(&format!("{SAID}\n")), "{shown}");
}

#[test]
fn on_a_terminal_the_wait_turns_and_leaves_no_trace() {
    needs!("script");
    let world = world();
    let on = |terminal: &str, columns: u16| {
        let line = format!("stty rows 24 cols {columns}; git bbtoken token --force");
        let script = Path::new("/usr/bin/script");
        let run = world.run(script, ["-qec", &line, "/dev/null"]);
        let _ = std::fs::remove_dir_all(world.cache());
        held(&world, run.env("TERM", terminal), Kind::Token)
    };
    let turning = on("xterm", 80);
    assert!(turning.starts_with(&format!("| {SAID}")), "{turning}");
    let width = SAID.chars().count() + 2;
    let (_, after) = turning
        .rsplit_once(&format!("\r{:width$}\r", ""))
        .expect("the line is removed");
    let token = world.bbtoken(["token"]).ok();
    assert_eq!(after, token.replace('\n', "\r\n"));
    let narrow = on("xterm", 12);
    assert!(
        narrow.starts_with("| Waiting f\r"),
        "it cannot wrap: {narrow}"
    );
    let plain = on("dumb", 80);
    assert_eq!(
        plain,
        format!(
            "{SAID}\r\n{}",
            world.bbtoken(["token"]).ok().replace('\n', "\r\n")
        )
    );
}

#[test]
fn a_helper_of_git_does_not_say_what_it_waits_for() {
    let world = world();
    let host = world.origin().trim_start_matches("https://");
    let path = world.repository_path("ws", "repo");
    let get = format!("protocol=https\nhost={host}\npath={}\n\n", &path[1..]);
    for run in [
        world.git(["ls-remote", "-q", "bbtoken::ws/repo"]),
        world.bbtoken(["credential", "get"]).input(&get),
    ] {
        let _ = std::fs::remove_dir_all(world.cache());
        world
            .bitbucket
            .script(Rule::new(Action::Hold).kind(Kind::Token));
        thread::scope(|scope| {
            let run = run.env("GIT_PROGRESS_DELAY", "0");
            let command = scope.spawn(|| run.done());
            release(&world);
            command.join().expect("it ran").expect(0).quiet();
        });
    }
}
