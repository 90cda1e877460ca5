//! A valid profile, with the keys of its secrets.

use std::fmt;

use super::{
    endpoints::Endpoints,
    grant::{Client, Grant},
    shared::SharedStore,
    store::Store,
    values::Setting,
};
use crate::{secret::hex_digest, suggestion::Unknown};

/// The transport for the git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    /// The native transport, unless git's http settings need git's own.
    Auto,
    /// Always the native transport.
    Native,
    /// Always git's own `git-remote-https`.
    Git,
}

/// A valid profile.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// Its name.
    pub(crate) name: String,
    /// The owner of the login, which distinguishes two accounts with the same client.
    pub(crate) account: String,
    /// The profile for pushes, if it is another one. A fetch then never has a token with write access.
    pub(crate) push_profile: Option<Setting>,
    /// The source of its tokens.
    pub(crate) grant: Grant,
    /// The URLs of its Bitbucket.
    pub(crate) endpoints: Endpoints,
    /// The OAuth scopes that its token requests name.
    pub(crate) scope: Option<String>,
    /// The redirect URI of a login by browser, where one is registered.
    pub(crate) redirect_uri: Option<String>,
    /// The transport for git's protocol.
    pub(crate) transport: Transport,
    /// The store for its tokens.
    pub(crate) store: Store,
    /// The record in a store that many machines share.
    pub(crate) shared: Option<SharedStore>,
    /// Whether access tokens are cached in files.
    pub(crate) caches_tokens: bool,
    /// Whether advertisements are cached between commands.
    pub(crate) remembers_advertisement: bool,
    /// The setting that forbids questions to the user.
    pub(crate) no_questions: Option<String>,
    /// The settings with unknown keys, which may be mistyped settings of this profile.
    pub(crate) unknown_keys: Vec<Unknown>,
}

impl Profile {
    /// Gives the key of the cached token. Profiles with the same client and endpoints share a token.
    ///
    /// `None` for a token that the user provides, which is never cached.
    pub(crate) fn cache_key(&self) -> Option<String> {
        match &self.grant {
            Grant::ClientCredentials(client) => {
                // A token for other scopes is another one.
                let scope = self.scope.as_deref().unwrap_or_default();
                Some(self.key("client-credentials", &client.id, scope))
            }
            Grant::AuthorizationCode(_) => Some(self.login_key()),
            Grant::Shared(_) => Some(self.shared_key()),
            Grant::Token(_) => None,
        }
    }

    /// Gives the key of the stored login, from client, account and endpoints. A remote's URL has no influence.
    pub(crate) fn login_key(&self) -> String {
        let id = self.client().map_or("", |client| &client.id);
        self.key("login", id, &self.account)
    }

    /// Gives the key of the stored client secret.
    pub(crate) fn client_key(&self, client: &Client) -> String {
        self.key("client", &client.id, "")
    }

    /// Gives the key of the stored access token or API token. One account can have many tokens, so each profile has its
    /// own.
    pub(crate) fn token_key(&self) -> String {
        self.key("token", "", &self.name)
    }

    /// Tells whether a refresh ends the earlier tokens at once, of which other commands may be using one.
    pub(crate) fn ends_tokens_by_refresh(&self) -> bool {
        let is_login = matches!(self.grant, Grant::AuthorizationCode(_) | Grant::Shared(_));
        is_login && self.endpoints.product.facts().has_one_token_per_login
    }

    /// Gives the OAuth client, if there is one.
    pub(crate) fn client(&self) -> Option<&Client> {
        match &self.grant {
            Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => Some(client),
            Grant::Token(_) | Grant::Shared(_) => None,
        }
    }

    /// Gives the key of the cached token of a shared login.
    pub(crate) fn shared_key(&self) -> String {
        self.key("shared", &self.shared_place(), "")
    }

    fn shared_place(&self) -> String {
        match &self.shared {
            Some(SharedStore::Command(command)) => command.value.clone(),
            Some(vault) => vault.to_string(),
            None => String::new(),
        }
    }

    fn key(&self, kind: &str, client_id: &str, account: &str) -> String {
        let Endpoints { base, token, .. } = &self.endpoints;
        let parts = [kind, client_id, account, token.as_str(), base.as_str()];
        hex_digest(parts.join("\n").as_bytes())[..32].to_owned()
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
