//! Requests a new token by the profile's grant, under the lock of that token.

use std::time::Duration;

use super::{
    bearer::Current,
    busy::Repeat,
    cache::{Cache, Cached, Entry, least_life},
    explain::{explain, who},
    journal::Journal,
    lock::{self, LockOutcome},
    refresh::Refresh,
    shared::{AHEAD_S, Granted, Renewal},
    store::Store,
    tokens::Tokens,
};
use crate::{
    failure::{Failure, Kind, kind},
    http::PATIENCE,
    profile::{Grant, Source},
    secret::Secret,
};

/// The requirements for [`Tokens::obtain`].
pub(super) struct TokenRequest<'w> {
    /// The minimum remaining lifetime.
    pub(super) margin: Duration,
    /// The token that the server refused.
    pub(super) refused: Option<&'w Secret>,
    /// The time to wait for a busy endpoint. A shared record has a limit of its own.
    pub(super) patience: Duration,
    /// Whether the command has a valid token of a shared record, and only looks for a newer one.
    pub(super) is_in_passing: bool,
}

impl TokenRequest<'_> {
    pub(super) fn of(margin: Duration) -> Self {
        TokenRequest {
            margin,
            refused: None,
            patience: PATIENCE,
            is_in_passing: false,
        }
    }
}

