//! Refresh with rotation, made to survive lost answers, kills, races and full disks (RFC 6749 section 6).
//!
//! The order is what makes it safe, all of it under the login's lock:
//!
//! 1. read the login again: another process may have refreshed it meanwhile;
//! 2. make room for the next login, so that a full disk is met before the token is used, not after;
//! 3. note that the token is about to be used ([`Journal`]);
//! 4. send it; an answer that is lost is asked for again at once, inside the server's grace;
//! 5. keep the new login, durably, before the access token is used for anything;
//! 6. take the note back.
//!
//! A kill between 3 and 5 leaves the note, and the next command starts over with the same token, inside the grace.
//! A refusal is believed only if the login is still the one that was sent; nothing is ever deleted.
//!
//! Where locks do not work, two processes may send the same token. Inside the grace both get a login that works, and
//! the one that is kept last is as good as the other.

use std::time::Duration;

use anyhow::Context as _;

use super::{
    Tokens,
    busy::Repeat,
    cache::Entry,
    explain::{explain, who},
    journal::Journal,
    login::Login,
    store::Store,
};
use crate::{
    failure::{Failure, Kind},
    http::Phase,
    oauth,
    secret::Secret,
};

/// What a refresh needs beside the profile.
pub(super) struct Refresh<'r> {
    pub(super) store: &'r dyn Store,
    pub(super) journal: Journal,
    pub(super) key: String,
}

/// What a failure tells about the refresh token that was sent.
#[derive(Debug, PartialEq, Eq)]
enum RefreshFailure {
    /// The server did not get to it.
    Unused,
    /// It may have been used.
    Unknown,
    /// The server does not take it.
    Refused,
}

impl RefreshFailure {
    fn of(error: &oauth::Error) -> Self {
        match error {
            oauth::Error::Transport(error) => match error.phase {
                Phase::Connect | Phase::Tls => RefreshFailure::Unused,
                Phase::Request | Phase::NotHttp | Phase::Answer | Phase::TimeLimit => {
                    RefreshFailure::Unknown
                }
            },
            oauth::Error::Refused(refusal) if refusal.is_of_client() => RefreshFailure::Unused,
            oauth::Error::Refused(_) => RefreshFailure::Refused,
            oauth::Error::Busy { status: 429, .. } => RefreshFailure::Unused,
            // A gateway says so, too, when it has lost the answer of the server behind it.
            oauth::Error::Busy { .. }
            | oauth::Error::Failed(_)
            | oauth::Error::OtherType(_)
            | oauth::Error::Unusable { .. } => RefreshFailure::Unknown,
        }
    }
}

