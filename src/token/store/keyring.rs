//! Secrets in the keychain of the operating system, by the crates of the keyring project.
//!
//! The Secret Service and the kernel keyring on Linux, the Keychain on macOS, the Credential Manager on Windows, which
//! takes 2,560 bytes a secret: larger ones are cut into pieces. A new secret's pieces are written beside the old
//! ones, and one small entry says which of them count, so that a cut in between loses nothing.

use std::{
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::Context as _;
use keyring_core::{CredentialStore, Entry, Error};

use super::{RESERVE_BYTES, Store, unusable};
use crate::secret::{Secret, hex_digest};

/// What entries are filed under.
const SERVICE: &str = "git-remote-bbtoken";
/// Windows takes 2,560 bytes in UTF-16: 1,280 characters.
const PIECE_CHARACTERS: usize = 1200;
/// How long the keychain may take: a locked one asks the person, an absent one never answers.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// Which keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keychain {
    /// The one of the desktop session or, on macOS and Windows, of the user.
    Session,
    /// The Linux kernel's keyring of the user, which does not survive a restart of the machine.
    Kernel,
}

/// The keychain as a store.
#[derive(Clone)]
pub struct KeyringStore {
    store: Arc<CredentialStore>,
    time_limit: Duration,
}

impl KeyringStore {
    /// Connects to the keychain.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`](crate::failure::Kind::StoreUnusable) when there is none or it does not answer.
    pub fn open(keychain: Keychain) -> anyhow::Result<Self> {
        let store = within(TIME_LIMIT, move || connect(keychain))
            .context(unusable("cannot use the keychain".into()))?;
        Ok(KeyringStore {
            store,
            time_limit: TIME_LIMIT,
        })
    }

    /// Does something with the keychain within the time limit.
    fn ask<T: Send + 'static>(
        &self,
        doing: &str,
        work: impl FnOnce(&Pieces) -> Result<T, Error> + Send + 'static,
    ) -> anyhow::Result<T> {
        let pieces = Pieces(Arc::clone(&self.store));
        within(self.time_limit, move || work(&pieces))
            .with_context(|| unusable(format!("cannot {doing} the keychain")))
    }
}

impl Store for KeyringStore {
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>> {
        let key = key.to_owned();
        self.ask("read from", move |pieces| pieces.load(&key))
    }

    /// Writes and removes a secret of the size to come.
    fn reserve(&self, key: &str) -> anyhow::Result<()> {
        let probe = format!("{key}.probe");
        self.ask("write to", move |pieces| {
            pieces.save(&probe, &Secret::new("x".repeat(RESERVE_BYTES)))?;
            pieces.forget(&probe)
        })
    }

    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()> {
        let (key, secret) = (key.to_owned(), secret.clone());
        self.ask("write to", move |pieces| pieces.save(&key, &secret))
    }

    fn forget(&self, key: &str) -> anyhow::Result<()> {
        let key = key.to_owned();
        self.ask("remove from", move |pieces| pieces.forget(&key))
    }
}

#[cfg(any(target_os = "linux", target_os = "freebsd"))]
fn connect(keychain: Keychain) -> Result<Arc<CredentialStore>, Error> {
    match keychain {
        Keychain::Session => Ok(zbus_secret_service_keyring_store::Store::new()?),
        #[cfg(target_os = "linux")]
        Keychain::Kernel => Ok(linux_keyutils_keyring_store::Store::new()?),
        #[cfg(not(target_os = "linux"))]
        Keychain::Kernel => Err(Error::NotSupportedByStore(
            "this system has no kernel keyring".into(),
        )),
    }
}

#[cfg(target_os = "macos")]
fn connect(keychain: Keychain) -> Result<Arc<CredentialStore>, Error> {
    match keychain {
        Keychain::Session => Ok(apple_native_keyring_store::keychain::Store::new()?),
        Keychain::Kernel => Err(Error::NotSupportedByStore(
            "this system has no kernel keyring".into(),
        )),
    }
}

