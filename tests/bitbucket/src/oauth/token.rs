//! Tokens: what they allow and how long they live.

use serde::{Deserialize, Serialize};

use super::Grant;

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
}

/// An issued token without its secret.
#[derive(Clone)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) scopes: Vec<String>,
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
        self.may_write() || self.has_any(&["repository", "read:repository:bitbucket"])
    }

    pub(crate) fn may_write(&self) -> bool {
        self.has_any(&[
            "repository:write",
            "repository:admin",
            "write:repository:bitbucket",
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
pub(super) struct RefreshToken {
    pub(super) grant: Grant,
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
    pub(super) fn redeem(&mut self, now_unix_s: u64, grace_s: Option<u64>) -> Option<Grant> {
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
