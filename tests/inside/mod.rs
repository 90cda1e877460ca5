//! Tests that replace a part of the crate, or compare one with git.

#[path = "../it/chance.rs"]
mod chance;
#[cfg(unix)]
mod config;
#[cfg(unix)]
#[path = "../it/gits.rs"]
mod gits;
mod model;
