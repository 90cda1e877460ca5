//! Refresh with rotation that survives lost responses, kills, races and full disks (RFC 6749 section 6).
//!
//! The order of the steps makes it safe. All of them run under the login's lock:
//!
//! 1. Read the login again, because another process may have refreshed it.
//! 2. Reserve space for the next login, so that a full disk fails before the token is used.
//! 3. Write a note that the token will be used ([`Journal`]).
//! 4. Send the token. If the response is lost, repeat at once, within the server's grace period.
//! 5. Save the new login durably, before the access token is used.
//! 6. Remove the note.
//!
//! A kill between 3 and 5 leaves the note. The next command then repeats the refresh within the grace period. A refusal
//! counts only if the stored login is still the one that was sent. Nothing is ever deleted.
//!
//! On file systems without locks, two processes may send the same token. Within the grace period, both get a valid
//! login, and either may be saved last.
use std::time::Duration;

use anyhow::Context as _;

use super::{
    busy::Repeat,
    cache::Entry,
    explain::{explain, needs_login, who},
    journal::Journal,
    login::Login,
    store::Store,
    tokens::Tokens,
};
use crate::{
    failure::{Failure, Kind},
    http::Phase,
    oauth,
    secret::Secret,
};

/// The store, note and key of a refresh.
pub(super) struct Refresh<'r> {
    pub(super) store: &'r dyn Store,
    pub(super) journal: Journal,
    /// The note that the server refused the token.
    pub(super) ended: Journal,
    pub(super) key: String,
}

/// The state of the refresh token after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum RefreshFailure {
    /// The server has not used it.
    Unused,
    /// The server may have used it.
    Unknown,
    /// The server refused it.
    Refused,
}

impl RefreshFailure {
    pub(super) fn of(error: &oauth::Error) -> Self {
        match error {
            oauth::Error::Transport(error)
                if matches!(error.phase, Phase::Connect | Phase::Tls) =>
            {
                RefreshFailure::Unused
            }
            oauth::Error::Refused(refusal) if refusal.is_of_client() => RefreshFailure::Unused,
            oauth::Error::Refused(_) => RefreshFailure::Refused,
            oauth::Error::Busy { status: 429, .. } => RefreshFailure::Unused,
            // A gateway also sends this status when it lost the response of the server behind it.
            oauth::Error::Transport(_)
            | oauth::Error::Busy { .. }
            | oauth::Error::Failed(_)
            | oauth::Error::OtherType(_)
            | oauth::Error::Unusable { .. } => RefreshFailure::Unknown,
        }
    }
}

