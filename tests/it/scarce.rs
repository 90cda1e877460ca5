//! A system without threads, processes, file handles, disk space or `/proc`: each command works or gives an error with
//! its remedy, and none panics.

use std::{
    fs,
    os::unix::fs::chown,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
};

use bitbucket_local::Options;

use crate::{
    inspect::noise,
    needs::{ROOT, lacks, needs},
    person::{configure, configure_login},
    support::{Done, Run, World, gits, helper, on_every_git},
};

const CONNECT: &str = "connect git-upload-pack\n";
const PROCESSES: &str = "hint: end other processes of this user";
const HANDLES: &str = "hint: raise the limit of open files ('ulimit -n')";
const SPACE: &str = "hint: free space on that disk, then try again\n";

/// Tells whether a program can be started with these words in front.
fn can(world: &World, words: &[&str], prepare: impl FnOnce(Run) -> Run) -> bool {
    let run = world.run(Path::new(words[0]), &words[1..]).arg(helper());
    let mut version = prepare(run.arg("--version")).into_command();
    version.output().is_ok_and(|done| done.status.success())
}

/// Gives a user of whom no process runs, with a home for tokens, if this test can act as one.
///
/// The system counts the processes of a user, and counts each for a while after its end.
fn new_user(world: &World) -> Option<User> {
    static USED: AtomicU32 = AtomicU32::new(0);
    let id = 64_100 + USED.fetch_add(1, Ordering::Relaxed);
    let home = world.path(&format!("home-{id}"));
    fs::create_dir(&home).expect("the name is free");
    let _ = chown(&home, Some(id), Some(id));
    world
        .git(["config", "--global", "safe.directory", "*"])
        .ok();
    can(world, &["prlimit", "--nproc=64"], |run| run.by_user(id)).then_some(User { id, home })
}

struct User {
    id: u32,
    home: PathBuf,
}

impl User {
    fn runs(&self, run: Run) -> Done {
        run.env("BBTOKEN_HOME", &self.home).by_user(self.id).done()
    }
}

/// Prepares a program under a limit, as `prlimit` names it.
fn under<const N: usize>(world: &World, limit: &str, program: &Path, arguments: [&str; N]) -> Run {
    world
        .run(Path::new("prlimit"), [limit])
        .arg(program)
        .args(arguments)
}

/// Prepares the helper under a limit; it asks the server what it can do.
fn helper_under(world: &World, limit: &str) -> Run {
    under(world, limit, &helper(), ["origin", "bbtoken::ws/repo"])
        .without_memory()
        .input(CONNECT)
}

#[track_caller]
fn no_panic(done: &Done) {
    let panicked = done.stderr.contains("panicked");
    assert!(!panicked, "no command panics: {done:?}");
}

/// Expects a documented exit code and no panic.
#[track_caller]
fn is_orderly(done: &Done, codes: &[i32]) {
    let is_documented = done.code.is_some_and(|code| codes.contains(&code));
    assert!(is_documented, "the exit code is documented: {done:?}");
    no_panic(done);
}

#[test]
fn a_fetch_and_a_large_push_need_no_second_thread() {
    needs!(ROOT);
    on_every_git(|world| {
        let Some(user) = new_user(world) else {
            return lacks!(ROOT);
        };
        let bare = world.repository("ws", "repo");
        // The first one gets a token, the second one has it.
        for _ in 0..2 {
            let done = user
                .runs(helper_under(world, "--nproc=1"))
                .expect(0)
                .quiet();
            assert!(done.stdout.contains("version 2"), "{}", done.stdout);
        }
        let tree = world.path("seed-ws-repo");
        // More than is sent as a whole.
        world.commit(&tree, "large", noise(2 << 20));
        let tip = world.rev(&tree, "HEAD");
        let pack = ["pack-objects", "-q", "--all", "../pushed"];
        let pack = world.git(pack).within(&tree).input("").ok();
        let pack = world.path(&format!("pushed-{}.pack", pack.trim_end()));
        let command = format!("{} {tip} refs/heads/pushed\0 report-status", "0".repeat(40));
        let said = format!(
            "connect git-receive-pack\n{:04x}{command}0000",
            command.len() + 4
        );
        let said = [said.into_bytes(), fs::read(pack).expect("git wrote it")].concat();
        let push = under(
            world,
            "--nproc=1",
            &helper(),
            ["origin", "bbtoken::ws/repo"],
        );
        let done = user.runs(push.input_bytes(&said)).expect(0).quiet();
        assert!(
            done.stdout.contains("ok refs/heads/pushed"),
            "{}",
            done.stdout
        );
        assert_eq!(world.rev(&bare, "refs/heads/pushed"), tip);
    });
}

