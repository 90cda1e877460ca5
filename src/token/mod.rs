//! A valid access token: from the cache, or by the profile's grant. Parallel processes request it only once.
//!
//! Expiry is measured with the local clock only, from the time of the request. So a clock that is wrong by hours does
//! no harm. If the clock jumps between two commands, a token may seem expired or seem to live longer than its lifetime.
//! It is then replaced once. If an expired token seems valid, the server refuses it, and it is replaced too.
mod bearer;
mod busy;
mod cache;
mod check;
mod client;
mod command;
mod explain;
mod format;
mod journal;
mod lock;
mod log_in;
mod login;
mod obtain;
mod refresh;
mod shared;
mod source;
pub(crate) mod store;
mod stored;

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    files,
    http::HttpClient,
    oauth,
    profile::{self, Client, ENVIRONMENT, Grant, Profile, Source},
    secret::Secret,
    suggestion,
};

use bearer::Current;
use cache::{Cache, Cached, Entry};
use journal::Journal;
use lock::LockOutcome;
use obtain::TokenRequest;
use store::Store;

pub(crate) use bearer::Bearer;
pub(crate) use cache::Entry as CachedToken;
pub(crate) use log_in::{Accept, release_room};
pub use login::Login;
pub(crate) use shared::{CommandRecord, SharedState, VaultRecord, VaultSession};
pub use shared::{Inspection, Seen, SharedRecord, Trouble, Version, purpose};
pub(crate) use stored::{Forgotten, SHARED_LOGIN, Stored, StoredAnswer, StoredOwner};

/// The time to wait for another process that requests the same token. It is longer than such a request may take.
const LOCK_LIMIT: Duration = Duration::from_secs(180);

/// The directories for data that outlives a command. With `None`, nothing is stored.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Access tokens, which can be requested again.
    pub cache: Option<PathBuf>,
    /// Logins and client secrets, which cannot be requested again, and notes about them.
    pub state: Option<PathBuf>,
    /// The default places of `state`, to find a login that a variable hides.
    pub usual_states: Vec<PathBuf>,
}

/// Provides the client for the token endpoint, only when it is needed.
pub trait Connect {
    /// Gives the client.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    fn client(&self) -> anyhow::Result<&dyn HttpClient>;

    /// Opens the record that the profile shares with other machines.
    ///
    /// # Errors
    ///
    /// If there is none, or git's http settings for its store cannot be followed.
    fn record(&self) -> anyhow::Result<Box<dyn SharedRecord + '_>> {
        anyhow::bail!("the profile has no shared store")
    }

    /// Opens the record that gets a copy of the access token for jobs, if the profile has one.
    ///
    /// # Errors
    ///
    /// As [`Connect::record`].
    fn token_record(&self) -> anyhow::Result<Option<Box<dyn SharedRecord + '_>>> {
        Ok(None)
    }
}

/// The tokens of one profile during one command.
pub struct Tokens<'a> {
    profile: &'a Profile,
    http: &'a dyn Connect,
    clock: &'a dyn Clock,
    places: Places,
    notify: &'a dyn Fn(&str),
    current: Option<Current>,
    replaced: bool,
}

impl<'a> Tokens<'a> {
    /// Prepares the tokens of a profile. `notify` shows warnings to the user.
    pub fn new(
        profile: &'a Profile,
        http: &'a dyn Connect,
        clock: &'a dyn Clock,
        places: Places,
        notify: &'a dyn Fn(&str),
    ) -> Self {
        Tokens {
            profile,
            http,
            clock,
            places,
            notify,
            current: None,
            replaced: false,
        }
    }

    /// Gives a token that is valid for at least `margin`.
    ///
    /// # Errors
    ///
    /// If the profile's grant gives no token. The kind decides the hint.
    pub fn bearer(&mut self, margin: Duration) -> anyhow::Result<Bearer> {
        if let Some(current) = &self.current {
            return Ok(current.bearer.clone());
        }
        let current = match &self.profile.grant {
            Grant::Token(source) => self.provided(source)?,
            Grant::ClientCredentials(_) => match self.cached(margin) {
                Some(current) => current,
                None => self.obtain(&TokenRequest::of(margin))?,
            },
            Grant::Shared(_) => self.of_record(margin)?,
            Grant::AuthorizationCode(_) => self.of_login(margin)?,
        };
        Ok(self.current.insert(current).bearer.clone())
    }

