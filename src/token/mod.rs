//! A token that works: from the cache while it is good, else by the profile's grant, once for all processes.

mod cache;
mod files;
mod journal;
mod keep;
mod lock;
mod login;
mod refresh;
mod source;
pub mod store;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    http::HttpClient,
    oauth,
    profile::{Client, ENVIRONMENT, Grant, Profile, Source},
    secret::Secret,
};

use cache::{Cache, Cached, Entry};
use journal::Journal;
use lock::Lock;
use refresh::Refresh;
use store::Store;

pub use keep::{Kept, KeptToken};
pub use login::Login;

/// A token is replaced this long before it ends, so that it does not end on its way (cargo and Backstage keep
/// margins of 1 and 10 minutes); never more than a quarter of its life.
const MARGIN_S: u64 = 120;
/// How long to wait for another process that is getting the same token.
const LOCK_LIMIT: Duration = Duration::from_secs(60);
/// How long a busy token endpoint is waited for, all of its requests to wait together.
const BUSY_LIMIT: Duration = Duration::from_secs(60);
/// How long to wait when it does not say.
const BUSY_PAUSE: Duration = Duration::from_secs(2);

/// A token for Bitbucket's git server, and the user name that tells what kind it is.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// `x-token-auth` or `x-bitbucket-api-token-auth`.
    pub user: &'static str,
    /// When it ends, if that is known.
    pub expires_at_unix_s: Option<u64>,
}

/// Where things are kept between commands; `None` keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Access tokens, which can be got again.
    pub cache: Option<PathBuf>,
    /// Logins and client secrets, which cannot, and the notes about them.
    pub state: Option<PathBuf>,
}

/// The tokens of one profile during one command.
pub struct Tokens<'a> {
    profile: &'a Profile,
    http: &'a dyn HttpClient,
    clock: &'a dyn Clock,
    places: Places,
    notify: &'a dyn Fn(&str),
    current: Option<Current>,
    replaced: bool,
}

#[derive(Clone)]
struct Current {
    bearer: Bearer,
    /// It came from the server during this command: if that is refused, a further one will be, too.
    is_new: bool,
}

