//! Checks that a command does not hang, leave files or processes, or damage a repository.

use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs,
    io::{self, Read as _, Write as _},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

use crate::support::{Done, Run, World, put_program};

/// How long a command may take that has to end by itself; only one that hangs takes as long.
const LIMIT_S: &str = "240";
/// Spans for [`low_speed`]: on a busy machine the first one may be over before the server holds anything back.
pub(crate) const SPANS_S: [u32; 6] = [1, 2, 4, 8, 16, 32];
/// What `timeout` exits with when it had to end its command (coreutils: timeout).
pub(crate) const HUNG: i32 = 124;

/// Prepares git so that it is ended, with exit code [`HUNG`], if it does not end by itself.
pub(crate) fn limited<A: AsRef<OsStr>>(
    world: &World,
    arguments: impl IntoIterator<Item = A>,
) -> Run {
    let mut run = world
        .run(Path::new("timeout"), ["--kill-after=5", LIMIT_S])
        .arg(&world.git.program);
    for argument in arguments {
        run = run.arg(argument);
    }
    run
}

/// Settings by which git gives up what is slower than 1000 bytes a second for this long.
pub(crate) fn low_speed(span_s: u32) -> [String; 4] {
    let c = || "-c".to_owned();
    let limit = "http.lowSpeedLimit=1000".to_owned();
    [c(), limit, c(), format!("http.lowSpeedTime={span_s}")]
}

/// A command and the system calls that it and its children made.
pub(crate) struct Traced {
    /// What became of it.
    pub(crate) done: Done,
    /// One call a line, with its process in front, with whole arguments and environments.
    pub(crate) calls: String,
}

/// Runs git under `strace`, which the tests need: it alone sees every process, however short it lives.
pub(crate) fn strace<A: AsRef<OsStr>>(
    world: &World,
    calls: &str,
    arguments: impl IntoIterator<Item = A>,
    prepare: impl FnOnce(Run) -> Run,
) -> Traced {
    let output = world.path("strace");
    let mut run = world
        .run(
            Path::new("strace"),
            ["-f", "-qq", "-v", "-s", "100000", "-e"],
        )
        .arg(format!("trace={calls}"))
        .args(["-e", "signal=none"])
        // The other calls then cost nothing; strace has no filter for all of them.
        .args((calls != "all").then_some("--seccomp-bpf"))
        .arg("-o")
        .arg(&output)
        .arg(&world.git.program);
    for argument in arguments {
        run = run.arg(argument);
    }
    let done = prepare(run).done();
    let calls = fs::read_to_string(&output).expect("strace writes it");
    fs::remove_file(&output).expect("it is the test's");
    Traced { done, calls }
}

/// Expects that git finds nothing wrong with a repository, and no half-written pack in it.
#[track_caller]
pub(crate) fn is_sound(world: &World, tree: &Path) {
    world
        .git(["fsck", "--full", "--strict", "--no-progress"])
        .within(tree)
        .ok();
    let left: Vec<_> = files(&tree.join(".git"))
        .into_keys()
        .filter(|path| {
            let name = path
                .file_name()
                .unwrap_or_default()
                .to_string_lossy()
                .into_owned();
            name.ends_with(".lock") || name.starts_with("tmp_")
        })
        .collect();
    assert!(
        left.is_empty(),
        "a failed command leaves no half-written file: {left:?}"
    );
}

/// Reads every file below a directory; a directory that is not there holds none.
pub(crate) fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![directory.to_owned()];
    while let Some(directory) = open.pop() {
        let Ok(entries) = fs::read_dir(&directory) else {
            continue;
        };
        for entry in entries {
            let path = entry.expect("the directory stays").path();
            if path.is_dir() && !path.is_symlink() {
                open.push(path);
            } else {
                let content = fs::read(&path).unwrap_or_default();
                found.insert(path, content);
            }
        }
    }
    found
}

