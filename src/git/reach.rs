//! Reads a repository at Bitbucket.

use std::process::Stdio;

use super::said;
use crate::{failure::quote, program::Child, secret::masked};

/// Why a repository is not reached.
#[derive(Debug)]
pub(crate) struct Unreached {
    /// What git or our helper said.
    pub(crate) text: String,
    /// Whether our helper said it, or git itself.
    pub(crate) is_ours: bool,
    /// What our helper advises, unless that is to ask `doctor`.
    pub(crate) advice: Option<String>,
}

/// Reads the refs of a repository with git itself, as a clone would first.
///
/// # Errors
///
/// With what git said.
pub(crate) fn reach(address: &str) -> Result<(), Unreached> {
    let unreached = |text: String| Unreached {
        text,
        is_ours: false,
        advice: None,
    };
    let output = Child::Transport
        .command("git")
        .and_then(|mut git| {
            git.args(["ls-remote", "--quiet", "--", address, "HEAD"])
                .stdin(Stdio::null())
                .env("GIT_TERMINAL_PROMPT", "0")
                .output()
        })
        .map_err(|error| unreached(format!("cannot start git: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // The server's own words are not one of our messages.
    let mut lines = text.lines().filter(|line| !line.starts_with("remote: "));
    // Our own helper's name the repository and the profile already.
    if let Some((_, ours)) = lines.clone().find_map(|line| line.split_once("error: ")) {
        let advice = lines.find_map(|line| line.strip_prefix("hint: "));
        return Err(Unreached {
            text: quote(ours),
            is_ours: true,
            advice: advice
                .filter(|advice| !advice.contains("git bbtoken doctor"))
                .map(quote),
        });
    }
    let gits = said(lines.next().unwrap_or("git gave no reason").as_bytes());
    Err(unreached(format!(
        "cannot read '{}': {gits}",
        masked(address)
    )))
}
