//! Writes a shared login, reads its state for people, and removes it.

use std::time::Duration;

use serde_json::json;

use super::{
    interface::{Inspection, RESERVED, Seen, SharedRecord, Trouble},
    lookout::{Known, Lookout, Pauses, STORE_LIMIT, Standing},
    record::{Access, Record, machine},
    renewal::Renewal,
};
use crate::{
    failure::{Failure, Kind, quote},
    oauth,
    secret::Secret,
    token::{cache::Cache, tokens::Tokens},
};

/// The least size of the record that proves the room for a login: twice a login with tokens of the longest known form.
const ROOM_BYTES: usize = 16 * 1024;

/// What a record is for.
#[derive(Clone, Copy)]
enum Place {
    Login,
    Copy,
}

/// The state of a shared login, for people.
#[derive(Debug)]
pub(crate) struct SharedState {
    /// The record and its store.
    pub(crate) name: String,
    /// Whether it has a login of a user; else, a client gets tokens for itself.
    pub(crate) has_login: bool,
    /// The name of this user, if it is known.
    pub(crate) owner: Option<String>,
    /// Whether it has an access token only, which another machine renews.
    pub(crate) is_copy: bool,
    /// Whether Bitbucket has refused the login.
    pub(crate) has_ended: bool,
    /// The access token, if there is one.
    pub(crate) token: Option<SharedToken>,
    /// The machine that renews the token, and the age of its claim in seconds.
    pub(crate) claimed: Option<(String, u64)>,
    /// Whether this machine has ended, so that the next command repeats the renewal.
    pub(crate) is_claim_stale: bool,
    /// The machine that failed to renew the token, the reason, and its age in seconds.
    pub(crate) failed: Option<(String, String, u64)>,
}

/// The access token of a shared login, for people.
#[derive(Debug)]
pub(crate) struct SharedToken {
    /// The machine that got it.
    pub(crate) by: String,
    /// The time since then.
    pub(crate) age_s: u64,
    /// The time until its end.
    pub(crate) left_s: u64,
    /// The time from its request to its end.
    pub(crate) lifetime_s: u64,
}