impl Refresh<'_> {
    /// Requests an access token with the login's refresh token. The caller holds the lock.
    ///
    /// `patience` is the time to wait for a busy endpoint. If it is zero, a lost response is not repeated either.
    ///
    /// # Errors
    ///
    /// [`Kind::LoginNeeded`] if there is no login or the server refuses it. [`Kind::StoreUnusable`] if there is no
    /// space for the next login; the refresh token is then not used.
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
                    "cannot refresh the login of profile '{}': the store could not save the result",
                    tokens.profile
                ),
            )
        })?;
        let exchanged = self.exchange(tokens, client, login, patience);
        if exchanged.is_err() {
            self.store.release(&self.key);
        }
        let (answer, before) = exchanged?;
        self.save(tokens, &answer, before);
        Ok(Entry::of(answer))
    }

    /// Sends the login's refresh token until there is a response. Also gives the login that was sent.
    fn exchange(
        &self,
        tokens: &Tokens<'_>,
        client: &oauth::Client,
        mut login: Login,
        patience: Duration,
    ) -> anyhow::Result<(oauth::TokenAnswer, Login)> {
        let http = tokens.http.client()?;
        // The note stays as long as the server may have used the token.
        let mut may_be_used = self.note(tokens, &login);
        loop {
            let ask = || {
                let answer = client.refresh(http, tokens.clock, &login.refresh_token);
                // Record this for every response, because the token is sent again within the grace period.
                may_be_used |= answer
                    .as_ref()
                    .is_err_and(|error| RefreshFailure::of(error) == RefreshFailure::Unknown);
                answer
            };
            let error = match tokens.with_retries(patience, Repeat::SpendsWithGrace, ask) {
                Ok(answer) => return Ok((answer, login)),
                Err(error) => error,
            };
            match RefreshFailure::of(&error) {
                RefreshFailure::Unused if !may_be_used => self.journal.end(),
                RefreshFailure::Unused | RefreshFailure::Unknown => {}
                RefreshFailure::Refused => {
                    let current = self.login(tokens)?;
                    if current.refresh_token != login.refresh_token {
                        // Another process replaced the login without this lock, for example by a new login.
                        login = current;
                        may_be_used = self.note(tokens, &login);
                        continue;
                    }
                    // Only 'status' reads this note, and it can do without.
                    let _ = self
                        .ended
                        .begin(&login.refresh_token, tokens.clock.now_unix_s());
                    let is_lost = may_be_used && tokens.profile.ends_tokens_by_refresh();
                    if is_lost {
                        // The note stays, so that later commands give the same cause.
                        return Err(login_needed(tokens, INTERRUPTED, error));
                    }
                    self.journal.end();
                    return Err(login_needed(tokens, ENDED, error));
                }
            }
            return Err(explain(error, tokens.profile, client, true));
        }
    }

    /// Writes the note that a login's token will be sent. Tells whether it may have been sent before.
    fn note(&self, tokens: &Tokens<'_>, login: &Login) -> bool {
        let token = &login.refresh_token;
        let was_pending = self.journal.is_pending(token);
        if let Err(error) = self.journal.begin(token, tokens.clock.now_unix_s()) {
            // The store has reserved space for the login itself.
            (tokens.warn)(&format!(
                "if this process is killed now, the login of profile '{}' may be lost: {error:#}",
                tokens.profile
            ));
        }
        was_pending
    }

    /// Saves the new login. If that fails, warns the user and leaves the note, so that the next command tries again.
    fn save(&self, tokens: &Tokens<'_>, answer: &oauth::TokenAnswer, before: Login) {
        let next = Login {
            // If the response has no refresh token, the old one stays valid.
            refresh_token: answer.refresh_token.clone().unwrap_or(before.refresh_token),
            scopes: answer.scopes.clone(),
            obtained_at_unix_s: tokens.clock.now_unix_s(),
        };
        match self.store.save(&self.key, &next.to_record()) {
            Ok(()) => self.end_notes(),
            Err(error) => {
                let remedy = match tokens.profile.ends_tokens_by_refresh() {
                    true => "fix this and log in again",
                    false => "fix this within minutes and run any git command, or log in again",
                };
                (tokens.warn)(&format!(
                    "cannot save the refreshed login of profile '{}'; {remedy}: {error:#}",
                    tokens.profile
                ));
            }
        }
    }

    /// Removes both notes, because they are about an earlier login.
    pub(super) fn end_notes(&self) {
        self.journal.end();
        self.ended.end();
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

    /// Tells whether a refresh of this login was interrupted. Removes a note of an earlier login.
    pub(super) fn is_pending(&self, tokens: &Tokens<'_>) -> bool {
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

/// Why a server refuses a refresh token.
pub(super) const ENDED: &str = "it was revoked or not used for three months";
/// Why a server without a grace period refuses it after a kill or a lost response.
const INTERRUPTED: &str = "a command was interrupted while it renewed the login, and this Bitbucket accepts a refresh token only once";

pub(super) fn login_needed(tokens: &Tokens<'_>, cause: &str, error: oauth::Error) -> anyhow::Error {
    let message = format!(
        "cannot get a token for {}: its login has ended, because {cause}",
        who(tokens.profile)
    );
    anyhow::Error::new(error).context(Failure::new(needs_login(tokens.profile), message))
}

/// Makes the login from the first response, if it has a refresh token.
pub(super) fn first_login(answer: &oauth::TokenAnswer, now_unix_s: u64) -> Option<Login> {
    let refresh_token: Secret = answer.refresh_token.clone()?;
    Some(Login {
        refresh_token,
        scopes: answer.scopes.clone(),
        obtained_at_unix_s: now_unix_s,
    })
}
