//! What is kept of a profile, for people: what is there, what is put there, and what is taken away.

use std::path::Path;

use serde_json::{Value, json};

use super::{Cached, Login, Tokens};
use crate::{
    failure::{Failure, Kind, kind},
    files::{Directory, MAX_FILE_BYTES},
    profile::Grant,
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

    /// Forgets login, client secret, ready token and cached token; names what was there.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] when something is still there.
    pub fn forget_all(&self) -> anyhow::Result<Vec<&'static str>> {
        let mut forgotten = self.forget_stored().map_err(|error| {
            let kind = kind(&error).cloned().unwrap_or(Kind::StoreUnusable);
            let message = format!("cannot forget what is kept for profile '{}'", self.profile);
            error.context(Failure::new(kind, message))
        })?;
        self.keep_owner(None);
        if let Some((cache, key)) = self.cache()
            && !matches!(cache.read(&key), Cached::Nothing)
        {
            let _lock = self.lock(&key)?;
            cache.remove(&key);
            forgotten.push("cached access token");
        }
        Ok(forgotten)
    }

    /// Forgets what the store holds, which need not be readable for that.
    fn forget_stored(&self) -> anyhow::Result<Vec<&'static str>> {
        let profile = self.profile;
        let client = profile.client();
        let client = client.map(|client| ("client secret", profile.client_key(client)));
        let own = match &profile.grant {
            Grant::AuthorizationCode(_) => Some(("login", profile.login_key())),
            Grant::Token(_) => Some(("ready token", profile.token_key())),
            Grant::ClientCredentials(_) => None,
        };
        let store = self.store()?;
        let mut forgotten = Vec::new();
        for (name, key) in own.into_iter().chain(client) {
            if store.forget(&key)? {
                forgotten.push(name);
            }
        }
        Ok(forgotten)
    }
}
