//! What is kept of a profile, for people: what is there, what is put there, and what is taken away.

use std::{path::Path, time::Duration};

use serde_json::{Value, json};

use super::{Bearer, Login, Tokens, cache::Cached, obtain::TokenRequest};
use crate::{
    failure::{Failure, Kind, kind},
    files::{Directory, MAX_FILE_BYTES},
    profile::{ENVIRONMENT, Grant, Profile, Source, Store as Place},
    secret::Secret,
};

/// What is kept of one profile.
#[derive(Debug, Default)]
pub struct Kept {
    /// The cached access token.
    pub access_token: Option<KeptToken>,
    /// A person's login.
    pub login: Option<Login>,
    /// The client's secret in the store.
    pub client_secret: Option<Secret>,
    /// A ready token in the store.
    pub ready_token: Option<Secret>,
    /// Whose login or ready token it is, as Bitbucket said last.
    pub owner: Option<KeptOwner>,
}

/// A person's name at Bitbucket, which is no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptOwner {
    /// The name, as it is shown.
    pub name: String,
    /// When Bitbucket said it, by this machine's clock.
    pub told_at_unix_s: u64,
}

/// What was forgotten of a profile.
#[derive(Debug, Default)]
pub struct Forgotten {
    /// What was removed.
    pub removed: Vec<&'static str>,
    /// What another profile uses, too, with its name. It stays, unless that was to be removed as well.
    pub shared: Vec<(&'static str, String)>,
}

/// A cached access token.
#[derive(Debug)]
pub struct KeptToken {
    /// The token.
    pub token: Secret,
    /// When it was got, by this machine's clock.
    pub got_at_unix_s: u64,
    /// When it ends.
    pub expires_at_unix_s: u64,
    /// What it may do, as the server told.
    pub scopes: Vec<String>,
}

impl Tokens<'_> {
    /// Looks at what is kept, without any request; a store that cannot be read is told beside what could be.
    pub fn kept(&self) -> (Kept, Option<anyhow::Error>) {
        let mut kept = Kept {
            access_token: self.kept_token(),
            owner: self.kept_owner(),
            ..Kept::default()
        };
        let problem = self.read_store(&mut kept).err();
        (kept, problem)
    }

    fn kept_token(&self) -> Option<KeptToken> {
        let (cache, key) = self.cache()?;
        match cache.read(&key) {
            Cached::Token(entry) => Some(KeptToken {
                token: entry.access_token,
                got_at_unix_s: entry.expires_at_unix_s.saturating_sub(entry.lifetime_s),
                expires_at_unix_s: entry.expires_at_unix_s,
                scopes: entry.scopes,
            }),
            Cached::Nothing | Cached::Corrupt | Cached::Untrusted(_) => None,
        }
    }

    fn read_store(&self, kept: &mut Kept) -> anyhow::Result<()> {
        let store = self.store()?;
        if let Some(client) = self.profile.client() {
            kept.client_secret = store.load(&self.profile.client_key(client))?;
        }
        match &self.profile.grant {
            Grant::AuthorizationCode(_) => {
                let record = store.load(&self.profile.login_key())?;
                kept.login = record.as_ref().and_then(Login::from_record);
            }
            Grant::Token(_) => kept.ready_token = store.load(&self.profile.token_key())?,
            Grant::ClientCredentials(_) => {}
        }
        Ok(())
    }

    /// Keeps the client's secret or, for a profile with a ready token, that token; proves before that it can be kept.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`].
    pub fn keep(&self, secret: &Secret) -> anyhow::Result<()> {
        let key = match self.profile.client() {
            Some(client) => self.profile.client_key(client),
            None => self.profile.token_key(),
        };
        let store = self.store()?;
        store.reserve(&key)?;
        store.save(&key, secret)
    }

    /// Gets a token from the endpoint although one may be cached, which stays if none comes.
    ///
    /// # Errors
    ///
    /// As [`Tokens::bearer`].
    pub fn bearer_anew(&mut self) -> anyhow::Result<Bearer> {
        let Grant::ClientCredentials(client) = &self.profile.grant else {
            return self.bearer(Duration::ZERO);
        };
        let cached = self.kept_token();
        let request = TokenRequest {
            refused: cached.as_ref().map(|cached| &cached.token),
            ..TokenRequest::of(Duration::ZERO)
        };
        let current = self.obtain(client, &request)?;
        Ok(self.current.insert(current).bearer.clone())
    }

    /// Keeps the name of whoever logged in; `None` forgets it.
    pub fn keep_owner(&self, name: Option<&str>) {
        let Some((directory, file)) = self.owner_file() else {
            return;
        };
        // What cannot be kept is not shown; what cannot be removed is replaced by the next.
        let _ = match name {
            None => Directory::claim(directory).and_then(|directory| directory.remove(&file)),
            Some(name) => {
                let note = json!({ "name": name, "told_at_unix_s": self.clock.now_unix_s() });
                Directory::make(directory)
                    .and_then(|directory| directory.replace(&file, note.to_string().as_bytes()))
            }
        };
    }

    fn kept_owner(&self) -> Option<KeptOwner> {
        let (directory, file) = self.owner_file()?;
        let directory = Directory::open(directory).ok()?;
        let text = directory.read(&file, MAX_FILE_BYTES).ok()?;
        let note: Value = serde_json::from_slice(&text).ok()?;
        Some(KeptOwner {
            name: note.get("name")?.as_str()?.to_owned(),
            told_at_unix_s: note.get("told_at_unix_s")?.as_u64()?,
        })
    }

    fn owner_file(&self) -> Option<(&Path, String)> {
        let key = match &self.profile.grant {
            Grant::AuthorizationCode(_) => self.profile.login_key(),
            Grant::Token(_) => self.profile.token_key(),
            Grant::ClientCredentials(_) => return None,
        };
        let directory = self.places.cache.as_ref()?;
        Some((directory, format!("{key}.owner")))
    }

    /// Forgets login, client secret, ready token and cached token. What one of `others` uses, too, stays, unless
    /// `even_shared` says otherwise.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] when something is still there.
    pub fn forget_all(&self, others: &[Profile], even_shared: bool) -> anyhow::Result<Forgotten> {
        let mut forgotten = Forgotten::default();
        self.forget_stored(others, even_shared, &mut forgotten)
            .map_err(|error| {
                let kind = kind(&error).cloned().unwrap_or(Kind::StoreUnusable);
                let message = format!("cannot forget what is kept for profile '{}'", self.profile);
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

    /// Forgets what the store holds, which need not be readable for that.
    fn forget_stored(
        &self,
        others: &[Profile],
        even_shared: bool,
        forgotten: &mut Forgotten,
    ) -> anyhow::Result<()> {
        let profile = self.profile;
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
            self.keep_owner(None);
        }
        Ok(())
    }
}

impl Forgotten {
    /// Removes one thing and notes that, or notes who else uses it.
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

/// Gives the login or the ready token of a profile, and where the store has it.
fn login_of(profile: &Profile) -> Option<(&'static str, String)> {
    match &profile.grant {
        Grant::AuthorizationCode(_) => Some(("login", profile.login_key())),
        Grant::Token(_) => Some(("ready token", profile.token_key())),
        Grant::ClientCredentials(_) => None,
    }
}

/// Names all that a profile reads from its store.
fn stored_keys(profile: &Profile) -> Vec<String> {
    let client = profile.client();
    // A secret in the environment takes the place of the stored one for this command only.
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
