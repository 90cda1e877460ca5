//! Counts the instructions from start to the first bytes sent. The load of the machine does not change this number.
//!
//! callgrind counts the release build of the helper, with a cached token and, if used, a remembered advertisement. The
//! server reads the first bytes, the start of TLS, and closes the connection. So the count covers the start, up to
//! these bytes, and a few instructions for the error. `git-remote-https` is counted in the same way. The count depends
//! on the certificates that are read: there is one case with one certificate, and one with as many as usual. It does
//! not depend on the processor, because valgrind simulates one.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    thread,
};

use crate::{
    inspect::Gate,
    needs::needs,
    support::{Run, World, cargo, gits, helper},
};

/// What may be needed, a line each: a name and a number.
const BUDGET: &str = include_str!("instructions.txt");
/// How much more than that may be needed; more is a regression, which has to be fixed or argued.
const TOLERATED_PERCENT: u64 = 5;
/// Hash tables are seeded by chance: the smallest count of this many repeats.
const REPEATS: usize = 3;
/// The size of the helper's release build (bytes). What a system reads at a start grows with it. The released one, linked
/// for older systems, is 17 kB larger; it may have 6.5 MB.
const SIZE_LIMIT: u64 = 6_480_000;
/// As many certificates as a system's bundle has.
const CERTIFICATES: usize = 145;
/// How many times more `git-remote-https` needs at least.
const TIMES_LESS: u64 = 5;
/// The alert `handshake_failure` (RFC 8446 6). No program retries after it, as it would after a closed connection.
const REFUSAL: [u8; 7] = [21, 3, 3, 0, 2, 2, 40];
/// What git says to its helper for `git ls-remote` once it is connected (gitprotocol-v2).
const LS_REMOTE: &str = "0014command=ls-refs\n0014agent=git/2.47.30016object-format=sha100010009peel\n000csymrefs\n0000";

/// A helper: how it is started, the word by which it is asked to connect (gitremote-helpers), and a variable it heeds.
struct Helper {
    words: [String; 3],
    connect: &'static str,
    variable: (&'static str, String),
}

#[test]
#[ignore = "builds the release, which takes minutes; scripts/test runs this"]
fn the_way_to_the_first_byte_keeps_its_budget() {
    needs!("valgrind");
    // No world is watched while it is built.
    let release = release();
    let size = fs::metadata(&release).expect("it was just built").len();
    assert!(size <= SIZE_LIMIT, "git-remote-bbtoken has {size} bytes");
    let git = gits().into_iter().max_by_key(|git| git.version);
    let world = World::new(git.expect("there is one"));
    world.repository("ws", "repo");
    let token = world.bitbucket.issue_access_token(&["repository"]);
    world
        .git(["config", "--global", "http.extraHeader"])
        .arg(format!("Authorization: Bearer {token}"))
        .ok();
    let mut gate = Gate::to(&world);
    let base_url = gate.base_url();
    let ours = Helper {
        words: [&shown(&release), "origin", "ws/repo"].map(str::to_owned),
        connect: "connect",
        variable: ("BBTOKEN_BASE_URL", base_url.clone()),
    };
    let program = Path::new(world.git(["--exec-path"]).ok().trim_end()).join("git-remote-https");
    let address = format!("{base_url}/ws/repo.git");
    let theirs = Helper {
        words: [&shown(&program), "origin", &address].map(str::to_owned),
        connect: "stateless-connect",
        // A directory without a certificate: libcurl reads those of the system otherwise, 140 files.
        variable: ("GIT_SSL_CAPATH", shown(&world.home())),
    };
    // Twice: the second finds what the first has left to be remembered.
    for _ in 0..2 {
        ours.conversation(&world, &[]).ok();
    }
    gate.close();

    let refusing = Refusing::on(&base_url);
    let count = |of: &str| {
        let [ours, theirs] = [&ours, &theirs].map(|helper| helper.count(&world, &refusing));
        let told =
            format!("{of}: git-remote-bbtoken {ours}, git-remote-https {theirs} instructions");
        let budget = budget(of);
        assert!(
            ours * 100 <= budget * (100 + TOLERATED_PERCENT),
            "the budget is {budget} (tests/it/instructions.txt), {told}"
        );
        assert!(
            ours * TIMES_LESS <= theirs,
            "git's own helper needs {TIMES_LESS} times more at least, {told}"
        );
    };
    count("one certificate");
    let authority = world.bitbucket.ca_file();
    let certificate = fs::read_to_string(authority).expect("it is there");
    fs::write(authority, certificate.repeat(CERTIFICATES)).expect("it is the test's");
    count("a bundle of certificates");
}

/// Builds the helper as it is released; it is done in a moment if nothing has changed.
fn release() -> PathBuf {
    let debug = helper();
    let target = debug
        .parent()
        .and_then(Path::parent)
        .expect("it is two levels below the target directory");
    let built = cargo()
        .args(["build", "--release", "--locked", "-q"])
        .args(["--bin", "git-remote-bbtoken", "--target-dir"])
        .arg(target)
        .status();
    assert!(built.is_ok_and(|status| status.success()), "it builds");
    target.join("release/git-remote-bbtoken")
}

impl Helper {
    /// Lets it be told what git would tell it, run by another program if there are words for one.
    fn conversation(&self, world: &World, runner: &[&str]) -> Run {
        let mut words = runner
            .iter()
            .copied()
            .chain(self.words.iter().map(String::as_str));
        let program = words.next().expect("a helper has words");
        world
            .run(Path::new(program), words)
            // Our helper reads all certificates early where a directory is set, too.
            .without("GIT_SSL_CAPATH")
            .env(self.variable.0, &self.variable.1)
            .env("GIT_PROTOCOL", "version=2")
            .env("GIT_DIR", world.path("none"))
            .input(&format!(
                "capabilities\n{} git-upload-pack\n{LS_REMOTE}",
                self.connect
            ))
    }

