//! Servers that git's own transport reaches and the native one does not: git is tried once, and the result is kept for
//! a day.
//!
//! The native TLS supports fewer certificates and handshakes than git's does. Git verifies the server by the same
//! settings, so a certificate that git rejects, too, stays rejected.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{identity::authority, places::places};
use crate::{
    clock::{Clock as _, SystemClock},
    files::Directory,
    git_config::process_variable,
    http::Url,
    profile::Profile,
};

/// The file format's version: another one is not read.
const VERSION: u32 = 1;
/// The directory below the cache's, with a file for each server.
const DIRECTORY: &str = "by-git";
/// An older result is not used.
const MAX_AGE_S: u64 = 24 * 3600;
/// A longer file is not ours.
const MAX_FILE_BYTES: u64 = 4096;
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    learned_unix_s: u64,
    because: String,
}

/// Says why a server is left to git's own transport, if it is.
pub(crate) fn remembered(profile: &Profile, url: &Url) -> Option<String> {
    let (_, directory, name) = place(profile, url)?;
    let directory = Directory::open(&directory).ok()?;
    let text = directory.read(&name, MAX_FILE_BYTES).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    let age_s = SystemClock
        .now_unix_s()
        .checked_sub(record.learned_unix_s)?;
    (record.version == VERSION && age_s < MAX_AGE_S).then_some(record.because)
}

/// Leaves a server to git's own transport for a day.
pub(crate) fn remember(profile: &Profile, url: &Url, because: &str) {
    let record = Record {
        version: VERSION,
        learned_unix_s: SystemClock.now_unix_s(),
        because: because.to_owned(),
    };
    if let (Some((cache, directory, name)), Ok(text)) =
        (place(profile, url), serde_json::to_vec(&record))
    {
        // Without the file the next command tries again.
        let _ = Directory::make(&cache)
            .and_then(|_| Directory::make(&directory))
            .and_then(|directory| directory.replace_in_passing(&name, &text));
    }
}

/// Names the cache, the directory below it, and the file of a server.
fn place(profile: &Profile, url: &Url) -> Option<(PathBuf, PathBuf, String)> {
    let cache = places(profile, &process_variable).cache?;
    // Windows has no colon in the names of files.
    let name = authority(url).replace([':', '[', ']'], "_");
    let directory = cache.join(DIRECTORY);
    Some((cache, directory, format!("{name}.json")))
}