impl<'a> Tokens<'a> {
    /// Prepares the tokens of a profile. `notify` hears what a person should know although the command goes on.
    pub fn new(
        profile: &'a Profile,
        http: &'a dyn HttpClient,
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

    /// Gives a token that should be good, `margin` of life included.
    ///
    /// # Errors
    ///
    /// When the profile's grant gives none; the kind tells whose turn it is.
    pub fn bearer(&mut self, margin: Duration) -> anyhow::Result<Bearer> {
        if let Some(current) = &self.current {
            return Ok(current.bearer.clone());
        }
        let current = match &self.profile.grant {
            Grant::Token(source) => self.ready(source)?,
            Grant::ClientCredentials(client) => match self.cached(margin) {
                Some(current) => current,
                None => self.obtain(client, margin, None)?,
            },
            Grant::AuthorizationCode(client) => self.of_login(client, margin)?,
        };
        Ok(self.current.insert(current).bearer.clone())
    }

    /// Hears that the server does not take the current token; true if there is another one now.
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
            Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) if again => {
                Some(self.obtain(client, Duration::ZERO, Some(&refused.bearer.token))?)
            }
            // Its file or command may have been given a new one meanwhile.
            Grant::Token(source) if again => {
                Some(self.ready(source)?).filter(|next| next.bearer.token != refused.bearer.token)
            }
            _ => None,
        };
        let found = next.is_some();
        self.current = Some(next.unwrap_or(refused));
        Ok(found)
    }

    /// Forgets a token that somebody else saw refused, unless it was replaced already; true if it was there.
    pub fn forget(&mut self, token: &Secret) -> bool {
        if let Some((cache, key)) = self.cache()
            && let Ok(_lock) = self.lock(&key)
            && matches!(cache.read(&key), Cached::Token(entry) if entry.access_token == *token)
        {
            cache.remove(&key);
            return true;
        }
        false
    }

    /// Reads a ready token, from the store if it is kept there.
    fn ready(&self, source: &Source) -> anyhow::Result<Current> {
        let profile = self.profile;
        if *source != Source::Stored {
            return ready(source, profile);
        }
        let token = self.store()?.load(&profile.token_key())?;
        let token = token.ok_or_else(|| {
            let kind = Kind::LoginNeeded {
                profile: profile.name.clone(),
            };
            Failure::new(
                kind,
                format!("no ready token is kept for profile '{profile}'"),
            )
        })?;
        usable_token(token, profile)
    }

    /// Exchanges the code of a person's consent, and keeps the login before anything else is done with it.
    ///
    /// # Errors
    ///
    /// When the token endpoint refuses, or [`Kind::StoreUnusable`] when the login cannot be kept.
    pub fn log_in(
        &self,
        authorization: &oauth::Authorization,
        code: &Secret,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        let client = profile.client().context("the profile has no client")?;
        let client = self.client(client)?;
        let key = profile.login_key();
        let lock = self.lock(&key);
        let answer = self
            .patiently(|| client.authorization_code(self.http, self.clock, authorization, code))
            .map_err(|error| explain(error, profile))?;
        let login = refresh::first_login(&answer, self.clock.now_unix_s());
        match &login {
            Some(login) => self.store()?.save(&key, &login.to_record())?,
            None => (self.notify)(
                "Bitbucket gave no refresh token: this login ends with its first access token",
            ),
        }
        Journal::at(self.places.state.clone(), &key).end();
        if let (Ok(_), Some((cache, key))) = (lock, self.cache())
            && let Err(error) = cache.write(&key, &entry_of(answer))
        {
            self.tell_unsaved(&error);
        }
        Ok(())
    }

    /// Opens the profile's store of durable secrets.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub fn store(&self) -> anyhow::Result<Box<dyn Store>> {
        store::open(self.profile.store, self.places.state.clone())
    }

    fn cache(&self) -> Option<(Cache, String)> {
        Some((
            Cache::at(self.places.cache.clone()?),
            self.profile.cache_key()?,
        ))
    }

    fn lock(&self, key: &str) -> anyhow::Result<Lock> {
        let directory = match self.profile.grant {
            Grant::AuthorizationCode(_) => self.places.state.as_ref(),
            _ => self.places.cache.as_ref(),
        };
        let directory = directory.context("there is no directory for it")?;
        lock::acquire(directory, key, LOCK_LIMIT, self.clock, self.notify)
    }

    fn cached(&self, margin: Duration) -> Option<Current> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => self.usable(entry, margin, None),
            Cached::Nothing | Cached::Corrupt => None,
        }
    }

    /// Gives the token of a person's login. A refresh whose answer was lost is completed first, while that works.
    fn of_login(&mut self, client: &Client, margin: Duration) -> anyhow::Result<Current> {
        let cached = self.cached(margin);
        let unfinished = Journal::at(self.places.state.clone(), &self.profile.login_key()).exists();
        match cached {
            Some(current) if !unfinished => Ok(current),
            Some(current) => self.obtain(client, margin, None).or(Ok(current)),
            None => self.obtain(client, margin, None),
        }
    }

    fn usable(&self, entry: Entry, margin: Duration, refused: Option<&Secret>) -> Option<Current> {
        let now_unix_s = self.clock.now_unix_s();
        let margin = margin.as_secs().max(MARGIN_S).min(entry.lifetime_s / 4);
        let is_alive = entry.expires_at_unix_s > now_unix_s + margin;
        // More life than it was given: the clock was ahead when it came, or has been set back, and tells nothing.
        let is_sane = entry.expires_at_unix_s <= now_unix_s + entry.lifetime_s;
        let is_good = is_alive && is_sane && Some(&entry.access_token) != refused;
        is_good.then(|| Current {
            bearer: bearer(entry.access_token, Some(entry.expires_at_unix_s)),
            is_new: false,
        })
    }

    /// Gets a token under the lock: whoever waited for it finds the token of the one who did not.
    fn obtain(
        &mut self,
        client: &Client,
        margin: Duration,
        refused: Option<&Secret>,
    ) -> anyhow::Result<Current> {
        if client.secret == Source::Stored {
            // Without it nothing can be got: that is said before anything is written.
            self.client(client)?;
        }
        let Some((cache, key)) = self.cache() else {
            return self.grant(client).map(|entry| new(&entry));
        };
        let lock = match self.lock(&key) {
            Ok(lock) => Some(lock),
            Err(error) => {
                self.tell_unsaved(&error);
                None
            }
        };
        if lock.is_some() {
            match cache.read(&key) {
                Cached::Token(entry) => {
                    if let Some(current) = self.usable(entry, margin, refused)
                        && !self.has_unfinished_refresh()
                    {
                        return Ok(current);
                    }
                }
                Cached::Corrupt => self.set_aside(&cache, &key),
                Cached::Nothing => {}
            }
        }
        let entry = self.grant(client)?;
        if lock.is_some()
            && let Err(error) = cache.write(&key, &entry)
        {
            self.tell_unsaved(&error);
        }
        Ok(new(&entry))
    }

    fn has_unfinished_refresh(&self) -> bool {
        matches!(self.profile.grant, Grant::AuthorizationCode(_))
            && self
                .store()
                .is_ok_and(|store| self.refresh(store.as_ref()).is_pending())
    }

    fn refresh<'r>(&self, store: &'r dyn Store) -> Refresh<'r> {
        let key = self.profile.login_key();
        Refresh {
            store,
            journal: Journal::at(self.places.state.clone(), &key),
            key,
        }
    }

    fn grant(&self, client: &Client) -> anyhow::Result<Entry> {
        let client = self.client(client)?;
        match &self.profile.grant {
            Grant::AuthorizationCode(_) => {
                let store = self.store()?;
                self.refresh(store.as_ref()).run(self, &client)
            }
            Grant::ClientCredentials(_) | Grant::Token(_) => self
                .patiently(|| client.client_credentials(self.http, self.clock))
                .map(entry_of)
                .map_err(|error| explain(error, self.profile)),
        }
    }

    /// Reads the client's secret, which is needed only here.
    ///
    /// # Errors
    ///
    /// When it is not where the profile says.
    pub fn client(&self, client: &Client) -> anyhow::Result<oauth::Client> {
        let profile = self.profile;
        let secret = match &client.secret {
            Source::Stored => self
                .store()?
                .load(&profile.client_key(client))?
                .ok_or_else(|| no_secret(profile))?,
            source => source::read(source)
                .with_context(|| format!("cannot read the client secret of profile '{profile}'"))?,
        };
        Ok(oauth::Client {
            id: client.id.clone(),
            secret,
            token_url: profile.endpoints.token.clone(),
        })
    }

    /// Asks again as often as a busy endpoint tells to, within a bound; the person hears what is waited for.
    fn patiently(
        &self,
        mut ask: impl FnMut() -> Result<oauth::TokenAnswer, oauth::Error>,
    ) -> Result<oauth::TokenAnswer, oauth::Error> {
        let mut left = BUSY_LIMIT;
        loop {
            let error = match ask() {
                Err(error @ oauth::Error::Busy { .. }) => error,
                outcome => return outcome,
            };
            let pause = match &error {
                oauth::Error::Busy {
                    retry_after_s: Some(seconds),
                    ..
                } => Duration::from_secs(*seconds),
                _ => BUSY_PAUSE,
            };
            let Some(rest) = left.checked_sub(pause.max(Duration::from_millis(100))) else {
                return Err(error);
            };
            left = rest;
            let host = self.profile.endpoints.token.host_str().unwrap_or("");
            (self.notify)(&format!(
                "waiting {} s for a token: '{host}' has too many requests",
                pause.as_secs()
            ));
            self.clock.wait(pause);
        }
    }

    fn set_aside(&self, cache: &Cache, key: &str) {
        (self.notify)(&match cache.set_aside(key) {
            Ok(path) => format!(
                "the token cache was damaged; it was moved to '{}'",
                path.display()
            ),
            Err(error) => {
                format!("the token cache is damaged and could not be moved away: {error}")
            }
        });
    }

    fn tell_unsaved(&self, error: &anyhow::Error) {
        (self.notify)(&format!(
            "the token was not saved, so every command has to get its own: {error:#}"
        ));
    }
}

