//! One login or one client for many machines, in a record that they share.
//!
//! The store needs one ability only: to replace the record if its version is still the one that was read
//! (compare-and-set). The claim to renew the token is part of the record, so no lock or lease of the store is needed.
//! A claim that was written proves three things before the refresh token is used: the record that was read is the newest
//! one, the store can be written, and no other machine uses the token now.
//!
//! 1. Read the record. If its token is valid for long enough, use it. Most commands end here.
//! 2. If another machine has a fresh claim, wait for its result, or use the token while it is valid.
//! 3. Write a claim. If that is refused, read again.
//! 4. Send the refresh token, only within the first half of the claim's life.
//! 5. Write the new login and remove the claim.
//!
//! The claim is also the note that the token may have been used, as the journal is for a store on this machine: a kill
//! between 4 and 5 leaves it. The next command finds it stale and repeats the exchange, within the server's grace
//! period. All times are those of the store, so no machine's clock matters.

mod command;
mod exchange;
mod interface;
mod lookout;
mod outcome;
mod publication;
mod record;
mod renewal;
mod vault;

pub(crate) use command::CommandRecord;
pub(crate) use interface::{Inspection, SharedRecord};
// For the model of a store.
#[cfg(test)]
pub(crate) use interface::{Seen, Trouble, Version};
pub(crate) use publication::SharedState;
// For the model of a store.
#[cfg(test)]
pub(crate) use record::purpose;
pub(super) use renewal::{AHEAD_S, Granted, Renewal};
pub(crate) use vault::{VaultRecord, VaultSession};
