//! The keep-alive agent, with real git. The version of git does not matter.

pub(crate) mod faults;
mod lanes;
mod parents;
mod private;
pub(crate) mod whole;

use std::{
    fs,
    ops::Deref,
    path::{Path, PathBuf},
    thread,
    time::{Duration, Instant},
};

use bitbucket_local::Options;
use rustix::process::Signal;

use crate::{
    processes::{self, Process},
    support::{Run, World, gits},
};

/// How long a state may take to come. Only what hangs takes as long.
const PATIENCE: Duration = Duration::from_secs(200);

/// A world whose commands use an agent of their own.
pub(crate) struct Lending {
    world: World,
}

/// What `git bbtoken agent status --json` tells.
#[derive(Clone, Debug, serde::Deserialize)]
pub(crate) struct Status {
    /// The process.
    pub(crate) pid: u32,
    /// The open connections that no command uses.
    pub(crate) kept: usize,
    /// The connections in use.
    pub(crate) lent: usize,
    /// The connections that were lent while they were open already.
    pub(crate) reused: u64,
    /// The connections that the agent has made.
    pub(crate) dialed: u64,
}

impl Deref for Lending {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Drop for Lending {
    fn drop(&mut self) {
        for agent in self.agents() {
            // It may have ended by itself.
            let _ = agent.signal(Signal::KILL);
            agent.ends();
        }
    }
}

impl Lending {
    /// Makes a world with `ws/repo` and a cached token, in which no agent runs yet.
    pub(crate) fn new() -> Self {
        Lending::with(Options::default())
    }

    /// Makes such a world with another kind of server.
    pub(crate) fn with(options: Options) -> Self {
        let world = World::with(gits().remove(0), options);
        world.repository("ws", "repo");
        world.git(["ls-remote", "bbtoken::ws/repo"]).ok();
        world
            .git(["config", "--global", "bbtoken.agent", "true"])
            .ok();
        world.begin_session();
        world.bitbucket.clear_requests();
        Lending { world }
    }

    /// Prepares the shortest command that uses a connection.
    pub(crate) fn list(&self) -> Run {
        self.git(["ls-remote", "bbtoken::ws/repo"])
    }

    /// The agent's directory.
    pub(crate) fn place(&self) -> PathBuf {
        self.path("run/git-remote-bbtoken")
    }

    /// Asks the agent for its state; `None` if no agent answers.
    pub(crate) fn status(&self) -> Option<Status> {
        status(self.bbtoken(["agent", "status", "--json"]))
    }

    /// Asks the agent until it is in a state, and gives that.
    #[track_caller]
    pub(crate) fn until(&self, is_reached: impl Fn(&Status) -> bool) -> Status {
        let since = Instant::now();
        loop {
            let status = self.status();
            if let Some(status) = status.as_ref().filter(|status| is_reached(status)) {
                return status.clone();
            }
            assert!(since.elapsed() < PATIENCE, "the agent stays at {status:?}");
            thread::yield_now();
        }
    }

    /// Lets a command start the agent, and waits until that keeps a connection which no command uses.
    #[track_caller]
    pub(crate) fn start(&self) -> Status {
        self.list().done().expect(0).quiet();
        self.until(|status| status.kept == 1 && status.lent == 0)
    }

    /// Starts an agent whose clocks [`Lending::set_clock`] sets. Only its time limits go by them.
    pub(crate) fn start_with_clock(&self, clock: &str) -> Process {
        self.start_with(clock, "0")
    }

    /// The same for the clock that runs on while the machine is suspended; the others stay right.
    pub(crate) fn start_with_wall_clock(&self, clock: &str) -> Process {
        self.start_with(clock, "1")
    }

    fn start_with(&self, clock: &str, is_wall_only: &str) -> Process {
        self.set_clock(clock);
        let library = ["-f", "+0", "printenv", "LD_PRELOAD"];
        let library = self.run("faketime".as_ref(), library).ok();
        let run = alone(&self.world, &self.place());
        let run = run
            .env("LD_PRELOAD", library.trim_end())
            .env("FAKETIME_TIMESTAMP_FILE", self.clock())
            .env("FAKETIME_NO_CACHE", "1")
            .env("FAKETIME_DONT_FAKE_MONOTONIC", is_wall_only);
        let mut agent = run.into_command().spawn().expect("it starts");
        let pid = agent.id();
        thread::spawn(move || agent.wait());
        self.running(&self.until(|status| status.pid == pid))
    }

    /// Sets the agent's clocks, as faketime(1) does: `+20` moves them, `+0 x100` makes them fast.
    pub(crate) fn set_clock(&self, clock: &str) {
        // The agent must not read a part of it.
        let new = self.path("new-clock");
        fs::write(&new, clock).expect("the world can be written");
        fs::rename(new, self.clock()).expect("the world can be written");
    }

    fn clock(&self) -> PathBuf {
        self.path("clock")
    }

    /// Runs a command until it gets a connection that the agent has kept, and gives the state after it. A busy agent
    /// may be too slow for a command.
    #[track_caller]
    pub(crate) fn borrows(&self, command: impl Fn() -> Run) -> Status {
        let since = Instant::now();
        loop {
            let before = self.status();
            command().done().expect(0).quiet();
            let status = self.until(|status| status.lent == 0);
            if before
                .is_some_and(|before| before.pid == status.pid && before.reused < status.reused)
            {
                return status;
            }
            assert!(since.elapsed() < PATIENCE, "no command borrows: {status:?}");
        }
    }

    /// Finds the agents of this world that run now, and the processes that start them.
    pub(crate) fn agents(&self) -> Vec<Process> {
        processes::with_arguments(&["agent", "run"], &self.path(""))
    }

    /// Finds the agent in a state, and expects that the process which started it ends.
    #[track_caller]
    pub(crate) fn running(&self, status: &Status) -> Process {
        let (mut agents, others): (Vec<_>, Vec<_>) = self
            .agents()
            .into_iter()
            .partition(|agent| agent.number() == status.pid);
        processes::all_end(&others);
        agents.pop().expect("it runs")
    }
}

/// Prepares an agent that a test starts in the place of a command.
pub(crate) fn alone(world: &World, place: &Path) -> Run {
    // It connects to no server, because its view of the file with certificates is another.
    let lane =
        r#"{"host":"localhost","port":1,"identity":"","roots":null,"stamp":"","network":null}"#;
    let run = world.bbtoken(["agent", "run-alone"]);
    run.arg(place).arg(lane)
}

/// Reads what `git bbtoken agent status --json` answers.
#[track_caller]
pub(crate) fn status(run: Run) -> Option<Status> {
    let text = run.ok();
    let found: serde_json::Value = serde_json::from_str(&text).expect("it is JSON");
    serde_json::from_value(found["agent"].clone()).expect("it has these fields")
}

#[test]
fn a_command_starts_an_agent_and_the_next_ones_use_its_connection() {
    let world = Lending::new();
    let first = world.start();
    assert_eq!((first.dialed, first.reused), (1, 0), "{first:?}");
    world.running(&first);
    world.bitbucket.clear_requests();
    let status = world.borrows(|| world.list());
    assert_eq!(status.pid, first.pid, "the same agent lends again");
    assert!(
        world.bitbucket.connections() < world.bitbucket.git_requests().len() as u64,
        "a request goes over a connection that was open before"
    );
}
