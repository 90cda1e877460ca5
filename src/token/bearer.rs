//! A token as it is sent to the git server.

use crate::{profile::Profile, secret::Secret};

use super::{cache::Entry, check};

/// A token for Bitbucket's git server, and the user name that tells what kind it is.
#[derive(Clone, Debug)]
pub struct Bearer {
    /// The token.
    pub token: Secret,
    /// `x-token-auth` or `x-bitbucket-api-token-auth`.
    pub user: &'static str,
    /// When it ends, if that is known.
    pub expires_at_unix_s: Option<u64>,
}

impl Bearer {
    /// Bitbucket reads the secret by the user name: API tokens (`ATATT`) have one of their own
    /// (Bitbucket support: "Using API tokens"). The documented prefix tells them; a token's length tells nothing.
    pub(super) fn new(token: Secret, expires_at_unix_s: Option<u64>) -> Self {
        let user = if token.expose().starts_with("ATATT") {
            "x-bitbucket-api-token-auth"
        } else {
            "x-token-auth"
        };
        Bearer {
            token,
            user,
            expires_at_unix_s,
        }
    }
}

/// The token of this command.
#[derive(Clone)]
pub(super) struct Current {
    pub(super) bearer: Bearer,
    /// It came from the server during this command: if that is refused, a further one will be, too.
    pub(super) is_new: bool,
}

impl Current {
    /// A token that the server has just given.
    pub(super) fn new(entry: &Entry) -> Self {
        Current {
            bearer: Bearer::new(entry.access_token.clone(), Some(entry.expires_at_unix_s)),
            is_new: true,
        }
    }

    /// A token that somebody else made.
    ///
    /// # Errors
    ///
    /// When it is another kind of secret.
    pub(super) fn ready(token: Secret, profile: &Profile) -> anyhow::Result<Self> {
        check::check_token(&token, profile)?;
        Ok(Current {
            bearer: Bearer::new(token, None),
            is_new: false,
        })
    }
}
