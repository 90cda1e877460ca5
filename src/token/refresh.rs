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

use std::time::Duration;

use anyhow::Context as _;

use super::{
    Tokens, cache::Entry, entry_of, explain, journal::Journal, login::Login, store::Store,
};
use crate::{
    failure::{Failure, Kind},
    http::Phase,
    oauth,
    secret::Secret,
};

/// How often a refresh token is sent before the network is given up, and the pauses in between.
const PAUSES: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(1)];

/// What a refresh needs beside the profile.
pub(super) struct Refresh<'r> {
    pub(super) store: &'r dyn Store,
    pub(super) journal: Journal,
    pub(super) key: String,
}

impl Refresh<'_> {
    /// Gets an access token with the login's refresh token. The caller holds the lock.
    ///
    /// # Errors
    ///
    /// [`Kind::LoginNeeded`] when there is no login or the server does not know it any more, [`Kind::StoreUnusable`]
    /// when the next login could not be kept: the refresh token is not used then.
    pub(super) fn run(&self, tokens: &Tokens<'_>, client: &oauth::Client) -> anyhow::Result<Entry> {
        let mut login = self.login(tokens)?;
        let not_risked = || {
            Failure::new(
                Kind::StoreUnusable,
                format!(
                    "cannot renew the login of profile '{}': what follows it could not be kept",
                    tokens.profile
                ),
            )
        };
        self.store.reserve(&self.key).with_context(not_risked)?;
        let was_pending = self.journal.is_pending(&login.refresh_token);
        self.journal
            .begin(&login.refresh_token, tokens.clock.now_unix_s())
            .with_context(not_risked)?;
        let mut pauses = PAUSES.iter();
        let answer = loop {
            let error = match tokens
                .patiently(|| client.refresh(tokens.http, tokens.clock, &login.refresh_token))
            {
                Ok(answer) => break answer,
                Err(error) => error,
            };
            match &error {
                oauth::Error::Refused(_) => {
                    let current = self.login(tokens)?;
                    if current.refresh_token == login.refresh_token {
                        self.journal.end();
                        return Err(login_needed(tokens, error));
                    }
                    // Somebody replaced the login without our lock, by logging in again for example.
                    login = current;
                }
                oauth::Error::Transport(transport)
                    if matches!(transport.phase, Phase::Connect | Phase::Tls) =>
                {
                    if !was_pending {
                        self.journal.end();
                    }
                    return Err(explain(error, tokens.profile));
                }
                _ => match pauses.next() {
                    Some(pause) => tokens.clock.wait(*pause),
                    None => return Err(explain(error, tokens.profile)),
                },
            }
        };
        self.keep(tokens, &answer, login);
        Ok(entry_of(answer))
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
            let name = tokens.profile.name.clone();
            Failure::new(
                Kind::LoginNeeded {
                    profile: name.clone(),
                },
                format!("profile '{name}' is not logged in"),
            )
            .into()
        })
    }

    /// Tells whether a refresh of this login has begun and not ended.
    pub(super) fn is_pending(&self) -> bool {
        let login = || {
            self.store
                .load(&self.key)
                .ok()
                .flatten()
                .as_ref()
                .and_then(Login::from_record)
        };
        self.journal.exists()
            && login().is_some_and(|login| self.journal.is_pending(&login.refresh_token))
    }
}

fn login_needed(tokens: &Tokens<'_>, error: oauth::Error) -> anyhow::Error {
    let profile = tokens.profile.name.clone();
    let message = format!(
        "cannot get a token for profile '{profile}': the server does not take its refresh token any more"
    );
    anyhow::Error::new(error).context(Failure::new(Kind::LoginNeeded { profile }, message))
}

/// The refresh token of a first answer, which begins a login.
pub(super) fn first_login(answer: &oauth::TokenAnswer, now_unix_s: u64) -> Option<Login> {
    answer
        .refresh_token
        .clone()
        .map(|refresh_token: Secret| Login {
            refresh_token,
            scopes: answer.scopes.clone(),
            obtained_at_unix_s: now_unix_s,
        })
}
