//! Writes git's configuration, by git itself.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::Context as _;

use super::exposed::masked;
use crate::{
    failure::{Failure, Kind, quote},
    limits,
    program::Child,
};

/// A file of git's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The user's.
    Global,
    /// The repository's at a path.
    Local(PathBuf),
    /// A file such as `.gitmodules`.
    File(PathBuf),
}

/// One change of a setting. Keys may hold several values, so both key and value name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Add {
        key: String,
        value: String,
    },
    Remove {
        key: String,
        value: String,
    },
    Replace {
        key: String,
        from: String,
        to: String,
    },
}

impl Change {
    fn reverse(&self) -> Self {
        match self.clone() {
            Change::Add { key, value } => Change::Remove { key, value },
            Change::Remove { key, value } => Change::Add { key, value },
            Change::Replace { key, from, to } => Change::Replace {
                key,
                from: to,
                to: from,
            },
        }
    }

    /// Names the setting.
    pub(super) fn key(&self) -> &str {
        match self {
            Change::Add { key, .. } | Change::Remove { key, .. } | Change::Replace { key, .. } => {
                key
            }
        }
    }

    /// Shows it as a line of a diff, or two.
    pub(super) fn lines(&self) -> Vec<String> {
        match self {
            Change::Add { key, value } => vec![format!("+ {key} = {}", masked(value))],
            Change::Remove { key, value } => vec![format!("- {key} = {}", masked(value))],
            Change::Replace { key, from, to } => {
                vec![
                    format!("- {key} = {}", masked(from)),
                    format!("+ {key} = {}", quote(to)),
                ]
            }
        }
    }
}

/// Makes all changes, or none: those before one that fails are taken back.
///
/// # Errors
///
/// When git refuses one.
pub(super) fn apply_all(changes: &[(Target, Change)]) -> anyhow::Result<()> {
    for (index, (target, change)) in changes.iter().enumerate() {
        if let Err(error) = target.apply(change) {
            for (target, change) in changes[..index].iter().rev() {
                // The error above names the cause.
                let _ = target.apply(&change.reverse());
            }
            return Err(error.context("git's configuration was not changed"));
        }
    }
    Ok(())
}

/// Gives what git said, in one line.
fn said(stderr: &[u8]) -> String {
    let said = String::from_utf8_lossy(stderr);
    let line = said.lines().next().unwrap_or("");
    let line = ["error: ", "fatal: ", "warning: "]
        .iter()
        .find_map(|start| line.strip_prefix(start))
        .unwrap_or(line);
    quote(line)
}

impl Target {
    /// Reads all values of the keys that match a regular expression, each with its key.
    ///
    /// # Errors
    ///
    /// When git cannot read the file; one that is not there is empty.
    pub(super) fn matching(&self, pattern: &str) -> anyhow::Result<Vec<(String, String)>> {
        let output = self
            .command()?
            .args(["--null", "--get-regexp", pattern])
            .output()
            .map_err(limits::of_start)
            .context("cannot start git")?;
        // 1: nothing matches (git-config(1)).
        if !matches!(output.status.code(), Some(0 | 1)) {
            let said = said(&output.stderr);
            let is_nowhere = |name| std::env::var_os(name).is_none();
            let fix = match self {
                Target::Global if ["HOME", "GIT_CONFIG_GLOBAL"].iter().all(is_nowhere) => {
                    "; set HOME, or GIT_CONFIG_GLOBAL to the file to use"
                }
                _ => "",
            };
            let message = format!("git cannot read its configuration: {said}{fix}");
            return Err(Failure::new(Kind::Misconfigured, message).into());
        }
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let pairs = text.split('\0').filter(|pair| !pair.is_empty());
        Ok(pairs
            .map(|pair| pair.split_once('\n').unwrap_or((pair, "")))
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect())
    }

    /// Makes a change.
    ///
    /// # Errors
    ///
    /// When git refuses it.
    pub(super) fn apply(&self, change: &Change) -> anyhow::Result<()> {
        match change {
            Change::Add { key, value } => self.git(&["--add", key, value]),
            Change::Remove { key, value } => {
                self.git(&["--fixed-value", "--unset-all", key, value])
            }
            Change::Replace { key, from, to } => self.git(&["--fixed-value", key, to, from]),
        }
    }

