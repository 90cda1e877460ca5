//! No command, shell or file system waits for the agent, and the agent does not stay behind.

use std::{fs, path::Path};

use bitbucket_local::{Action, Kind, Rule};

use super::Lending;
use crate::{inspect::names, needs::needs, processes::Process, support::Run};

/// Runs a line of a shell, reads its output to the end, and expects the list of refs. The agent runs afterwards.
#[track_caller]
fn nothing_waits(world: &Lending, how: &str, run: Run) {
    let done = run.done().expect(0);

    assert!(
        done.stdout.contains("\trefs/heads/main"),
        "{how}: {}",
        done.stdout
    );
    let agent = world.running(&world.until(|_| true));
    is_alone(how, &agent);
    world.bbtoken(["agent", "stop"]).ok();
    assert!(agent.ends(), "{how}");
}

/// Expects that a process has nothing of the process that started it.
#[track_caller]
fn is_alone(how: &str, agent: &Process) {
    let directory = format!("/proc/{}", agent.number());
    let directory = Path::new(&directory);
    let stat = fs::read_to_string(directory.join("stat")).expect("it runs");
    let (_, fields) = stat.rsplit_once(") ").expect("proc_pid_stat(5) says so");
    let fields: Vec<_> = fields.split(' ').collect();
    let number = agent.number().to_string();
    assert_eq!(
        fields[2..5],
        [number.as_str(), number.as_str(), "0"],
        "it has its own process group and session, and no terminal: {how}"
    );
    let cwd = fs::read_link(directory.join("cwd"));
    assert!(cwd.is_ok_and(|cwd| cwd == Path::new("/")), "{how}");
    for name in names(&directory.join("fd")) {
        let Ok(open) = fs::read_link(directory.join("fd").join(&name)) else {
            continue;
        };
        let open = open.display().to_string();
        let expected: &[&str] = match name.as_str() {
            "0" | "1" | "2" => &["/dev/null"],
            // The last is the agent's directory.
            _ => &[
                "socket:",
                "anon_inode:",
                "/agent-1.lock",
                "git-remote-bbtoken",
            ],
        };
        assert!(
            expected.iter().any(|expected| open.contains(expected)),
            "{how}: handle {name} is {open}"
        );
    }
}

#[test]
fn nothing_that_runs_a_command_waits_for_the_agent_that_the_command_starts() {
    needs!("setsid", "script");
    let world = Lending::new();
    let list = format!(
        "'{}' ls-remote bbtoken::ws/repo",
        world.git.program.display()
    );
    let lines = [
        ("a pipe", "LIST | cat"),
        ("a substitution", "echo \"$(LIST)\""),
        ("another handle of a pipe", "{ LIST; } 7>&1 | cat"),
        ("a lock", "{ flock 9 && LIST; } 9>lock && flock lock true"),
        ("no hangup", "nohup LIST >out 2>&1; cat out"),
        ("another session", "setsid --wait LIST | cat"),
        ("a background job", "LIST >out & wait; cat out"),
        ("a terminal", "script -qec \"LIST\" /dev/null | cat"),
        ("a service", "LIST >out <&- 2>&-; cat out"),
        (
            "nothing open",
            "LIST >&- <&- 2>&-; echo \"\trefs/heads/main\"",
        ),
    ];
    for (how, line) in lines {
        let line = line.replace("LIST", &list);
        nothing_waits(&world, how, world.run("/bin/sh".as_ref(), ["-c", &line]));
    }
    assert_eq!(lines.len(), 10);
}

#[test]
fn a_job_without_a_session_starts_the_agent_in_the_cache_and_does_not_wait_for_it() {
    let world = Lending::new();
    let of_job = |run: Run| run.without("XDG_RUNTIME_DIR").within(world.home());
    let line = format!(
        "'{}' ls-remote bbtoken::ws/repo | cat",
        world.git.program.display()
    );
    of_job(world.run("/bin/sh".as_ref(), ["-c", &line])).ok();
    let status = || super::status(of_job(world.bbtoken(["agent", "status", "--json"])));
    let status = loop {
        match status() {
            Some(status) => break status,
            None => std::thread::yield_now(),
        }
    };
    let agent = world.running(&status);
    is_alone("cron", &agent);
    of_job(world.bbtoken(["agent", "stop"])).ok();
    assert!(agent.ends());
}

/// Runs a command that waits for the server's answer while something happens.
pub(super) fn during_a_command(world: &Lending, happens: impl FnOnce()) {
    let hold = Rule::new(Action::Hold).kind(Kind::Git);
    world.bitbucket.script(hold);
    std::thread::scope(|scope| {
        let list = scope.spawn(|| world.list().done());
        let waits = |status: &super::Status| status.lent == 1;
        world.until(waits);
        let came = world.bitbucket.wait_for(|seen| !seen.is_empty());
        came.expect("the command sends its request");
        happens();
        world.bitbucket.release();
        let done = list.join().expect("the command runs").expect(0).quiet();
        assert!(done.stdout.contains("refs/heads/main"), "{}", done.stdout);
    });
}

#[test]
fn a_stopped_agent_is_gone_with_its_files() {
    let world = Lending::new();
    let status = world.start();
    let agent = world.running(&status);
    let told = world.bbtoken(["agent", "stop"]).ok();
    let text = format!("the agent has ended (process {})\n", status.pid);
    assert_eq!(told, text);
    assert!(agent.ends());
    assert_eq!(names(&world.place()), [""; 0], "no file is left");
    let again = world.bbtoken(["agent", "stop"]).ok();
    assert_eq!(again, "no agent is running\n");
}

#[test]
fn a_stopped_agent_lets_a_command_finish() {
    let world = Lending::new();
    let agent = world.running(&world.start());
    world.bitbucket.clear_requests();
    during_a_command(&world, || {
        world.bbtoken(["agent", "stop"]).ok();
    });
    assert!(agent.ends());
    assert_eq!(names(&world.place()), [""; 0], "no file is left");
    assert_eq!(
        world.git_requests(),
        ["POST git-upload-pack"],
        "one request"
    );
}

#[test]
fn an_agent_that_no_command_uses_ends_by_itself() {
    needs!("faketime");
    let world = Lending::new();
    // 110 s pass in a second.
    let agent = world.start_with_clock("+0 x100");
    assert!(agent.ends(), "it ends");
    assert_eq!(names(&world.place()), [""; 0], "no file is left");
}

/// A clock that hardly moves: the agent never gets too old.
const STILL: &str = "+0 x0.001";

#[test]
fn after_a_logout_the_agent_ends_with_its_last_command() {
    needs!("faketime");
    let world = Lending::new();
    let agent = world.start_with_clock(STILL);
    during_a_command(&world, || {
        fs::remove_dir_all(world.path("run")).expect("it is there");
    });
    assert!(agent.ends(), "its socket's name is gone");
    assert!(!world.path("run").exists(), "it creates nothing");
}

#[test]
fn an_agent_ends_when_another_one_has_its_name() {
    needs!("faketime");
    let world = Lending::new();
    let old = world.start_with_clock(STILL);
    let mut new = 0;
    during_a_command(&world, || {
        fs::remove_dir_all(world.place()).expect("it is there");
        new = world.start().pid;
        assert_ne!(new, old.number(), "another one starts");
    });
    assert!(old.ends(), "the name is no longer its own");
    assert_eq!(world.until(|_| true).pid, new, "the new one stays");
    assert_eq!(names(&world.place()), ["agent-1", "agent-1.lock"]);
}
