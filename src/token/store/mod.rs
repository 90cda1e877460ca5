//! Where durable secrets are kept: refresh tokens and client secrets, by a key of client, account and host.
//!
//! A store keeps small texts. It is chosen once, by the profile, and never replaced by a weaker one on the quiet.
//! Access tokens are not kept here but in the cache: losing one costs a request, losing one of these a login.

mod file;
mod keyring;

use std::path::PathBuf;

use crate::{
    failure::{Failure, Kind},
    profile,
    secret::Secret,
};

pub(crate) use file::FileStore;
pub(crate) use keyring::{Keychain, KeyringStore};

/// Space that is made sure of before a secret is asked for that cannot be asked for twice: two tokens of
/// Bitbucket's, of any length seen, fit twice.
const RESERVE_BYTES: usize = 16 * 1024;

/// Keeps secrets beyond the end of this process.
pub trait Store {
    /// Reads a secret; `None` if none is kept.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] when the store is locked, damaged or open to others.
    fn load(&self, key: &str) -> anyhow::Result<Option<Secret>>;

    /// Makes sure that the next [`Store::save`] of this key has room.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] when it has not; nothing was lost then.
    fn reserve(&self, key: &str) -> anyhow::Result<()>;

    /// Gives back the room that [`Store::reserve`] took and no [`Store::save`] used, in this process or one that ended.
    fn release(&self, _key: &str) {}

    /// Replaces a secret as a whole; once this returns it survives a loss of power.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`]; the earlier secret is still there.
    fn save(&self, key: &str, secret: &Secret) -> anyhow::Result<()>;

    /// Removes a secret, readable or not; tells whether there was one.
    ///
    /// # Errors
    ///
    /// [`Kind::StoreUnusable`] when it is still there.
    fn forget(&self, key: &str) -> anyhow::Result<bool>;
}

/// Opens the store that a profile names. `directory` is where the file store lives; `no_questions` is the setting that
/// forbids a store to ask a person.
///
/// # Errors
///
/// [`Kind::StoreUnusable`] when there is no such store on this machine.
pub(crate) fn open(
    kind: profile::Store,
    directory: Option<PathBuf>,
    no_questions: Option<&str>,
) -> anyhow::Result<Box<dyn Store>> {
    match (kind, directory) {
        (profile::Store::Memory, _) => Ok(Box::new(NoStore)),
        (profile::Store::Keyring, _) => {
            keyring::prove_unlocked(no_questions)?;
            Ok(Box::new(KeyringStore::open(Keychain::Session)?))
        }
        (profile::Store::KernelKeyring, _) => Ok(Box::new(KeyringStore::open(Keychain::Kernel)?)),
        (profile::Store::File, Some(directory)) => Ok(Box::new(FileStore::at(directory))),
        (profile::Store::File, None) => Err(unusable(
            "there is no home directory to keep secrets in; set BBTOKEN_HOME".into(),
        )
        .into()),
    }
}

/// Keeps nothing: what `store = memory` asks for.
struct NoStore;

impl Store for NoStore {
    fn load(&self, _key: &str) -> anyhow::Result<Option<Secret>> {
        Ok(None)
    }

    fn reserve(&self, _key: &str) -> anyhow::Result<()> {
        Err(
            unusable("the store 'memory' keeps no secret; choose 'file' or 'keyring'".into())
                .into(),
        )
    }

    fn save(&self, key: &str, _secret: &Secret) -> anyhow::Result<()> {
        self.reserve(key)
    }

    fn forget(&self, _key: &str) -> anyhow::Result<bool> {
        Ok(false)
    }
}

fn unusable(message: String) -> Failure {
    Failure::new(Kind::StoreUnusable, message)
}
