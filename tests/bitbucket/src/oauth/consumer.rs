//! OAuth consumers: what RFC 6749 calls clients.

use serde::{Deserialize, Serialize};

use crate::random;

/// An OAuth consumer (Bitbucket: "Use OAuth on Bitbucket Cloud").
#[derive(Clone, Serialize, Deserialize)]
pub struct Consumer {
    /// The name on the consent page.
    pub name: String,
    /// The client identifier; 32 characters since 2026, 18 before.
    pub key: String,
    /// The client secret; 76 characters since 2026, 32 before. Public consumers have one too.
    pub secret: String,
    /// "This is a private consumer": required for client credentials.
    pub private: bool,
    /// The registered callback; required for every grant.
    pub callback: Option<String>,
    /// The ticked scopes, which every token of this consumer gets.
    pub scopes: Vec<String>,
    /// The workspaces its tokens reach; `None` is all.
    pub workspaces: Option<Vec<String>>,
}

impl Consumer {
    /// A private consumer with a random key and secret that may read and write repositories.
    pub fn new_private() -> Self {
        Self {
            name: "Local consumer".to_owned(),
            key: format!("local-key-{}", random::alphanumeric(22)),
            secret: random::alphanumeric(76),
            private: true,
            callback: Some("http://127.0.0.1/callback".to_owned()),
            scopes: ["account", "repository", "repository:write"]
                .map(str::to_owned)
                .to_vec(),
            workspaces: None,
        }
    }

    /// The same, not private: for applications that ship their credentials.
    pub fn new_public() -> Self {
        Self {
            private: false,
            ..Self::new_private()
        }
    }
}

/// Hides the secret.
impl std::fmt::Debug for Consumer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            name,
            key,
            secret: _,
            private,
            callback,
            scopes,
            workspaces,
        } = self;
        f.debug_struct("Consumer")
            .field("name", name)
            .field("key", key)
            .field("secret", &"(not shown)")
            .field("private", private)
            .field("callback", callback)
            .field("scopes", scopes)
            .field("workspaces", workspaces)
            .finish()
    }
}