#[cfg(windows)]
fn connect(keychain: Keychain) -> Result<Arc<CredentialStore>, Error> {
    match keychain {
        Keychain::Session => Ok(windows_native_keyring_store::Store::new()?),
        Keychain::Kernel => Err(Error::NotSupportedByStore(
            "this system has no kernel keyring".into(),
        )),
    }
}

/// Runs something that may never return. What it does late is lost, as after a kill; it is made to bear that.
fn within<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> anyhow::Result<T> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new()
        .name("keychain".into())
        .spawn(move || {
            let _ = sender.send(work());
        })?;
    match receiver.recv_timeout(limit) {
        Ok(outcome) => Ok(outcome?),
        Err(mpsc::RecvTimeoutError::Timeout) => {
            anyhow::bail!(
                "it did not answer within {} seconds; it may be locked, or wait for you on another screen",
                limit.as_secs()
            )
        }
        Err(mpsc::RecvTimeoutError::Disconnected) => anyhow::bail!("it failed without a message"),
    }
}

/// Secrets as numbered pieces of one generation, and an entry that names the generation in force.
struct Pieces(Arc<CredentialStore>);

/// Which pieces count.
struct Index {
    generation: u64,
    pieces: usize,
    digest: String,
}

impl Pieces {
    fn load(&self, key: &str) -> Result<Option<Secret>, Error> {
        let Some(index) = self.index(key)? else {
            return Ok(None);
        };
        let mut text = String::new();
        for number in 0..index.pieces {
            text.push_str(&self.piece(key, &index, number)?.get_password()?);
        }
        let secret = Secret::new(text);
        if hex_digest(secret.expose().as_bytes()) != index.digest {
            return Err(Error::BadStoreFormat(
                "the pieces of a secret do not fit together".into(),
            ));
        }
        Ok(Some(secret))
    }

    fn save(&self, key: &str, secret: &Secret) -> Result<(), Error> {
        let before = self.index(key).ok().flatten();
        let characters: Vec<char> = secret.expose().chars().collect();
        let pieces: Vec<Secret> = characters
            .chunks(PIECE_CHARACTERS)
            .map(|piece| Secret::new(piece.iter().collect::<String>()))
            .collect();
        let index = Index {
            generation: before.as_ref().map_or(0, |before| before.generation + 1),
            pieces: pieces.len(),
            digest: hex_digest(secret.expose().as_bytes()),
        };
        for (number, piece) in pieces.iter().enumerate() {
            self.piece(key, &index, number)?
                .set_password(piece.expose())?;
        }
        self.entry(key)?.set_password(&format!(
            "{} {} {}",
            index.generation, index.pieces, index.digest
        ))?;
        if let Some(before) = before {
            self.remove_pieces(key, &before);
        }
        Ok(())
    }

    fn forget(&self, key: &str) -> Result<(), Error> {
        if let Some(index) = self.index(key)? {
            self.entry(key)?.delete_credential()?;
            self.remove_pieces(key, &index);
        }
        Ok(())
    }

    /// Removes pieces that do not count any more; what stays behind is overwritten in time.
    fn remove_pieces(&self, key: &str, index: &Index) {
        for number in 0..index.pieces {
            let _ = self
                .piece(key, index, number)
                .and_then(|piece| piece.delete_credential());
        }
    }

    fn index(&self, key: &str) -> Result<Option<Index>, Error> {
        let text = match self.entry(key)?.get_password() {
            Ok(text) => text,
            Err(Error::NoEntry) => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || Error::BadStoreFormat("the index of a secret is damaged".into());
        let mut words = text.split(' ');
        let mut number = || {
            words
                .next()
                .and_then(|word| word.parse::<u64>().ok())
                .ok_or_else(damaged)
        };
        let (generation, pieces) = (number()?, number()?);
        Ok(Some(Index {
            generation,
            pieces: usize::try_from(pieces).map_err(|_| damaged())?,
            digest: words.next().ok_or_else(damaged)?.to_owned(),
        }))
    }

    fn piece(&self, key: &str, index: &Index, number: usize) -> Result<Entry, Error> {
        self.entry(&format!("{key}.{}.{number}", index.generation))
    }

    fn entry(&self, name: &str) -> Result<Entry, Error> {
        self.0.build(SERVICE, name, None)
    }
}
