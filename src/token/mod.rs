//! A token that works: from the cache while it is good, else by the profile's grant, once for all processes.
//!
//! Whether a token has ended is reckoned by this machine's clock alone, from the moment it was asked for, so that a
//! clock that is wrong by hours does no harm. One that jumps between two commands makes a token look ended, or to have
//! more life than it was given: it is replaced then, once; or it looks good and is not, which the server tells.

mod bearer;
mod busy;
mod cache;
mod check;
mod explain;
mod journal;
mod lock;
mod login;
mod refresh;
mod source;
pub(crate) mod store;
mod stored;

use std::{io, path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    failure::{Failure, Kind, kind},
    files,
    http::{HttpClient, PATIENCE},
    oauth,
    profile::{self, Client, ENVIRONMENT, Grant, Profile, Source},
    secret::Secret,
};

use bearer::Current;
use busy::{Patience, Repeat};
use cache::{Cache, Cached, Entry};
use explain::{explain, who};
use journal::Journal;
use lock::LockOutcome;
use refresh::Refresh;
use store::Store;

pub(crate) use bearer::Bearer;
pub use login::Login;
pub(crate) use stored::{Forgotten, Kept, KeptOwner, KeptToken};

/// A token is replaced this long before it ends, so that it does not end on its way (cargo and Backstage keep
/// margins of 1 and 10 minutes); never more than a quarter of its life.
const MARGIN_S: u64 = 120;
/// How long to wait for another process that is getting the same token: longer than that may take.
const LOCK_LIMIT: Duration = Duration::from_secs(180);

/// Where things are kept between commands; `None` keeps nothing.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Access tokens, which can be got again.
    pub cache: Option<PathBuf>,
    /// Logins and client secrets, which cannot, and the notes about them.
    pub state: Option<PathBuf>,
    /// Where `state` is unless a variable moves it, to name a login that is there.
    pub usual_states: Vec<PathBuf>,
}

/// Asks a person whether a login is to be kept, by its token and scopes; an error keeps nothing.
pub(crate) type Accept<'a> = Box<dyn FnOnce(&Bearer, &[String]) -> anyhow::Result<()> + 'a>;

/// Releases the place in the store that a login was to take, because the login is stopped.
pub(crate) fn release_room(profile: &Profile, state: Option<PathBuf>) {
    if let Ok(store) = store::open(profile.store, state, profile.no_questions.as_deref()) {
        store.release(&profile.login_key());
    }
}

