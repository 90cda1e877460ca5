//! Finds repositories on this machine.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;

use crate::{
    failure::{Failure, Kind},
    limits,
    program::Child,
};

/// A repository on this machine.
#[derive(Debug)]
pub(crate) struct Repository {
    /// The top of the work tree, or the bare repository.
    pub(crate) top: PathBuf,
    /// Its git directory.
    pub(crate) git_dir: PathBuf,
}

impl Repository {
    /// Finds the repository here.
    ///
    /// # Errors
    ///
    /// Without one, and when `core.worktree` names another repository's work tree.
    pub(crate) fn here() -> anyhow::Result<Self> {
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
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let none = || Failure::new(Kind::Usage, "this is not a git repository; change into one");
        let git_dir = rev_parse(path, "--absolute-git-dir")?.ok_or_else(none)?;
        let top = rev_parse(path, "--show-toplevel")?.unwrap_or_else(|| git_dir.clone());
        Ok(Repository { top, git_dir })
    }

    /// Gives the paths of the submodules in the index.
    pub(crate) fn gitlinks(&self) -> anyhow::Result<Vec<PathBuf>> {
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
pub(crate) fn repository() -> anyhow::Result<PathBuf> {
    Ok(Repository::at(Path::new("."))?.top)
}
