//! The stored data of a profile for 'status', 'login' and 'logout': shows, saves and removes it.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use super::{
    bearer::Bearer,
    cache::{Cached, Entry},
    login::Login,
    obtain::TokenRequest,
    tokens::Tokens,
};
use crate::{
    failure::{Failure, Kind, kind},
    files::{Directory, MAX_FILE_BYTES},
    profile::{ENVIRONMENT, Grant, Profile, Source, Store as Place},
    secret::Secret,
};

/// The name of what a shared store has, for messages.
pub(crate) const SHARED_LOGIN: &str = "shared login";

/// The stored data of one profile.
#[derive(Debug, Default)]
pub(crate) struct Stored {
    /// The cached access token.
    pub(crate) access_token: Option<Entry>,
    /// The user's login.
    pub(crate) login: Option<Login>,
    /// Whether the server has refused this login.
    pub(crate) has_ended: bool,
    /// The client's secret in the store.
    pub(crate) client_secret: Option<Secret>,
    /// An access token or API token in the store.
    pub(crate) token: Option<Secret>,
    /// The owner of the login or token, as Bitbucket last reported.
    pub(crate) owner: Option<StoredOwner>,
}

impl Stored {
    /// Tells whether the store has a secret of the profile.
    pub(crate) fn has_secret(&self) -> bool {
        self.login.is_some() || self.client_secret.is_some() || self.token.is_some()
    }
}

/// The owner's name at Bitbucket, which is not secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredOwner {
    /// The display name.
    pub(crate) name: String,
    /// The time of Bitbucket's report, by the local clock.
    pub(crate) told_at_unix_s: u64,
}

/// What Bitbucket has answered to the question whose a token is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum StoredAnswer {
    /// It named the owner.
    Named(String),
    /// It refused the token.
    Refused {
        /// The time since then.
        age_s: u64,
    },
}

/// The result of removing a profile's data.
#[derive(Debug, Default)]
pub(crate) struct Forgotten {
    /// The removed items.
    pub(crate) removed: Vec<&'static str>,
    /// The items that another profile also uses, with its name. They stay, unless the user removes them too.
    pub(crate) shared: Vec<(&'static str, String)>,
}

impl Tokens<'_> {
    /// Reads the stored data without any request. If the store cannot be read, gives its error and the rest.
    pub(crate) fn stored(&self) -> (Stored, Option<anyhow::Error>) {
        let mut stored = Stored {
            access_token: self.cached_entry(),
            owner: self.stored_owner(),
            ..Stored::default()
        };
        let problem = self.read_store(&mut stored).err();
        (stored, problem)
    }

    fn read_store(&self, stored: &mut Stored) -> anyhow::Result<()> {
        if self.profile.shared.is_some() {
            // 'doctor' asks the store.
            return Ok(());
        }
        let store = self.store()?;
        if let Some(client) = self.profile.client() {
            stored.client_secret = store.load(&self.profile.client_key(client))?;
        }
        match &self.profile.grant {
            Grant::AuthorizationCode(_) => {
                let record = store.load(&self.profile.login_key())?;
                stored.login = record.as_ref().and_then(Login::from_record);
                let token = stored.login.as_ref().map(|login| &login.refresh_token);
                let ended = self.refresh(store.as_ref()).ended;
                stored.has_ended = token.is_some_and(|token| ended.is_pending(token));
            }
            Grant::Token(_) => stored.token = store.load(&self.profile.token_key())?,
            Grant::ClientCredentials(_) | Grant::Shared(_) => {}
        }
        Ok(())
    }

