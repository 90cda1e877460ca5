//! Profiles: the client, grant, endpoints and store for an address.
//!
//! [`Raw`] contains the settings with their origins. [`choose`] makes a valid [`Profile`], or names the invalid
//! setting.
pub(crate) mod builtin;
mod choice;
mod key;
mod raw;
mod resolve;
mod shared;
#[cfg(test)]
mod tests;
mod values;

use std::{fmt, path::PathBuf};

use crate::{
    address::Address,
    http::Url,
    secret::{Secret, hex_digest},
    site::Product,
    suggestion::Unknown,
};

pub(crate) use choice::{choose, choose_for_push, explain, for_push, named, named_by_user, names};
pub(crate) use key::{Key, Variable};
pub(crate) use raw::{Environment, Layers, Raw, RawProfile, Setting};
pub(crate) use resolve::places;
pub use shared::{Jwt, RecordPath, SharedStore, Vault};

/// The name of the profile that the environment alone defines.
pub(crate) const ENVIRONMENT: &str = "environment";
/// The name of the profile that settings without a profile name (`bbtoken.<key>`) define.
pub(crate) const DEFAULT: &str = "default";

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The value of a variable.
    Given {
        /// The variable.
        variable: &'static str,
        /// The secret itself.
        secret: Secret,
    },
    /// The content of a file, without the line end.
    File(PathBuf),
    /// The output of a command, without the line end.
    Command(Setting),
    /// The profile's store.
    Stored,
}

/// An OAuth client. Its secret is read only for a token request.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's id (Bitbucket: key).
    pub id: String,
    /// The source of its secret.
    pub secret: Source,
}

/// The way in which a profile obtains access tokens.
#[derive(Clone, Debug)]
pub enum Grant {
    /// A token for the client itself (RFC 6749 section 4.4).
    ClientCredentials(Client),
    /// A token for a user who has logged in (RFC 6749 sections 4.1 and 6).
    AuthorizationCode(Client),
    /// An access token or API token that the user provides.
    Token(Source),
    /// The login or the client in a record that many machines share. The settings may name the client that the record
    /// must be for.
    Shared(Option<String>),
}

impl Grant {
    pub(crate) fn kind(&self) -> GrantKind {
        match self {
            Grant::ClientCredentials(_) => GrantKind::ClientCredentials,
            Grant::AuthorizationCode(_) => GrantKind::AuthorizationCode,
            Grant::Token(_) => GrantKind::Token,
            Grant::Shared(_) => GrantKind::Shared,
        }
    }

    /// Gives its name in the configuration.
    pub fn name(&self) -> &'static str {
        self.kind().name()
    }
}

/// The kinds of [`Grant`] that a setting names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum GrantKind {
    ClientCredentials,
    AuthorizationCode,
    Token,
    /// No setting names it: the store decides.
    Shared,
}

impl GrantKind {
    const ALL: [Self; 3] = [
        GrantKind::ClientCredentials,
        GrantKind::AuthorizationCode,
        GrantKind::Token,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            GrantKind::ClientCredentials => "client-credentials",
            GrantKind::AuthorizationCode => "authorization-code",
            GrantKind::Token => "token",
            GrantKind::Shared => "shared",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A site that an address is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The base URL of repositories.
    pub base: Url,
    /// The kind of Bitbucket.
    pub product: Product,
    /// The base URL of a mirror for fetches.
    pub mirror: Option<Url>,
    /// The host of ssh addresses, if it is another one.
    pub ssh_host: Option<String>,
}

impl Place {
    /// Gives the base URL without a slash at the end.
    pub(crate) fn web(&self) -> &str {
        self.base.as_str().trim_end_matches('/')
    }

    /// Gives what the https addresses of its repositories begin with.
    pub(crate) fn git(&self) -> String {
        format!("{}/{}", self.web(), self.product.facts().git_path)
    }

    /// Gives what its other addresses begin with.
    pub(crate) fn other_starts(&self) -> Vec<String> {
        let ssh_host = self.ssh_host.as_deref();
        self.product.other_starts(&self.base, ssh_host)
    }
}

/// The Bitbucket URLs of a profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The kind of Bitbucket.
    pub product: Product,
    /// The base URL of repositories. Its path has no slash at the end.
    pub base: Url,
    /// The base URL of a mirror for fetches.
    pub mirror: Option<Url>,
    /// The token endpoint (RFC 6749 section 3.2).
    pub token: Url,
    /// The authorization endpoint (RFC 6749 section 3.1).
    pub authorize: Url,
}

