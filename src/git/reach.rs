//! Reads a repository at Bitbucket.

use super::said;
use crate::{program::Child, secret::masked, waiting};

/// Reads the refs of a repository with git itself, like the first step of a clone.
///
/// # Errors
///
/// With git's message.
pub(crate) fn reach(address: &str) -> Result<(), String> {
    list(address, &[], "HEAD").map(drop)
}

/// Lists the branches of a repository, with git's options before the command.
///
/// # Errors
///
/// As [`reach`].
pub(crate) fn branches(address: &str, options: &[&str]) -> Result<Vec<u8>, String> {
    list(address, options, "refs/heads/*")
}

fn list(address: &str, options: &[&str], pattern: &str) -> Result<Vec<u8>, String> {
    let _wait = waiting::on("git, which reads the repository");
    let output = Child::Transport
        .command("git")
        .and_then(|mut git| {
            git.args(options)
                .args(["ls-remote", "--quiet", "--", address, pattern])
                .env("GIT_TERMINAL_PROMPT", "0")
                .output()
        })
        .map_err(|error| format!("cannot start git: {error}"))?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let text = String::from_utf8_lossy(&output.stderr);
    // Skip the server's own lines, which do not say what git failed to do.
    let gits = text.lines().find(|line| !line.starts_with("remote: "));
    let gits = said(gits.unwrap_or("git gave no reason").as_bytes());
    Err(format!("cannot read '{}': {gits}", masked(address)))
}