    /// Saves the client's secret or the profile's token. First checks that the store can save it.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub(crate) fn save(&self, secret: &Secret) -> anyhow::Result<()> {
        if self.profile.shared.is_some() {
            return match &self.profile.grant {
                Grant::ClientCredentials(client) => {
                    let client = self.client(client)?;
                    // An engine without versions would take the secret before it is refused.
                    self.prove_shared_room()?;
                    self.publish(&client, None)
                }
                // The login has the client and its secret.
                _ => Ok(()),
            };
        }
        let key = match self.profile.client() {
            Some(client) => self.profile.client_key(client),
            None => self.profile.token_key(),
        };
        let store = self.store()?;
        store.reserve(&key)?;
        store.save(&key, secret)
    }

    /// Requests a new token although one may be cached. If the request fails, the cached one stays.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub(crate) fn bearer_anew(&mut self) -> anyhow::Result<Bearer> {
        let Grant::ClientCredentials(_) = &self.profile.grant else {
            return self.bearer(Duration::ZERO);
        };
        let cached = self.cached_entry();
        let request = TokenRequest {
            refused: cached.as_ref().map(|cached| &cached.access_token),
            ..TokenRequest::of(Duration::ZERO)
        };
        let current = self.obtain(&request)?;
        Ok(self.current.insert(current).bearer.clone())
    }

    /// Saves the name of the owner of a token with this fingerprint; `None` if Bitbucket has refused the token.
    pub(crate) fn save_owner(&self, name: Option<&str>, token: &str) {
        let Some((directory, file)) = self.owner_file() else {
            return;
        };
        let told_at_unix_s = self.clock.now_unix_s();
        let note = json!({ "name": name, "told_at_unix_s": told_at_unix_s, "token": token });
        // A name that cannot be saved is not shown.
        let _ = Directory::make(directory)
            .and_then(|directory| directory.replace(&file, note.to_string().as_bytes()));
    }

    /// Removes the name of the owner.
    pub(crate) fn forget_owner(&self) {
        if let Some((directory, file)) = self.owner_file() {
            // A name that cannot be removed is replaced later.
            let _ = Directory::claim(directory).and_then(|directory| directory.remove(&file));
        }
    }

    /// Gives the owner, if Bitbucket has named it.
    fn stored_owner(&self) -> Option<StoredOwner> {
        let note = self.owner_note()?;
        Some(StoredOwner {
            name: note.get("name")?.as_str()?.to_owned(),
            told_at_unix_s: note.get("told_at_unix_s")?.as_u64()?,
        })
    }

    /// Gives the owner of a token with this fingerprint.
    pub(crate) fn stored_answer(&self, token: &str) -> Option<StoredAnswer> {
        let note = self.owner_note()?;
        if note.get("token")?.as_str()? != token {
            return None;
        }
        let told_at_unix_s = note.get("told_at_unix_s")?.as_u64()?;
        let age_s = self.clock.now_unix_s().abs_diff(told_at_unix_s);
        Some(match note.get("name")?.as_str() {
            Some(name) => StoredAnswer::Named(name.to_owned()),
            None => StoredAnswer::Refused { age_s },
        })
    }

    fn owner_note(&self) -> Option<Value> {
        let (directory, file) = self.owner_file()?;
        let directory = Directory::open(directory).ok()?;
        let text = directory.read(&file, MAX_FILE_BYTES).ok()?;
        serde_json::from_slice(&text).ok()
    }

    fn owner_file(&self) -> Option<(&Path, String)> {
        let key = match &self.profile.grant {
            Grant::AuthorizationCode(_) => self.profile.login_key(),
            Grant::Token(_) => self.profile.token_key(),
            Grant::ClientCredentials(_) | Grant::Shared(_) => return None,
        };
        let directory = self.places.cache.as_ref()?;
        Some((directory, format!("{key}.owner")))
    }

    /// Removes login, client secret, stored token and cached token. Items that one of `others` also uses stay, unless
    /// `even_shared` is set.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] if something remains.
    pub(crate) fn forget_all(
        &self,
        others: &[Profile],
        even_shared: bool,
    ) -> anyhow::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        self.forget_stored(others, even_shared, &mut forgotten)
            .map_err(|error| {
                let kind = kind(&error).cloned().unwrap_or(Kind::StoreUnusable);
                let message = format!("cannot remove the secrets of profile '{}'", self.profile);
                error.context(Failure::new(kind, message))
            })?;
        if let Some((cache, key)) = self.cache()
            && !matches!(cache.read(&key), Cached::Nothing)
        {
            let mut others = others.iter();
            let caches = |other: &&Profile| {
                other.store != Place::Memory && other.cache_key().as_ref() == Some(&key)
            };
            let user = others.find(caches);
            forgotten.note("cached access token", user, even_shared, || {
                let _lock = self.lock(&key)?;
                cache.remove(&key);
                Ok(true)
            })?;
        }
        Ok(forgotten)
    }

    /// Removes the items in the store, even if they are unreadable.
    fn forget_stored(
        &self,
        others: &[Profile],
        even_shared: bool,
        forgotten: &mut Forgotten,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
        if profile.shared.is_some() {
            return forgotten.note(SHARED_LOGIN, Some(profile), even_shared, || {
                self.forget_shared()
            });
        }
        let own = login_of(profile);
        let client = profile.client();
        let client = client.map(|client| ("client secret", profile.client_key(client)));
        let store = self.store()?;
        for (name, key) in own.iter().cloned().chain(client) {
            let mut others = others.iter().filter(|other| other.store == profile.store);
            let user = others.find(|other| stored_keys(other).contains(&key));
            if user.is_some() && !even_shared && matches!(store.load(&key), Ok(None)) {
                continue;
            }
            forgotten.note(name, user, even_shared, || store.forget(&key))?;
        }
        let is_shared = |name| forgotten.shared.iter().any(|(shared, _)| *shared == name);
        if even_shared || !own.is_some_and(|(name, _)| is_shared(name)) {
            self.forget_owner();
            self.refresh(store.as_ref()).ended.end();
        }
        Ok(())
    }
}

impl Forgotten {
    /// Removes one item and records that, or records the other profile that uses it.
    fn note(
        &mut self,
        name: &'static str,
        user: Option<&Profile>,
        even_shared: bool,
        remove: impl FnOnce() -> anyhow::Result<bool>,
    ) -> anyhow::Result<()> {
        let stays = user.is_some() && !even_shared;
        let is_removed = !stays && remove()?;
        if is_removed {
            self.removed.push(name);
        }
        if let Some(user) = user.filter(|_| stays || is_removed) {
            self.shared.push((name, user.name.clone()));
        }
        Ok(())
    }
}

/// Gives the name and the key of a profile's login or token in the store.
fn login_of(profile: &Profile) -> Option<(&'static str, String)> {
    match &profile.grant {
        Grant::AuthorizationCode(_) => Some(("login", profile.login_key())),
        Grant::Token(_) => Some(("stored token", profile.token_key())),
        Grant::ClientCredentials(_) | Grant::Shared(_) => None,
    }
}

/// Lists the items that a profile reads from its store.
fn stored_keys(profile: &Profile) -> Vec<String> {
    let client = profile.client();
    // A secret in the environment replaces the stored one for this command only.
    let client = client.filter(|client| match client.secret {
        Source::Stored => true,
        Source::Given { .. } | Source::File(_) => profile.name != ENVIRONMENT,
        Source::Command(_) => false,
    });
    let login = login_of(profile)
        .filter(|_| !matches!(&profile.grant, Grant::Token(source) if *source != Source::Stored));
    let keys = login.map(|(_, key)| key).into_iter();
    keys.chain(client.map(|client| profile.client_key(client)))
        .collect()
}