    /// Sets a key that has one value.
    pub(super) fn set(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.git(&["--replace-all", key, value])
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = self
            .command()?
            .args(arguments)
            .output()
            .map_err(limits::of_start)
            .context("cannot start git")?;
        if output.status.success() {
            return Ok(());
        }
        let said = said(&output.stderr);
        let key = arguments
            .iter()
            .find(|argument| !argument.starts_with("--"))
            .unwrap_or(&"");
        Err(Failure::new(
            Kind::Misconfigured,
            format!("git cannot change '{key}' in its configuration: {said}"),
        )
        .into())
    }

    fn command(&self) -> anyhow::Result<Command> {
        let mut git = Child::Git.command("git").context("cannot start git")?;
        match self {
            Target::Global => git.args(["config", "--global"]),
            Target::Local(repository) => git.arg("-C").arg(repository).args(["config", "--local"]),
            Target::File(file) => git.args(["config", "--file"]).arg(file),
        };
        git.stdin(Stdio::null());
        Ok(git)
    }
}

/// A repository on this machine.
#[derive(Debug)]
pub(super) struct Repository {
    /// The top of the work tree, or the bare repository.
    pub(super) top: PathBuf,
    /// Its git directory.
    pub(super) git_dir: PathBuf,
}

impl Repository {
    /// Finds the repository here.
    ///
    /// # Errors
    ///
    /// Without one, and when `core.worktree` names another repository's work tree.
    pub(super) fn here() -> anyhow::Result<Self> {
        let here = Self::at(Path::new("."))?;
        let of_top = Self::at(&here.top)?;
        if of_top.git_dir == here.git_dir {
            return Ok(here);
        }
        let message = format!(
            "core.worktree of this repository names the work tree of another repository, '{}'; run this there",
            here.top.display()
        );
        Err(Failure::new(Kind::Usage, message).into())
    }

    /// Finds the repository at a path.
    pub(super) fn at(path: &Path) -> anyhow::Result<Self> {
        let none = || Failure::new(Kind::Usage, "this is not a git repository; change into one");
        let git_dir = rev_parse(path, "--absolute-git-dir")?.ok_or_else(none)?;
        let top = rev_parse(path, "--show-toplevel")?.unwrap_or_else(|| git_dir.clone());
        Ok(Repository { top, git_dir })
    }

    /// Gives the paths of the submodules in the index.
    pub(super) fn gitlinks(&self) -> anyhow::Result<Vec<PathBuf>> {
        let output = Child::Git
            .command("git")
            .and_then(|mut git| {
                git.arg("-C")
                    .arg(&self.top)
                    .args(["ls-files", "--stage", "-z"])
                    .stderr(Stdio::null())
                    .output()
            })
            .map_err(limits::of_start)
            .context("cannot start git")?;
        // A bare repository has no index, and git says so.
        let entries = output.stdout.split(|byte| *byte == 0);
        let paths = entries
            .filter(|entry| entry.starts_with(b"160000 "))
            .filter_map(|entry| {
                let path = entry.splitn(2, |byte| *byte == b'\t').nth(1)?;
                Some(gix::path::from_byte_slice(path).ok()?.to_owned())
            });
        Ok(paths.collect())
    }
}

fn rev_parse(at: &Path, question: &str) -> anyhow::Result<Option<PathBuf>> {
    let output = Child::Git
        .command("git")
        .and_then(|mut git| {
            git.arg("-C")
                .arg(at)
                .args(["rev-parse", question])
                .stderr(Stdio::null())
                .output()
        })
        .map_err(limits::of_start)
        .context("cannot start git")?;
    let answer = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    let path = gix::path::from_byte_slice(answer).ok();
    let path = path.filter(|_| output.status.success() && !answer.is_empty());
    // One spelling, for comparison.
    Ok(path.map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned())))
}

/// Finds the top of the work tree here, or the bare repository.
pub(super) fn repository() -> anyhow::Result<PathBuf> {
    Ok(Repository::at(Path::new("."))?.top)
}

/// Why a repository is not reached.
#[derive(Debug)]
pub(super) struct Unreached {
    /// What git or our helper said.
    pub(super) text: String,
    /// Whether our helper said it, or git itself.
    pub(super) is_ours: bool,
    /// What our helper advises, unless that is to ask `doctor`.
    pub(super) advice: Option<String>,
}

/// Reads the refs of a repository with git itself, as a clone would first.
///
/// # Errors
///
/// With what git said.
pub(super) fn reach(address: &str) -> Result<(), Unreached> {
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
