//! A kill or an error at any system call of a refresh loses no login, and a signal leaves no lock in a repository. Runs
//! with one version of git, because the version does not matter.

#![expect(
    clippy::print_stdout,
    reason = "how much was killed is shown to who asks for it with --nocapture"
)]

use std::{
    collections::BTreeSet,
    fs,
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use bitbucket_local::{Kind, Recorded};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::{
    chance::{Chance, seed},
    inspect::names,
    lfs,
    needs::needs,
    person::{self, list, nothing_was_used_too_late, person, refreshes, state},
    support::{Done, Run, World, gits, helper, put_program},
};

/// Longer than the server's grace, shorter than the life of an access token.
const BEYOND_GRACE: Duration = Duration::from_secs(700);

fn world() -> World {
    let world = World::new(gits().remove(0));
    person(&world);
    world
}

/// Makes a command run the helper under `strace` with an injection (strace(1), "Tampering").
fn injected(world: &World, run: Run, injection: &str) -> Run {
    injected_at(world, run, injection, &[], "")
}

/// The same, for the calls on some paths alone (none are all), and with a command that starts the helper: `strace`
/// passes ignored signals on as heeded ones.
fn injected_at(world: &World, run: Run, injection: &str, paths: &[&Path], start: &str) -> Run {
    let directory = world.path("injected");
    fs::create_dir_all(&directory).expect("the world can be written");
    let script = directory.join("git-remote-bbtoken");
    let call = injection.split(':').next().unwrap_or("");
    let paths: String = paths
        .iter()
        .map(|path| format!(" -P '{}'", path.display()))
        .collect();
    // The calls that are not traced then cost nothing. Strace 6.1 sends no signal in this way.
    let filter = match injection.contains(":error=") {
        true => "--seccomp-bpf",
        false => "",
    };
    let text = format!(
        "#!/bin/sh\nexec strace -f {filter} -o '{}'{paths} -e 'trace={call}' -e 'inject={injection}' {start} '{}' \"$@\"\n",
        world.path("strace").display(),
        helper().display()
    );
    put_program(&script, text);
    let path = world.search_path();
    let path = [directory].into_iter().chain(std::env::split_paths(&path));
    run.env(
        "PATH",
        std::env::join_paths(path).expect("no path holds a colon"),
    )
}

/// Expects that a command has sent a refused token once: five failed logins lock an account of a Data Center. They count
/// only where git serves the command, because it cannot send Bearer.
#[track_caller]
fn at_most_one_refusal(world: &World, after: &str) {
    for user in ["local", "x-token-auth"] {
        let failed = world.bitbucket.failed_attempts(user);
        assert!(
            failed <= 1,
            "after {after}: {failed} failed logins of {user}"
        );
        world.bitbucket.reset_captcha(user);
    }
}

/// Expects that no command has sent two refreshes. A command has one connection, and the server may still read what a
/// killed one has sent.
#[track_caller]
fn at_most_one_refresh(world: &World, after: &str) {
    let requests = world.bitbucket.token_requests();
    let mut connections = BTreeSet::new();
    let is_first = |request: &Recorded| connections.insert(request.connection);
    let is_refresh = |request: &&Recorded| request.grant.as_deref() == Some("refresh_token");
    let is_once = requests.iter().filter(is_refresh).all(is_first);
    assert!(is_once, "after {after}: {requests:?}");
}

/// Expects that the login works now, and on. A Data Center accepts each refresh token once: if a command ended between
/// its response and the save, the next command says so, and a new login works.
#[track_caller]
fn still_works(world: &World, after: &str) {
    world.bitbucket.clear_requests();
    let mut done = list(world).done();
    at_most_one_refresh(world, after);
    at_most_one_refusal(world, after);
    if world.is_data_center() && done.code != Some(0) {
        done.says(&[
            "its login has ended, because a command was interrupted while it renewed the login",
            "hint: run 'git bbtoken login work'\n",
        ]);
        person::log_in(world, "work").expect(0);
        done = list(world).done();
    }
    assert_eq!(
        (done.code, done.stderr.as_str()),
        (Some(0), ""),
        "after {after}"
    );
    world.bitbucket.advance_clock(BEYOND_GRACE);
    nothing_was_used_too_late(world);
}

/// Runs a command that has to refresh, with an injection at each of its calls; gives how many there were.
fn at_every_call(call: &str, effect: &str, look: impl Fn(&World, &Done)) -> usize {
    let world = world();
    for number in 1..200 {
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        let injection = format!("{call}:{effect}:when={number}");
        let done = injected(&world, list(&world), &injection).done();
        at_most_one_refresh(&world, &injection);
        at_most_one_refusal(&world, &injection);
        let calls = fs::read_to_string(world.path("strace")).expect("strace writes it");
        let was_met = calls.contains("(INJECTED)") || calls.contains("killed by SIGKILL");
        look(&world, &done);
        still_works(&world, &injection);
        if !was_met {
            assert_eq!(done.code, Some(0), "{}", done.stderr);
            return number - 1;
        }
    }
    panic!("a refresh has fewer calls of {call}");
}

#[test]
fn a_kill_at_any_system_call_of_a_refresh_costs_no_login() {
    needs!("strace");
    let calls = [
        "openat",
        "write",
        "fsync",
        "renameat",
        "unlinkat",
        "ftruncate",
        "flock",
        "writev",
        "recvfrom",
    ];
    let counts = calls.map(|call| (call, at_every_call(call, "signal=KILL", |_, _| {})));
    println!("killed at {counts:?}");
    let least = [
        ("openat", 8),
        ("write", 4),
        ("fsync", 5),
        ("renameat", 2),
        ("writev", 2),
        ("recvfrom", 4),
    ];
    for (call, least) in least {
        let count = counts.iter().find(|(name, _)| *name == call);
        assert!(
            count.is_some_and(|(_, count)| *count >= least),
            "{call} in {counts:?}"
        );
    }
}

#[test]
fn an_error_of_any_system_call_of_a_refresh_costs_no_login() {
    needs!("strace");
    let cases = [
        ("openat", "EROFS"),
        ("openat", "ENOSPC"),
        ("write", "ENOSPC"),
        ("fsync", "EIO"),
        ("renameat", "EIO"),
        ("unlinkat", "EROFS"),
        ("flock", "ENOLCK"),
    ];
    let counts = cases.map(|(call, error)| {
        let count = at_every_call(call, &format!("error={error}"), |_, done| {
            // The runtime rightly does not expect that it cannot wake itself up, which no disk can bring about.
            let is_runtime = done.stderr.contains("failed to wake I/O driver");
            assert!(
                !done.stderr.contains("panicked") || is_runtime,
                "{call}: {}",
                done.stderr
            );
        });
        (call, error, count)
    });
    println!("failed at {counts:?}");
    assert!(counts.iter().all(|(_, _, count)| *count > 0), "{counts:?}");
}

#[test]
fn an_operation_that_the_file_system_lacks_is_a_warning_and_the_command_works() {
    needs!("strace");
    let world = world();
    // (what fails every time, how the command ends, what it says)
    let cases = [
        // The new login counts where it was written, but the access token could not be kept.
        (
            "renameat:error=EIO",
            0,
            "warning: the token was not saved, so each command requests its own: cannot write '",
        ),
        (
            "flock:error=ENOLCK",
            0,
            "warning: commands that run at the same time may each request a token: cannot lock '",
        ),
        (
            "fsync:error=EIO",
            128,
            "error: cannot read repository 'ws/repo'\ncaused by: cannot refresh the login of profile 'work': the store could not save the result",
        ),
    ];
    for (injection, code, says) in cases {
        world.bitbucket.clear_requests();
        for _ in 0..2 {
            world.bitbucket.revoke_access_tokens();
            let done = injected(&world, list(&world), injection)
                .done()
                .expect(code);
            done.says(&[says]);
            assert_eq!(
                done.stderr
                    .lines()
                    .filter(|line| line.starts_with("warning"))
                    .count(),
                usize::from(code == 0),
                "{}",
                done.stderr
            );
            world.bitbucket.advance_clock(BEYOND_GRACE);
        }
        if code != 0 {
            assert_eq!(
                refreshes(&world),
                0,
                "no token is used whose next one could not be kept"
            );
        }
        still_works(&world, injection);
    }
    let left: Vec<_> = names(&state(&world))
        .into_iter()
        .filter(|name| name.ends_with(".next"))
        .collect();
    assert_eq!(
        left,
        Vec::<String>::new(),
        "nothing is left beside the login"
    );
}

#[test]
fn a_full_disk_is_met_before_the_refresh_token_is_used() {
    let world = world();
    world.bitbucket.revoke_access_tokens();
    let git = world
        .git
        .program
        .to_str()
        .expect("its path is text")
        .to_owned();
    // As in `cache`: a write beyond 2 KiB fails half-way, as on a full disk (setrlimit(2), RLIMIT_FSIZE).
    let limited = "trap '' XFSZ; ulimit -f 4; exec \"$@\"";
    let arguments = ["-c", limited, "sh", &git, "ls-remote", "bbtoken::ws/repo"];
    let run = person::as_person(world.run(&PathBuf::from("sh"), arguments));
    let done = run.done().expect(128);
    done.says(&[
        "error: cannot read repository 'ws/repo'\ncaused by: cannot refresh the login of profile 'work': the store could not save the result\n\
         caused by: cannot reserve space for a secret in '",
    ]);
    assert_eq!(refreshes(&world), 0);
    still_works(&world, "a full disk");
}

/// A command in a process group of its own, so that it can be killed with all that it has started.
fn start(run: Run) -> Child {
    let mut command = run.into_command();
    command
        .process_group(0)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.spawn().expect("it starts")
}

fn kill(child: &Child) {
    let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
    // Ended by itself meanwhile, at the worst.
    let _ = kill_process_group(group.expect("it has a number"), Signal::KILL);
}

#[test]
fn kills_at_random_moments_of_refreshes_cost_no_login() {
    const PARALLEL: usize = 20;
    const KILLS: usize = 200;
    const MOST_ROUNDS: usize = 40;
    let world = world();
    let seed = seed();
    let mut chance = Chance(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1);
    let (mut killed, mut rounds) = (0, 0);
    while killed < KILLS && rounds < MOST_ROUNDS {
        rounds += 1;
        world.bitbucket.revoke_access_tokens();
        world.bitbucket.clear_requests();
        let git = || world.git(["ls-remote", "bbtoken::ws/repo"]);
        let mut children: Vec<_> = (0..PARALLEL)
            .map(|_| start(person::as_person(git())))
            .collect();
        let asked = world
            .bitbucket
            .wait_for(|seen| seen.iter().any(|request| request.kind == Kind::Token));
        asked.unwrap_or_else(|error| panic!("{error}; BBTOKEN_TEST_SEED={seed}"));
        let begun = Instant::now();
        let mut moments: Vec<_> = (0..PARALLEL)
            .map(|number| (chance.below(80_000), number))
            .collect();
        moments.sort_unstable();
        for (micros, number) in moments {
            let moment = Duration::from_micros(u64::try_from(micros).expect("it fits"));
            while begun.elapsed() < moment {
                std::hint::spin_loop();
            }
            if children[number]
                .try_wait()
                .is_ok_and(|ended| ended.is_none())
            {
                kill(&children[number]);
                killed += 1;
            }
        }
        for child in &mut children {
            child.wait().expect("it ends");
        }
        still_works(
            &world,
            &format!("round {rounds} with BBTOKEN_TEST_SEED={seed}"),
        );
    }
    println!("{killed} commands were killed in {rounds} rounds");
    assert!(killed > 0, "some of them were running");
}

#[test]
fn a_thousand_commands_over_expiries_refresh_as_often_as_tokens_end() {
    const WAVES: usize = 20;
    const PARALLEL: usize = 50;
    let world = world();
    let mut expiries = 0;
    for wave in 0..WAVES {
        // In every fourth wave the token ends while commands are on their way.
        let git = || world.git(["ls-remote", "bbtoken::ws/repo"]);
        let children: Vec<_> = (0..PARALLEL)
            .map(|number| {
                if number == PARALLEL / 2 && wave % 4 == 0 {
                    world.bitbucket.revoke_access_tokens();
                    expiries += 1;
                }
                start(person::as_person(git()))
            })
            .collect();
        for mut child in children {
            assert!(
                child.wait().expect("it ends").success(),
                "every command works"
            );
        }
    }
    println!(
        "{} commands, {expiries} expiries, {} refreshes",
        WAVES * PARALLEL,
        refreshes(&world)
    );
    assert_eq!(refreshes(&world), expiries);
    nothing_was_used_too_late(&world);
}

#[test]
fn a_signal_waits_until_the_lfs_settings_are_written() {
    needs!("strace", "git-lfs");
    let world = World::new(gits().remove(0));
    lfs::install(&world);
    world.repository("ws", "repo");
    // (what the helper is started with, the signal, whether it ends the helper)
    let cases = [
        ("--default-signal=TERM", "TERM", true),
        ("--default-signal=INT", "INT", true),
        ("--default-signal=HUP", "HUP", true),
        ("--ignore-signal=HUP", "HUP", false),
    ];
    for (start, signal, ends) in cases {
        for call in ["openat", "write", "fchmod", "rename"] {
            let name = format!("{call}{start}");
            let case = format!("SIG{signal} at {call} with {start}");
            world.git(["init", "-q", &name]).ok();
            let tree = world.path(&name);
            let lock = tree.join(".git/config.lock");
            world
                .git(["remote", "add", "origin", "bbtoken::ws/repo"])
                .within(&tree)
                .ok();
            let fetch = ["fetch", "-q", "origin"];
            let run = world.git(fetch).within(&tree);
            // The kernel has some of them in several forms.
            let injection = format!("/^{call}:signal={signal}:when=1");
            let start = format!("env {start}");
            let paths = [Path::new(".git/config.lock"), &lock];
            let done = injected_at(&world, run, &injection, &paths, &start).done();
            let calls = fs::read_to_string(world.path("strace")).expect("strace writes it");
            assert!(calls.contains(&format!(" {call}")), "{case}: {calls}");
            let was_ended = calls.contains(&format!("killed by SIG{signal}"));
            assert_eq!(was_ended, ends, "{case}: {calls}");
            assert_eq!(done.code == Some(0), !ends, "{case}: {}", done.stderr);
            assert!(!lock.exists(), "{case} leaves a lock");
            let address = lfs::get(&world, &tree, "remote.origin.lfsurl");
            assert_eq!(address, lfs::ENDPOINT, "{case}");
            world
                .git(["fetch", "-q", "origin"])
                .within(&tree)
                .done()
                .expect(0)
                .quiet();
        }
    }
}