/// The names in a directory, in order; a directory that is not there holds none.
pub(crate) fn names(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("the directory stays").file_name())
        .map(|name| name.to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// Bytes that no compression makes smaller.
pub(crate) fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        // Marsaglia, "Xorshift RNGs".
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

/// Lets a repository store noise as it is. Git would take seconds for the attempt to make it smaller.
pub(crate) fn stores_uncompressed(repository: &Path) {
    let config = fs::OpenOptions::new()
        .append(true)
        .open(repository.join("config"));
    let written = config.and_then(|mut file| file.write_all(b"[core]\n\tcompression = 0\n"));
    written.expect("the repository can be written");
}

/// Writes a program that git runs as a hook of a bare repository or of a `.git` directory.
pub(crate) fn hook(repository: &Path, name: &str, script: &str) {
    let hooks = repository.join("hooks");
    fs::create_dir_all(&hooks).expect("the repository can be written");
    put_program(hooks.join(name), format!("#!/bin/sh\n{script}\n"));
}

/// A way to the server that can be closed: a port that hands every connection on.
pub(crate) struct Gate {
    port: u16,
    path: String,
    shared: Arc<Shared>,
    listening: Option<thread::JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    closed: AtomicBool,
    streams: Mutex<Vec<TcpStream>>,
}

impl Gate {
    /// Opens a way to the world's server.
    pub(crate) fn to(world: &World) -> Self {
        let port = world.origin().rsplit(':').next().expect("it has a port");
        let server = SocketAddr::from(([127, 0, 0, 1], port.parse().expect("it is a number")));
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port is free");
        let port = listener.local_addr().expect("it is bound").port();
        let shared = Arc::new(Shared::default());
        let listening = thread::spawn({
            let shared = Arc::clone(&shared);
            move || shared.listen(&listener, server)
        });
        Gate {
            port,
            path: world.bitbucket.base_url()[world.origin().len()..].to_owned(),
            shared,
            listening: Some(listening),
        }
    }

    /// The base URL by this way.
    pub(crate) fn base_url(&self) -> String {
        format!("https://localhost:{}{}", self.port, self.path)
    }

    /// Makes a command go this way, and ask for tokens on the straight one, where the cached ones came from.
    pub(crate) fn between(&self, world: &World, run: Run) -> Run {
        run.env("BBTOKEN_BASE_URL", self.base_url())
            .env("BBTOKEN_TOKEN_URL", world.bitbucket.token_url())
    }

    /// Ends every connection that there is; new ones are let through.
    pub(crate) fn end_connections(&self) {
        for stream in self.shared.streams().drain(..) {
            // One that has ended already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Ends every connection, and lets none through from now on.
    pub(crate) fn close(&mut self) {
        if let Some(listening) = self.listening.take() {
            self.shared.closed.store(true, Ordering::SeqCst);
            // Wakes the one that listens, who then lets go of the port.
            drop(TcpStream::connect(("127.0.0.1", self.port)));
            listening.join().expect("it does not panic");
            self.end_connections();
        }
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.close();
    }
}

impl Shared {
    fn streams(&self) -> std::sync::MutexGuard<'_, Vec<TcpStream>> {
        self.streams
            .lock()
            .expect("no thread panics while it holds them")
    }

    fn listen(&self, listener: &TcpListener, server: SocketAddr) {
        while let Ok((near, _)) = listener.accept() {
            if self.closed.load(Ordering::SeqCst) {
                return;
            }
            if let Err(error) = self.pass(near, server) {
                panic!("the server cannot be reached: {error}");
            }
        }
    }

    fn pass(&self, near: TcpStream, server: SocketAddr) -> io::Result<()> {
        let far = TcpStream::connect(server)?;
        for (from, to) in [(&near, &far), (&far, &near)] {
            let (mut from, mut to) = (from.try_clone()?, to.try_clone()?);
            thread::spawn(move || {
                let mut buffer = [0; 64 * 1024];
                while let Ok(length @ 1..) = from.read(&mut buffer) {
                    if to.write_all(&buffer[..length]).is_err() {
                        break;
                    }
                }
                // The other end may be gone already.
                let _ = to.shutdown(Shutdown::Write);
            });
        }
        self.streams().extend([near, far]);
        Ok(())
    }
}
