//! A valid access token: from the cache, or by the profile's grant. Parallel processes request it only once.
//!
//! Expiry is measured with the local clock only, from the time of the request. So a clock that is wrong by hours does
//! no harm. If the clock jumps between two commands, a token may seem expired or seem to live longer than its lifetime.
//! It is then replaced once. If an expired token seems valid, the server refuses it, and it is replaced too.

mod bearer;
mod busy;
mod cache;
mod check;
mod client;
mod command;
mod connect;
mod disk;
mod explain;
mod format;
mod give;
mod journal;
mod lock;
mod log_in;
mod login;
mod obtain;
mod refresh;
mod shared;
mod source;
pub(crate) mod store;
mod stored;
mod tokens;

pub(crate) use bearer::Bearer;
pub(crate) use cache::Entry as CachedToken;
pub(crate) use connect::Connect;
pub(crate) use explain::needs_login;
pub(crate) use log_in::{Accept, release_room};
pub(crate) use login::Login;
pub(crate) use shared::{
    CommandRecord, Inspection, SharedRecord, SharedState, VaultRecord, VaultSession,
};
// For the model of a store.
#[cfg(test)]
pub(crate) use shared::{Seen, Trouble, Version, purpose};
pub(crate) use stored::{Forgotten, SHARED_LOGIN, Stored, StoredAnswer, StoredOwner};
pub(crate) use tokens::{Places, Tokens};