fn no_secret(profile: &Profile) -> anyhow::Error {
    let login = match profile.name.as_str() {
        ENVIRONMENT => String::new(),
        name => format!("run 'git bbtoken login {name}', or "),
    };
    let message = format!(
        "the client of profile '{profile}' has no secret: {login}set BBTOKEN_CLIENT_SECRET, BBTOKEN_CLIENT_SECRET_FILE or bbtoken.{profile}.clientSecretCommand"
    );
    Failure::new(Kind::Misconfigured, message).into()
}

fn entry_of(answer: oauth::TokenAnswer) -> Entry {
    Entry {
        expires_at_unix_s: answer.asked_at_unix_s.saturating_add(answer.lifetime_s),
        lifetime_s: answer.lifetime_s,
        access_token: answer.access_token,
        scopes: answer.scopes,
    }
}

fn new(entry: &Entry) -> Current {
    Current {
        bearer: bearer(entry.access_token.clone(), Some(entry.expires_at_unix_s)),
        is_new: true,
    }
}

/// Reads a token that somebody else made. Its documented prefix tells its user name; its length tells nothing.
fn ready(source: &Source, profile: &Profile) -> anyhow::Result<Current> {
    let token = source::read(source)
        .with_context(|| format!("cannot read the access token of profile '{profile}'"))?;
    usable_token(token, profile)
}

