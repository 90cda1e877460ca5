//! A note that a refresh token may have been used, written before the token is sent.
//!
//! Bitbucket's refresh tokens stop working some minutes after their first use. If the response is lost, in the network
//! or because the process was killed, the token still works for those minutes. The note makes the next command use it
//! again, even if the access token is still valid for hours. The note contains no secret.
//!
//! It is written in place, because half a note has the same meaning as a whole one.

use std::{
    io::{self, Write as _},
    path::PathBuf,
};

use anyhow::Context as _;
use serde_json::{Value, json};

use crate::{
    files::{self, Directory, MAX_FILE_BYTES},
    secret::Secret,
};

/// The time for which a note makes commands repeat the refresh although they have a valid access token. It is longer
/// than Bitbucket's limit (600 s, git-credential-manager pull request 2429). After that, the refresh token is invalid,
/// or was never used.
const URGENT_S: u64 = 900;

/// The note for one login.
pub(super) struct Journal {
    directory: Option<PathBuf>,
    name: String,
}

impl Journal {
    /// Uses the state directory. Without one, there is no note.
    pub(super) fn at(directory: Option<PathBuf>, key: &str) -> Self {
        Journal {
            directory,
            name: format!("{key}.pending"),
        }
    }

    /// Uses a second note, which stays after the server has refused the token: the login has ended.
    pub(super) fn of_ended(directory: Option<PathBuf>, key: &str) -> Self {
        Journal {
            directory,
            name: format!("{key}.ended"),
        }
    }

    /// Tells whether this token may have been sent without saving the response.
    pub(super) fn is_pending(&self, refresh_token: &Secret) -> bool {
        self.read().is_some_and(|note| {
            note.get("refresh_token")
                .is_none_or(|name| *name == refresh_token.fingerprint().as_str())
        })
    }

    /// Tells whether a refresh can still be repeated. Every command checks this, with one file access.
    pub(super) fn is_urgent(&self, now_unix_s: u64) -> bool {
        self.read().is_some_and(|note| {
            let sent_at_unix_s = note.get("sent_at_unix_s").and_then(Value::as_u64);
            sent_at_unix_s.is_none_or(|sent| now_unix_s.saturating_sub(sent) < URGENT_S)
        })
    }

    /// Writes the note durably.
    pub(super) fn begin(&self, refresh_token: &Secret, now_unix_s: u64) -> anyhow::Result<()> {
        let Some(directory) = &self.directory else {
            return Ok(());
        };
        let note =
            json!({ "refresh_token": refresh_token.fingerprint(), "sent_at_unix_s": now_unix_s });
        Directory::make(directory)
            .and_then(|directory| write(&directory, &self.name, note.to_string().as_bytes()))
            .with_context(|| format!("cannot write '{}'", directory.join(&self.name).display()))
    }

    /// Removes the note.
    pub(super) fn end(&self) {
        if let Some(directory) = &self.directory {
            // If this fails, the note is about an old token and is ignored.
            let _ = Directory::open(directory).and_then(|directory| directory.remove(&self.name));
        }
    }

    fn read(&self) -> Option<Value> {
        let directory = Directory::open(self.directory.as_ref()?);
        // Another user's directory contains no login of this user, and no note.
        if directory
            .as_ref()
            .is_err_and(|error| files::untrusted(error).is_some())
        {
            return None;
        }
        match directory.and_then(|directory| directory.read(&self.name, MAX_FILE_BYTES)) {
            Err(error) if files::is_absent(&error) => None,
            // Half a note applies to any token and any time.
            text => Some(
                text.ok()
                    .and_then(|text| serde_json::from_slice(&text).ok())
                    .unwrap_or_default(),
            ),
        }
    }
}

fn write(directory: &Directory, name: &str, note: &[u8]) -> io::Result<()> {
    let mut file = directory
        .open_or_create(name)
        .or_else(|error| match error.kind() {
            // Not a note of this program.
            io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData => {
                directory.remove(name)?;
                directory.open_or_create(name)
            }
            _ => Err(error),
        })?;
    file.set_len(0)?;
    file.write_all(note)?;
    file.sync_all()?;
    directory.sync();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_matches_one_token_and_half_a_note_matches_any() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::at(Some(directory.path().join("state")), "k");
        let (one, other) = (Secret::new("one"), Secret::new("other"));
        assert!(!journal.is_pending(&one) && !journal.is_urgent(1_000));
        journal.begin(&one, 1_000).expect("it can be written");
        assert!(journal.is_pending(&one) && !journal.is_pending(&other));
        assert!(journal.is_urgent(1_000 + URGENT_S - 1) && !journal.is_urgent(1_000 + URGENT_S));
        assert!(journal.is_urgent(10), "a clock that was set back");
        for half in ["", "{", "{\"refresh_token"] {
            files::tests::write_private(&directory.path().join("state/k.pending"), half);
            assert!(journal.is_pending(&other) && journal.is_urgent(0), "{half}");
        }
        journal.end();
        assert!(!journal.is_pending(&one) && !journal.is_urgent(0));
    }

    #[test]
    fn any_file_content_is_a_note() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::at(Some(directory.path().to_owned()), "k");
        let token = Secret::new("one");
        journal.begin(&token, 1_000).expect("it can be written");
        let path = directory.path().join("k.pending");
        let real = std::fs::read(&path).expect("it was just written");
        crate::inside::fuzz::check_on_disk(
            &[&real, br#"{"sent_at_unix_s":18446744073709551615}"#],
            |input| {
                files::tests::write_private(&path, input);
                let says_which = serde_json::from_slice::<Value>(input)
                    .is_ok_and(|note| note.get("refresh_token").is_some());
                assert!(
                    says_which || journal.is_pending(&token),
                    "a note that names no token is of any"
                );
                for now in [0, 1_000, u64::MAX] {
                    let _: bool = journal.is_urgent(now);
                }
            },
        );
    }
}
