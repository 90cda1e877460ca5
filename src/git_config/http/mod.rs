//! Git's http settings for one URL: those that the native transport follows, and those that need git's own transport.

mod asked;
mod no_proxy;
mod proxy;
mod resolve;
mod store;
mod treatment;
mod trust;

pub(crate) use resolve::{Resolved, from_repository, resolve};
pub(crate) use store::resolve_for_store;
pub(crate) use treatment::HTTP_KEYS;
pub(super) use treatment::HttpKey;