/// Runs git under limits of processes that are too low and one that is high enough.
fn under_any_limit_of_processes(world: &World, directory: &Path, arguments: &[&str]) {
    for limit in [1, 2, 3, 4, 5, 6, 7, 8, 256] {
        let Some(user) = new_user(world) else {
            return lacks!(ROOT);
        };
        let limit_text = format!("--nproc={limit}");
        let run = under(world, &limit_text, &world.git.program, []).args(arguments);
        let done = user.runs(run.within(directory));
        match limit {
            1 => assert_ne!(done.code, Some(0), "git starts no helper: {done:?}"),
            256 => assert_eq!(done.code, Some(0), "the limit is high enough: {done:?}"),
            // How git itself ends without a process is its own matter.
            _ => no_panic(&done),
        }
    }
}

#[test]
fn a_push_ends_in_order_under_any_limit_of_processes() {
    needs!(ROOT);
    on_every_git(|world| {
        world.repository("ws", "repo");
        let tree = world.path("seed-ws-repo");
        world.commit(&tree, "large", noise(300_000));
        let to = ["bbtoken::ws/repo", "HEAD:refs/heads/pushed"];
        let push = ["-c", "http.postBuffer=65536", "push", "-q", to[0], to[1]];
        under_any_limit_of_processes(world, &tree, &push);
    });
}

#[test]
fn a_fetch_by_gits_own_transport_ends_in_order_under_any_limit_of_processes() {
    needs!(ROOT);
    for git in gits() {
        let old_server = Options {
            protocol_v2: false,
            ..Options::default()
        };
        let world = World::with(git, old_server);
        world.repository("ws", "repo");
        let list = ["-c", "protocol.version=0", "ls-remote", "bbtoken::ws/repo"];
        under_any_limit_of_processes(&world, &world.home(), &list[2..]);
        under_any_limit_of_processes(&world, &world.home(), &list);
    }
}

#[test]
fn the_keychain_is_not_used_without_threads_or_handles_for_its_libraries() {
    needs!(ROOT);
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    configure_login(&world, "work", &world.consumer);
    configure(&world, "work", &[("store", "keyring")]);
    let processes = (1..=12).map(|limit| (format!("--nproc={limit}"), PROCESSES));
    let handles = (8..=40).map(|limit| (format!("--nofile={limit}"), HANDLES));
    let mut remedied = 0;
    for (limit, hint) in processes.chain(handles) {
        let Some(user) = new_user(&world) else {
            return lacks!(ROOT);
        };
        let run = helper_under(&world, &limit).without_client();
        let run = run.env("DBUS_SESSION_BUS_ADDRESS", "unix:path=/nonexistent/bus");
        let done = user.runs(run);
        is_orderly(&done, &[128]);
        done.says(&["error: ", "hint: "]);
        remedied += usize::from(done.stderr.contains(hint));
    }
    assert!(remedied > 20, "a limit has its own hint, {remedied} times");
}