impl Refresh<'_> {
    /// Gets an access token with the login's refresh token. The caller holds the lock.
    ///
    /// `patience` is how long a busy endpoint is waited for; with none a lost answer is not asked for again either.
    ///
    /// # Errors
    ///
    /// [`Kind::LoginNeeded`] when there is no login or the server does not know it any more, [`Kind::StoreUnusable`]
    /// when the next login could not be kept: the refresh token is not used then.
    pub(super) fn run(
        &self,
        tokens: &Tokens<'_>,
        client: &oauth::Client,
        patience: Duration,
    ) -> anyhow::Result<Entry> {
        let login = self.login(tokens)?;
        self.store.reserve(&self.key).with_context(|| {
            Failure::new(
                Kind::StoreUnusable,
                format!(
                    "cannot renew the login of profile '{}': what follows it could not be kept",
                    tokens.profile
                ),
            )
        })?;
        let exchanged = self.exchange(tokens, client, login, patience);
        if exchanged.is_err() {
            self.store.release(&self.key);
        }
        let (answer, before) = exchanged?;
        self.keep(tokens, &answer, before);
        Ok(Entry::of(answer))
    }

    /// Sends the login's refresh token until there is an answer; gives the login it was for, too.
    fn exchange(
        &self,
        tokens: &Tokens<'_>,
        client: &oauth::Client,
        mut login: Login,
        patience: Duration,
    ) -> anyhow::Result<(oauth::TokenAnswer, Login)> {
        let http = tokens.http.client()?;
        // As long as the token may have been used its note has to stay.
        let mut may_be_used = self.note(tokens, &login);
        loop {
            let ask = || {
                let answer = client.refresh(http, tokens.clock, &login.refresh_token);
                // Seen here, since not every answer is the last one: the token is sent again inside the grace.
                may_be_used |= answer
                    .as_ref()
                    .is_err_and(|error| RefreshFailure::of(error) == RefreshFailure::Unknown);
                answer
            };
            let error = match tokens.patiently(patience, Repeat::SpendsWithGrace, ask) {
                Ok(answer) => return Ok((answer, login)),
                Err(error) => error,
            };
            match RefreshFailure::of(&error) {
                RefreshFailure::Unused if !may_be_used => self.journal.end(),
                RefreshFailure::Unused | RefreshFailure::Unknown => {}
                RefreshFailure::Refused => {
                    let current = self.login(tokens)?;
                    if current.refresh_token != login.refresh_token {
                        // Somebody replaced it without our lock, by logging in again for example.
                        login = current;
                        may_be_used = self.note(tokens, &login);
                        continue;
                    }
                    self.journal.end();
                    return Err(login_needed(tokens, error));
                }
            }
            return Err(explain(error, tokens.profile));
        }
    }

    /// Notes that a login's token is about to be sent; tells whether it may have been sent before.
    fn note(&self, tokens: &Tokens<'_>, login: &Login) -> bool {
        let token = &login.refresh_token;
        let was_pending = self.journal.is_pending(token);
        if let Err(error) = self.journal.begin(token, tokens.clock.now_unix_s()) {
            // The login itself can be kept: that was made sure of.
            (tokens.notify)(&format!(
                "a kill in the next seconds could cost the login of profile '{}': {error:#}",
                tokens.profile
            ));
        }
        was_pending
    }

    /// Keeps what the server gave; a failure is told, and the note left for the next command to try once more.
    fn keep(&self, tokens: &Tokens<'_>, answer: &oauth::TokenAnswer, before: Login) {
        let next = Login {
            // An answer without one leaves the old one in force.
            refresh_token: answer.refresh_token.clone().unwrap_or(before.refresh_token),
            scopes: answer.scopes.clone(),
            obtained_at_unix_s: tokens.clock.now_unix_s(),
        };
        match self.store.save(&self.key, &next.to_record()) {
            Ok(()) => self.journal.end(),
            Err(error) => (tokens.notify)(&format!(
                "the renewed login of profile '{}' could not be kept; mend this within minutes and run any git command, or log in again: {error:#}",
                tokens.profile
            )),
        }
    }

    fn login(&self, tokens: &Tokens<'_>) -> anyhow::Result<Login> {
        let record = self
            .store
            .load(&self.key)
            .with_context(|| format!("cannot read the login of profile '{}'", tokens.profile))?;
        record.as_ref().and_then(Login::from_record).ok_or_else(|| {
            let profile = tokens.profile.name.clone();
            let message = format!(
                "profile '{profile}' is not logged in{}",
                tokens.looked_in(&self.key)
            );
            Failure::new(Kind::LoginNeeded { profile }, message).into()
        })
    }

    /// Tells whether a refresh of this login has begun and not ended. A note of an earlier login is removed.
    pub(super) fn is_pending(&self, tokens: &Tokens<'_>) -> bool {
        if !self.journal.is_urgent(tokens.clock.now_unix_s()) {
            return false;
        }
        let Ok(login) = self.login(tokens) else {
            return false;
        };
        let is_pending = self.journal.is_pending(&login.refresh_token);
        if !is_pending {
            self.journal.end();
        }
        is_pending
    }
}

fn login_needed(tokens: &Tokens<'_>, error: oauth::Error) -> anyhow::Error {
    let profile = tokens.profile.name.clone();
    let message = format!(
        "cannot get a token for {}: its login has ended, because it was revoked or not used for three months",
        who(tokens.profile)
    );
    anyhow::Error::new(error).context(Failure::new(Kind::LoginNeeded { profile }, message))
}

/// The refresh token of a first answer, which begins a login.
pub(super) fn first_login(answer: &oauth::TokenAnswer, now_unix_s: u64) -> Option<Login> {
    let refresh_token: Secret = answer.refresh_token.clone()?;
    Some(Login {
        refresh_token,
        scopes: answer.scopes.clone(),
        obtained_at_unix_s: now_unix_s,
    })
}
