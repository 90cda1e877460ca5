//! The lock of a repository's configuration: the helper writes git-lfs settings under it, and the user's own
//! `git config` fails while another process holds it.

use std::{fs, path::PathBuf, thread};

use bitbucket_local::{Action, Kind, Rule};

use crate::{
    inspect::strace,
    lfs,
    needs::needs,
    support::{World, on_every_git},
};

/// How often the user writes a setting while the helper works.
const WRITES: usize = 12;
/// What the helper may call while it holds the lock: nothing here waits for another process, the network or the disk.
const CALLS: [&str; 16] = [
    "brk",
    "close",
    "fchmod",
    "fchown",
    "fcntl",
    "fstat",
    "getpid",
    "lseek",
    "mmap",
    "munmap",
    "newfstatat",
    "open",
    "openat",
    "read",
    "statx",
    "write",
];
/// How many calls that may take: the helper looks whether the file changed, writes the new one and renames it.
const MOST_CALLS: usize = 20;

/// Makes a repository that uses git-lfs and lacks its settings.
fn unwired(world: &World) -> PathBuf {
    lfs::install(world);
    world.repository("ws", "repo");
    let tree = world.path("tree");
    world.git(["init", "-q", "tree"]).ok();
    world.commit(&tree, "file", "one");
    fs::write(tree.join(".gitattributes"), "*.bin filter=lfs\n").expect("it can be written");
    let add = ["remote", "add", "origin", "bbtoken::ws/repo"];
    world.git(add).within(&tree).ok();
    tree
}

#[test]
fn the_users_git_config_works_while_a_fetch_configures_git_lfs() {
    needs!("git-lfs");
    on_every_git(|world| {
        let tree = unwired(world);
        let requests = [
            Rule::new(Action::Hold).kind(Kind::Token),
            Rule::new(Action::Hold).kind(Kind::Git).method("GET"),
            Rule::new(Action::Hold).kind(Kind::Git).method("POST"),
        ];
        for held in requests {
            world.bitbucket.script(held);
        }
        let fetch = world.git(["fetch", "-q", "origin"]).within(&tree);
        thread::scope(|scope| {
            let fetching = scope.spawn(|| fetch.done());
            for left in [2, 1, 0] {
                let is_held = |_: &[_]| world.bitbucket.rules_left() == left;
                world.bitbucket.wait_for(is_held).expect("it comes so far");
                for number in 0..WRITES {
                    let (key, value) = (format!("user.key{left}"), number.to_string());
                    let write = world.git(["config", &key, &value]).within(&tree);
                    write.done().expect(0).quiet();
                }
                world.bitbucket.release();
            }
            fetching.join().expect("it ran").expect(0).quiet();
        });
        for left in 0..3 {
            let value = lfs::get(world, &tree, &format!("user.key{left}"));
            assert_eq!(value, (WRITES - 1).to_string(), "the user's setting stays");
        }
        let wired = lfs::get(world, &tree, "remote.origin.lfsurl");
        assert_eq!(wired, lfs::ENDPOINT, "the fetch configured git-lfs");
    });
}

#[test]
fn the_helper_locks_the_configuration_once_and_for_a_few_calls_that_do_not_wait() {
    needs!("git-lfs", "strace");
    on_every_git(|world| {
        let tree = unwired(world);
        let traced = || {
            let traced = strace(world, "all", ["fetch", "-q", "origin"], |run| {
                run.within(&tree)
            });
            traced.done.expect(0).quiet();
            traced.calls
        };
        let calls = traced();
        let lines: Vec<_> = calls.lines().collect();
        let is_lock = |line: &&str| line.contains("config.lock\"") && line.contains("O_CREAT");
        let start = lines.iter().position(is_lock);
        let start = start.expect("the helper takes the lock");
        let (process, _) = lines[start].split_once(' ').expect("a process is in front");
        // strace shows a call in two lines where another process comes between.
        let of_helper = |line: &&&str| {
            let call = line.strip_prefix(process);
            call.is_some_and(|call| !call.trim_start().starts_with("<... "))
        };
        let is_held = |line: &&&str| !(line.contains("rename") && line.contains("config.lock\""));
        let behind = lines[start + 1..].iter().filter(of_helper);
        let held: Vec<_> = behind.take_while(is_held).collect();
        for line in &held {
            let call = line[process.len()..].trim_start();
            let name = call.split('(').next().unwrap_or_default();
            let waits =
                !CALLS.contains(&name) || call.contains("F_SETLK") || call.contains("F_OFD");
            assert!(!waits, "the helper may wait here: {call}");
        }
        assert!(held.len() <= MOST_CALLS, "a short time: {held:#?}");
        assert_eq!(
            lines.iter().filter(|line| is_lock(line)).count(),
            1,
            "one lock for all settings"
        );
        let again = traced();
        assert!(
            !again.contains("config.lock\""),
            "a later fetch takes no lock"
        );
    });
}
