//! A note, made before a refresh token is sent, that it may have been used.
//!
//! Bitbucket's refresh tokens die some minutes after their first use. If the answer to that use is lost, in the
//! network or by a kill before it was written, the token still works for those minutes: the note makes the very next
//! command use it again, even if its access token would have lasted for hours. It holds no secret.

use std::{fs, path::PathBuf};

use anyhow::Context as _;
use serde_json::{Value, json};

use super::files;
use crate::secret::Secret;

/// The note for one login.
pub(super) struct Journal {
    path: Option<PathBuf>,
}

impl Journal {
    /// `directory` is where durable things are; without one there is no note.
    pub(super) fn at(directory: Option<PathBuf>, key: &str) -> Self {
        Journal {
            path: directory.map(|directory| directory.join(format!("{key}.pending"))),
        }
    }

    /// Tells whether this token was sent and its answer has not been kept.
    pub(super) fn is_pending(&self, refresh_token: &Secret) -> bool {
        let text = self
            .path
            .as_ref()
            .and_then(|path| fs::read_to_string(path).ok());
        let value = text.and_then(|text| serde_json::from_str::<Value>(&text).ok());
        value.is_some_and(|value| value["refresh_token"] == refresh_token.fingerprint().as_str())
    }

    /// Tells whether there is any note: one look at the disk, made by every command.
    pub(super) fn exists(&self) -> bool {
        self.path.as_ref().is_some_and(|path| path.exists())
    }

    /// Makes the note, durably.
    pub(super) fn begin(&self, refresh_token: &Secret, now_unix_s: u64) -> anyhow::Result<()> {
        let Some(path) = &self.path else {
            return Ok(());
        };
        let note =
            json!({ "refresh_token": refresh_token.fingerprint(), "sent_at_unix_s": now_unix_s })
                .to_string();
        files::replace(path, note.as_bytes())
            .with_context(|| format!("cannot write '{}'", path.display()))
    }

    /// Takes the note back.
    pub(super) fn end(&self) {
        if let Some(path) = &self.path {
            // What cannot be removed speaks of a token that is not the login's any more, and is passed over.
            let _ = fs::remove_file(path);
        }
    }
}
