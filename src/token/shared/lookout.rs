//! Reads a shared record, claims its renewal, and writes the outcome.

use std::time::Duration;

use super::{
    SharedRecord, Trouble, Version,
    record::{Access, Claim, Failed, Record, machine},
};
use crate::{
    failure::{Failure, Kind},
    http::jitter,
    secret::Secret,
    token::Tokens,
};

/// The life of a claim. After that, another machine may repeat the exchange.
const CLAIM_S: u64 = 60;
/// The limit for waiting for a store that does not answer. An election of a new leader takes 2 to 4 s.
pub(super) const STORE_LIMIT: Duration = Duration::from_secs(20);
/// The limit for writing an outcome.
const PUBLISH_LIMIT: Duration = Duration::from_secs(60);
/// A store that says for this long that there is no record has none. A node that is behind says it for a moment.
const ABSENT: Duration = Duration::from_secs(2);
/// The pauses before a repeated read or write.
const AGAIN: (Duration, Duration) = (Duration::from_millis(50), Duration::from_millis(400));

/// A record as it was read.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) version: Version,
    pub(super) record: Record,
    /// The store's time, or this machine's if the store tells none.
    pub(super) now_unix_s: u64,
    /// The monotonic time of reading.
    pub(super) at: Duration,
}

/// A claim of this machine, in the version that has it.
pub(super) struct Held {
    pub(super) known: Known,
    pub(super) nonce: String,
    /// The monotonic time before the claim was written.
    pub(super) since: Duration,
}

/// The outcome of a token request, for the record.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// There is a new token.
    Renewed {
        access: Access,
        refresh_token: Option<Secret>,
    },
    /// The request failed, and the refresh token was not used.
    Failed(String),
    /// Bitbucket refused the refresh token.
    Refused,
}

/// Reads and writes the record, and remembers since when it has seen the claim of another machine.
pub(super) struct Lookout<'r> {
    tokens: &'r Tokens<'r>,
    record: &'r dyn SharedRecord,
    /// This machine's name.
    pub(super) host: String,
    /// The last claim of another machine, and the monotonic time at which it was first seen.
    watched: Option<(Claim, Duration)>,
}

impl<'r> Lookout<'r> {
    pub(super) fn new(tokens: &'r Tokens<'r>, record: &'r dyn SharedRecord) -> Self {
        Lookout {
            tokens,
            record,
            host: machine(),
            watched: None,
        }
    }

