//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod cache;
mod canary;
mod crashes;
mod errors;
mod faults;
mod figures;
mod inspect;
mod model;
mod person;
mod sessions;
mod stores;
mod support;
mod tokens;
