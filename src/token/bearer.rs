//! The token that a request to the git server carries.

use super::cache::Entry;
use crate::secret::Secret;

/// A token for Bitbucket's git server.
#[derive(Clone, Debug)]
pub(crate) struct Bearer {
    /// The token.
    pub(crate) token: Secret,
    /// The time of expiry, if known.
    pub(crate) expires_at_unix_s: Option<u64>,
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
    pub(super) fn of(entry: Entry, is_new: bool) -> Self {
        Current {
            bearer: Bearer::new(entry.access_token, Some(entry.expires_at_unix_s)),
            is_new,
        }
    }
}
