//! Reads a shared record, claims its renewal, and writes the outcome.

use std::time::Duration;

use super::{
    interface::{Seen, SharedRecord, Trouble, Version},
    record::{Claim, Record, machine},
};
use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    token::{explain::needs_login, tokens::Tokens},
};

/// The life of a claim. After that, another machine may repeat the exchange.
const CLAIM_S: u64 = 60;
/// A request starts only within this time of the claim, so that it ends while the claim is alive: its limit is 30 s. A
/// proxy may pass it on later, but within the server's grace period.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// The longest part of a pause, so that a claim does not end before it is renewed.
const REST_S: u64 = 25;
/// The limit for waiting for a store that does not answer. An election of a new leader takes 2 to 4 s.
pub(super) const STORE_LIMIT: Duration = Duration::from_secs(20);
/// A store that says for this long that there is no record has none. A node that is behind says it for a moment.
pub(super) const ABSENT: Duration = Duration::from_secs(2);
/// The first pause before a repeated read or write, and the longest one.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));
const LONGEST: Duration = Duration::from_secs(2);

/// Pauses that grow, so that many machines do not keep a store busy that has a problem.
#[derive(Default)]
pub(super) struct Pauses(u32);

impl Pauses {
    /// Waits before another attempt, at least as long as the store asked for.
    pub(super) fn wait(&mut self, clock: &dyn Clock, asked: Option<Duration>) {
        let most = (AGAIN.1 * 2_u32.pow(self.0)).min(LONGEST);
        self.0 = (self.0 + 1).min(8);
        let asked = asked.unwrap_or_default();
        clock.wait_between(asked + AGAIN.0, asked + most);
    }
}

/// A record as it was read.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: Version,
    pub(super) record: Record,
    /// The store's time, or this machine's if the store tells none.
    pub(super) now_unix_s: u64,
    pub(super) has_store_time: bool,
    /// The monotonic time of reading.
    pub(super) at: Duration,
}

/// A claim of this machine, in the version that has it.
pub(super) struct Held {
    pub(super) known: Known,
    /// The time before the claim was written.
    pub(super) since: Moment,
}

impl Held {
    /// Tells whether the claim must be renewed before a request, which may take 30 s.
    pub(super) fn is_old(&self, clock: &dyn Clock) -> bool {
        self.since.elapsed(clock) >= SEND_WITHIN
    }
}

/// The outcome of writing a claim.
pub(super) enum Claimed {
    Ours(Box<Held>),
    /// The record has changed, or a node of the store is behind.
    Overtaken,
    /// The store did not answer. A read tells whether the claim is there.
    Unknown,
}

/// The state of a record's claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Unclaimed,
    /// This command wrote it, and has sent nothing yet.
    Ours,
    /// Another machine renews the token.
    Fresh,
    /// It looks old by this machine's clock, which may be wrong. Watching it tells whether its machine has ended.
    Unsure,
    /// Its machine must have ended.
    Stale,
}

/// A moment by both clocks of this machine.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    monotonic: Duration,
    unix_s: u64,
}

impl Moment {
    pub(super) fn of(clock: &dyn Clock) -> Self {
        Moment {
            monotonic: clock.monotonic(),
            unix_s: clock.now_unix_s(),
        }
    }

    /// Gives the time since then. While a machine sleeps, its monotonic clock may stand still, so the longer span counts.
    pub(super) fn elapsed(&self, clock: &dyn Clock) -> Duration {
        let by_day = clock.now_unix_s().saturating_sub(self.unix_s);
        (clock.monotonic() - self.monotonic).max(Duration::from_secs(by_day))
    }
}

/// Reads and writes the record, and remembers since when it has seen the claim of another machine.
pub(super) struct Lookout<'r> {
    pub(super) tokens: &'r Tokens<'r>,
    pub(super) record: &'r dyn SharedRecord,
    /// This machine's name.
    pub(super) host: String,
    /// The name of this command's claims.
    pub(super) nonce: String,
    /// The limit for waiting for a store that does not answer.
    limit: Duration,
    /// The monotonic time of the first write without an answer.
    lost_since: Option<Duration>,
    /// The last claim of another machine, and the monotonic time at which it was first seen.
    watched: Option<(Claim, Duration)>,
}

impl<'r> Lookout<'r> {
    /// Prepares to read a record, and to wait for its store for at most `limit`.
    ///
    /// # Errors
    ///
    /// If the system gives no random bytes.
    pub(super) fn new(
        tokens: &'r Tokens<'r>,
        record: &'r dyn SharedRecord,
        limit: Duration,
    ) -> anyhow::Result<Self> {
        record.limit_time(limit);
        Ok(Lookout {
            tokens,
            record,
            host: machine(),
            nonce: crate::oauth::random()?.expose().to_owned(),
            limit,
            lost_since: None,
            watched: None,
        })
    }

