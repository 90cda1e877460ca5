//! Commands on machines: the real code against the model.

use std::{
    panic::{self, AssertUnwindSafe},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::ensure;

use super::{
    super::server::{Killed, Outcome},
    faults::Fault,
    machine::Job,
    world::{MOST_JOBS, World},
};
use crate::{
    secret::Secret,
    token::{Places, Tokens},
};

/// A command that starts on a machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Command {
    pub(super) starts_in: Duration,
    /// How wrong the machine's clock is, in seconds.
    pub(super) off_s: i64,
    /// Whether its git server refuses any token at first, as it does if a repository is not there.
    pub(super) is_misled: bool,
    /// Whether its machine keeps the token in a file, for the next command that has this place in a run.
    pub(super) has_cache: bool,
}

impl Command {
    pub(super) fn after(starts_in: Duration) -> Self {
        Command {
            starts_in,
            off_s: 0,
            is_misled: false,
            has_cache: false,
        }
    }
}

/// What became of a command.
#[derive(Debug)]
pub(super) struct Report {
    pub(super) outcome: Outcome,
    /// Whether the record's token was good when it started.
    pub(super) had_good_token: bool,
    pub(super) took: Duration,
    pub(super) waits: u32,
    /// How often it read the record.
    pub(super) reads: u32,
    pub(super) requests: u32,
    pub(super) faults: Vec<Fault>,
}

impl Job<'_> {
    /// Whether the git server takes a token.
    fn takes(&self, token: &Secret) -> bool {
        let state = self.world.state();
        let until = state.endpoint.access.get(token.expose());
        until.is_some_and(|until| state.now < *until)
    }

    fn command(&self, is_misled: bool, cache: Option<PathBuf>) -> anyhow::Result<()> {
        let profile = &self.world.profile;
        let warn = |line: &str| self.world.state().notices.push(line.to_owned());
        let places = Places {
            cache,
            ..Places::default()
        };
        let mut tokens = Tokens::new(profile, self, self, places, &warn);
        let bearer = tokens.bearer(Duration::ZERO)?;
        if self.takes(&bearer.token) && !is_misled {
            return Ok(());
        }
        if !tokens.refused()? {
            ensure!(self.takes(&bearer.token), "refused");
            return Ok(());
        }
        let bearer = tokens.bearer(Duration::ZERO)?;
        ensure!(self.takes(&bearer.token), "refused again");
        Ok(())
    }

    fn run(&self, command: Command, cache: Option<PathBuf>) -> Report {
        self.begin();
        let (begun, had_good_token) = {
            let state = self.world.state();
            (state.now, state.has_good_token(self.number))
        };
        let run = AssertUnwindSafe(|| self.command(command.is_misled, cache));
        let outcome = match panic::catch_unwind(run) {
            Ok(Ok(())) => Outcome::Worked,
            Ok(Err(error)) => Outcome::Failed(format!("{error:#}")),
            Err(payload) if payload.is::<Killed>() => Outcome::Killed,
            Err(payload) => {
                self.end();
                panic::resume_unwind(payload)
            }
        };
        let mut state = self.world.state();
        state.log(self.number, || format!("{outcome:?}"));
        let job = &state.jobs[self.number];
        let report = Report {
            outcome,
            had_good_token,
            took: state.now - begun,
            waits: job.waits,
            reads: job.reads,
            requests: job.requests,
            faults: job.faults.clone(),
        };
        drop(state);
        self.end();
        report
    }
}

impl World {
    /// Runs commands until all of them have ended.
    pub(super) fn run(&self, commands: &[Command]) -> Vec<Report> {
        assert!(commands.len() <= MOST_JOBS, "each has its own turn");
        let jobs: Vec<_> = commands
            .iter()
            .map(|command| (self.add(command), *command))
            .collect();
        thread::scope(|scope| {
            let running: Vec<_> = jobs
                .iter()
                .enumerate()
                .map(|(place, (job, command))| {
                    let cache = command.has_cache.then(|| self.cache(place));
                    scope.spawn(|| job.run(*command, cache))
                })
                .collect();
            self.go_on(&mut self.state());
            let ended = running.into_iter().map(|it| it.join());
            ended.map(|it| it.expect("no job panicked")).collect()
        })
    }

    /// Runs one command after a span of time.
    pub(super) fn run_one(&self, starts_in: Duration) -> Report {
        self.run(&[Command::after(starts_in)]).remove(0)
    }
}
