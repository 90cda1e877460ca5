//! A git setting with its origin.

use std::ffi::OsStr;

use super::text::Text;

/// The scope of a setting (git-config(1), "SCOPES").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// The machine's file.
    System,
    /// The user's files.
    Global,
    /// The repository's file.
    Local,
    /// The work tree's file.
    Worktree,
    /// `git -c` and `GIT_CONFIG_COUNT`.
    Command,
}

impl Scope {
    /// Tells whether settings of this scope may name endpoints and commands (git-config(1), "protected configuration").
    pub(crate) fn is_protected(self) -> bool {
        matches!(self, Scope::System | Scope::Global | Scope::Command)
    }
}

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The section, in lower case; empty for a key before the first section.
    pub(crate) section: Text,
    /// The subsection, as written.
    pub(crate) subsection: Option<Text>,
    /// The key, in lower case.
    pub(crate) key: Text,
    /// The value; `None` for a key without `=`, which means true.
    pub(crate) value: Option<String>,
    /// The scope of its file.
    pub(crate) scope: Scope,
    /// Its file, its variable, or `the command line`.
    pub(crate) origin: Text,
}

impl Entry {
    /// Makes an entry from an environment variable.
    pub(super) fn of_variable(variable: &str, key: &str, value: &OsStr) -> Self {
        Entry {
            section: "http".into(),
            subsection: None,
            key: key.into(),
            value: Some(value.to_string_lossy().into_owned()),
            scope: Scope::Command,
            origin: variable.into(),
        }
    }
}

/// Finds the last setting with a name, which wins. Section and key are in lower case.
pub(super) fn lookup<'e>(
    entries: &'e [Entry],
    section: &str,
    subsection: Option<&str>,
    key: &str,
) -> Option<&'e Entry> {
    entries.iter().rev().find(|entry| {
        entry.section == section && entry.key == key && entry.subsection.as_deref() == subsection
    })
}

/// Reads a boolean as git does (git-config(1), "Values"): no value, `yes`, `on`, `true` or a number other than 0.
pub(crate) fn is_true(entry: &Entry) -> bool {
    entry.value.as_deref().is_none_or(is_true_word)
}

/// Tells whether a variable's value means true (git: `git_env_bool`).
pub(crate) fn is_true_text(value: &OsStr) -> bool {
    is_true_word(&value.to_string_lossy())
}

fn is_true_word(word: &str) -> bool {
    gix::config::Boolean::try_from(word).is_ok_and(gix::config::Boolean::is_true)
}