    /// Sets the usual limits, because much depends on the next requests.
    pub(super) fn use_usual_limits(&mut self) {
        self.limit = STORE_LIMIT;
        self.record.limit_time(STORE_LIMIT);
    }

    /// Reads the record. Waits a while for a store that does not answer.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`] or [`Kind::Unreachable`] if the store cannot be read,
    /// [`Kind::SharedLoginNeeded`] if there is no record.
    pub(super) fn look(&mut self) -> anyhow::Result<Known> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let (mut absent_since, mut told) = (None, false);
        let mut pauses = Pauses::default();
        loop {
            let now = clock.monotonic();
            let (error, since, limit, asked) = match self.record.read() {
                Ok(seen) => match self.known(seen)? {
                    Some(known) => return Ok(known),
                    None => {
                        let since = *absent_since.get_or_insert(now);
                        (self.no_login(), since, ABSENT, None)
                    }
                },
                Err(Trouble::Overtaken) => (self.unsettled(), begun, self.limit, None),
                Err(Trouble::Lost { why, retry_after }) => (why, begun, self.limit, retry_after),
                Err(Trouble::Unusable(error)) => return Err(error),
            };
            let waited = clock.monotonic() - since;
            if waited + asked.unwrap_or_default() >= limit {
                return Err(error);
            }
            if !told && limit == STORE_LIMIT && waited >= ABSENT {
                told = true;
                (self.tokens.warn)(&format!("waiting for the shared login: {error:#}"));
            }
            pauses.wait(clock, asked);
        }
    }

    /// Parses and checks a record, and notes its claim. `None` if there is none.
    fn known(&mut self, seen: Seen) -> anyhow::Result<Option<Known>> {
        let tokens = self.tokens;
        let Some(text) = seen.record() else {
            return Ok(None);
        };
        let refuse = |why: &str| {
            let message = format!(
                "cannot use the shared login of profile '{}' in {}: {why}",
                tokens.profile,
                self.record.name()
            );
            Failure::new(Kind::Misconfigured, message)
        };
        let record = Record::parse(text).ok_or_else(|| {
            refuse("it is not a login of this program's version; remove it with a program of the store, then log in again")
        })?;
        if !record.is_for(tokens.profile) {
            let why = "it is for another client or another Bitbucket; compare clientId, baseUrl and tokenUrl with those of the machine that logged in";
            return Err(refuse(why).into());
        }
        let at = tokens.clock.monotonic();
        match (&record.claim, &self.watched) {
            (Some(claim), Some((watched, _))) if claim == watched => {}
            (claim, _) => self.watched = claim.clone().map(|claim| (claim, at)),
        }
        Ok(Some(Known {
            version: seen.version,
            record,
            now_unix_s: (seen.store_time_unix_s).unwrap_or_else(|| tokens.clock.now_unix_s()),
            has_store_time: seen.store_time_unix_s.is_some(),
            at,
        }))
    }

    /// Judges the record's claim: by the store's time, or because this machine has watched it for its whole life.
    pub(super) fn standing(&self, known: &Known) -> Standing {
        let Some(claim) = &known.record.claim else {
            return Standing::Unclaimed;
        };
        if claim.nonce == self.nonce {
            return Standing::Ours;
        }
        let watched = self.watched.as_ref().map(|(_, since)| known.at - *since);
        let is_watched = watched.is_some_and(|it| it >= Duration::from_secs(CLAIM_S));
        let is_old = known.now_unix_s >= claim.at_unix_s.saturating_add(CLAIM_S);
        if claim.has_given_up || is_watched || is_old && known.has_store_time {
            Standing::Stale
        } else if known.now_unix_s.abs_diff(claim.at_unix_s) < CLAIM_S {
            Standing::Fresh
        } else {
            Standing::Unsure
        }
    }

    /// Writes a claim into the record.
    ///
    /// # Errors
    ///
    /// If the store can be read but, for longer than `limit`, not written. The refresh token was not used then.
    pub(super) fn claim(&mut self, known: Known, limit: Duration) -> anyhow::Result<Claimed> {
        let since = Moment::of(self.tokens.clock);
        let number = match &known.record.claim {
            // A write of this command whose outcome was unknown is the same claim.
            Some(claim) if claim.nonce == self.nonce => claim.number,
            Some(claim) => claim.number.saturating_add(1),
            None => 1,
        };
        let mut next = known.record.clone();
        next.claim = Some(Claim {
            nonce: self.nonce.clone(),
            host: self.host.clone(),
            at_unix_s: self.now_unix_s(&known),
            number,
            has_given_up: false,
        });
        let lost_since = self.lost_since.take();
        let why = match self.record.replace(&known.version, &next.render()) {
            Ok(version) => {
                let known = Known {
                    version,
                    record: next,
                    ..known
                };
                return Ok(Claimed::Ours(Box::new(Held { known, since })));
            }
            Err(Trouble::Overtaken) => return Ok(Claimed::Overtaken),
            Err(Trouble::Unusable(error)) => error,
            Err(Trouble::Lost { why, retry_after }) => {
                let clock = self.tokens.clock;
                let lost_since = *self
                    .lost_since
                    .insert(lost_since.unwrap_or(since.monotonic));
                let asked = retry_after.unwrap_or_default();
                if clock.monotonic() - lost_since + asked < limit {
                    clock.wait_between(asked, asked + AGAIN.0);
                    return Ok(Claimed::Unknown);
                }
                why
            }
        };
        Err(self.unwritten(why, ", so nothing was requested from Bitbucket"))
    }

    /// Renews this machine's claim before another request. False if another machine has taken over.
    ///
    /// # Errors
    ///
    /// If the store can be read but not written.
    pub(super) fn hold(&mut self, held: &mut Held) -> anyhow::Result<bool> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let mut pauses = Pauses::default();
        loop {
            let since = Moment::of(clock);
            let known = self.look()?;
            let mut next = known.record.clone();
            match &mut next.claim {
                Some(claim) if claim.nonce == self.nonce => {
                    claim.at_unix_s = self.now_unix_s(&known);
                }
                _ => return Ok(false),
            }
            let (why, asked) = match self.record.replace(&known.version, &next.render()) {
                Ok(version) => {
                    let known = Known {
                        version,
                        record: next,
                        ..known
                    };
                    *held = Held { known, since };
                    return Ok(true);
                }
                Err(Trouble::Overtaken) => (self.unsettled(), None),
                Err(Trouble::Lost { why, retry_after }) => (why, retry_after),
                Err(Trouble::Unusable(error)) => return Err(self.unwritten(error, "")),
            };
            if clock.monotonic() - begun + asked.unwrap_or_default() >= STORE_LIMIT {
                return Err(self.unwritten(why, ""));
            }
            pauses.wait(clock, asked);
        }
    }

    /// Waits, and keeps the claim alive meanwhile. False if another machine has taken over.
    ///
    /// # Errors
    ///
    /// If the store can be read but not written.
    pub(super) fn rest(&mut self, held: &mut Held, span: Duration) -> anyhow::Result<bool> {
        let parts = span.as_secs().div_ceil(REST_S).max(1);
        for _ in 0..parts {
            if held.is_old(self.tokens.clock) && !self.hold(held)? {
                return Ok(false);
            }
            self.tokens.clock.wait(span.div_f64(parts as f64));
        }
        Ok(true)
    }

    /// Reads the record once. `None` if there is none, or the store is behind.
    pub(super) fn glance(&mut self) -> anyhow::Result<Option<Known>> {
        match self.record.read() {
            Ok(seen) => self.known(seen),
            Err(Trouble::Overtaken) => Ok(None),
            Err(Trouble::Lost { why, .. } | Trouble::Unusable(why)) => Err(why),
        }
    }

    /// Gives the store's time now.
    pub(super) fn now_unix_s(&self, known: &Known) -> u64 {
        let since = self.tokens.clock.monotonic() - known.at;
        known.now_unix_s.saturating_add(since.as_secs())
    }

    fn no_login(&self) -> anyhow::Error {
        let profile = self.tokens.profile;
        let message = format!(
            "profile '{profile}' is not logged in: there is no shared login in {}",
            self.record.name()
        );
        Failure::new(needs_login(profile), message).into()
    }

    pub(super) fn unsettled(&self) -> anyhow::Error {
        let name = self.record.name();
        let message = format!("the record at {name} changes again and again");
        Failure::new(Kind::SharedStoreUnusable, message).into()
    }

    fn unwritten(&self, why: anyhow::Error, so: &str) -> anyhow::Error {
        let message = format!(
            "the shared login of profile '{}' in {} can be read but not written{so}",
            self.tokens.profile,
            self.record.name()
        );
        why.context(Failure::new(Kind::SharedStoreUnusable, message))
    }
}
