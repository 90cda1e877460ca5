//! `BBTOKEN_TEST_AGENT` gives every [`World`] an agent, so that any test runs with one that works, or that does not:
//!
//! * `on`: it works.
//! * `stopped`: each agent is stopped as soon as it listens (SIGSTOP). It is killed when another one has taken its place;
//!   under strace, a little later.
//! * `killed`: each agent is killed at a random moment at which it lends nothing. In the middle of a push, the result of
//!   that would be unknown; [`super::faults`] kills at any moment.
//! * `garbage`: random bytes are the answer to every question.
//!
//! `scripts/test` lists the tests that cannot pass with it.

use std::{
    env,
    fs::{self, DirBuilder, File},
    io::Write as _,
    os::unix::{
        fs::{DirBuilderExt as _, MetadataExt as _},
        net::{UnixListener, UnixStream},
    },
    path::{Path, PathBuf},
    process::Child,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rustix::{
    net::sockopt::socket_peercred,
    process::{Pid, Signal, kill_process},
};

use super::alone;
use crate::{
    chance::{Chance, seed},
    processes,
    support::World,
};

/// How often the place is looked at.
const LOOK: Duration = Duration::from_millis(1);
/// The longest life of an agent that is killed; several commands take as long.
const LIFE_MS: usize = 400;
/// How long an agent stays stopped whose end strace waits for: longer than a command waits for its answer.
const TRACED: Duration = Duration::from_millis(100);
/// The longest answer that is garbage: more than a command reads.
const GARBAGE_BYTES: usize = 3000;

/// The agents of one world.
pub(crate) struct Agent {
    directory: PathBuf,
    first: Option<Child>,
    disturber: Option<Disturber>,
}

/// What keeps agents from their work.
pub(crate) struct Disturber {
    is_over: Arc<AtomicBool>,
    thread: JoinHandle<usize>,
}

impl Agent {
    /// Starts what the variable says; nothing without it.
    pub(crate) fn of(world: &World) -> Option<Self> {
        let kind = env::var("BBTOKEN_TEST_AGENT").ok()?;
        Some(Agent::start(world, &kind))
    }

    /// Lets every command of a world use an agent.
    pub(crate) fn start(world: &World, kind: &str) -> Self {
        // Tests read and replace `.gitconfig`.
        let config = world.home().join(".config/git");
        fs::create_dir_all(&config).expect("the home can be written");
        fs::write(config.join("config"), "[bbtoken]\n\tagent = true\n").expect("it is new");
        let place = world.begin_session().join("git-remote-bbtoken");
        let socket = place.join("agent-1");
        let chance = Chance(seed().wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let first = (kind != "garbage").then(|| {
            let mut command = alone(world, &place).into_command();
            let first = command.spawn().expect("it starts");
            while UnixStream::connect(&socket).is_err() {
                thread::sleep(LOOK);
            }
            first
        });
        Agent {
            directory: world.path(""),
            first,
            disturber: match kind {
                "on" => None,
                "stopped" => Some(Disturber::signal(socket, chance, Signal::STOP, false)),
                "killed" => Some(Disturber::signal(socket, chance, Signal::KILL, true)),
                "garbage" => Some(Disturber::answer(&place, socket, chance)),
                _ => panic!("BBTOKEN_TEST_AGENT is on, stopped, killed or garbage"),
            },
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if let Some(disturber) = self.disturber.take() {
            disturber.end();
        }
        for agent in processes::with_arguments(&["agent", "run"], &self.directory) {
            // It may have ended by itself.
            let _ = agent.signal(Signal::KILL);
        }
        if let Some(mut first) = self.first.take() {
            let _ = first.wait();
        }
    }
}

impl Disturber {
    /// Sends a signal to each agent that appears: [`Signal::STOP`] at once, [`Signal::KILL`] at a random moment, and if
    /// `spares_lenders`, only while no command is connected.
    pub(crate) fn signal(
        place: PathBuf,
        mut chance: Chance,
        signal: Signal,
        spares_lenders: bool,
    ) -> Self {
        let mut seen = None;
        let mut stopped: Option<Pid> = None;
        Disturber::again_and_again(move || {
            // A number of a file is used again.
            let entry = fs::symlink_metadata(&place).ok();
            let entry = entry.map(|it| (it.ino(), it.ctime(), it.ctime_nsec()));
            if entry == seen {
                return false;
            }
            let Some(agent) = listener(&place) else {
                return false;
            };
            if signal == Signal::KILL {
                let life = chance.below(LIFE_MS);
                thread::sleep(Duration::from_millis(life as u64));
            }
            // An agent may end by itself.
            if spares_lenders {
                let _ = kill_process(agent, Signal::STOP);
                if is_connected(&place) {
                    let _ = kill_process(agent, Signal::CONT);
                    return false;
                }
            }
            seen = entry;
            let is_sent = kill_process(agent, signal).is_ok();
            if signal == Signal::STOP {
                let replaced = stopped.replace(agent).filter(|before| *before != agent);
                if let Some(replaced) = replaced {
                    let _ = kill_process(replaced, Signal::KILL);
                }
                if is_traced(agent) {
                    thread::sleep(TRACED);
                    let _ = kill_process(agent, Signal::KILL);
                    stopped = None;
                }
            }
            is_sent
        })
    }

    /// Answers each client with random bytes.
    fn answer(place: &Path, socket: PathBuf, mut chance: Chance) -> Self {
        let made = DirBuilder::new().mode(0o700).create(place);
        made.expect("no agent has run");
        // With it, no agent starts.
        let lock = File::create(place.join("agent-1.lock")).expect("no agent has run");
        lock.lock().expect("no agent has run");
        let listener = UnixListener::bind(&socket).expect("no agent has run");
        listener.set_nonblocking(true).expect("it is a socket");
        Disturber::again_and_again(move || {
            let _lock = &lock;
            let Ok((mut client, _)) = listener.accept() else {
                return false;
            };
            let count = chance.below(GARBAGE_BYTES);
            let garbage: Vec<u8> = (0..count)
                .map(|_| u8::try_from(chance.below(256)).expect("it is a byte"))
                .collect();
            // The client leaves when it has read enough.
            client.write_all(&garbage).is_ok()
        })
    }

    fn again_and_again(mut disturb: impl FnMut() -> bool + Send + 'static) -> Self {
        let is_over = Arc::<AtomicBool>::default();
        let ends = Arc::clone(&is_over);
        let thread = thread::spawn(move || {
            let mut count = 0;
            while !ends.load(Ordering::SeqCst) {
                match disturb() {
                    true => count += 1,
                    false => thread::sleep(LOOK),
                }
            }
            count
        });
        Disturber { is_over, thread }
    }

    /// Ends it, and tells how often it has disturbed.
    pub(crate) fn end(self) -> usize {
        self.is_over.store(true, Ordering::SeqCst);
        self.thread.join().unwrap_or_default()
    }
}

/// Finds the process that listens at a socket.
fn listener(socket: &Path) -> Option<Pid> {
    let connection = UnixStream::connect(socket).ok()?;
    Some(socket_peercred(&connection).ok()?.pid)
}

/// Tells whether strace waits for the end of a process (proc_pid_status(5)).
fn is_traced(process: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid()));
    status.is_ok_and(|status| !status.contains("\nTracerPid:\t0\n"))
}

/// Tells whether a client is connected to a socket (proc_net(5)).
fn is_connected(socket: &Path) -> bool {
    let sockets = fs::read_to_string("/proc/self/net/unix").expect("it is shown");
    let socket = socket.display().to_string();
    // The one that listens is the first.
    sockets
        .lines()
        .filter(|line| line.ends_with(&socket))
        .count()
        > 1
}
