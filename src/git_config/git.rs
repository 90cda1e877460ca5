//! Git's whole configuration, read as git reads it, without starting git.
//!
//! The tests compare it with `git config --list` (`tests/inside/config.rs`).

use std::path::{Path, PathBuf};

use super::{
    entry::{Entry, Scope, lookup},
    environment::Variables,
    files::Places,
    include, reader,
};

/// All git settings, in order of precedence. The last one wins.
#[derive(Clone, Debug, Default)]
pub(crate) struct GitConfig {
    entries: Vec<Entry>,
    local_file: Option<PathBuf>,
    worktree_file: Option<PathBuf>,
}

impl GitConfig {
    /// Reads the settings that git reads in this directory: system, global, local, worktree and command line.
    ///
    /// # Errors
    ///
    /// [`crate::failure::Kind::Misconfigured`] for a file that cannot be read or parsed. Git also stops there.
    pub(crate) fn read(variables: Variables<'_>) -> anyhow::Result<Self> {
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

    /// Reads them for a command that works without them; none if they cannot be read. Other commands report that.
    pub(crate) fn readable(variables: Variables<'_>) -> Self {
        Self::read(variables).unwrap_or_default()
    }

    /// Iterates over all settings in order.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Iterates over the settings of the repository's own files.
    pub(crate) fn of_repository(&self) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| !entry.scope.is_protected())
    }

    /// Gives all settings except those of the repository's own files.
    #[must_use]
    pub(crate) fn protected(&self) -> Self {
        let protected = self.entries().filter(|entry| entry.scope.is_protected());
        GitConfig {
            entries: protected.cloned().collect(),
            ..GitConfig::default()
        }
    }

    /// Gives the repository's file for a scope.
    pub(crate) fn file(&self, scope: Scope) -> Option<&Path> {
        match scope {
            Scope::Local => self.local_file.as_deref(),
            Scope::Worktree => self.worktree_file.as_deref(),
            Scope::System | Scope::Global | Scope::Command => None,
        }
    }

    /// Finds the last setting with a name, which wins. Section and key are in lower case.
    pub(crate) fn last(
        &self,
        section: &str,
        subsection: Option<&str>,
        key: &str,
    ) -> Option<&Entry> {
        lookup(&self.entries, section, subsection, key)
    }
}

/// Gives the current branch of the repository in `GIT_DIR`.
pub(crate) fn branch(variables: Variables<'_>) -> Option<String> {
    let branch = include::branch(&Places::find(variables).ok()?)?;
    include::short(&branch).map(str::to_owned)
}