impl Tokens<'_> {
    /// Checks that this machine may write the record and its copy, and that the store has room for a new login.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`] if it cannot be written. [`Kind::Misconfigured`] if another secret is there.
    pub(in crate::token) fn prove_shared_room(&self) -> anyhow::Result<()> {
        for (record, place) in self.records()? {
            let found = record.inspect()?;
            if let Some(problem) = found.problems.into_iter().chain(found.read_only).next() {
                let message = format!("cannot keep a login in {}: {problem}", record.name());
                return Err(Failure::new(Kind::SharedStoreUnusable, message).into());
            }
            self.settled(|| {
                let seen = record.read()?;
                let text = match seen.record() {
                    Some(text) => {
                        let there = self.may_replace(text, place, record.as_ref())?;
                        there.with_room(ROOM_BYTES)
                    }
                    None => Secret::new(json!({ RESERVED: "x".repeat(ROOM_BYTES) }).to_string()),
                };
                record.replace(&seen.version, &text)
            })?;
        }
        Ok(())
    }

    /// Gives the name of the account whose login a new one would replace, if the record has it.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`] if the record cannot be read.
    pub(crate) fn shared_owner(&self) -> anyhow::Result<Option<String>> {
        let record = self.http.record()?;
        let seen = self.settled(|| record.read())?;
        Ok(seen
            .record()
            .and_then(Record::parse)
            .and_then(|there| there.owner))
    }

    /// Writes a client, and the login of a user with this client and the user's name, if there is one.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`].
    pub(in crate::token) fn publish(
        &self,
        client: &oauth::Client,
        login: Option<(&oauth::TokenAnswer, Option<String>)>,
    ) -> anyhow::Result<()> {
        let (answer, owner) = login.unzip();
        let record = self.http.record()?;
        let published = self.settled(|| {
            let seen = record.read()?;
            if let Some(text) = seen.record() {
                self.may_replace(text, Place::Login, record.as_ref())?;
            }
            let now_unix_s = self.time_of(&seen);
            let next = Record {
                refresh_token: answer.and_then(|answer| answer.refresh_token.clone()),
                access: answer.map(|answer| Access::of(answer, now_unix_s, &machine())),
                owner: owner.clone().flatten(),
                ..Record::new(self.profile, client)
            };
            record.replace(&seen.version, &next.render())?;
            Ok(next)
        })?;
        self.copy(&published);
        record.limit_versions(self.warn);
        if let Some(cache) = self.places.cache.clone() {
            // It may have the token of the earlier login.
            Cache::at(cache).remove(&self.profile.shared_key());
        }
        Ok(())
    }

    /// Copies the access token to the record that jobs read, if the profile has one. Warns if that fails.
    pub(super) fn copy(&self, renewed: &Record) {
        let copied = self.http.token_record().and_then(|target| match target {
            Some(target) => self.settled(|| {
                let seen = target.read()?;
                let next = renewed.copy();
                if let Some(text) = seen.record() {
                    let there = self.may_replace(text, Place::Copy, target.as_ref())?;
                    if there == next || there.is_newer_than(&next) {
                        return Ok(());
                    }
                }
                target.replace(&seen.version, &next.render()).map(drop)
            }),
            None => Ok(()),
        });
        if let Err(error) = copied {
            (self.warn)(&format!(
                "the token of profile '{}' was renewed, but its copy for jobs was not: {error:#}",
                self.profile
            ));
        }
    }

    /// Renews the shared token if less than half of its life is left, and updates the copy for jobs.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`], also while the token is still valid.
    pub(crate) fn renew(&self) -> anyhow::Result<SharedState> {
        let record = self.http.record()?;
        let renewal = Renewal {
            tokens: self,
            record: record.as_ref(),
            margin: Duration::ZERO,
            ahead_s: u64::MAX,
            refused: None,
            is_in_passing: false,
            is_required: true,
        };
        renewal.run()?;
        let (known, state) = self.known_state(record.as_ref())?;
        let is_due = state
            .token
            .as_ref()
            .is_none_or(|token| token.left_s < token.lifetime_s / 2);
        match &state.failed {
            _ if state.has_ended => return Err(renewal.has_ended()),
            Some((host, why, _)) if is_due => {
                let message = format!(
                    "cannot renew the token of profile '{}': '{}' could not get one: {}",
                    self.profile,
                    quote(host),
                    quote(why)
                );
                return Err(Failure::new(Kind::Busy, message).into());
            }
            _ => {}
        }
        self.copy(&known.record);
        Ok(state)
    }

    /// Reads the state of the shared login.
    ///
    /// # Errors
    ///
    /// If the store cannot be used, or has no login.
    pub(crate) fn shared_state(&self) -> anyhow::Result<SharedState> {
        let record = self.http.record()?;
        Ok(self.known_state(record.as_ref())?.1)
    }

    /// Reads a record, and describes its state.
    fn known_state(&self, record: &dyn SharedRecord) -> anyhow::Result<(Known, SharedState)> {
        let mut lookout = Lookout::new(self, record, STORE_LIMIT)?;
        let known = lookout.look()?;
        let age_s = |at_unix_s: u64| known.now_unix_s.saturating_sub(at_unix_s);
        let there = &known.record;
        let state = SharedState {
            name: record.name(),
            has_login: there.refresh_token.is_some(),
            owner: there.owner.clone(),
            is_copy: there.client_secret.is_none(),
            has_ended: there.is_dead(),
            token: there.access.as_ref().map(|access| SharedToken {
                by: access.by.clone(),
                age_s: age_s(access.got_at_unix_s),
                left_s: access.expires_at_unix_s.saturating_sub(known.now_unix_s),
                lifetime_s: access.lifetime_s,
            }),
            claimed: (there.claim.as_ref()).map(|it| (it.host.clone(), age_s(it.at_unix_s))),
            is_claim_stale: matches!(lookout.standing(&known), Standing::Stale | Standing::Unsure),
            failed: (there.failed.as_ref())
                .map(|it| (it.host.clone(), it.why.clone(), age_s(it.at_unix_s))),
        };
        Ok((known, state))
    }

    /// Says what the store lets this machine do.
    ///
    /// # Errors
    ///
    /// If the store cannot be used.
    pub(crate) fn inspect_shared(&self) -> anyhow::Result<Inspection> {
        self.http.record()?.inspect()
    }

    /// Removes the shared login, for all machines. True if there was one.
    ///
    /// The first step is a write: a machine that renews the token then cannot write its result.
    ///
    /// # Errors
    ///
    /// [`Kind::SharedStoreUnusable`] if it is still there. [`Kind::Misconfigured`] if another secret is there.
    pub(in crate::token) fn forget_shared(&self) -> anyhow::Result<bool> {
        let mut found = false;
        for (record, place) in self.records()? {
            let removed = self.settled(|| {
                let seen = record.read()?;
                let Some(text) = seen.record() else {
                    return Ok(None);
                };
                self.may_replace(text, place, record.as_ref())?;
                record.may_destroy()?;
                let nothing = Secret::new(json!({ RESERVED: "" }).to_string());
                record.replace(&seen.version, &nothing).map(Some)
            })?;
            if let Some(newest) = removed {
                found = true;
                self.settled(|| record.destroy(&newest))?;
            }
        }
        Ok(found)
    }

    /// Opens the record, and the one for its copy if the profile has one.
    fn records(&self) -> anyhow::Result<Vec<(Box<dyn SharedRecord + '_>, Place)>> {
        let login = (self.http.record()?, Place::Login);
        let copy = self.http.token_record()?.map(|copy| (copy, Place::Copy));
        Ok(std::iter::once(login).chain(copy).collect())
    }

    /// Gives the record that a write will replace. Refuses what is not a login for this profile, or not a copy of it.
    fn may_replace(
        &self,
        text: &Secret,
        place: Place,
        record: &dyn SharedRecord,
    ) -> Result<Record, Trouble> {
        let client = self.profile.client().map(|client| client.id.as_str());
        let is_client = |id: &str| client.is_none_or(|own| own.is_empty() || own == id);
        let why = match (Record::parse(text), place) {
            (Some(there), _) if !there.is_for(self.profile) => {
                "it has a login for another client or another Bitbucket"
            }
            (Some(there), _) if !is_client(&there.client_id) => {
                "it has the login of another client"
            }
            (Some(there), Place::Copy) if there.client_secret.is_some() => "it has a login",
            (Some(there), Place::Login) if there.client_secret.is_none() => {
                "it has a copy for jobs"
            }
            (Some(there), _) => return Ok(there),
            (None, _) => "it is not a login of this program's version",
        };
        let message = format!(
            "cannot replace the record in {}: {why}; choose another record, or remove this one with a program of the store",
            record.name()
        );
        let failure = Failure::new(Kind::Misconfigured, message);
        Err(Trouble::Unusable(failure.into()))
    }

    /// Repeats reads and writes that another writer or a leaderless store has disturbed.
    fn settled<T>(&self, mut attempt: impl FnMut() -> Result<T, Trouble>) -> anyhow::Result<T> {
        let begun = self.clock.monotonic();
        let mut pauses = Pauses::default();
        loop {
            let (error, asked) = match attempt() {
                Ok(done) => return Ok(done),
                Err(Trouble::Unusable(error)) => return Err(error),
                Err(Trouble::Lost { why, retry_after }) => (why, retry_after),
                Err(Trouble::Overtaken) => {
                    let message = "the shared record changes again and again";
                    (
                        Failure::new(Kind::SharedStoreUnusable, message).into(),
                        None,
                    )
                }
            };
            let waited = self.clock.monotonic() - begun;
            if waited + asked.unwrap_or_default() >= STORE_LIMIT {
                return Err(error);
            }
            pauses.wait(self.clock, asked);
        }
    }

    fn time_of(&self, seen: &Seen) -> u64 {
        let now = || self.clock.now_unix_s();
        seen.store_time_unix_s.unwrap_or_else(now)
    }
}
