//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod addresses;
mod cache;
mod canary;
mod clone;
mod config;
mod crashes;
mod errors;
mod faults;
mod fetch;
mod figures;
mod inspect;
mod memory;
mod model;
mod person;
mod processes;
mod progress;
mod push;
mod redirects;
mod sessions;
mod signals;
mod stores;
mod submodules;
mod support;
mod tokens;
mod transport;
