//! Changes git's configuration.

use std::{io, path::PathBuf, process::Command};

use super::{Repository, run, said};
use crate::{
    failure::{Failure, Kind, quote},
    program::Child,
    secret::masked,
};

/// A file of git's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    /// The machine's, for all users.
    System,
    /// The user's.
    Global,
    /// A repository's.
    Local(Repository),
    /// A file such as `.gitmodules`.
    File(PathBuf),
}

/// One change of a setting. A key may have several values, so key and value identify the setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Change {
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
    pub(crate) fn key(&self) -> &str {
        match self {
            Change::Add { key, .. } | Change::Remove { key, .. } | Change::Replace { key, .. } => {
                key
            }
        }
    }

    /// Shows the change as one or two lines of a diff.
    pub(crate) fn lines(&self) -> Vec<String> {
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

/// Makes all changes or none. If one fails, it undoes those before.
///
/// # Errors
///
/// If git refuses a change.
pub(crate) fn apply_all(changes: &[(Target, Change)]) -> anyhow::Result<()> {
    for (index, (target, change)) in changes.iter().enumerate() {
        if let Err(error) = target.apply(change) {
            return Err(taken_back(&changes[..index], error));
        }
    }
    Ok(())
}

/// Undoes changes after an error, and adds that to the error.
pub(crate) fn taken_back(changes: &[(Target, Change)], error: anyhow::Error) -> anyhow::Error {
    for (target, change) in changes.iter().rev() {
        // The error above names the cause.
        let _ = target.apply(&change.reverse());
    }
    error.context("git's configuration was not changed")
}

impl Target {
    /// Names it in a sentence.
    pub(crate) fn place(&self) -> String {
        match self {
            Target::System => "the system's git configuration".to_owned(),
            Target::Global => "your git configuration".to_owned(),
            Target::Local(repository) => format!("configuration of '{}'", repository.top.display()),
            Target::File(file) => format!("'{}'", file.display()),
        }
    }

    /// Checks that git can change the file: git takes the lock of a file before it looks for a setting to remove.
    ///
    /// # Errors
    ///
    /// When git cannot.
    pub(crate) fn prove_writable(&self) -> anyhow::Result<()> {
        let output = run(self.command(), ["--unset-all", "bbtoken.none.none"])?;
        // 5: there is no such setting (git-config(1)).
        if matches!(output.status.code(), Some(0 | 5)) {
            return Ok(());
        }
        let message = format!(
            "git cannot change {}: {}{}",
            self.place(),
            said(&output.stderr),
            self.without_home()
        );
        Err(Failure::new(Kind::Misconfigured, message).into())
    }

    /// Says what to set where git finds no file for the user.
    fn without_home(&self) -> &'static str {
        let is_nowhere = |name| std::env::var_os(name).is_none();
        match self {
            Target::Global if ["HOME", "GIT_CONFIG_GLOBAL"].iter().all(is_nowhere) => {
                "; set HOME, or GIT_CONFIG_GLOBAL to the file to use"
            }
            _ => "",
        }
    }

    /// Reads all settings whose keys match a regular expression.
    ///
    /// # Errors
    ///
    /// If git cannot read the file. A missing file is empty.
    pub(crate) fn matching(&self, pattern: &str) -> anyhow::Result<Vec<(String, String)>> {
        let output = run(self.command(), ["--null", "--get-regexp", pattern])?;
        // 1: nothing matches (git-config(1)).
        if !matches!(output.status.code(), Some(0 | 1)) {
            let (said, fix) = (said(&output.stderr), self.without_home());
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
    /// If git refuses the change.
    pub(crate) fn apply(&self, change: &Change) -> anyhow::Result<()> {
        match change {
            Change::Add { key, value } => self.git(&["--add", key, value]),
            Change::Remove { key, value } => {
                self.git(&["--fixed-value", "--unset-all", key, value])
            }
            Change::Replace { key, from, to } => self.git(&["--fixed-value", key, to, from]),
        }
    }

    /// Sets a key that has one value.
    pub(crate) fn set(&self, key: &str, value: &str) -> anyhow::Result<()> {
        self.git(&["--replace-all", key, value])
    }

    fn git(&self, arguments: &[&str]) -> anyhow::Result<()> {
        let output = run(self.command(), arguments)?;
        if output.status.success() {
            return Ok(());
        }
        let said = said(&output.stderr);
        let key = arguments
            .iter()
            .find(|argument| !argument.starts_with("--"))
            .unwrap_or(&"");
        let fix = match self {
            Target::System if said.ends_with("Permission denied") => {
                "; run this as root, or as an administrator"
            }
            _ => "",
        };
        let message = format!("git cannot change '{key}' in its configuration: {said}{fix}");
        Err(Failure::new(Kind::Misconfigured, message).into())
    }

    fn command(&self) -> io::Result<Command> {
        let mut git = match self {
            Target::Local(repository) => repository.command(),
            _ => Child::GitElsewhere.command("git"),
        }?;
        git.arg("config");
        match self {
            // A hint depends on git's message, so git must not translate it.
            Target::System => git.env("LC_ALL", "C").arg("--system"),
            Target::Global => git.arg("--global"),
            Target::Local(_) => git.arg("--local"),
            Target::File(file) => git.arg("--file").arg(file),
        };
        // Git refuses this variable together with an option that names a file.
        git.env_remove("GIT_CONFIG");
        Ok(git)
    }
}
