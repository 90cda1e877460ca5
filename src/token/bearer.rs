//! The token that a request to the git server carries.

use crate::{profile::Profile, secret::Secret};

use super::{cache::Entry, check};

/// A token for Bitbucket's git server.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// The time of expiry, if known.
    pub expires_at_unix_s: Option<u64>,
}

impl Bearer {
    pub(super) fn new(token: Secret, expires_at_unix_s: Option<u64>) -> Self {
        Bearer {
            token,
            expires_at_unix_s,
        }
    }
}

/// The token that the command uses.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) bearer: Bearer,
    /// Whether it is from this command. If the server refuses it, it would refuse a further one too.
    pub(super) is_new: bool,
}

impl Current {
    /// Takes a token that the server has just issued.
    pub(super) fn new(entry: &Entry) -> Self {
        Current {
            bearer: Bearer::new(entry.access_token.clone(), Some(entry.expires_at_unix_s)),
            is_new: true,
        }
    }

    /// Takes an access token or API token that the user provides.
    ///
    /// # Errors
    ///
    /// If it is another kind of secret.
    pub(super) fn ready(token: Secret, profile: &Profile) -> anyhow::Result<Self> {
        check::check_token(&token, profile)?;
        Ok(Current {
            bearer: Bearer::new(token, None),
            is_new: false,
        })
    }
}
