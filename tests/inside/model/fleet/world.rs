//! Machines that take turns. Time goes by only when all of them wait, and chance decides who is next.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use serde_json::Value;
use tempfile::TempDir;

use super::{
    super::{Chance, server::profile},
    endpoint::{Again, Endpoint},
    faults::{Effect, Fault, Plan},
    jobs::Command,
    machine::Job,
    store::{Store, StoreClock},
};
use crate::profile::{Grant, Profile};

/// The true time at which the model begins.
pub(super) const EPOCH_S: u64 = 1_700_000_000;
/// The most jobs of a run.
pub(super) const MOST_JOBS: usize = 16;

/// A job as its machine knows it.
#[derive(Default)]
pub(super) struct JobState {
    /// When it goes on; `None` before its start and after its end.
    pub(super) wakes_at: Option<Duration>,
    /// How wrong its machine's clock is, in seconds.
    pub(super) off_s: i64,
    /// Whether its git server refuses any token at first.
    pub(super) is_misled: bool,
    /// How long its monotonic clock stood still.
    pub(super) slept: Duration,
    /// The faults that it met.
    pub(super) faults: Vec<Fault>,
    /// The names of its claims.
    pub(super) nonces: Vec<String>,
    /// When it wrote its last claim.
    pub(super) claimed_at: Option<Duration>,
    /// How often it waited.
    pub(super) waits: u32,
    /// How often it read the record.
    pub(super) reads: u32,
    pub(super) requests: u32,
}

pub(super) struct State {
    pub(super) now: Duration,
    pub(super) turn: Option<usize>,
    pub(super) jobs: Vec<JobState>,
    pub(super) store: Store,
    pub(super) endpoint: Endpoint,
    pub(super) plan: Plan,
    pub(super) chance: Chance,
    /// Whether the store was down for long.
    pub(super) had_outage: bool,
    /// Whether the store's clocks may make a claim look stale.
    pub(super) clocks_mislead: bool,
    /// Whether the clocks of the machines differ.
    pub(super) clocks_differ: bool,
    /// After a token was used for so long without a successor in the record, nothing goes wrong any more.
    pub(super) calm_after: Duration,
    pub(super) violations: Vec<String>,
    /// What the commands tell their users.
    pub(super) notices: Vec<String>,
    /// Tokens that were sent without a claim, because nothing could prevent it.
    pub(super) excused: u32,
    pub(super) log: Option<Vec<String>>,
}

/// The store, the server, the machines and the time.
pub(super) struct World {
    pub(super) state: Mutex<State>,
    pub(super) turns: [Condvar; MOST_JOBS],
    pub(super) profile: Profile,
    /// The files of the machines that have a cache.
    caches: OnceLock<TempDir>,
}

/// How a world begins.
#[derive(Clone, Debug)]
pub(super) struct Start {
    pub(super) clock: StoreClock,
    pub(super) again: Again,
    /// Whether the record is a login or a client.
    pub(super) is_login: bool,
    /// How long the first access token is good.
    pub(super) left_s: u64,
    pub(super) seed: u64,
}

impl World {
    pub(super) fn new(start: &Start, plan: Plan) -> Self {
        let profile = profile("ci", Grant::Shared(None));
        let off_s = match start.clock {
            StoreClock::Off(seconds) => seconds,
            StoreClock::Nodes(_) | StoreClock::None => 0,
        };
        let now_unix_s = EPOCH_S.saturating_add_signed(off_s);
        let record = record(&profile, start, now_unix_s);
        World {
            state: Mutex::new(State {
                now: Duration::ZERO,
                turn: None,
                jobs: Vec::new(),
                store: Store::new(start.clock, record),
                endpoint: Endpoint::new(start.again, Duration::from_secs(start.left_s)),
                plan,
                chance: Chance((start.seed + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)),
                had_outage: false,
                clocks_mislead: matches!(start.clock, StoreClock::Nodes(_)),
                clocks_differ: false,
                calm_after: Duration::MAX,
                violations: Vec::new(),
                notices: Vec::new(),
                excused: 0,
                log: None,
            }),
            turns: [const { Condvar::new() }; MOST_JOBS],
            profile,
            caches: OnceLock::new(),
        }
    }

    /// The directory in which a machine keeps the token.
    pub(super) fn cache(&self, machine: usize) -> PathBuf {
        let directory = || {
            // Thousands of files are written, and a disk would take its time for each.
            let memory = Path::new("/dev/shm");
            let directory = match memory.is_dir() {
                true => tempfile::tempdir_in(memory),
                false => tempfile::tempdir(),
            };
            directory.expect("a temporary directory")
        };
        let caches = self.caches.get_or_init(directory);
        caches.path().join(machine.to_string())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panicked with it")
    }

    /// Whether the record's refresh token was used, so that its successor must be got.
    pub(super) fn is_unfinished(&self) -> bool {
        self.state().used_at().is_some()
    }

