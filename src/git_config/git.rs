//! Git's configuration, read the way git reads it, without starting git.
//!
//! Which files, in which order, what they include and what `git -c` adds. `git config --list` is the oracle of the
//! tests (`tests/it/config.rs`).

use std::path::{Path, PathBuf};

use super::{
    entry::{Entry, Scope, lookup},
    environment::Variables,
    files::Places,
    include, reader,
};

/// All of git's settings in the order in which they take effect.
#[derive(Clone, Debug, Default)]
pub struct GitConfig {
    entries: Vec<Entry>,
    local_file: Option<PathBuf>,
    worktree_file: Option<PathBuf>,
}

impl GitConfig {
    /// Reads what git would read here: system, global, local, worktree, and the command line's.
    ///
    /// # Errors
    ///
    /// [`crate::failure::Kind::Misconfigured`] for a file that cannot be read or parsed, as git itself would stop there.
    pub fn read(variables: Variables<'_>) -> anyhow::Result<Self> {
        let places = Places::find(variables)?;
        Ok(GitConfig {
            entries: reader::read(&places, variables)?,
            local_file: places.common_dir.as_ref().map(|path| path.join("config")),
            worktree_file: places
                .git_dir
                .as_ref()
                .map(|path| path.join("config.worktree")),
        })
    }

    /// Goes through all settings in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Goes through the settings of the repository's own files.
    pub fn of_repository(&self) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| !entry.scope.is_protected())
    }

    /// Gives the settings without those of the repository's own files.
    #[must_use]
    pub fn protected(&self) -> Self {
        let protected = self.entries().filter(|entry| entry.scope.is_protected());
        GitConfig {
            entries: protected.cloned().collect(),
            ..GitConfig::default()
        }
    }

    /// Names the repository's file of a scope.
    pub fn file(&self, scope: Scope) -> Option<&Path> {
        match scope {
            Scope::Local => self.local_file.as_deref(),
            Scope::Worktree => self.worktree_file.as_deref(),
            Scope::System | Scope::Global | Scope::Command => None,
        }
    }

    /// Finds the setting that wins: the last one. Section and key are in lower case.
    pub fn last(&self, section: &str, subsection: Option<&str>, key: &str) -> Option<&Entry> {
        lookup(&self.entries, section, subsection, key)
    }
}

/// Names the branch that is checked out in the repository of `GIT_DIR`.
pub(crate) fn branch(variables: Variables<'_>) -> Option<String> {
    let branch = include::branch(&Places::find(variables).ok()?)?;
    include::short(&branch).map(str::to_owned)
}
