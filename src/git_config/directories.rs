//! The cache and state directories.

use std::path::PathBuf;

use super::environment::Variables;

/// The name of the directories.
pub(crate) const DIRECTORY: &str = "git-remote-bbtoken";

/// The two directories; `None` if the user has no place for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Directories {
    /// The directory for files that can be created again.
    pub(crate) cache: Option<PathBuf>,
    /// The directory for logins.
    pub(crate) state: Option<PathBuf>,
}

/// Finds the directories: below `BBTOKEN_HOME`, else in the user's default places.
pub(crate) fn find(variables: Variables<'_>) -> Directories {
    // A relative path would put secrets into the directory that git runs in.
    let absolute = |directory: &PathBuf| directory.has_root();
    let apart = |home: Option<PathBuf>| Directories {
        cache: home.as_ref().map(|home| home.join("cache")),
        state: home.map(|home| home.join("state")),
    };
    if let Some(home) = variables("BBTOKEN_HOME").map(PathBuf::from) {
        return apart(Some(home).filter(absolute));
    }
    let below = |directory: Option<PathBuf>| Some(directory.filter(absolute)?.join(DIRECTORY));
    let cache = below(dirs::cache_dir());
    // Only Linux has a separate place for state.
    let state = below(dirs::state_dir().or_else(dirs::data_local_dir));
    // Windows has one place for both. A cached token would replace the login, which has the same file name.
    match cache == state {
        true => apart(cache),
        false => Directories { cache, state },
    }
}
