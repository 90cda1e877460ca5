//! Finds the directories for a profile's tokens and logins.

use std::{fs::File, path::PathBuf};

use crate::{
    files::Directory,
    git_config::{self, process_variable},
    profile::{Profile, Store},
    token::Places,
};

/// Finds the directories for saved data; none with the store `memory`. With a shared store, none is for logins.
pub(super) fn places(profile: &Profile) -> Places {
    let directories = git_config::directories(&process_variable);
    let cache = directories.cache.filter(|_| profile.caches_tokens);
    match profile.store {
        Store::Memory | Store::Vault | Store::Command => Places {
            cache,
            ..Places::default()
        },
        Store::File | Store::Keyring | Store::KernelKeyring => Places {
            cache,
            state: directories.state,
            usual_states: usual_states(),
        },
    }
}

/// Waits until no other helper of this user asks for a login. `tell` reports the wait. The end of the process releases
/// the lock.
pub(crate) fn lock_logins(tell: &dyn Fn()) -> Option<File> {
    let cache = git_config::directories(&process_variable).cache?;
    let file = Directory::make(&cache)
        .ok()?
        .open_or_create("login.lock")
        .ok()?;
    if file.try_lock().is_err() {
        tell();
        file.lock().ok()?;
    }
    Some(file)
}

/// Finds the directory of a login that was made outside of a snap or flatpak. Both set the XDG directories, and a snap
/// also sets `HOME`.
fn usual_states() -> Vec<PathBuf> {
    let homes = ["HOME", "SNAP_REAL_HOME"].into_iter();
    let homes = homes
        .filter_map(process_variable)
        .map(PathBuf::from)
        .filter(|home| home.has_root());
    homes
        .filter(|_| cfg!(target_os = "linux"))
        .map(|home| home.join(".local/state").join(git_config::DIRECTORY))
        .collect()
}