impl Tokens<'_> {
    pub(super) fn usable(
        &self,
        entry: Entry,
        margin: Duration,
        refused: Option<&Secret>,
    ) -> Option<Current> {
        let now_unix_s = self.clock.now_unix_s();
        let margin = match self.profile.ends_tokens_by_refresh() {
            // A refresh would end the token of a command that is still running.
            true => 0,
            false => least_life(margin, entry.lifetime_s),
        };
        let is_alive = entry.expires_at_unix_s > now_unix_s + margin;
        // A remaining life above the lifetime means that the clock was wrong then or is wrong now.
        let is_sane = entry.expires_at_unix_s <= now_unix_s.saturating_add(entry.lifetime_s);
        let is_good = is_alive && is_sane && Some(&entry.access_token) != refused;
        is_good.then(|| Current::of(entry, false))
    }

    pub(super) fn cached(&self, margin: Duration) -> Option<Current> {
        self.usable(self.cached_entry()?, margin, None)
    }

    /// Gives the token of a user's login. First repeats a refresh whose response was lost, while that is possible.
    pub(super) fn of_login(&mut self, margin: Duration) -> anyhow::Result<Current> {
        let Some(current) = self.cached(margin) else {
            return self.obtain(&TokenRequest::of(margin));
        };
        if !self.may_repeat_refresh() {
            return Ok(current);
        }
        let in_passing = TokenRequest {
            patience: Duration::ZERO,
            ..TokenRequest::of(margin)
        };
        self.obtain(&in_passing).or(Ok(current))
    }

    /// Tells whether a refresh was interrupted and can be repeated. Without a grace period, it cannot, and a refresh before
    /// the token has ended would end the token that other commands use.
    fn may_repeat_refresh(&self) -> bool {
        let journal = Journal::at(self.places.state.clone(), &self.profile.login_key());
        !self.profile.ends_tokens_by_refresh() && journal.is_urgent(self.clock.now_unix_s())
    }

    /// Gives the token of a shared record. A command whose cached token ends soon looks for a newer one, so that not all
    /// machines wait for a renewal at the end of the token.
    pub(super) fn of_record(&self, margin: Duration) -> anyhow::Result<Current> {
        if let Some(current) = self.cached(margin.max(Duration::from_secs(AHEAD_S))) {
            return Ok(current);
        }
        match self.cached(margin) {
            Some(current) => Ok(self.newer(margin).unwrap_or(current)),
            None => self.obtain(&TokenRequest::of(margin)),
        }
    }

    /// Looks for a newer token of a shared record, and renews the token if that is due.
    fn newer(&self, margin: Duration) -> Option<Current> {
        let (cache, key) = self.cache()?;
        let _lock = lock::in_passing(self.places.cache.as_ref()?, &key, self.clock)?;
        let request = TokenRequest {
            is_in_passing: true,
            ..TokenRequest::of(margin)
        };
        // A failure costs nothing: the cached token is valid, and a later command looks again.
        let granted = self.grant(&request).ok()?;
        if let Err(error) = cache.write(&key, &granted.entry) {
            self.tell_unsaved(&error);
        }
        Some(Current::of(granted.entry, granted.is_new))
    }

    /// Requests a token under the lock. A process that had to wait for the lock finds the other's token in the cache.
    pub(super) fn obtain(&self, request: &TokenRequest<'_>) -> anyhow::Result<Current> {
        if let Some(client) = self.profile.client()
            && client.secret == Source::Stored
        {
            // Report a missing secret before anything is written.
            self.client(client)?;
        }
        let Some((cache, key)) = self.cache() else {
            let granted = self.grant(request)?;
            return Ok(Current::of(granted.entry, granted.is_new));
        };
        let mut lock = self.lock(&key);
        if let Ok(LockOutcome::Unreachable) = lock {
            let host = self.token_host().to_owned();
            let message = format!(
                "cannot get a token for {}: another command could not reach '{host}' a moment ago",
                who(self.profile)
            );
            return Err(Failure::new(Kind::Unreachable { host }, message).into());
        }
        if let Some(current) = self.read_cache(&cache, &key, request, lock.is_ok()) {
            return Ok(current);
        }
        let granted = self.grant(request);
        // A shared store that cannot be reached is another server.
        if let (Err(error), Ok(LockOutcome::Ours(lock))) = (&granted, &mut lock)
            && let Some(Kind::Unreachable { host }) = kind(error)
            && host == self.token_host()
        {
            lock.tell_unreachable(self.clock);
        }
        let granted = granted?;
        match (cache.write(&key, &granted.entry), lock) {
            (Err(error), _) => self.tell_unsaved(&error),
            (Ok(()), Err(error)) => (self.warn)(&format!(
                "commands that run at the same time may each request a token: {error:#}"
            )),
            (Ok(()), Ok(_)) => {}
        }
        Ok(Current::of(granted.entry, granted.is_new))
    }

    /// Gives the token of the cache, if it may be used. Only the holder of the lock moves a damaged file away.
    fn read_cache(
        &self,
        cache: &Cache,
        key: &str,
        request: &TokenRequest<'_>,
        is_locked: bool,
    ) -> Option<Current> {
        let why = match cache.read(key) {
            Cached::Token(entry) => {
                let usable = self.usable(entry, request.margin, request.refused);
                return usable.filter(|_| !self.has_unfinished_refresh());
            }
            Cached::Nothing => return None,
            Cached::Corrupt => "the token cache was damaged".to_owned(),
            Cached::Untrusted(why) => why,
        };
        if is_locked {
            self.set_aside(cache, key, &why);
        }
        None
    }

    fn has_unfinished_refresh(&self) -> bool {
        // Usually there is no note, and the store, which may be slow, stays closed.
        matches!(self.profile.grant, Grant::AuthorizationCode(_))
            && self.may_repeat_refresh()
            && self
                .store()
                .is_ok_and(|store| self.refresh(store.as_ref()).is_pending(self))
    }

    pub(super) fn refresh<'r>(&self, store: &'r dyn Store) -> Refresh<'r> {
        let key = self.profile.login_key();
        Refresh {
            store,
            journal: Journal::at(self.places.state.clone(), &key),
            ended: Journal::of_ended(self.places.state.clone(), &key),
            key,
        }
    }

    fn grant(&self, request: &TokenRequest<'_>) -> anyhow::Result<Granted> {
        let entry = match &self.profile.grant {
            // A token that the user provides is never requested.
            Grant::Shared(_) | Grant::Token(_) => {
                let record = self.http.record()?;
                let renewal = Renewal {
                    tokens: self,
                    record: record.as_ref(),
                    margin: request.margin,
                    ahead_s: AHEAD_S,
                    refused: request.refused,
                    is_in_passing: request.is_in_passing,
                    is_required: false,
                };
                return renewal.run();
            }
            Grant::AuthorizationCode(client) => {
                let store = self.store()?;
                let client = self.client(client)?;
                self.refresh(store.as_ref())
                    .run(self, &client, request.patience)
            }
            Grant::ClientCredentials(client) => {
                let (client, http) = (self.client(client)?, self.http.client()?);
                self.with_retries(request.patience, Repeat::Safe, || {
                    client.client_credentials(http, self.clock)
                })
                .map(Entry::of)
                .map_err(|error| explain(error, self.profile, &client, false))
            }
        };
        entry.map(|entry| Granted {
            entry,
            is_new: true,
        })
    }

    fn set_aside(&self, cache: &Cache, key: &str, why: &str) {
        (self.warn)(&match cache.set_aside(key) {
            Ok(path) => format!("{why}; the helper moved it to '{}'", path.display()),
            Err(error) => format!("{why}; the helper could not move it away: {error}"),
        });
    }

    pub(super) fn tell_unsaved(&self, error: &anyhow::Error) {
        (self.warn)(&format!(
            "the token was not saved, so each command requests its own: {error:#}; make the directory writable, or set BBTOKEN_HOME to another one"
        ));
    }
}
