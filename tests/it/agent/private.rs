//! What the agent must not keep, and whom it and its commands must not trust.

use std::{
    cell::Cell,
    collections::{BTreeSet, HashSet},
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::{
        fs::{FileExt as _, PermissionsExt as _, chown, symlink},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use rustix::process::{Pid, Signal, kill_process};

use super::{Lending, Status, alone, status};
use crate::{
    inspect::names,
    needs::{ROOT, needs},
    support::{Run, World, gits},
};

/// Two users that no system has.
const OTHER: u32 = 64_001;
const USER: u32 = 64_002;
/// A repository whose name is found nowhere else.
const CANARY: &str = "canary-in-the-path-of-a-repository";
/// What is searched for is cut into pieces, because a part of a secret must not be found either.
const PIECE_BYTES: usize = 16;

/// Pieces of texts.
#[derive(Default)]
struct Pieces(HashSet<Vec<u8>>);

impl Pieces {
    fn add(&mut self, text: &str) {
        let pieces = text.as_bytes().chunks_exact(PIECE_BYTES);
        self.0.extend(pieces.map(<[u8]>::to_vec));
    }

    /// Gives the pieces that are found in some bytes.
    fn found(&self, bytes: &[u8]) -> BTreeSet<String> {
        let windows = bytes.windows(PIECE_BYTES);
        let found = windows.filter(|window| self.0.contains(*window));
        found
            .map(|piece| String::from_utf8_lossy(piece).into_owned())
            .collect()
    }
}

/// Gives the memory that a process can write to (proc_pid_maps(5), proc_pid_mem(5)).
fn memory(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("root can read it");
    let file = fs::File::open(format!("/proc/{pid}/mem")).expect("root can read it");
    let mut bytes = Vec::new();
    for line in maps.lines() {
        let mut words = line.split(' ');
        let (range, rights) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
        let number = |text| u64::from_str_radix(text, 16).expect("it is a number");
        if let Some((begin, end)) = range.split_once('-')
            && rights.starts_with("rw")
        {
            let (begin, end) = (number(begin), number(end));
            let length = usize::try_from(end - begin).expect("it fits");
            let mut region = vec![0; length];
            let read = file.read_at(&mut region, begin);
            region.truncate(read.unwrap_or_else(|error| panic!("{line}: {error}")));
            bytes.append(&mut region);
        }
    }
    bytes
}

/// Gives the token that is cached.
fn cached_token(world: &World) -> String {
    let names = names(&world.cache());
    let name = names.iter().find(|name| name.ends_with(".json"));
    let text = fs::read_to_string(world.cache().join(name.expect("a token is cached")));
    let text: serde_json::Value =
        serde_json::from_str(&text.expect("it is text")).expect("it is JSON");
    let token = text["access_token"]
        .as_str()
        .expect("it has one")
        .to_owned();
    assert!(token.len() > 100, "it is one");
    token
}

/// Lists refs, fetches and pushes over the agent's connection, and asks for a repository that does not exist.
fn use_it(world: &Lending) -> Status {
    let address = format!("bbtoken::ws/{CANARY}");
    let bare = world.repository("ws", CANARY);
    let tree = world.world.clone(&format!("ws/{CANARY}"), "tree");
    let seed = world.path(&format!("seed-ws-{CANARY}"));
    let number = Cell::new(0);
    let commit = |place: &Path, name: &str| {
        number.set(number.get() + 1);
        world.commit(place, name, number.get().to_string());
    };
    world.start();
    world.borrows(|| world.git(["ls-remote", "-q", &address]));
    world.borrows(|| {
        commit(&seed, "theirs");
        world.publish(&bare, &seed);
        world.git(["pull", "-q", "--rebase"]).within(&tree)
    });
    world
        .git(["ls-remote", &format!("{address}-lost")])
        .fails(128);
    world.borrows(|| {
        commit(&tree, "ours");
        world.git(["push", "-q"]).within(&tree)
    })
}

#[test]
fn after_a_request_the_agent_has_no_token_no_secret_and_no_path() {
    needs!(ROOT);
    let world = Lending::new();
    let status = use_it(&world);
    let token = cached_token(&world);
    let mut private = Pieces::default();
    private.add(&token);
    private.add(&STANDARD.encode(format!("x-token-auth:{token}")));
    private.add(&world.consumer.secret);
    private.add(CANARY);
    let mut known = Pieces::default();
    known.add(&world.bitbucket.ca_file().display().to_string());

    let bytes = memory(status.pid);
    let shown = known.found(&bytes);
    assert!(
        !shown.is_empty(),
        "the search finds what the agent has in memory"
    );
    assert_eq!(
        private.found(&bytes),
        BTreeSet::new(),
        "its memory has none"
    );

    let process = PathBuf::from(format!("/proc/{}", status.pid));
    let arguments = fs::read(process.join("cmdline")).expect("it runs");
    assert_eq!(
        private.found(&arguments),
        BTreeSet::new(),
        "no argument has one"
    );
    let environment = fs::read(process.join("environ")).expect("root can read it");
    assert_eq!(
        String::from_utf8_lossy(&environment),
        "",
        "no variable is set"
    );
    let directory = fs::read_link(process.join("cwd")).expect("root can read it");
    assert_eq!(directory, Path::new("/"), "it stays in no directory");
    for handle in names(&process.join("fd")) {
        let open = fs::read_link(process.join("fd").join(handle)).expect("it stays open");
        let open = open.display().to_string();
        let is_known = ["socket:", "anon_inode:", "/dev/null"];
        let is_known = is_known.iter().any(|known| open.starts_with(known));
        let is_own = [world.place(), world.place().join("agent-1.lock")];
        assert!(
            is_known || is_own.contains(&PathBuf::from(&open)),
            "it opens no other file: {open}"
        );
    }
    let kept = names(&world.place());
    assert_eq!(kept, ["agent-1", "agent-1.lock"], "it writes no file");
    let lock = fs::read(world.place().join("agent-1.lock"));
    assert_eq!(lock.expect("it is there"), b"", "its lock is empty");
}

/// An agent of a user without privileges.
struct OfUser {
    world: World,
    agent: Child,
}

impl Drop for OfUser {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.agent.kill();
        let _ = self.agent.wait();
    }
}

impl OfUser {
    /// Starts it; `None` if that user cannot start our programs.
    fn start() -> Option<Self> {
        let world = World::new(gits().remove(0));
        let version = world.bbtoken(["--version"]).by_user(USER).within("/");
        let starts = version.into_command().output();
        if !starts.is_ok_and(|output| output.status.success()) {
            return None;
        }
        for place in [world.path(""), world.home()] {
            set_mode(&place, 0o755);
        }
        let kept = directory(world.path("kept"), USER, 0o700);
        let run = alone(&world, &kept.join("run")).by_user(USER).within("/");
        let agent = run.into_command().spawn().expect("it starts");
        let this = OfUser { world, agent };
        while this.status().is_none() {
            std::thread::yield_now();
        }
        Some(this)
    }

    fn run(&self, run: Run) -> Run {
        let run = run.env("BBTOKEN_HOME", self.world.path("kept"));
        run.by_user(USER).within("/")
    }

    fn status(&self) -> Option<Status> {
        status(self.run(self.world.bbtoken(["agent", "status", "--json"])))
    }

    /// Tells whether another process of the user can read a file of a process.
    fn can_read(&self, process: u32, name: &str) -> bool {
        let file = format!("/proc/{process}/{name}");
        let cat = self.world.run(Path::new("/bin/cat"), [file]);
        self.run(cat).done().code == Some(0)
    }
}

#[test]
fn no_other_process_of_the_user_can_read_the_agent() {
    needs!(ROOT);
    let user = OfUser::start();
    needs!(user.is_some() => ROOT);
    let Some(user) = user else { return };
    let cat = user.run(user.world.run(Path::new("/bin/cat"), [""; 0]));
    let mut cat = cat.into_command();
    let mut cat = cat.stdin(Stdio::piped()).spawn().expect("it starts");
    for name in ["auxv", "environ", "maps"] {
        assert!(
            user.can_read(cat.id(), name),
            "any other process has {name}"
        );
        assert!(
            !user.can_read(user.agent.id(), name),
            "the agent hides {name}"
        );
    }
    drop(cat.stdin.take());
    assert!(cat.wait().is_ok(), "it ends");
}

#[test]
fn the_agent_answers_no_other_user() {
    needs!(ROOT);
    let user = OfUser::start();
    needs!(user.is_some() => ROOT);
    let Some(user) = user else { return };
    let socket = user.world.path("kept/run/agent-1");
    let mut root = UnixStream::connect(socket).expect("root can enter the directory");
    // The agent may have closed it already.
    let _ = root.write_all(b"\"status\"\n");
    let mut answer = Vec::new();
    let _ = root.read_to_end(&mut answer);
    assert_eq!(String::from_utf8_lossy(&answer), "", "it says nothing");
    assert!(user.status().is_some(), "it answers its own user");
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is the test's");
}

/// Makes a directory of some user's.
fn directory(path: PathBuf, owner: u32, mode: u32) -> PathBuf {
    fs::create_dir_all(&path).expect("the name is free");
    chown(&path, Some(owner), Some(owner)).expect("root may");
    set_mode(&path, mode);
    path
}

/// Lists refs where nothing may change, and expects what a command without an agent answers.
fn works_as_without(world: &Lending, run: Run) {
    let without = ["-c", "bbtoken.agent=false", "ls-remote", "bbtoken::ws/repo"];
    let expected = world.git(without).ok();
    let done = run.done().expect(0).quiet();
    assert_eq!(done.stdout, expected, "the answer is the same");
}

#[test]
fn a_command_sends_nothing_to_a_place_that_is_not_the_users_alone() {
    needs!(ROOT);
    /// Makes the place.
    type Make = fn(&Lending, &Path);
    let places: [(&str, Make); 4] = [
        ("others can write to it", |_, place| {
            directory(place.to_owned(), 0, 0o777);
        }),
        ("a group can write to it", |_, place| {
            directory(place.to_owned(), 0, 0o770);
        }),
        ("it belongs to another user", |_, place| {
            directory(place.to_owned(), OTHER, 0o700);
        }),
        ("it is a link", |world, place| {
            let target = directory(world.path("elsewhere"), 0, 0o700);
            symlink(target, place).expect("the name is free");
        }),
    ];
    for (why, make) in places {
        let world = Lending::new();
        make(&world, &world.place());
        let planted = UnixListener::bind(world.place().join("agent-1")).expect("it is writable");
        planted.set_nonblocking(true).expect("it is a socket");
        works_as_without(&world, world.list());
        // A second command could have learnt of the place from the first.
        works_as_without(&world, world.list());
        assert!(planted.accept().is_err(), "no command connects where {why}");
        assert_eq!(
            names(&world.place()),
            ["agent-1"],
            "no file is written where {why}"
        );
        let own = world.until(|_| true);
        let agents = world.agents();
        assert!(
            agents.iter().all(|agent| agent.shown.contains("/.cache/")),
            "agent {} is in the user's cache where {why}",
            own.pid
        );
    }
}

/// Shows what each client sends first.
const PLANTED: &str = "
import socket, sys
server = socket.socket(socket.AF_UNIX)
server.bind(sys.argv[1])
server.listen()
print('ready', flush=True)
while True:
    client, _ = server.accept()
    print(client.recv(65536), flush=True)
";

#[test]
fn a_command_sends_nothing_to_another_users_socket() {
    needs!(ROOT);
    needs!("python3");
    let world = Lending::new();
    set_mode(&world.path(""), 0o755);
    let theirs = directory(world.path("theirs"), OTHER, 0o700).join("agent-1");
    let python = world
        .run(Path::new("python3"), ["-c", PLANTED])
        .arg(&theirs);
    let mut python = python.by_user(OTHER).within("/").into_command();
    let mut python = python.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut shown = BufReader::new(python.stdout.take().expect("it is a pipe")).lines();
    let mut next = || shown.next().expect("it goes on").expect("it is text");
    assert_eq!(next(), "ready");
    let place = directory(world.place(), 0, 0o700);
    let socket = place.join("agent-1");
    fs::rename(&theirs, &socket).expect("root may");

    works_as_without(&world, world.list());
    assert!(world.status().is_none(), "it is not the user's agent");
    assert_eq!(
        (next(), next()),
        ("b''".into(), "b''".into()),
        "both send nothing"
    );
    let mut own = UnixStream::connect(&socket).expect("it still listens");
    own.write_all(b"something").expect("it reads");
    assert_eq!(next(), "b'something'", "it shows what it gets");
    assert!(world.agents().is_empty(), "no agent replaces it");
    kill_process(Pid::from_child(&python), Signal::KILL).expect("it is the test's");
    python.wait().expect("it ends");
}

#[test]
fn a_place_with_a_long_path_means_no_agent() {
    let world = Lending::new();
    let home = world.path(&"x".repeat(100));
    let run = || world.list().env("BBTOKEN_HOME", &home);
    works_as_without(&world, run());
    let done = run().env("BBTOKEN_TRACE", "1").done().expect(0);
    done.says(&["is too long"]);
    assert!(!home.join("run").exists(), "no directory is made for it");
    assert!(world.agents().is_empty(), "no agent starts");
}
