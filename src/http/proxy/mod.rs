//! A proxy: its address and its login, and what it says of the logins that it accepts.

mod address;
pub(super) mod auth;

pub(crate) use address::{Proxy, ProxyAuth, ProxyLogin, ProxyLogins, ProxyUser, next_hop};
