//! The place of a record that many machines share, and the way to log in there.

use std::{fmt, path::PathBuf};

use super::{reserved_names::ENVIRONMENT, values::Setting};
use crate::url::Url;

/// The engine and the place of a shared record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SharedStore {
    /// Vault or OpenBao.
    Vault(Box<Vault>),
    /// A command (`storeCommand`).
    Command(Setting),
}

/// A record in a KV version 2 engine of Vault or OpenBao, and the way to log in there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Vault {
    /// The server.
    pub(crate) url: Url,
    /// The namespace.
    pub(crate) namespace: Option<String>,
    /// The record.
    pub(crate) record: RecordPath,
    /// The record with the access token only, for machines that may not read the login.
    pub(crate) token_record: Option<RecordPath>,
    /// The role for a login with a JWT.
    pub(crate) role: Option<String>,
    /// The path of the auth method, without `auth/`.
    pub(crate) auth_path: Option<String>,
    /// The source of the JWT, if the settings name one.
    pub(crate) jwt: Option<Jwt>,
}

/// The path of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecordPath {
    /// The path of the engine.
    pub(crate) mount: String,
    /// The path in the engine.
    pub(crate) path: String,
}

/// The source of a JWT.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Jwt {
    /// A file.
    File(PathBuf),
    /// A variable.
    Variable(String),
}

impl fmt::Display for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedStore::Vault(vault) => f.write_str(&vault.name_of(&vault.record)),
            SharedStore::Command(command) => f.write_str(&command.origin),
        }
    }
}

impl SharedStore {
    /// Gives the command that makes a new login for all machines. A profile of the environment has no name to log in.
    pub(crate) fn login(&self, profile: &str) -> String {
        let name = match profile {
            ENVIRONMENT => "<profile>",
            name => name,
        };
        match self {
            SharedStore::Vault(vault) => {
                let path = vault.record.setting();
                format!("git bbtoken login {name} --store vault --store-path {path}")
            }
            SharedStore::Command(_) => format!("git bbtoken login {name} --store command"),
        }
    }
}

impl Vault {
    /// Names a record with its server, for messages.
    pub(crate) fn name_of(&self, record: &RecordPath) -> String {
        let namespace = self.namespace.as_ref();
        let namespace = namespace.map_or_else(String::new, |name| format!("{name}/"));
        let url = self.url.as_str().trim_end_matches('/');
        format!("'{namespace}{record}' of '{url}'")
    }
}

impl RecordPath {
    /// Gives the value of `storePath` for this record: the short form, unless that means another record.
    pub(crate) fn setting(&self) -> String {
        let RecordPath { mount, path } = self;
        match mount.contains('/') || self.to_string().contains("/data/") {
            true => format!("{mount}/data/{path}"),
            false => self.to_string(),
        }
    }
}

impl fmt::Display for RecordPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mount, self.path)
    }
}
