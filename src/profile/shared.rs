//! The place of a record that many machines share.

use std::fmt;

use super::Setting;
use crate::http::Url;

/// The engine and the place of a shared record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedStore {
    /// Vault or OpenBao.
    Vault(Vault),
    /// A command (`storeCommand`).
    Command(Setting),
}

/// A record in a KV version 2 engine of Vault or OpenBao.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Vault {
    /// The server.
    pub url: Url,
    /// The path of the engine.
    pub mount: String,
    /// The path of the record in the engine.
    pub path: String,
}

impl fmt::Display for SharedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SharedStore::Vault(vault) => {
                write!(f, "{}/{} at {}", vault.mount, vault.path, vault.url)
            }
            SharedStore::Command(command) => f.write_str(&command.origin),
        }
    }
}
