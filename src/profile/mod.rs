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
mod setting;
mod shared;
mod store;
#[cfg(test)]
mod tests;
mod valid;
mod values;

pub(crate) use choice::{choose, choose_for_push, explain, for_push, named, named_by_user, names};
pub use endpoints::Endpoints;
pub(crate) use endpoints::Place;
pub(crate) use grant::GrantKind;
pub use grant::{Client, Grant, Source};
pub(crate) use key::{Key, Variable};
pub(crate) use raw::{Environment, Layers, Raw, RawProfile};
pub(crate) use reserved_names::{DEFAULT, ENVIRONMENT};
pub(crate) use resolve::places;
pub(crate) use setting::Setting;
pub use shared::{Jwt, RecordPath, SharedStore, Vault};
pub use store::Store;
pub use valid::{Profile, Transport};
