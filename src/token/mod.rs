//! A token that works: from the cache while it is good, else by the profile's grant, once for all processes.

mod cache;
mod source;

use std::{path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    failure::{Failure, Kind},
    http::HttpClient,
    oauth,
    profile::{Client, Grant, Profile, Source},
    secret::Secret,
};

use cache::{Cache, Cached, Entry};

/// A token is replaced this long before it ends, so that it does not end on its way (cargo and Backstage keep
/// margins of 1 and 10 minutes); never more than a quarter of its life.
const MARGIN_S: u64 = 120;
/// How long to wait for another process that is getting the same token.
const LOCK_LIMIT: Duration = Duration::from_secs(60);

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

/// The tokens of one profile during one command.
pub struct Tokens<'a> {
    profile: &'a Profile,
    http: &'a dyn HttpClient,
    clock: &'a dyn Clock,
    directory: Option<PathBuf>,
    current: Option<Current>,
    replaced: bool,
    warnings: Vec<String>,
}

#[derive(Clone)]
struct Current {
    bearer: Bearer,
    /// It came from the server during this command: if that is refused, a further one will be, too.
    is_new: bool,
}

impl<'a> Tokens<'a> {
    /// Prepares the tokens of a profile. `directory` holds the cache; without one nothing is kept.
    pub fn new(
        profile: &'a Profile,
        http: &'a dyn HttpClient,
        clock: &'a dyn Clock,
        directory: Option<PathBuf>,
    ) -> Self {
        Tokens {
            profile,
            http,
            clock,
            directory,
            current: None,
            replaced: false,
            warnings: Vec::new(),
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
            Grant::Token(source) => ready(source, self.profile)?,
            Grant::ClientCredentials(client) => match self.cached(margin) {
                Some(current) => current,
                None => self.obtain(client, margin, None)?,
            },
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
            Grant::ClientCredentials(client) if again => {
                Some(self.obtain(client, Duration::ZERO, Some(&refused.bearer.token))?)
            }
            // Its file or command may have been given a new one meanwhile.
            Grant::Token(source) if again => Some(ready(source, profile)?)
                .filter(|next| next.bearer.token != refused.bearer.token),
            _ => None,
        };
        let found = next.is_some();
        self.current = Some(next.unwrap_or(refused));
        Ok(found)
    }

    /// Forgets a token that somebody else saw refused, unless it was replaced already.
    pub fn forget(&mut self, token: &Secret) {
        if let Some((cache, key)) = self.cache()
            && let Ok(_lock) = cache.lock(&key, LOCK_LIMIT)
            && matches!(cache.read(&key), Cached::Token(entry) if entry.access_token == *token)
        {
            cache.remove(&key);
        }
    }

    /// Hands out what a person should know although the command went on, once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    fn cache(&self) -> Option<(Cache, String)> {
        Some((
            Cache::at(self.directory.clone()?),
            self.profile.cache_key()?,
        ))
    }

    fn cached(&self, margin: Duration) -> Option<Current> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => self.usable(entry, margin, None),
            Cached::Nothing | Cached::Corrupt => None,
        }
    }

    fn usable(&self, entry: Entry, margin: Duration, refused: Option<&Secret>) -> Option<Current> {
        let margin = margin.as_secs().max(MARGIN_S).min(entry.lifetime_s / 4);
        let is_good = entry.expires_at_unix_s > self.clock.now_unix_s() + margin
            && Some(&entry.access_token) != refused;
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
        let Some((cache, key)) = self.cache() else {
            return self.grant(client).map(|entry| new(&entry));
        };
        let lock = match cache.lock(&key, LOCK_LIMIT) {
            Ok(lock) => Some(lock),
            Err(error) => {
                self.warn_unsaved(&error);
                None
            }
        };
        if lock.is_some() {
            match cache.read(&key) {
                Cached::Token(entry) => {
                    if let Some(current) = self.usable(entry, margin, refused) {
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
            self.warn_unsaved(&error);
        }
        Ok(new(&entry))
    }

    fn grant(&self, client: &Client) -> anyhow::Result<Entry> {
        let profile = self.profile;
        let secret = source::read(&client.secret)
            .with_context(|| format!("cannot read the client secret of profile '{profile}'"))?;
        let client = oauth::Client {
            id: client.id.clone(),
            secret,
            token_url: profile.endpoints.token.clone(),
        };
        let answer = client
            .client_credentials(self.http, self.clock)
            .map_err(|error| explain(error, profile))?;
        Ok(Entry {
            expires_at_unix_s: answer.asked_at_unix_s.saturating_add(answer.lifetime_s),
            lifetime_s: answer.lifetime_s,
            access_token: answer.access_token,
            scopes: answer.scopes,
        })
    }

    fn set_aside(&mut self, cache: &Cache, key: &str) {
        let message = match cache.set_aside(key) {
            Ok(path) => format!(
                "the token cache was damaged; it was moved to '{}'",
                path.display()
            ),
            Err(error) => {
                format!("the token cache is damaged and could not be moved away: {error}")
            }
        };
        self.warnings.push(message);
    }

    fn warn_unsaved(&mut self, error: &anyhow::Error) {
        self.warnings.push(format!(
            "the token was not saved, so every command has to get its own: {error:#}"
        ));
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
