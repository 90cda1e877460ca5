//! The ways in which a profile obtains access tokens, with the sources of its secrets.

use std::path::PathBuf;

use super::values::Setting;
use crate::secret::Secret;

/// The source of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
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
pub(crate) struct Client {
    /// The client's id (Bitbucket: key).
    pub(crate) id: String,
    /// The source of its secret.
    pub(crate) secret: Source,
}

/// The way in which a profile obtains access tokens.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
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
    pub(crate) fn name(&self) -> &'static str {
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
    pub(super) const ALL: [Self; 3] = [
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

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}
