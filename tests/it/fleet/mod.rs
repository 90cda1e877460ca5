//! A fleet on one login: the real OpenBao as the store that machines share.
//!
//! Runs with one version of git, because the version does not matter. `scripts/programs` installs OpenBao.

mod administrator;
mod balance;
mod bao;
mod caches;
mod canary;
mod cluster;
mod exchanges;
mod jobs;
mod jwt;
mod killed;
mod machines;
mod mounts;
mod node;
mod outages;
mod partition;
mod port;
mod proxy;
mod recipes;
mod renewals;
mod scripts;
mod transcript;
mod vault;
mod wire;