    /// Counts its instructions until somebody has hung up.
    fn count(&self, world: &World, refusing: &Refusing) -> u64 {
        let valgrind = shown(&valgrind());
        let report = world.path("callgrind.out");
        let option = format!("--callgrind-out-file={}", report.display());
        let once = || {
            let connections = refusing.connections();
            let runner = [&valgrind, "--tool=callgrind", "-q", &option];
            // Without a git to start, the helper cannot ask git's own transport what it makes of the refusal.
            let counted = self.conversation(world, &runner);
            let done = counted.env("PATH", world.path("none")).fails(128);
            let more = refusing.connections() - connections;
            assert_eq!(more, 1, "one connection is counted: {}", done.stderr);
            let text = fs::read_to_string(&report).expect("callgrind writes it");
            let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
            let count = totals.and_then(|count| count.trim().parse().ok());
            count.expect("callgrind's format has a line of totals")
        };
        let counts = (0..REPEATS).map(|_| once());
        counts.min().expect("there are repeats")
    }
}

fn valgrind() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|place| place.join("valgrind"));
    places
        .find(|place| place.is_file())
        .expect("valgrind is installed")
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn budget(name: &str) -> u64 {
    let line = BUDGET
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .expect("the budget names it");
    line.trim().parse().expect("it is a number")
}

/// A server that reads what comes first and refuses it.
struct Refusing {
    port: u16,
    connections: Arc<AtomicU32>,
    closed: Arc<AtomicBool>,
    listening: Option<thread::JoinHandle<()>>,
}

impl Refusing {
    fn on(base: &str) -> Self {
        let port = base.rsplit(':').next().and_then(|port| port.parse().ok());
        let port = port.expect("it has a port");
        let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port was let go of");
        let (connections, closed) = <(Arc<AtomicU32>, Arc<AtomicBool>)>::default();
        let listening = thread::spawn({
            let (connections, closed) = (Arc::clone(&connections), Arc::clone(&closed));
            move || {
                while let Ok((mut stream, _)) = listener.accept() {
                    if closed.load(Ordering::SeqCst) {
                        return;
                    }
                    let read = stream.read(&mut [0; 4096]).expect("the helper writes");
                    assert!(read > 0, "the helper has something to say");
                    stream.write_all(&REFUSAL).expect("the helper listens");
                    connections.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
        Refusing {
            port,
            connections,
            closed,
            listening: Some(listening),
        }
    }

    fn connections(&self) -> u32 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for Refusing {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        // Wakes the one that listens.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
        if let Some(listening) = self.listening.take() {
            listening.join().expect("it does not panic");
        }
    }
}