#[test]
fn a_command_for_people_ends_in_order_under_any_limit_of_processes() {
    needs!(ROOT);
    let world = World::new(gits().remove(0));
    world.repository("ws", "repo");
    for limit in 1..=3 {
        for command in ["status", "token", "doctor", "setup", "exec"] {
            let Some(user) = new_user(&world) else {
                return lacks!(ROOT);
            };
            let program = helper().with_file_name("git-bbtoken");
            let words = match command {
                "setup" => &["--yes"] as &[&str],
                "exec" => &["--", "true"],
                _ => &[],
            };
            let run = under(&world, &format!("--nproc={limit}"), &program, [command]);
            let done = user.runs(run.args(words));
            is_orderly(&done, &[0, 1, 3, 126]);
            if limit == 1 && ["setup", "exec"].contains(&command) {
                done.says(&[
                    "caused by: this user cannot start another process or thread: ",
                    PROCESSES,
                ]);
            }
        }
    }
}

#[test]
fn a_login_without_threads_is_given_up_at_once() {
    needs!(ROOT);
    let world = World::new(gits().remove(0));
    configure_login(&world, "work", &world.consumer);
    let Some(user) = new_user(&world) else {
        return lacks!(ROOT);
    };
    let program = helper().with_file_name("git-bbtoken");
    let login = under(&world, "--nproc=1", &program, ["login", "work"]);
    let login = login.without("BBTOKEN_CLIENT_ID").env("BROWSER", "none");
    let done = user.runs(login).expect(1);
    done.says(&["error: cannot wait for the browser\n", PROCESSES]);
}

#[test]
fn a_command_without_file_handles_names_the_limit() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let (mut failed, mut served, mut prepared) = (0, 0, 0);
        for limit in 3..=40 {
            let limit = format!("--nofile={limit}");
            let done = helper_under(world, &limit).done();
            // The system cannot start any program with so few.
            if done.code == Some(127) && failed == 0 {
                continue;
            }
            is_orderly(&done, &[0, 128]);
            if done.code == Some(0) {
                assert!(done.stdout.contains("version 2"), "{}", done.stdout);
                assert_eq!(done.stderr, "", "a success is silent");
                served += 1;
            } else {
                done.says(&["error: ", "Too many open files", HANDLES]);
                failed += 1;
                prepared += usize::from(done.stderr.contains("cannot prepare a connection\n"));
            }
        }
        assert!(
            prepared > 0 && served > 0,
            "the limits begin too low and end high enough: {failed}, {served}"
        );
        for limit in [6, 9, 12, 16, 24, 40] {
            for command in ["status", "token", "doctor"] {
                let program = helper().with_file_name("git-bbtoken");
                let done = under(world, &format!("--nofile={limit}"), &program, [command]).done();
                is_orderly(&done, &[0, 1, 3, 6, 7]);
            }
        }
    });
}

/// Prepares a shell that runs `script` in a place of its own for mounted file systems; `"$@"` is what follows.
fn apart(world: &World, script: &str) -> Run {
    world.run(Path::new("unshare"), ["-m", "sh", "-ec", script, "sh"])
}

#[test]
fn without_proc_the_other_program_is_found_on_the_path() {
    needs!(ROOT);
    const NO_PROC: &str = "mount -t tmpfs none /proc; exec \"$@\"";
    on_every_git(|world| {
        needs!(can(world, &["unshare", "-m"], |run| run) => ROOT);
        world.repository("ws", "repo");
        let list = ["-c", "protocol.version=0", "ls-remote", "bbtoken::ws/repo"];
        let run = apart(world, NO_PROC).arg(&world.git.program).args(list);
        let done = run.done().expect(0).quiet();
        assert!(done.stdout.contains("refs/heads/main"), "{}", done.stdout);
        let run = apart(world, NO_PROC)
            .arg(helper())
            .args(["origin", "bbtoken::ws/repo"])
            .env("GIT_SMART_HTTP", "0")
            .env("PATH", "/usr/bin:/bin")
            .input(CONNECT);
        run.fails(128).says(&[
            "error: cannot find 'git-bbtoken'\ncaused by: ",
            "hint: mount /proc, or add the directory of git-bbtoken to PATH, then try again\n",
        ]);
    });
}

