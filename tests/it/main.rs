//! Behavior with real git against the local Bitbucket, on every git of this machine.

mod cache;
mod canary;
mod errors;
mod faults;
mod figures;
mod inspect;
mod model;
mod support;
mod tokens;
