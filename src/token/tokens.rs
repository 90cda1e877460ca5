//! The tokens of one profile, with the places in which each step looks for them.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use super::{
    bearer::Current,
    cache::{Cache, Cached, Entry},
    check, client,
    connect::Connect,
    lock::{self, LockOutcome},
    source,
    store::{self, Store},
};
use crate::{
    clock::Clock,
    failure::misconfigured,
    files, oauth,
    profile::{self, Client, ENVIRONMENT, Grant, Profile, Source},
    suggestion,
};

/// The time to wait for another process that requests the same token. It is longer than such a request may take.
const LOCK_LIMIT: Duration = Duration::from_secs(180);

/// The directories for data that outlives a command. With `None`, nothing is stored.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places {
    /// Access tokens, which can be requested again.
    pub(crate) cache: Option<PathBuf>,
    /// Logins and client secrets, which cannot be requested again, and notes about them.
    pub(crate) state: Option<PathBuf>,
    /// The default places of `state`, to find a login that a variable hides.
    pub(crate) usual_states: Vec<PathBuf>,
}

/// The tokens of one profile during one command.
pub(crate) struct Tokens<'a> {
    pub(super) profile: &'a Profile,
    pub(super) http: &'a dyn Connect,
    pub(super) clock: &'a dyn Clock,
    pub(super) places: Places,
    pub(super) warn: &'a dyn Fn(&str),
    pub(super) current: Option<Current>,
    pub(super) replaced: bool,
}

impl<'a> Tokens<'a> {
    /// Prepares the tokens of a profile. `warn` shows warnings to the user.
    pub(crate) fn new(
        profile: &'a Profile,
        http: &'a dyn Connect,
        clock: &'a dyn Clock,
        places: Places,
        warn: &'a dyn Fn(&str),
    ) -> Self {
        Tokens {
            profile,
            http,
            clock,
            places,
            warn,
            current: None,
            replaced: false,
        }
    }

    /// Opens the profile's store of durable secrets.
    ///
    /// # Errors
    ///
    /// [`crate::failure::Kind::StoreUnusable`].
    pub(crate) fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        store::open(self.profile, self.places.state.clone())
    }

    /// Reads the client's secret.
    ///
    /// # Errors
    ///
    /// If the secret is not where the profile says.
    pub(crate) fn client(&self, client: &Client) -> anyhow::Result<oauth::Client> {
        let profile = self.profile;
        let secret = match &client.secret {
            Source::Stored => self
                .store()?
                .load(&profile.client_key(client))?
                .ok_or_else(|| no_secret(profile, &self.looked_in(&profile.client_key(client))))?,
            source => source::read(source)
                .with_context(|| format!("cannot read the client secret of profile '{profile}'"))?,
        };
        check::check_client(&client.id, &secret, profile)?;
        Ok(client::client(profile, &client.id, secret))
    }

    /// Names the directory that was searched for a secret, for messages.
    pub(super) fn looked_in(&self, key: &str) -> String {
        match (self.profile.store, &self.places.state) {
            // No login saves a secret for it.
            _ if self.profile.name == ENVIRONMENT => String::new(),
            (profile::Store::File, Some(state)) => {
                let elsewhere = self.found_elsewhere(state, key);
                format!(" (looked in '{}'){elsewhere}", state.display())
            }
            _ => String::new(),
        }
    }

    /// Names the default directory if a secret is there, and not in the directory that variables select.
    fn found_elsewhere(&self, state: &Path, key: &str) -> String {
        let has_it = |place: &&PathBuf| {
            *place != state
                && files::Directory::open(place).is_ok_and(|it| it.has(&format!("{key}.json")))
        };
        let found = self.places.usual_states.iter().find(has_it);
        found.map_or_else(String::new, |place| {
            format!(
                "; it is in '{}', but BBTOKEN_HOME, XDG_STATE_HOME or HOME points elsewhere",
                place.display()
            )
        })
    }

    pub(super) fn cache(&self) -> Option<(Cache, String)> {
        Some((
            Cache::at(self.places.cache.clone()?),
            self.profile.cache_key()?,
        ))
    }

    pub(super) fn cached_entry(&self) -> Option<Entry> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => Some(entry),
            Cached::Nothing | Cached::Corrupt | Cached::Untrusted(_) => None,
        }
    }

    pub(super) fn lock(&self, key: &str) -> anyhow::Result<LockOutcome> {
        let directory = match self.profile.grant {
            Grant::AuthorizationCode(_) => self.places.state.as_ref(),
            _ => self.places.cache.as_ref(),
        };
        let directory = directory.context("there is no directory for the lock")?;
        lock::acquire(directory, key, LOCK_LIMIT, self.clock, self.warn)
    }

    pub(super) fn token_host(&self) -> &str {
        self.profile.endpoints.token.host_str().unwrap_or("")
    }
}

fn no_secret(profile: &Profile, looked_in: &str) -> anyhow::Error {
    let login = match profile.name.as_str() {
        ENVIRONMENT => String::new(),
        name => format!("run 'git bbtoken login {name}', or "),
    };
    let message = format!(
        "the client of profile '{profile}' has no secret{looked_in}: {login}set BBTOKEN_CLIENT_SECRET, BBTOKEN_CLIENT_SECRET_FILE or bbtoken.{profile}.clientSecretCommand{}",
        suggestion::doubts(
            &[
                profile.unknown_keys.clone(),
                suggestion::unknown_variables()
            ]
            .concat()
        )
    );
    misconfigured(message).into()
}
