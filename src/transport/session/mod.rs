//! The requests of one command. Each has the credential, and a refused credential is replaced once.

mod discovery;
mod exchange;
mod redirect;
mod refusal;
mod repeat;
mod service;
mod state;
mod words;

pub(super) use exchange::NoCredential;
pub(super) use repeat::Repeat;
pub(crate) use state::{Reporter, Session};
