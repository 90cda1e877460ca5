//! Attacks on a user: hostile tracked files, a hostile `.git/config`, hostile variables, another user's files. A listener
//! and a canary secret show that nothing ran, nothing was sent and nothing was written.

mod convert;
#[cfg(unix)]
mod dumps;
#[cfg(unix)]
mod logins;
mod masks;
mod paths;
#[cfg(unix)]
mod programs;
mod pushers;
#[cfg(unix)]
mod resources;
mod shells;
mod terminals;
mod trust;
#[cfg(unix)]
mod users;
