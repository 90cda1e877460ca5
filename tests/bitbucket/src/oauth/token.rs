//! Tokens: what they allow and how long they live.

use serde::{Deserialize, Serialize};

use super::Grant;
use crate::random;

/// The kinds of secret that git may come with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenKind {
    /// An OAuth 2 access token.
    Access,
    /// A personal API token with scopes, `ATATT…`.
    Api,
    /// A repository, project or workspace access token, `ATCT…`.
    Resource,
    /// An access token of a service account, on Data Center: an OAuth 2 one on Cloud.
    Service,
}

/// Bytes behind an OAuth token: 2,536 characters, two of them `=`.
const TOKEN_BYTES: usize = 1_900;

impl TokenKind {
    /// A secret as Bitbucket Cloud makes them.
    pub(crate) fn secret(self) -> String {
        let prefix = match self {
            Self::Access | Self::Service => return random::url_safe(TOKEN_BYTES),
            Self::Api => "ATATT3xFfGF0",
            Self::Resource => "ATCTT3xFfGN0",
        };
        format!(
            "{prefix}{}={}",
            random::alphanumeric(171),
            random::alphanumeric(8)
        )
    }
}

/// A token to be issued.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewToken {
    /// What kind of secret it is.
    pub kind: TokenKind,
    /// What it may do.
    pub scopes: Vec<String>,
    /// Whose it is. Default: the user's who signs in; for a resource token, a made-up one's.
    #[serde(default)]
    pub user: Option<String>,
    /// The workspaces it reaches; on Data Center also `KEY/slug` for one repository. Default: all.
    #[serde(default)]
    pub workspaces: Option<Vec<String>>,
    /// How long it lives. Default: as long as granted ones for OAuth 2, and for ever for the others.
    #[serde(default)]
    pub lifetime_s: Option<u64>,
}

impl NewToken {
    /// A token that may do nothing.
    pub fn new(kind: TokenKind) -> Self {
        Self {
            kind,
            scopes: Vec::new(),
            user: None,
            workspaces: None,
            lifetime_s: None,
        }
    }
}

/// An issued token without its secret.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) scopes: Vec<String>,
    /// Whose it is.
    pub(crate) user: String,
    /// What the tokens of one grant have in common.
    pub(crate) grant: Option<String>,
    /// The workspaces it reaches; `None` is all.
    pub(crate) workspaces: Option<Vec<String>>,
    pub(crate) expires_at_unix_s: Option<u64>,
    pub(crate) revoked: bool,
}

impl Token {
    pub(crate) fn lives(&self, now_unix_s: u64) -> bool {
        !self.revoked
            && self
                .expires_at_unix_s
                .is_none_or(|expires| now_unix_s < expires)
    }

    pub(crate) fn reaches(&self, workspace: &str) -> bool {
        self.workspaces
            .as_ref()
            .is_none_or(|workspaces| workspaces.iter().any(|reached| reached == workspace))
    }

    /// Whether it may read repositories; the right to write implies it (Bitbucket: "Scopes").
    pub(crate) fn may_read(&self) -> bool {
        self.may_write() || self.has_any(&["repository", "read:repository:bitbucket", "REPO_READ"])
    }

    pub(crate) fn may_write(&self) -> bool {
        self.has_any(&[
            "repository:write",
            "repository:admin",
            "write:repository:bitbucket",
            "REPO_WRITE",
            "REPO_ADMIN",
        ])
    }

    pub(crate) fn may_read_account(&self) -> bool {
        self.has_any(&["account", "account:write", "read:user:bitbucket"])
    }

    fn has_any(&self, wanted: &[&str]) -> bool {
        self.scopes
            .iter()
            .any(|scope| wanted.contains(&scope.as_str()))
    }
}

/// How often a refresh token was used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RefreshUse {
    /// The SHA-256 of the token in hexadecimal.
    pub fingerprint: String,
    /// How often it was sent, with or without success.
    pub uses: u64,
    /// Whether it was sent when its grace after the first use had passed.
    pub used_after_grace: bool,
}

/// A refresh token without its secret.
pub(crate) struct RefreshToken {
    pub(crate) grant: Grant,
    pub(super) revoked: bool,
    expires_at_unix_s: u64,
    /// Set by the first use of a rotating token.
    dies_at_unix_s: Option<u64>,
    uses: u64,
    used_after_grace: bool,
}

impl RefreshToken {
    pub(super) fn new(grant: Grant, expires_at_unix_s: u64) -> Self {
        Self {
            grant,
            revoked: false,
            expires_at_unix_s,
            dies_at_unix_s: None,
            uses: 0,
            used_after_grace: false,
        }
    }

    /// Uses the token; its first use under rotation starts the grace. Returns what it grants if it is alive.
    pub(crate) fn redeem(&mut self, now_unix_s: u64, grace_s: Option<u64>) -> Option<Grant> {
        self.uses += 1;
        let dead = self.dies_at_unix_s.is_some_and(|dies| now_unix_s >= dies);
        self.used_after_grace |= dead;
        if dead || self.revoked || now_unix_s >= self.expires_at_unix_s {
            return None;
        }
        if let Some(grace_s) = grace_s {
            self.dies_at_unix_s.get_or_insert(now_unix_s + grace_s);
        }
        Some(self.grant.clone())
    }

    pub(super) fn shown(&self, fingerprint: &str) -> RefreshUse {
        RefreshUse {
            fingerprint: fingerprint.to_owned(),
            uses: self.uses,
            used_after_grace: self.used_after_grace,
        }
    }
}