    /// Reads the record. Waits a while for a store that does not answer.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`] or [`Kind::Unreachable`] if the store cannot be read, [`Kind::LoginNeeded`] if there is
    /// no record.
    pub(super) fn look(&mut self) -> anyhow::Result<Known> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let mut told = false;
        loop {
            let waited = clock.monotonic() - begun;
            let (error, limit, asked) = match self.record.read() {
                Ok(seen) => match seen.record().cloned() {
                    Some(text) => return self.known(seen.version, &text, seen.store_time_unix_s),
                    None => (self.no_login(), ABSENT, None),
                },
                Err(Trouble::Overtaken) => (self.unsettled(), STORE_LIMIT, None),
                Err(Trouble::Lost { why, retry_after }) => (why, STORE_LIMIT, retry_after),
                Err(Trouble::Unusable(error)) => return Err(error),
            };
            let pause = asked.unwrap_or_default() + jitter(AGAIN.0, AGAIN.1);
            if waited + pause >= limit {
                return Err(error);
            }
            if !told && limit == STORE_LIMIT && waited >= ABSENT {
                told = true;
                (self.tokens.notify)(&format!("waiting for the shared login: {error:#}"));
            }
            clock.wait(pause);
        }
    }

    /// Parses and checks a record, and notes its claim.
    fn known(
        &mut self,
        version: Version,
        text: &Secret,
        store_time_unix_s: Option<u64>,
    ) -> anyhow::Result<Known> {
        let tokens = self.tokens;
        let refuse = |why: &str| {
            let message = format!(
                "cannot use the shared login of profile '{}' in {}: {why}",
                tokens.profile,
                self.record.name()
            );
            Failure::new(Kind::Misconfigured, message)
        };
        let record = Record::parse(text).ok_or_else(|| {
            refuse("the record is not a login of this program's version; remove it from the store, then log in again")
        })?;
        if !record.is_for(tokens.profile) {
            let why = "the record is for another client or another Bitbucket";
            return Err(refuse(why).into());
        }
        let at = tokens.clock.monotonic();
        match (&record.claim, &self.watched) {
            (Some(claim), Some((watched, _))) if claim == watched => {}
            (claim, _) => self.watched = claim.clone().map(|claim| (claim, at)),
        }
        Ok(Known {
            version,
            record,
            now_unix_s: store_time_unix_s.unwrap_or_else(|| tokens.clock.now_unix_s()),
            at,
        })
    }

    /// Tells whether the machine that claimed the renewal must have ended: by the store's time, or because this
    /// machine has watched the claim for its whole life.
    pub(super) fn has_stale_claim(&self, known: &Known) -> bool {
        let age_s = |claim: &Claim| known.now_unix_s.saturating_sub(claim.at_unix_s);
        let is_old = known
            .record
            .claim
            .as_ref()
            .is_some_and(|claim| age_s(claim) >= CLAIM_S);
        let since = self.watched.as_ref().map(|(_, since)| *since);
        is_old || since.is_some_and(|since| known.at - since >= Duration::from_secs(CLAIM_S))
    }

    /// Writes a claim into the record. `None` if another machine was first, or if that is not certain.
    ///
    /// # Errors
    ///
    /// If the store can be read but not written. The refresh token was not used then.
    pub(super) fn claim(&mut self, known: Known) -> anyhow::Result<Option<Held>> {
        let since = self.tokens.clock.monotonic();
        let nonce = crate::oauth::random()?.expose().to_owned();
        let earlier = known.record.claim.as_ref().map_or(0, |claim| claim.number);
        let mut next = known.record.clone();
        next.claim = Some(Claim {
            nonce: nonce.clone(),
            host: self.host.clone(),
            at_unix_s: self.now_unix_s(&known),
            number: earlier + 1,
        });
        let written = self.record.replace(&known.version, &next.render());
        let known = match written {
            Ok(version) => Known {
                version,
                record: next,
                ..known
            },
            Err(Trouble::Overtaken) => return Ok(None),
            Err(Trouble::Unusable(error)) => return Err(self.unwritten(error)),
            Err(Trouble::Lost { why, .. }) => {
                let seen = self.look()?;
                let claim = seen.record.claim.as_ref();
                if claim.is_none_or(|claim| claim.nonce != nonce) {
                    return Err(self.unwritten(why));
                }
                seen
            }
        };
        self.watched = None;
        Ok(Some(Held {
            known,
            nonce,
            since,
        }))
    }

    /// Renews this machine's claim before another request. False if another machine has taken over.
    pub(super) fn hold(&mut self, held: &mut Held) -> anyhow::Result<bool> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        loop {
            let since = clock.monotonic();
            let mut next = held.known.record.clone();
            if let Some(claim) = &mut next.claim {
                claim.at_unix_s = self.now_unix_s(&held.known);
            }
            let written = self.record.replace(&held.known.version, &next.render());
            let why = match written {
                Ok(version) => {
                    held.known = Known {
                        version,
                        record: next,
                        ..held.known.clone()
                    };
                    held.since = since;
                    return Ok(true);
                }
                Err(Trouble::Overtaken) => self.unsettled(),
                Err(Trouble::Lost { why, .. }) => why,
                Err(Trouble::Unusable(error)) => return Err(self.unwritten(error)),
            };
            let seen = self.look()?;
            if seen
                .record
                .claim
                .as_ref()
                .is_none_or(|claim| claim.nonce != held.nonce)
            {
                return Ok(false);
            }
            held.known = seen;
            if clock.monotonic() - begun >= STORE_LIMIT {
                return Err(self.unwritten(why));
            }
            clock.wait(jitter(AGAIN.0, AGAIN.1));
        }
    }

    /// Writes an outcome on top of any version whose login is the one that was sent. False if the record has another
    /// login or token meanwhile.
    ///
    /// # Errors
    ///
    /// If the store could not be written within the limit.
    pub(super) fn publish(&mut self, held: &Held, outcome: &Outcome) -> anyhow::Result<bool> {
        let clock = self.tokens.clock;
        let begun = clock.monotonic();
        let limit = match outcome {
            Outcome::Renewed { .. } => PUBLISH_LIMIT,
            // It only saves requests of other machines.
            Outcome::Failed(_) | Outcome::Refused => ABSENT,
        };
        let sent = &held.known.record;
        let mut newest = held.known.clone();
        loop {
            let next = self.with(&newest, held, outcome);
            let why = match self.record.replace(&newest.version, &next.render()) {
                Ok(_) => return Ok(true),
                Err(Trouble::Overtaken) => self.unsettled(),
                Err(Trouble::Lost { why, .. } | Trouble::Unusable(why)) => why,
            };
            if clock.monotonic() - begun >= limit {
                return Err(why);
            }
            clock.wait(jitter(AGAIN.0, AGAIN.1));
            let Ok(Some(seen)) = self.glance() else {
                continue;
            };
            if matches!(outcome, Outcome::Renewed { access, .. } if seen.record.has(access)) {
                return Ok(true);
            }
            if seen.record.refresh_token != sent.refresh_token || seen.record.access != sent.access
            {
                return Ok(false);
            }
            newest = seen;
        }
    }

    /// Reads the record once. `None` if there is none, or the store is behind.
    fn glance(&mut self) -> anyhow::Result<Option<Known>> {
        match self.record.read() {
            Ok(seen) => seen
                .record
                .map(|text| self.known(seen.version, &text, seen.store_time_unix_s))
                .transpose(),
            Err(Trouble::Overtaken) => Ok(None),
            Err(Trouble::Lost { why, .. } | Trouble::Unusable(why)) => Err(why),
        }
    }

    /// Gives a record with an outcome.
    fn with(&self, newest: &Known, held: &Held, outcome: &Outcome) -> Record {
        let mut next = newest.record.clone();
        let is_ours = |claim: &mut Claim| claim.nonce == held.nonce;
        match outcome {
            Outcome::Renewed {
                access,
                refresh_token,
            } => {
                // If the response has no refresh token, the old one stays valid.
                next.refresh_token = refresh_token.clone().or(next.refresh_token);
                next.access = Some(access.clone());
                (next.claim, next.failed, next.dead) = (None, None, None);
            }
            Outcome::Failed(why) => {
                next.claim.take_if(is_ours);
                next.failed = Some(Failed {
                    at_unix_s: self.now_unix_s(newest),
                    host: self.host.clone(),
                    why: why.clone(),
                });
            }
            Outcome::Refused => {
                next.claim.take_if(is_ours);
                next.dead = next.refresh_token.as_ref().map(Secret::fingerprint);
            }
        }
        next
    }

    /// Gives the store's time now.
    pub(super) fn now_unix_s(&self, known: &Known) -> u64 {
        let since = self.tokens.clock.monotonic() - known.at;
        known.now_unix_s.saturating_add(since.as_secs())
    }

    fn no_login(&self) -> anyhow::Error {
        let profile = self.tokens.profile.name.clone();
        let message = format!(
            "profile '{profile}' is not logged in: there is no shared login in {}",
            self.record.name()
        );
        Failure::new(Kind::LoginNeeded { profile }, message).into()
    }

    fn unsettled(&self) -> anyhow::Error {
        let name = self.record.name();
        let message = format!("the record at {name} changes again and again");
        Failure::new(Kind::SharedStoreUnusable, message).into()
    }

    fn unwritten(&self, why: anyhow::Error) -> anyhow::Error {
        let message = format!(
            "the shared login of profile '{}' in {} can be read but not written, so nothing was requested from Bitbucket",
            self.tokens.profile,
            self.record.name()
        );
        why.context(Failure::new(Kind::SharedStoreUnusable, message))
    }
}