    /// Adds a job. It starts when the others let it.
    pub(super) fn add(&self, command: &Command) -> Job<'_> {
        let mut state = self.state();
        let job = JobState {
            wakes_at: Some(state.now + command.starts_in),
            off_s: command.off_s,
            is_misled: command.is_misled,
            ..JobState::default()
        };
        state.jobs.push(job);
        state.clocks_differ |= command.off_s.abs() >= 60;
        let number = state.jobs.len() - 1;
        Job {
            world: self,
            number,
        }
    }

    /// Lets the job go on that is first.
    pub(super) fn go_on(&self, state: &mut State) {
        let waiting = state.jobs.iter().enumerate();
        let next = waiting
            .filter_map(|(job, it)| Some((it.wakes_at?, job)))
            .min();
        state.turn = next.map(|(_, job)| job);
        if let Some((at, job)) = next {
            state.now = state.now.max(at);
            let now = state.now;
            state.store.advance(now);
            self.turns[job % MOST_JOBS].notify_one();
        }
    }
}

/// The record that a login publishes.
fn record(profile: &Profile, start: &Start, now_unix_s: u64) -> String {
    let purpose = crate::token::purpose(profile, "client");
    let refresh = if start.is_login {
        r#""refresh-0""#
    } else {
        "null"
    };
    let ends = now_unix_s + start.left_s;
    let got = ends - super::super::server::LIFETIME_S;
    format!(
        r#"{{"version":1,"client_id":"client","client_secret":"secret","for":"{purpose}","refresh_token":{refresh},
        "access":{{"token":"access-0","lifetime_s":7200,"got_at_unix_s":{got},"expires_at_unix_s":{ends},"scopes":[],"by":"laptop"}}}}"#
    )
}

impl State {
    pub(super) fn log(&mut self, job: usize, what: impl FnOnce() -> String) {
        if let Some(log) = &mut self.log {
            log.push(format!(
                "{:10.3} {job:2} {}",
                self.now.as_secs_f64(),
                what()
            ));
        }
    }

    /// Notes the claim in a record that a job writes.
    pub(super) fn note_claim(&mut self, job: usize, text: &str) {
        let record: Value = serde_json::from_str(text).expect("a record is JSON");
        let known = self
            .store
            .newest()
            .claim
            .as_ref()
            .map(|(nonce, _)| nonce.clone());
        if let Some(nonce) = record["claim"]["nonce"].as_str()
            && known.as_deref() != Some(nonce)
        {
            self.jobs[job].nonces.push(nonce.to_owned());
            self.jobs[job].claimed_at = Some(self.now);
        }
    }

    /// When the record's refresh token was used.
    fn used_at(&self) -> Option<Duration> {
        let token = self.store.newest().refresh_token.as_ref()?;
        self.endpoint.refresh.get(token)?.used_at
    }

    /// Whether it was used long ago.
    fn is_urgent(&self) -> bool {
        let used_at = self.used_at();
        used_at.is_some_and(|at| self.now.saturating_sub(at) >= self.calm_after)
    }

    /// Whether the record's access token is good for a command, and the clocks that count say so.
    pub(super) fn has_good_token(&self, job: usize) -> bool {
        let token = self.store.newest().access_token.as_ref();
        let until = token.and_then(|token| self.endpoint.access.get(token));
        let (is_known, slack_s) = match self.store.clock {
            StoreClock::Off(_) => (true, 0),
            StoreClock::Nodes(most) => (true, 2 * u64::from(most)),
            StoreClock::None => (self.jobs.iter().all(|it| it.off_s == 0), 0),
        };
        let least = self.now + Duration::from_secs(122 + slack_s);
        is_known && !self.jobs[job].is_misled && until.is_some_and(|until| *until > least)
    }

    /// Whether the login can be renewed no more.
    pub(super) fn is_lost(&self) -> bool {
        let token = self.store.newest().refresh_token.as_ref();
        token.is_some_and(|token| self.endpoint.is_dead(token, self.now))
    }

    pub(super) fn next_fault(&mut self, job: usize, effect: Effect) -> Option<Fault> {
        let fault = self.plan.next(job, effect, &mut self.chance)?;
        // Where clocks differ and the store tells no time, machines renew each other's tokens so often that a machine
        // that stands still may send one whose successor was used.
        let is_hasty = self.store.clock == StoreClock::None && self.clocks_differ;
        let stood = self.jobs[job].faults.iter().any(|it| it.stands());
        if self.is_urgent() || fault.stands() && (stood || is_hasty) {
            return None;
        }
        self.jobs[job].faults.push(fault);
        let until = |seconds| self.now + Duration::from_secs(seconds);
        match fault {
            Fault::StoreDown(seconds) => self.store.down_until = until(seconds),
            Fault::ReadOnly(seconds) => self.store.read_only_until = until(seconds),
            Fault::ServerDown(seconds) => self.endpoint.down_until = until(seconds),
            _ => {}
        }
        self.had_outage |= fault.may_lose_an_answer() && effect != Effect::Send && !fault.stands();
        Some(fault)
    }
}
