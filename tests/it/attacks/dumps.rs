//! The memory of the programs contains secrets: no core dump has it, and the user's other processes cannot read it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Write as _},
    os::unix::process::ExitStatusExt as _,
    process::{Child, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::{Run, World, gits, helper};

/// Starts a program where core dumps are allowed, as far as this machine allows them.
fn with_dumps(run: Run) -> Command {
    let command = run.into_command();
    let mut shell = Command::new("/bin/sh");
    let script = "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\"";
    shell
        .args(["-c", script])
        .arg(command.get_program())
        .args(command.get_args());
    shell
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped());
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            shell.env(name, value);
        }
    }
    shell.current_dir(command.get_current_dir().expect("the world sets one"));
    shell
}

fn helper_of(world: &World) -> Run {
    world.run(&helper(), ["origin", "bbtoken::ws/repo"])
}

/// Starts a helper, and waits until it has answered.
fn until_it_answers(mut command: Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    let input = child.stdin.as_mut().expect("it is a pipe");
    input.write_all(b"capabilities\n").expect("it is read");
    let mut line = String::new();
    let mut output = BufReader::new(child.stdout.as_mut().expect("it is a pipe"));
    output.read_line(&mut line).expect("it answers");
    assert!(!line.is_empty(), "it is ready");
    child
}

#[test]
fn a_crash_leaves_no_core_dump() {
    let world = World::new(gits().remove(0));
    let mut child = until_it_answers(with_dumps(helper_of(&world)));
    let limits = fs::read_to_string(format!("/proc/{}/limits", child.id()));
    if let Ok(limits) = limits {
        let line = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"));
        let soft = line.and_then(|line| line.split_whitespace().nth(4));
        assert_eq!(soft, Some("0"), "{limits}");
    }
    kill_process(Pid::from_child(&child), Signal::ABORT).expect("it is ours");
    let status = child.wait().expect("it ends");
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped(), "a dump would hold secrets");
}

/// A user that no system has.
#[cfg(target_os = "linux")]
const USER: u32 = 64_002;

/// Tells whether this test can act as another user: it is root's, and that user can start our programs.
#[cfg(target_os = "linux")]
fn can_switch(world: &World) -> bool {
    let version = || world.bbtoken(["--version"]).by_user(USER).into_command();
    let starts = || {
        version()
            .output()
            .is_ok_and(|output| output.status.success())
    };
    crate::needs::is_here(crate::needs::ROOT) && starts()
}

/// Runs a command as a user without privileges, where that is possible.
#[cfg(target_os = "linux")]
fn as_user(world: &World, run: Run) -> Run {
    if can_switch(world) {
        run.by_user(USER)
    } else {
        run
    }
}

#[cfg(target_os = "linux")]
#[test]
fn no_other_process_of_the_user_reads_our_memory() {
    let world = World::new(gits().remove(0));
    let helper = as_user(&world, helper_of(&world)).within("/");
    let mut child = until_it_answers(helper.into_command());
    let sleeper = as_user(&world, world.run("/bin/cat".as_ref(), [""; 0])).within("/");
    let mut sleeper = sleeper.into_command();
    let mut sleeper = sleeper.stdin(Stdio::piped()).spawn().expect("it starts");
    let reads = |child: &Child| {
        let file = format!("/proc/{}/auxv", child.id());
        let run = as_user(&world, world.run("/bin/cat".as_ref(), [file])).within("/");
        run.done().code == Some(0)
    };
    assert!(reads(&sleeper), "any other program can be read");
    // Root reads whatever it wants.
    let is_root = rustix::process::geteuid().is_root() && !can_switch(&world);
    let is_private = is_root || !reads(&child);
    for child in [&mut child, &mut sleeper] {
        drop(child.stdin.take());
        assert!(child.wait().is_ok(), "it ends");
    }
    assert!(is_private, "no other process can read the memory");
}

#[cfg(target_os = "linux")]
#[test]
fn a_secret_on_an_open_file_and_gits_transport_work_for_a_user_without_privileges() {
    use std::os::unix::fs::PermissionsExt as _;
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    let secret = world.path("secret");
    fs::write(&secret, &world.consumer.secret).expect("it is ours");
    let all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(world.home(), all.clone()).expect("it is ours");
    fs::set_permissions(world.path(""), all).expect("it is ours");
    let by_shell = |line: &str| {
        let run = world.run("/bin/sh".as_ref(), ["-c", line]);
        let run = as_user(&world, run.env("BBTOKEN_HOME", world.path("home/kept")));
        run.without("BBTOKEN_CLIENT_SECRET")
            .env("BBTOKEN_CLIENT_SECRET_FILE", "/dev/fd/3")
    };
    let token = by_shell("git-bbtoken token 3<../secret").within(world.home());
    assert!(token.ok().len() > 1000, "it is one");
    let list = "git ls-remote bbtoken::ws/repo 3<../secret";
    let list = by_shell(list)
        .within(world.home())
        .env("BBTOKEN_TRANSPORT", "git");
    assert!(list.ok().contains("refs/heads/main"));
}

#[test]
fn the_command_of_exec_keeps_the_users_limit() {
    let world = World::new(gits().remove(0));
    let run = world.bbtoken(["exec", "--", "sh", "-c", "ulimit -S -c; ulimit -H -c"]);
    let output = with_dumps(run).output().expect("it starts");
    let shown = String::from_utf8_lossy(&output.stdout).into_owned();
    let limits: Vec<_> = shown.lines().collect();
    assert!(
        matches!(&limits[..], [soft, hard] if soft == hard),
        "{shown}"
    );
}
