//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod addresses;
mod browser;
mod cache;
mod canary;
mod clone;
mod config;
mod credential;
mod doctor;
mod errors;
mod faults;
mod fetch;
mod figures;
mod help;
mod inspect;
mod login;
mod memory;
mod processes;
mod progress;
mod push;
mod setup;
mod signals;
mod status;
mod submodules;
mod support;
mod tokens;
mod transport;
