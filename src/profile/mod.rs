//! Which client is used for an address, by which grant, against which endpoints, and where its secret is kept.
//!
//! [`Raw`] is what the configuration says, each setting with its origin; [`choose`] makes a valid [`Profile`] of it
//! or says which setting stands in the way.

mod choice;
mod raw;
mod resolve;
#[cfg(test)]
mod tests;

use std::{fmt, path::PathBuf};

use crate::{
    address::Address,
    http::Url,
    secret::{Secret, hex_digest},
};

pub(crate) use choice::{choose, choose_for_push, explain, for_push, named, named_by_user, names};
pub(crate) use raw::{Environment, Raw, RawProfile, Setting};
pub(crate) use resolve::base_urls;

/// The name under which a client or token from the environment alone is known.
pub(crate) const ENVIRONMENT: &str = "environment";
/// The name of the profile that `bbtoken.<key>` settings without a profile make.
pub(crate) const DEFAULT: &str = "default";

/// Where a secret comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// It was given, by the variable named.
    Given {
        /// The variable.
        variable: &'static str,
        /// The secret itself.
        secret: Secret,
    },
    /// It is the content of a file, without the line end.
    File(PathBuf),
    /// It is what a command prints, without the line end.
    Command(Setting),
    /// It was put into the profile's store.
    Stored,
}

/// An OAuth client, whose secret is read only when a token is needed.
#[derive(Clone, Debug)]
pub struct Client {
    /// The client's id (Bitbucket: key).
    pub id: String,
    /// Where its secret is.
    pub secret: Source,
}

/// How a profile gets its access tokens.
#[derive(Clone, Debug)]
pub enum Grant {
    /// For the client itself (RFC 6749 section 4.4).
    ClientCredentials(Client),
    /// For a person who has logged in (RFC 6749 sections 4.1 and 6).
    AuthorizationCode(Client),
    /// A token that somebody else made.
    Token(Source),
}

impl Grant {
    /// Its name in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Grant::ClientCredentials(_) => "client-credentials",
            Grant::AuthorizationCode(_) => "authorization-code",
            Grant::Token(_) => "token",
        }
    }
}

/// The addresses of Bitbucket that a profile uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// Repositories live below it. Its path has no slash at the end.
    pub base: Url,
    /// RFC 6749 section 3.2.
    pub token: Url,
    /// RFC 6749 section 3.1.
    pub authorize: Url,
}

impl Endpoints {
    /// Gives the URL of a repository, without `.git` doubled or a slash at the end.
    pub fn repository(&self, address: &Address) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!(
            "{}/{}/{}.git",
            self.base.path().trim_end_matches('/'),
            address.workspace,
            address.repository
        ));
        url
    }
}

/// Who speaks HTTP with the git server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// We do, unless git's http settings ask for something only git has.
    Auto,
    /// We do, always.
    Native,
    /// Git's own `git-remote-https` does.
    Git,
}

/// Where tokens may be kept between commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// In files that only the user can read.
    File,
    /// In the keychain of the desktop session, or of the user on macOS and Windows.
    Keyring,
    /// In the Linux kernel's keyring, until the machine restarts.
    KernelKeyring,
    /// Nowhere: nothing is written.
    Memory,
}

impl Store {
    /// Its name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Store::File => "file",
            Store::Keyring => "keyring",
            Store::KernelKeyring => "kernel-keyring",
            Store::Memory => "memory",
        }
    }
}

/// A profile that can be used.
#[derive(Clone, Debug)]
pub struct Profile {
    /// Its name.
    pub name: String,
    /// Whose login it is: two accounts with one client are told apart by it.
    pub account: String,
    /// The profile that pushes in its place, so that a fetch never holds a token that can write.
    pub push_profile: Option<Setting>,
    /// How it gets tokens.
    pub grant: Grant,
    /// Where from, and for what.
    pub endpoints: Endpoints,
    /// Who carries git's protocol.
    pub transport: Transport,
    /// Where its tokens are kept.
    pub store: Store,
    /// Whether a repository's advertisement is remembered between commands.
    pub remembers_advertisement: bool,
    /// The setting that forbids questions to a person.
    pub no_questions: Option<String>,
}

impl Profile {
    /// Names what is cached for it: the same client at the same endpoint shares a token, whatever the profile's name.
    ///
    /// `None` for a ready token, which is never cached.
    pub fn cache_key(&self) -> Option<String> {
        match &self.grant {
            Grant::ClientCredentials(client) => {
                Some(self.key("client-credentials", &client.id, ""))
            }
            Grant::AuthorizationCode(_) => Some(self.login_key()),
            Grant::Token(_) => None,
        }
    }

    /// Names the login that is kept for it: by client, account and endpoints, never by a remote's URL.
    pub fn login_key(&self) -> String {
        let id = self.client().map_or("", |client| &client.id);
        self.key("login", id, &self.account)
    }

    /// Names the client secret that is kept for it.
    pub fn client_key(&self, client: &Client) -> String {
        self.key("client", &client.id, "")
    }

    /// Names the ready token that is kept for it.
    pub fn token_key(&self) -> String {
        self.key("token", "", &self.account)
    }

    /// The OAuth client, if it has one.
    pub fn client(&self) -> Option<&Client> {
        match &self.grant {
            Grant::ClientCredentials(client) | Grant::AuthorizationCode(client) => Some(client),
            Grant::Token(_) => None,
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