/// Gives the client for the token endpoint where a request is made.
pub trait Connect {
    /// Gives it.
    ///
    /// # Errors
    ///
    /// When git's http settings cannot be followed.
    fn client(&self) -> anyhow::Result<&dyn HttpClient>;
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
    /// Prepares the tokens of a profile. `notify` hears what a person should know although the command goes on.
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
                None => self.obtain(client, &TokenRequest::of(margin))?,
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
                let request = TokenRequest {
                    refused: Some(&refused.bearer.token),
                    ..TokenRequest::of(Duration::ZERO)
                };
                Some(self.obtain(client, &request)?)
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
            && let Ok(LockOutcome::Ours(_lock)) = self.lock(&key)
            && matches!(cache.read(&key), Cached::Token(entry) if entry.access_token == *token)
        {
            cache.remove(&key);
            return true;
        }
        false
    }

    /// Reads a token that somebody else made, from the store if it is kept there.
    fn ready(&self, source: &Source) -> anyhow::Result<Current> {
        let profile = self.profile;
        if *source != Source::Stored {
            let token = source::read(source)
                .with_context(|| format!("cannot read the access token of profile '{profile}'"))?;
            return Current::ready(token, profile);
        }
        let token = self.store()?.load(&profile.token_key())?;
        let token = token.ok_or_else(|| {
            let kind = Kind::LoginNeeded {
                profile: profile.name.clone(),
            };
            Failure::new(
                kind,
                format!(
                    "no ready token is kept for profile '{profile}'{}",
                    self.looked_in(&profile.token_key())
                ),
            )
        })?;
        Current::ready(token, profile)
    }

    /// Makes sure that a login could be kept, and leaves nothing there: nobody knows whether one will come about.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub fn prove_room(&self) -> anyhow::Result<()> {
        let (store, key) = (self.store()?, self.profile.login_key());
        store.reserve(&key)?;
        store.release(&key);
        Ok(())
    }

    /// Exchanges the code of a person's consent, and keeps the login. Where a person may refuse it, `accept` asks, while
    /// nothing is locked and nothing is there that a signal would leave.
    ///
    /// # Errors
    ///
    /// When the token endpoint or `accept` refuses, or [`Kind::StoreUnusable`] when the login cannot be kept.
    pub fn log_in(
        &self,
        authorization: &oauth::Authorization,
        code: &Secret,
        accept: Option<Accept<'_>>,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        let client = profile.client().context("the profile has no client")?;
        let client = self.client(client)?;
        let key = profile.login_key();
        // Without a lock a refresh under way may be kept after this, which the person then sees and repeats.
        let mut lock = Some(self.lock(&key));
        let (store, http) = (self.store()?, self.http.client()?);
        store.reserve(&key)?;
        let answer = self
            .patiently(PATIENCE, Repeat::Spends, || {
                client.authorization_code(http, self.clock, authorization, code)
            })
            .inspect_err(|_| store.release(&key))
            .map_err(|error| explain(error, profile))?;
        if let Some(accept) = accept {
            store.release(&key);
            drop(lock.take());
            accept(
                &Bearer::new(answer.access_token.clone(), None),
                &answer.scopes,
            )?;
            lock = Some(self.lock(&key));
            store.reserve(&key)?;
        }
        match refresh::first_login(&answer, self.clock.now_unix_s()) {
            Some(login) => store.save(&key, &login.to_record())?,
            None => {
                store.release(&key);
                (self.notify)(
                    "Bitbucket gave no refresh token: this login ends with its first access token",
                );
            }
        }
        Journal::at(self.places.state.clone(), &key).end();
        // It may be another person's from now on.
        self.keep_owner(None);
        if let Some((cache, key)) = self.cache()
            && let Err(error) = cache.write(&key, &entry_of(answer))
        {
            // It may be that of another account.
            cache.remove(&key);
            self.tell_unsaved(&error);
        }
        drop(lock);
        Ok(())
    }

    /// Says where a secret was looked for, if that is a directory.
    fn looked_in(&self, key: &str) -> String {
        match (self.profile.store, &self.places.state) {
            (profile::Store::File, Some(state)) => {
                format!(
                    " (looked in '{}'){}",
                    state.display(),
                    self.found_elsewhere(key)
                )
            }
            _ => String::new(),
        }
    }

    /// Names the usual directory if a secret is there, and not in the one that variables lead to.
    fn found_elsewhere(&self, key: &str) -> String {
        let state = self.places.state.as_ref();
        let has_it = |place: &&PathBuf| {
            Some(*place) != state
                && files::Directory::open(place).is_ok_and(|it| it.has(&format!("{key}.json")))
        };
        let is_file = self.profile.store == profile::Store::File;
        let found = self.places.usual_states.iter().find(has_it);
        found.filter(|_| is_file).map_or_else(String::new, |place| {
            format!(
                "; '{}' has it, but BBTOKEN_HOME, XDG_STATE_HOME or HOME leads elsewhere",
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
        let no_questions = self.profile.no_questions.as_deref();
        store::open(self.profile.store, self.places.state.clone(), no_questions)
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
        let directory = directory.context("there is no directory for it")?;
        lock::acquire(directory, key, LOCK_LIMIT, self.clock, self.notify)
    }

    fn cached(&self, margin: Duration) -> Option<Current> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => self.usable(entry, margin, None),
            Cached::Nothing | Cached::Corrupt | Cached::Untrusted(_) => None,
        }
    }

    /// Gives the token of a person's login. A refresh whose answer was lost is completed first, while that works.
    fn of_login(&mut self, client: &Client, margin: Duration) -> anyhow::Result<Current> {
        let Some(current) = self.cached(margin) else {
            return self.obtain(client, &TokenRequest::of(margin));
        };
        let journal = Journal::at(self.places.state.clone(), &self.profile.login_key());
        if !journal.is_urgent(self.clock.now_unix_s()) {
            return Ok(current);
        }
        let in_passing = TokenRequest {
            patience: Duration::ZERO,
            ..TokenRequest::of(margin)
        };
        self.obtain(client, &in_passing).or(Ok(current))
    }

    fn usable(&self, entry: Entry, margin: Duration, refused: Option<&Secret>) -> Option<Current> {
        let now_unix_s = self.clock.now_unix_s();
        let margin = margin.as_secs().max(MARGIN_S).min(entry.lifetime_s / 4);
        let is_alive = entry.expires_at_unix_s > now_unix_s + margin;
        // More life than it was given: the clock was ahead when it came, or has been set back, and tells nothing.
        let is_sane = entry.expires_at_unix_s <= now_unix_s.saturating_add(entry.lifetime_s);
        let is_good = is_alive && is_sane && Some(&entry.access_token) != refused;
        is_good.then(|| Current {
            bearer: Bearer::new(entry.access_token, Some(entry.expires_at_unix_s)),
            is_new: false,
        })
    }

    /// Gets a token under the lock: whoever waited for it finds the token of the one who did not.
    fn obtain(&self, client: &Client, request: &TokenRequest<'_>) -> anyhow::Result<Current> {
        if client.secret == Source::Stored {
            // Without it nothing can be got: that is said before anything is written.
            self.client(client)?;
        }
        let Some((cache, key)) = self.cache() else {
            return self
                .grant(client, request.patience)
                .map(|entry| Current::new(&entry));
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
        match cache.read(&key) {
            Cached::Token(entry) => {
                if let Some(current) = self.usable(entry, request.margin, request.refused)
                    && !self.has_unfinished_refresh()
                {
                    return Ok(current);
                }
            }
            Cached::Corrupt if lock.is_ok() => {
                self.set_aside(&cache, &key, "the token cache was damaged");
            }
            Cached::Untrusted(why) if lock.is_ok() => self.set_aside(&cache, &key, &why),
            Cached::Corrupt | Cached::Untrusted(_) | Cached::Nothing => {}
        }
        let granted = self.grant(client, request.patience);
        if let (Err(error), Ok(LockOutcome::Ours(lock))) = (&granted, &mut lock)
            && matches!(kind(error), Some(Kind::Unreachable { .. }))
        {
            lock.tell_unreachable(self.clock);
        }
        let entry = granted?;
        match (cache.write(&key, &entry), lock) {
            (Err(error), _) => self.tell_unsaved(&error),
            (Ok(()), Err(error)) => (self.notify)(&format!(
                "commands that run at the same time may each get a token: {error:#}"
            )),
            (Ok(()), Ok(_)) => {}
        }
        Ok(Current::new(&entry))
    }

    fn has_unfinished_refresh(&self) -> bool {
        // Without a note, the rule, the store is not opened: it may be slow.
        matches!(self.profile.grant, Grant::AuthorizationCode(_))
            && Journal::at(self.places.state.clone(), &self.profile.login_key())
                .is_urgent(self.clock.now_unix_s())
            && self
                .store()
                .is_ok_and(|store| self.refresh(store.as_ref()).is_pending(self))
    }

    fn refresh<'r>(&self, store: &'r dyn Store) -> Refresh<'r> {
        let key = self.profile.login_key();
        Refresh {
            store,
            journal: Journal::at(self.places.state.clone(), &key),
            key,
        }
    }

    fn grant(&self, client: &Client, patience: Duration) -> anyhow::Result<Entry> {
        match &self.profile.grant {
            Grant::AuthorizationCode(_) => {
                let store = self.store()?;
                let client = self.client(client)?;
                self.refresh(store.as_ref()).run(self, &client, patience)
            }
            Grant::ClientCredentials(_) | Grant::Token(_) => {
                let (client, http) = (self.client(client)?, self.http.client()?);
                self.patiently(patience, Repeat::Safe, || {
                    client.client_credentials(http, self.clock)
                })
                .map(entry_of)
                .map_err(|error| explain(error, self.profile))
            }
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
                .ok_or_else(|| {
                    no_secret(profile, &self.found_elsewhere(&profile.client_key(client)))
                })?,
            source => source::read(source)
                .with_context(|| format!("cannot read the client secret of profile '{profile}'"))?,
        };
        check::check_client(&client.id, &secret, profile)?;
        Ok(oauth::Client {
            id: client.id.clone(),
            secret,
            token_url: profile.endpoints.token.clone(),
        })
    }

    /// Asks, and again where that may help, within a bound.
    fn patiently(
        &self,
        patience: Duration,
        repeat: Repeat,
        ask: impl FnMut() -> Result<oauth::TokenAnswer, oauth::Error>,
    ) -> Result<oauth::TokenAnswer, oauth::Error> {
        let patience = Patience {
            span: patience,
            host: self.token_host(),
            clock: self.clock,
            notify: self.notify,
        };
        patience.ask(repeat, ask)
    }

    fn token_host(&self) -> &str {
        self.profile.endpoints.token.host_str().unwrap_or("")
    }

    fn set_aside(&self, cache: &Cache, key: &str, why: &str) {
        (self.notify)(&match cache.set_aside(key) {
            Ok(path) => format!("{why}; it was moved to '{}'", path.display()),
            Err(error) => format!("{why}; it could not be moved away: {error}"),
        });
    }

    fn tell_unsaved(&self, error: &anyhow::Error) {
        (self.notify)(&format!(
            "the token was not saved, so every command has to get its own: {error:#}; BBTOKEN_HOME can name another directory"
        ));
    }
}

