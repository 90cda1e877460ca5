//! A note, made before a refresh token is sent, that it may have been used.
//!
//! Bitbucket's refresh tokens die some minutes after their first use. If the answer to that use is lost, in the
//! network or by a kill before it was kept, the token still works for those minutes: the note makes the very next
//! command use it again, even if its access token would have lasted for hours. It holds no secret.
//!
//! It is written in place: half a note says the same as a whole one.

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

/// For how long a note makes commands use the token again although theirs is good: longer than the grace (600 s,
/// git-credential-manager pull request 2429). After that the token is dead, or was never used.
const URGENT_S: u64 = 900;

/// The note for one login.
pub(super) struct Journal {
    directory: Option<PathBuf>,
    name: String,
}

impl Journal {
    /// `directory` is where durable things are; without one there is no note.
    pub(super) fn at(directory: Option<PathBuf>, key: &str) -> Self {
        Journal {
            directory,
            name: format!("{key}.pending"),
        }
    }

    /// Tells whether this token may have been sent without its answer having been kept.
    pub(super) fn is_pending(&self, refresh_token: &Secret) -> bool {
        match self.read() {
            None => false,
            Some(note) => note
                .get("refresh_token")
                .is_none_or(|name| *name == refresh_token.fingerprint().as_str()),
        }
    }

    /// Tells whether there is a note of a use that may still be made up for: one look at the disk by every command.
    pub(super) fn is_urgent(&self, now_unix_s: u64) -> bool {
        let Some(note) = self.read() else {
            return false;
        };
        let sent_at_unix_s = note.get("sent_at_unix_s").and_then(Value::as_u64);
        sent_at_unix_s.is_none_or(|sent| now_unix_s.saturating_sub(sent) < URGENT_S)
    }

    /// Makes the note, durably.
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

    /// Takes the note back.
    pub(super) fn end(&self) {
        if let Some(directory) = &self.directory {
            // What cannot be removed speaks of a token that is not the login's any more, and is passed over.
            let _ = Directory::open(directory).and_then(|directory| directory.remove(&self.name));
        }
    }

    fn read(&self) -> Option<Value> {
        let directory = Directory::open(self.directory.as_ref()?);
        // In another user's directory there is neither a login of ours nor a note of it.
        if directory
            .as_ref()
            .is_err_and(|error| files::untrusted(error).is_some())
        {
            return None;
        }
        match directory.and_then(|directory| directory.read(&self.name, MAX_FILE_BYTES)) {
            Err(error) if files::is_absent(&error) => None,
            // Half a note is a note: of any token, at any time.
            text => Some(
                text.ok()
                    .and_then(|text| serde_json::from_slice(&text).ok())
                    .unwrap_or_default(),
            ),
        }
    }
}

fn write(directory: &Directory, name: &str, note: &[u8]) -> io::Result<()> {
    let mut file = directory.keep(name).or_else(|error| match error.kind() {
        // It is no note of ours.
        io::ErrorKind::PermissionDenied | io::ErrorKind::InvalidData => {
            directory.remove(name)?;
            directory.keep(name)
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
    fn a_note_is_of_one_token_and_half_a_note_of_any() {
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
    fn whatever_is_in_a_note_is_a_note() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let journal = Journal::at(Some(directory.path().to_owned()), "k");
        let token = Secret::new("one");
        journal.begin(&token, 1_000).expect("it can be written");
        let path = directory.path().join("k.pending");
        let real = std::fs::read(&path).expect("it was just written");
        crate::fuzz::check_on_disk(
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
