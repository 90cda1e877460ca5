//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod addresses;
mod clone;
mod config;
mod fetch;
mod figures;
mod memory;
mod processes;
mod progress;
mod push;
mod signals;
mod submodules;
mod support;
mod transport;