/// What is asked of [`Tokens::obtain`].
struct TokenRequest<'w> {
    /// How long the token has to last.
    margin: Duration,
    /// The token that the server did not take.
    refused: Option<&'w Secret>,
    /// How long a busy endpoint is waited for.
    patience: Duration,
}

impl TokenRequest<'_> {
    fn of(margin: Duration) -> Self {
        TokenRequest {
            margin,
            refused: None,
            patience: PATIENCE,
        }
    }
}

fn no_secret(profile: &Profile, elsewhere: &str) -> anyhow::Error {
    let login = match profile.name.as_str() {
        ENVIRONMENT => String::new(),
        name => format!("run 'git bbtoken login {name}', or "),
    };
    let message = format!(
        "the client of profile '{profile}' has no secret: {login}set BBTOKEN_CLIENT_SECRET, BBTOKEN_CLIENT_SECRET_FILE or bbtoken.{profile}.clientSecretCommand{elsewhere}"
    );
    Failure::new(Kind::Misconfigured, message).into()
}

/// Says what failed on this machine's disk; a place that is not the user's alone has a remedy of its own.
fn of_disk(error: io::Error, message: String) -> anyhow::Error {
    let kind = match files::untrusted(&error) {
        Some(untrusted) => Kind::StoreExposed {
            remedy: untrusted.remedy.clone(),
        },
        None => Kind::StoreUnusable,
    };
    anyhow::Error::from(error).context(Failure::new(kind, message))
}

fn entry_of(answer: oauth::TokenAnswer) -> Entry {
    Entry {
        expires_at_unix_s: answer.asked_at_unix_s.saturating_add(answer.lifetime_s),
        lifetime_s: answer.lifetime_s,
        access_token: answer.access_token,
        scopes: answer.scopes,
    }
}
