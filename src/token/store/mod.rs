//! The stores for durable secrets: refresh tokens and client secrets, by a key of client, account and host.
//!
//! A store keeps small texts. The profile chooses it, and there is no fallback to another store. Access tokens are in
//! the cache instead: a lost access token costs a request, a lost secret costs a login.
mod entries;
mod file;
mod interface;
mod keyring;

use std::path::PathBuf;

use crate::{
    profile::{self, Profile},
    secret::Secret,
};

use interface::unusable;

pub(crate) use entries::Keychain;
pub(crate) use file::FileStore;
pub(crate) use interface::Store;
pub(crate) use keyring::{KeyringStore, is_ready};

/// Opens a profile's store. `directory` is for the file store. `no_questions` is the setting that forbids a store to
/// ask the user.
///
/// # Errors
///
/// [`crate::failure::Kind::StoreUnusable`] if this machine has no such store.
pub(crate) fn open(
    profile: &Profile,
    directory: Option<PathBuf>,
) -> anyhow::Result<Box<dyn Store>> {
    match (profile.store, directory) {
        (profile::Store::Memory, _) => Ok(Box::new(NoStore)),
        (profile::Store::Keyring, _) => {
            keyring::prove_unlocked(profile.no_questions.as_deref())?;
            Ok(Box::new(KeyringStore::open(Keychain::Session)?))
        }
        (profile::Store::KernelKeyring, _) => Ok(Box::new(KeyringStore::open(Keychain::Kernel)?)),
        (profile::Store::File, Some(directory)) => {
            Ok(Box::new(FileStore::at(directory, &profile.name)))
        }
        (profile::Store::Vault | profile::Store::Command, _) => Err(unusable(format!(
            "the store '{}' has one shared record and no other secrets",
            profile.store.name()
        ))
        .into()),
        (profile::Store::File, None) => Err(unusable(
            "there is no home directory to store secrets in; set BBTOKEN_HOME".into(),
        )
        .into()),
    }
}

/// Removes all remaining secrets, also of clients that no profile uses any more. Tells whether there were any.
///
/// The kernel's keyring cannot be searched; it is empty after a restart.
///
/// # Errors
///
/// [`crate::failure::Kind::StoreUnusable`] if something remains.
pub(crate) fn forget_rest(
    store: profile::Store,
    directories: Vec<PathBuf>,
    no_questions: Option<&str>,
) -> anyhow::Result<bool> {
    match store {
        profile::Store::Keyring => {
            keyring::prove_unlocked(no_questions)?;
            KeyringStore::open(Keychain::Session)?.forget_rest()
        }
        profile::Store::File => directories
            .into_iter()
            .map(|directory| FileStore::at(directory, ""))
            .try_fold(false, |found, store| Ok(store.forget_rest()? || found)),
        _ => Ok(false),
    }
}

/// The store `memory`, which saves nothing.
struct NoStore;

impl Store for NoStore {
    fn load(&self, _key: &str) -> anyhow::Result<Option<Secret>> {
        Ok(None)
    }

    fn reserve(&self, _key: &str) -> anyhow::Result<()> {
        Err(
            unusable("the store 'memory' saves no secret; choose 'file' or 'keyring'".into())
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
