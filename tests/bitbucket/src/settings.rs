//! What tests and demonstrations may change while the server runs.

use serde::{Deserialize, Serialize};

use crate::bitbucket::Edition;
use crate::data_center::DataCenter;

/// Behavior that can be changed at any time; the default is Bitbucket Cloud's since 2026-05-04.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// The life of access tokens issued from now on; 7,200 s (Bitbucket: "OAuth 2.0").
    pub access_token_lifetime_s: u64,
    /// How long a refresh token still works after its first use; 600 s (git-credential-manager pull request 2429).
    pub refresh_grace_s: u64,
    /// The life of an unused refresh token; three months.
    pub refresh_lifetime_s: u64,
    /// Whether every refresh issues a new refresh token; old consumers get the same one again.
    pub rotation: bool,
    /// Whether answers to a refresh leave `refresh_token` out, so that the client keeps the one it has.
    pub refresh_token_omitted: bool,
    /// Whether client credentials yield a refresh token, as they did before 2026.
    pub client_credentials_refresh: bool,
    /// The field that names the granted scopes.
    pub scope_field: ScopeField,
    /// Whether token answers leave `expires_in` out.
    pub expires_in_omitted: bool,
    /// Whether a PKCE verifier is checked against the challenge (RFC 7636 section 4.6), or only tolerated.
    pub pkce_checked: bool,
    /// What the user does with the consent page.
    pub consent: Consent,
    /// The status for a repository that does not exist: 401, or 404 as in older texts.
    pub missing_repository_status: u16,
    /// Whether git's protocol version 2 is spoken with those who ask for it.
    pub protocol_v2: bool,
    /// The status for git-lfs without credentials: 403 (git-lfs issue 2658), or 401 as the protocol says.
    pub lfs_anonymous_status: u16,
    /// How the links to LFS objects are to be used.
    pub lfs_links: LfsLinks,
    /// The life of links that need no credentials of the client's.
    pub lfs_link_lifetime_s: u64,
    /// What concerns Data Center only.
    pub data_center: DataCenter,
}

impl Settings {
    /// How this edition behaves by default.
    pub(crate) fn of(edition: &Edition) -> Self {
        match edition {
            Edition::Cloud => Self::default(),
            // Access tokens live one hour, and a used refresh token is declined ("OAuth 2.0 provider system properties").
            Edition::DataCenter { .. } => Self {
                access_token_lifetime_s: 3_600,
                refresh_grace_s: 0,
                lfs_anonymous_status: 401,
                ..Self::default()
            },
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            access_token_lifetime_s: 7_200,
            refresh_grace_s: 600,
            refresh_lifetime_s: 90 * 24 * 3_600,
            rotation: true,
            refresh_token_omitted: false,
            client_credentials_refresh: false,
            scope_field: ScopeField::Scope,
            expires_in_omitted: false,
            pkce_checked: true,
            consent: Consent::Ask,
            missing_repository_status: 401,
            protocol_v2: true,
            lfs_anonymous_status: 403,
            lfs_links: LfsLinks::Plain,
            lfs_link_lifetime_s: 3_600,
            data_center: DataCenter::default(),
        }
    }
}

/// The name under which a token answer lists its scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScopeField {
    /// `scope`, since 2026 (RFC 6749 section 5.1).
    Scope,
    /// `scopes`, before.
    Scopes,
}

/// How the links to LFS objects are to be used ("Git LFS Batch API", successful responses).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LfsLinks {
    /// With the client's own credentials.
    Plain,
    /// With the `Authorization` header that comes with them.
    Header,
    /// As they are: they are signed.
    Signed,
}

/// What happens when a browser opens the authorize address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Consent {
    /// A page asks.
    Ask,
    /// The user granted access before: an immediate redirect with a code.
    Granted,
    /// An immediate redirect with `error=access_denied`.
    Denied,
}
