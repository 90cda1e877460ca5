//! Remembers for a day which servers only git's own transport reaches.
//!
//! The native TLS supports fewer certificates and handshakes than git's. Git checks the server's certificate by the
//! same settings, so a certificate that git also rejects stays rejected.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Identity, identity::authority, places::places};
use crate::{clock::Clock, files::Directory, profile::Profile, url::Url};

/// The version of the file format. Other versions are not read.
const VERSION: u32 = 1;
/// The directory in the cache, with a file for each server.
const DIRECTORY: &str = "by-git";
/// An older result is not used.
const MAX_AGE_S: u64 = 24 * 3600;
/// The helper never writes a longer file.
const MAX_FILE_BYTES: u64 = 4096;
#[derive(Serialize, Deserialize)]
struct Record {
    version: u32,
    learned_unix_s: u64,
    because: String,
}

impl Identity {
    /// Gives the reason why git's own transport serves a server, if it does.
    pub(crate) fn remembered(&self, url: &Url) -> Option<String> {
        remembered(&self.profile, url, &self.services.clock)
    }

    /// Lets git's own transport serve a server for a day.
    pub(crate) fn remember(&self, url: &Url, because: &str) {
        let record = Record {
            version: VERSION,
            learned_unix_s: self.services.clock.now_unix_s(),
            because: because.to_owned(),
        };
        let text = serde_json::to_vec(&record);
        if let (Some((cache, name)), Ok(text)) = (place(&self.profile, url), text) {
            // Without the file, the next command tries both transports again.
            let _ = Directory::make(&cache)
                .and_then(|_| Directory::make(&cache.join(DIRECTORY)))
                .and_then(|directory| directory.replace_in_passing(&name, &text));
        }
    }
}

/// As [`Identity::remembered`].
pub(super) fn remembered(profile: &Profile, url: &Url, clock: &dyn Clock) -> Option<String> {
    let (cache, name) = place(profile, url)?;
    let directory = Directory::open(&cache.join(DIRECTORY)).ok()?;
    let text = directory.read(&name, MAX_FILE_BYTES).ok()?;
    let record: Record = serde_json::from_slice(&text).ok()?;
    let age_s = clock.now_unix_s().checked_sub(record.learned_unix_s)?;
    (record.version == VERSION && age_s < MAX_AGE_S).then_some(record.because)
}

/// Gives the cache and the name of a server's file.
fn place(profile: &Profile, url: &Url) -> Option<(PathBuf, String)> {
    let cache = places(profile).cache?;
    // Windows does not allow a colon in file names.
    let name = authority(url).replace([':', '[', ']'], "_");
    Some((cache, format!("{name}.json")))
}