    /// Reports that the server refused the current token. True if there is a new token.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub fn refused(&mut self) -> anyhow::Result<bool> {
        let Some(refused) = self.current.take() else {
            return Ok(false);
        };
        let profile = self.profile;
        let again = !refused.is_new && !std::mem::replace(&mut self.replaced, true);
        let next = match &profile.grant {
            _ if !again => None,
            // Its file or command may have a new token by now.
            Grant::Token(source) => Some(self.provided(source)?),
            _ => {
                let request = TokenRequest {
                    refused: Some(&refused.bearer.token),
                    ..TokenRequest::of(Duration::ZERO)
                };
                Some(self.obtain(&request)?)
            }
        };
        let next = next.filter(|next| next.bearer.token != refused.bearer.token);
        let found = next.is_some();
        self.current = Some(next.unwrap_or(refused));
        Ok(found)
    }

    /// Removes a token that the server refused in another program, unless it was replaced already. True if it was
    /// cached.
    pub fn forget(&mut self, token: &Secret) -> bool {
        if let Some((cache, key)) = self.cache()
            && let Ok(LockOutcome::Ours(_lock)) = self.lock(&key)
            && matches!(cache.read(&key), Cached::Token(entry) if entry.access_token == *token)
        {
            cache.remove(&key);
            return true;
        }
        false
    }

    /// Reads an access token or API token that the user provides, from the store if it is there.
    fn provided(&self, source: &Source) -> anyhow::Result<Current> {
        let profile = self.profile;
        let key = profile.token_key();
        let token = match source {
            Source::Stored => self.store()?.load(&key)?.ok_or_else(|| {
                let kind = Kind::LoginNeeded {
                    profile: profile.name.clone(),
                };
                let place = self.looked_in(&key);
                Failure::new(
                    kind,
                    format!("no token is stored for profile '{profile}'{place}"),
                )
            })?,
            source => source::read(source)
                .with_context(|| format!("cannot read the access token of profile '{profile}'"))?,
        };
        check::check_token(&token, profile)?;
        Ok(Current {
            bearer: Bearer::new(token, None),
            is_new: false,
        })
    }

    /// Names the directory that was searched for a secret, for messages.
    fn looked_in(&self, key: &str) -> String {
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

    /// Opens the profile's store of durable secrets.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        store::open(self.profile, self.places.state.clone())
    }

    fn cache(&self) -> Option<(Cache, String)> {
        Some((
            Cache::at(self.places.cache.clone()?),
            self.profile.cache_key()?,
        ))
    }

    fn lock(&self, key: &str) -> anyhow::Result<LockOutcome> {
        let directory = match self.profile.grant {
            Grant::AuthorizationCode(_) => self.places.state.as_ref(),
            _ => self.places.cache.as_ref(),
        };
        let directory = directory.context("there is no directory for the lock")?;
        lock::acquire(directory, key, LOCK_LIMIT, self.clock, self.notify)
    }

    fn cached(&self, margin: Duration) -> Option<Current> {
        self.usable(self.cached_entry()?, margin, None)
    }

    fn cached_entry(&self) -> Option<Entry> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => Some(entry),
            Cached::Nothing | Cached::Corrupt | Cached::Untrusted(_) => None,
        }
    }

    /// Gives the token of a user's login. First repeats a refresh whose response was lost, while that is possible.
    fn of_login(&mut self, margin: Duration) -> anyhow::Result<Current> {
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

    /// Reads the client's secret.
    ///
    /// # Errors
    ///
    /// If the secret is not where the profile says.
    pub fn client(&self, client: &Client) -> anyhow::Result<oauth::Client> {
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

    fn token_host(&self) -> &str {
        self.profile.endpoints.token.host_str().unwrap_or("")
    }
}

/// Gives the kind of error for a missing or ended login.
pub(crate) fn needs_login(profile: &Profile) -> Kind {
    match &profile.shared {
        Some(shared) => Kind::SharedLoginNeeded {
            login: shared.login(&profile.name),
        },
        None => Kind::LoginNeeded {
            profile: profile.name.clone(),
        },
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
    Failure::new(Kind::Misconfigured, message).into()
}

/// Makes the error for a failed file operation. A file or directory with unsafe permissions has its own kind and
/// remedy.
fn of_disk(error: io::Error, message: String) -> anyhow::Error {
    let kind = match files::untrusted(&error) {
        Some(untrusted) => Kind::StoreExposed {
            remedy: untrusted.remedy.clone(),
        },
        None => Kind::StoreUnusable,
    };
    anyhow::Error::from(error).context(Failure::new(kind, message))
}
