//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod addresses;
mod cache;
mod canary;
mod clone;
mod config;
mod errors;
mod faults;
mod fetch;
mod figures;
mod inspect;
mod memory;
mod processes;
mod progress;
mod push;
mod redirects;
mod signals;
mod submodules;
mod support;
mod tokens;
mod transport;
