//! Tests that replace a part of the crate, or compare one with git; and mutated inputs for the tests of parsers.

#[path = "../it/chance.rs"]
mod chance;
#[cfg(unix)]
mod config;
pub(crate) mod fuzz;
#[cfg(unix)]
#[path = "../it/gits.rs"]
mod gits;
mod model;