fn usable_token(token: Secret, profile: &Profile) -> anyhow::Result<Current> {
    if token.expose().starts_with("ATBB") {
        return Err(Failure::new(
            Kind::AppPassword,
            format!("the access token of profile '{profile}' is an app password"),
        )
        .into());
    }
    Ok(Current {
        bearer: bearer(token, None),
        is_new: false,
    })
}

/// Bitbucket reads the secret by the user name: API tokens (`ATATT`) have one of their own
/// (Bitbucket support: "Using API tokens").
fn bearer(token: Secret, expires_at_unix_s: Option<u64>) -> Bearer {
    let user = if token.expose().starts_with("ATATT") {
        "x-bitbucket-api-token-auth"
    } else {
        "x-token-auth"
    };
    Bearer {
        token,
        user,
        expires_at_unix_s,
    }
}

/// Puts the endpoint's answer into the words of the person who set the client up.
fn explain(error: oauth::Error, profile: &Profile) -> anyhow::Error {
    let host = profile.endpoints.token.host_str().unwrap_or("").to_owned();
    let kind = match &error {
        oauth::Error::Transport(error) if error.phase == crate::http::Phase::Tls => {
            Kind::Untrusted { host }
        }
        oauth::Error::Transport(_) | oauth::Error::Unusable { status: 407, .. } => {
            Kind::Unreachable { host }
        }
        oauth::Error::Unusable { status: 500.., .. } => Kind::ServerFailed { host },
        oauth::Error::Unusable { .. } => Kind::NotGit,
        oauth::Error::Busy { .. } => Kind::Busy,
        oauth::Error::Refused(refusal) => Kind::ClientRefused {
            remedy: remedy(refusal),
        },
    };
    anyhow::Error::new(error).context(Failure::new(
        kind,
        format!("cannot get a token for profile '{profile}'"),
    ))
}

/// Says what to change, by what Bitbucket is known to answer (status and codes differ between its old and new backend).
fn remedy(refusal: &oauth::Refusal) -> String {
    let said = refusal.description.to_ascii_lowercase();
    let remedy = if said.contains("\"public\"") || said.contains("marked as") {
        "tick 'This is a private consumer' at the OAuth consumer (workspace settings, OAuth consumers)"
    } else if said.contains("callback") {
        "give the OAuth consumer a callback URL, any will do (workspace settings, OAuth consumers)"
    } else {
        "compare BBTOKEN_CLIENT_ID and BBTOKEN_CLIENT_SECRET, or the profile's settings, with key and secret of the OAuth consumer"
    };
    remedy.to_owned()
}