#[test]
fn a_full_disk_costs_a_fetch_nothing_but_the_cache_and_a_login_names_it() {
    needs!(ROOT);
    const FULL: &str = "mount -t tmpfs -o size=4k,mode=700 none \"$BBTOKEN_HOME\"
        dd if=/dev/zero of=\"$BBTOKEN_HOME/x\" bs=4k count=9 2>/dev/null || true
        exec \"$@\"";
    on_every_git(|world| {
        needs!(can(world, &["unshare", "-m"], |run| run) => ROOT);
        world.repository("ws", "repo");
        let place = world.path("full");
        fs::create_dir(&place).expect("the name is free");
        let run = |program: &Path| apart(world, FULL).arg(program).env("BBTOKEN_HOME", &place);
        let list = run(&world.git.program).args(["ls-remote", "bbtoken::ws/repo"]);
        let done = list.done().expect(0);
        done.says(&["warning: the token was not saved", "No space left"]);
        assert!(done.stdout.contains("refs/heads/main"), "{}", done.stdout);
        let program = helper().with_file_name("git-bbtoken");
        configure_login(world, "work", &world.consumer);
        let login = run(&program).args(["login", "work", "--port", "0"]);
        let done = login.without("BBTOKEN_CLIENT_ID").done();
        is_orderly(&done, &[1, 7]);
        done.says(&["error: ", "No space left", SPACE]);
    });
}

#[test]
fn a_full_output_is_named() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let into_full = |run: Run| {
            let mut command = run.into_command();
            let full = fs::OpenOptions::new().write(true).open("/dev/full");
            let output = command
                .stdout(full.expect("Linux has it"))
                .output()
                .expect("the program starts");
            Done {
                shown: format!("{command:?}"),
                code: output.status.code(),
                stdout: String::new(),
                stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            }
        };
        for arguments in [["status"], ["help"], ["--help"], ["--version"], ["token"]] {
            let done = into_full(world.bbtoken(arguments)).expect(1);
            done.says(&["error: cannot write to standard output\n", SPACE]);
        }
        let version = into_full(world.run(&helper(), ["--version"])).expect(1);
        version.says(&["error: cannot write to standard output\n", SPACE]);
        let helper = world.run(&helper(), ["origin", "bbtoken::ws/repo"]);
        let done = into_full(helper.input(CONNECT)).expect(1);
        done.says(&["error: cannot write to git\n", SPACE]);
    });
}

#[test]
fn a_command_with_closed_standard_streams_ends_in_order() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let script = format!("\"$@\" {closed}");
            let shell = || world.run(Path::new("sh"), ["-c", &script, "sh"]);
            let arguments = ["origin", "bbtoken::ws/repo"];
            let done = shell().arg(helper()).args(arguments).input(CONNECT).done();
            is_orderly(&done, &[0]);
            for command in ["status", "token", "doctor"] {
                let program = helper().with_file_name("git-bbtoken");
                is_orderly(&shell().arg(program).arg(command).done(), &[0]);
            }
        }
    });
}

#[test]
fn a_removed_working_directory_is_named_where_it_is_needed() {
    on_every_git(|world| {
        world.repository("ws", "repo");
        let script = "mkdir gone && cd gone && rmdir ../gone && exec \"$@\"";
        let there = |program: &Path| {
            world
                .run(Path::new("sh"), ["-c", script, "sh"])
                .arg(program)
        };
        let run = there(&helper()).args(["origin", "bbtoken::ws/repo"]);
        let done = run.input(CONNECT).done().expect(0);
        assert!(done.stdout.contains("version 2"), "{}", done.stdout);
        let program = helper().with_file_name("git-bbtoken");
        for arguments in [&["setup", "--yes"] as &[&str], &["remote", "convert"]] {
            let done = there(&program).args(arguments).done();
            is_orderly(&done, &[1, 2, 3]);
            done.says(&[
                "error: ",
                "hint: change into a directory that exists, then try again\n",
            ]);
        }
    });
}
