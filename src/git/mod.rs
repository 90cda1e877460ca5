//! Runs git: changes its configuration, finds repositories, reads a repository at Bitbucket.

mod below;
mod config;
mod reach;
mod repository;

use std::{
    ffi::OsStr,
    io,
    process::{Command, Output},
};

use anyhow::Context as _;

use crate::{failure::quote, limits};

pub(crate) use below::Below;
pub(crate) use config::{Change, Target, apply_all, taken_back};
pub(crate) use reach::{branches, reach};
pub(crate) use repository::{Repository, git_dir, repository};

/// Runs git without input.
fn run<A: AsRef<OsStr>>(
    git: io::Result<Command>,
    arguments: impl IntoIterator<Item = A>,
) -> anyhow::Result<Output> {
    git.and_then(|mut git| git.args(arguments).output())
        .map_err(limits::of_start)
        .context("cannot start git")
}

/// Gives git's message in one line.
fn said(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let line = said.lines().next().unwrap_or("");
    let mut starts = ["error: ", "fatal: ", "warning: "].iter();
    let rest = starts.find_map(|start| line.strip_prefix(start));
    quote(rest.unwrap_or(line))
}