impl Endpoints {
    /// Gives the URL of a repository, with one `.git` and no slash at the end.
    pub fn repository(&self, address: &Address) -> Url {
        self.repository_at(&self.base, address)
    }

    /// Gives the URL of a repository for fetches, which may be on a mirror.
    pub fn repository_to_fetch(&self, address: &Address) -> Url {
        self.repository_at(self.mirror.as_ref().unwrap_or(&self.base), address)
    }

    fn repository_at(&self, base: &Url, address: &Address) -> Url {
        let mut url = base.clone();
        let below = base.path().trim_end_matches('/');
        url.set_path(&format!(
            "{below}/{}",
            self.product.repository_path(address)
        ));
        url
    }
}

/// The transport for the git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The native transport, unless git's http settings need git's own.
    Auto,
    /// Always the native transport.
    Native,
    /// Always git's own `git-remote-https`.
    Git,
}

/// The store for tokens between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// Files that only the user can read.
    File,
    /// The keychain of the desktop session, or of the user on macOS and Windows.
    Keyring,
    /// The Linux kernel's keyring, until the machine restarts.
    KernelKeyring,
    /// No store: nothing is written.
    Memory,
    /// A record of Vault or OpenBao (KV version 2), which many machines share.
    Vault,
    /// A record that a command reads and replaces, which many machines share.
    Command,
}

impl Store {
    /// All stores. The first is the default.
    const ALL: [Self; 6] = [
        Store::File,
        Store::Keyring,
        Store::KernelKeyring,
        Store::Memory,
        Store::Vault,
        Store::Command,
    ];

    /// Gives its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Store::File => "file",
            Store::Keyring => "keyring",
            Store::KernelKeyring => "kernel-keyring",
            Store::Memory => "memory",
            Store::Vault => "vault",
            Store::Command => "command",
        }
    }
}

/// A valid profile.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// The owner of the login, which distinguishes two accounts with the same client.
    pub account: String,
    /// The profile for pushes, if it is another one. A fetch then never has a token with write access.
    pub push_profile: Option<Setting>,
    /// The source of its tokens.
    pub grant: Grant,
    /// The URLs of its Bitbucket.
    pub endpoints: Endpoints,
    /// The OAuth scopes that its token requests name.
    pub scope: Option<String>,
    /// The redirect URI of a login by browser, where one is registered.
    pub redirect_uri: Option<String>,
    /// The transport for git's protocol.
    pub transport: Transport,
    /// The store for its tokens.
    pub store: Store,
    /// The record in a store that many machines share.
    pub shared: Option<SharedStore>,
    /// Whether access tokens are cached in files.
    pub caches_tokens: bool,
    /// Whether advertisements are cached between commands.
    pub remembers_advertisement: bool,
    /// The setting that forbids questions to the user.
    pub no_questions: Option<String>,
    /// The settings with unknown keys, which may be mistyped settings of this profile.
    pub unknown_keys: Vec<Unknown>,
}

impl Profile {
    /// Gives the key of the cached token. Profiles with the same client and endpoints share a token.
    ///
    /// `None` for a token that the user provides, which is never cached.
    pub fn cache_key(&self) -> Option<String> {
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
    pub fn login_key(&self) -> String {
        let id = self.client().map_or("", |client| &client.id);
        self.key("login", id, &self.account)
    }

    /// Gives the key of the stored client secret.
    pub fn client_key(&self, client: &Client) -> String {
        self.key("client", &client.id, "")
    }

    /// Gives the key of the stored access token or API token. One account can have many tokens, so each profile has its
    /// own.
    pub fn token_key(&self) -> String {
        self.key("token", "", &self.name)
    }

    /// Tells whether a refresh ends the earlier tokens at once, of which other commands may be using one.
    pub(crate) fn ends_tokens_by_refresh(&self) -> bool {
        let is_login = matches!(self.grant, Grant::AuthorizationCode(_) | Grant::Shared(_));
        is_login && self.endpoints.product.facts().has_one_token_per_login
    }

    /// Gives the OAuth client, if there is one.
    pub fn client(&self) -> Option<&Client> {
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
