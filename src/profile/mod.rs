//! Profiles: the client, grant, endpoints and store for an address.
//!
//! [`Raw`] contains the settings with their origins. [`choose`] makes a valid [`Profile`], or names the invalid
//! setting.

pub(crate) mod builtin;
mod choice;
mod endpoints;
mod grant;
mod key;
mod raw;
mod record;
mod reserved_names;
mod resolve;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod valid;
mod values;

pub(crate) use choice::{choose, choose_for_push, explain, for_push, named, named_by_user, names};
pub(crate) use endpoints::{Endpoints, Place};
pub(crate) use grant::{Client, Grant, GrantKind, Source};
pub(crate) use key::{Key, Variable};
pub(crate) use raw::{Environment, Layers, Raw, RawProfile};
pub(crate) use reserved_names::{DEFAULT, ENVIRONMENT};
pub(crate) use resolve::places;
pub(crate) use shared::{Jwt, RecordPath, SharedStore, Vault};
pub(crate) use store::Store;
pub(crate) use valid::{Profile, Transport};
pub(crate) use values::Setting;
