//! The cache of access tokens: one file for each, readable by the user only, always replaced as a whole.

use std::{io, path::PathBuf, time::Duration};

use anyhow::Context as _;
use serde::{Deserialize, Serialize};

use super::format;
use crate::{
    files::{self, Directory, MAX_FILE_BYTES},
    oauth::TokenAnswer,
    secret::Secret,
};

/// A token is replaced this long before it expires, so that it does not expire during a request. The margin is at most
/// a quarter of the lifetime. (cargo and Backstage have margins of 1 and 10 minutes.)
const MARGIN_S: u64 = 120;

/// Gives the seconds that a token must live on to be used.
pub(super) fn least_life(margin: Duration, lifetime_s: u64) -> u64 {
    margin.as_secs().max(MARGIN_S).min(lifetime_s / 4)
}

/// A directory of cached tokens.
pub(super) struct Cache {
    directory: PathBuf,
}

/// A cached token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The token.
    #[serde(serialize_with = "format::expose")]
    pub(crate) access_token: Secret,
    /// The time of expiry, by the local clock.
    pub(crate) expires_at_unix_s: u64,
    /// The lifetime that the server reported.
    pub(crate) lifetime_s: u64,
    /// The scopes that the server reported.
    pub(crate) scopes: Vec<String>,
}

impl Entry {
    /// Makes the entry for a new token. Its life begins when it was requested.
    pub(super) fn of(answer: TokenAnswer) -> Self {
        Entry {
            expires_at_unix_s: answer.asked_at_unix_s.saturating_add(answer.lifetime_s),
            lifetime_s: answer.lifetime_s,
            access_token: answer.access_token,
            scopes: answer.scopes,
        }
    }

    /// Gives the time of the request.
    pub(crate) fn got_at_unix_s(&self) -> u64 {
        self.expires_at_unix_s.saturating_sub(self.lifetime_s)
    }
}

/// The result of a cache lookup.
#[derive(Debug)]
pub(super) enum Cached {
    Token(Entry),
    Nothing,
    /// A damaged file. It is neither used nor deleted.
    Corrupt,
    /// A file that another user may have written, with the reason.
    Untrusted(String),
}

impl Cache {
    pub(super) fn at(directory: PathBuf) -> Self {
        Cache { directory }
    }

    /// Looks up a token. This needs no lock, because files are replaced as a whole.
    pub(super) fn read(&self, key: &str) -> Cached {
        let directory = match Directory::open(&self.directory) {
            Ok(directory) => directory,
            // The error appears when the directory is locked or written to.
            Err(error) if files::is_absent(&error) || files::untrusted(&error).is_some() => {
                return Cached::Nothing;
            }
            Err(_) => return Cached::Corrupt,
        };
        match directory.read(&file(key), MAX_FILE_BYTES) {
            Ok(text) => String::from_utf8(text)
                .ok()
                .and_then(|text| parse(&Secret::new(text)))
                .map_or(Cached::Corrupt, Cached::Token),
            Err(error) if files::is_absent(&error) => Cached::Nothing,
            Err(error) => match files::untrusted(&error) {
                Some(why) => Cached::Untrusted(why.to_string()),
                None => Cached::Corrupt,
            },
        }
    }

    /// Saves a token. The caller holds the key's lock.
    pub(super) fn write(&self, key: &str, entry: &Entry) -> anyhow::Result<()> {
        Directory::make(&self.directory)
            .and_then(|directory| directory.replace(&file(key), render(entry).expose().as_bytes()))
            .with_context(|| format!("cannot write '{}'", self.path(key).display()))
    }

    /// Removes a token, if there is one.
    pub(super) fn remove(&self, key: &str) {
        // If this fails, the server refuses the token again, and the next one replaces it.
        let _ =
            Directory::claim(&self.directory).and_then(|directory| directory.remove(&file(key)));
    }

    /// Moves a damaged file away, so that the user can look at it. Files that were moved earlier stay.
    pub(super) fn set_aside(&self, key: &str) -> io::Result<PathBuf> {
        let directory = Directory::open(&self.directory)?;
        let mut number = 1_u32;
        let mut aside = format!("{key}.damaged");
        while directory.has(&aside) {
            number += 1;
            aside = format!("{key}.damaged-{number}");
        }
        directory.rename(&file(key), &aside)?;
        Ok(directory.path_of(&aside))
    }

    fn path(&self, key: &str) -> PathBuf {
        self.directory.join(file(key))
    }
}

fn file(key: &str) -> String {
    format!("{key}.json")
}

fn render(entry: &Entry) -> Secret {
    Secret::new(format::render(entry).to_string())
}

fn parse(text: &Secret) -> Option<Entry> {
    format::parse(text).filter(|entry: &Entry| !entry.access_token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry() -> Entry {
        Entry {
            access_token: Secret::new("t".repeat(5000)),
            expires_at_unix_s: 100,
            lifetime_s: 7200,
            scopes: vec!["repository".into()],
        }
    }

    #[test]
    fn a_cached_token_is_read_back_unchanged() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let cache = Cache::at(directory.path().join("a/b"));
        cache.write("k", &entry()).expect("it can be written");
        assert!(matches!(cache.read("k"), Cached::Token(found) if found == entry()));
    }

    #[cfg(unix)]
    #[test]
    fn only_the_user_can_read_the_cache() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().expect("a temporary directory");
        let open = directory.path().join("open");
        fs::create_dir(&open).expect("it can be made");
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let cache = Cache::at(open.clone());
        cache.write("k", &entry()).expect("it can be written");
        let mode = |path: &std::path::Path| {
            fs::metadata(path)
                .expect("it is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!((mode(&open), mode(&cache.path("k"))), (0o700, 0o600));
    }

    #[test]
    fn damaged_files_are_neither_used_nor_deleted() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Directory::make(directory.path()).expect("it is ours");
        let cache = Cache::at(directory.path().to_owned());
        for text in [
            "",
            "{",
            "[]",
            "{}",
            r#"{"version":2}"#,
            "\u{0}",
            r#"{"version":1,"access_token":"","expires_at_unix_s":1,"lifetime_s":1,"scopes":[]}"#,
        ] {
            files::tests::write_private(&cache.path("k"), text);
            assert!(matches!(cache.read("k"), Cached::Corrupt), "{text}");
            let aside = cache.set_aside("k").expect("it can be moved");
            assert_eq!(fs::read_to_string(aside).expect("it is there"), text);
            assert!(matches!(cache.read("k"), Cached::Nothing));
        }
    }

    #[test]
    fn any_file_is_a_token_or_damaged() {
        let real = render(&entry());
        let small = r#"{"version":1,"access_token":"t","expires_at_unix_s":18446744073709551615,"lifetime_s":1,"scopes":["a"]}"#;
        let odd = r#"{"version":1e0,"access_token":"\ud83d\ude00\/\b","expires_at_unix_s":-0.5E-3,"lifetime_s":[true,null],"scopes":[{}]}"#;
        crate::inside::fuzz::check_text(&[real.expose(), small, odd], |text| {
            if let Some(entry) = parse(&Secret::new(text)) {
                assert!(!entry.access_token.is_empty());
                assert_eq!(parse(&render(&entry)), Some(entry));
            }
        });
    }
}
