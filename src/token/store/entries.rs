//! The entries of a keychain, by name.

use std::{collections::HashMap, sync::Arc};

use keyring_core::{CredentialStore, Entry, Error};

/// The service name of the entries.
pub(super) const SERVICE: &str = "git-remote-bbtoken";

/// The kind of keychain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keychain {
    /// The keychain of the desktop session, or of the user on macOS and Windows.
    Session,
    /// The user's keyring in the Linux kernel, which is lost when the machine restarts.
    Kernel,
}

/// Entries by name.
#[derive(Clone)]
pub(super) enum Entries {
    Of(Arc<CredentialStore>),
    #[cfg(target_os = "linux")]
    OfKernel,
}

impl Entries {
    pub(super) fn entry(&self, name: &str) -> Result<Entry, Error> {
        match self {
            Entries::Of(store) => store.build(SERVICE, name, None),
            #[cfg(target_os = "linux")]
            Entries::OfKernel => kernel_entry(name),
        }
    }

    pub(super) fn forget_all(&self) -> Result<bool, Error> {
        let found = match self {
            // Windows searches the names of entries, which end with that of the service.
            Entries::Of(store) if cfg!(windows) => {
                store.search(&HashMap::from([("pattern", "git-remote-bbtoken$")]))?
            }
            Entries::Of(store) => store.search(&HashMap::from([("service", SERVICE)]))?,
            #[cfg(target_os = "linux")]
            Entries::OfKernel => Vec::new(),
        };
        for entry in &found {
            entry.delete_credential()?;
        }
        Ok(!found.is_empty())
    }
}

/// Connects to a keychain.
pub(super) fn connect(keychain: Keychain) -> Result<Entries, Error> {
    match keychain {
        #[cfg(any(target_os = "linux", target_os = "freebsd"))]
        Keychain::Session => Ok(Entries::Of(zbus_secret_service_keyring_store::Store::new()?)),
        #[cfg(target_os = "macos")]
        Keychain::Session => Ok(Entries::Of(
            apple_native_keyring_store::keychain::Store::new()?,
        )),
        #[cfg(windows)]
        Keychain::Session => Ok(Entries::Of(windows_native_keyring_store::Store::new()?)),
        #[cfg(target_os = "linux")]
        Keychain::Kernel => Ok(Entries::OfKernel),
        #[cfg(not(target_os = "linux"))]
        Keychain::Kernel => Err(Error::NotSupportedByStore(
            "this system has no kernel keyring".into(),
        )),
    }
}

/// Opens an entry in the user's keyring, which all sessions of the user share.
///
/// By default, the crate uses the session keyring, which may end with this process (keyrings(7), "session-keyring").
#[cfg(target_os = "linux")]
fn kernel_entry(name: &str) -> Result<Entry, Error> {
    use linux_keyutils::{KeyError, KeyRing, KeyRingIdentifier};
    let absent = |error: KeyError| Error::NoStorageAccess(error.into());
    let user = KeyRing::from_special_id(KeyRingIdentifier::User, true).map_err(absent)?;
    // A process can read entries only if it possesses a link to their keyring (keyrings(7), "Possession").
    KeyRing::from_special_id(KeyRingIdentifier::Process, true)
        .and_then(|process| process.link_keyring(user))
        .map_err(absent)?;
    let credential = linux_keyutils_keyring_store::Cred {
        session: user,
        persistent: KeyRing::get_persistent(KeyRingIdentifier::User).ok(),
        description: format!("{SERVICE}:{name}"),
        specifiers: None,
    };
    Ok(Entry::new_with_credential(Arc::new(credential)))
}
