//! Finds repositories on this machine.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
};

use anyhow::Context as _;

use super::said;
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
        Self::alone(Path::new("."))
    }

    /// Finds the repository at a path; fails as [`Repository::here`] does.
    pub(crate) fn alone(path: &Path) -> anyhow::Result<Self> {
        let found = Self::at(path)?;
        let of_top = Self::at(&found.top)?;
        if of_top.git_dir == found.git_dir {
            return Ok(found);
        }
        let message = format!(
            "core.worktree of this repository names the work tree of another repository, '{}'; run this there",
            found.top.display()
        );
        Err(Failure::new(Kind::Usage, message).into())
    }

    /// Finds the repository at a path.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        let git_dir = rev_parse(path, "--absolute-git-dir")?.map_err(|why| {
            let message = match why.starts_with("not a git repository") {
                true => "this is not a git repository; change into one".to_owned(),
                false => format!("git does not use this repository: {why}"),
            };
            Failure::new(Kind::Usage, message)
        })?;
        let top = rev_parse(path, "--show-toplevel")?.unwrap_or_else(|_| git_dir.clone());
        Ok(Repository { top, git_dir })
    }

    /// Finds the directory that its work trees share, with its configuration (gitrepository-layout(5), "commondir").
    pub(crate) fn common_dir(&self) -> PathBuf {
        let Ok(text) = fs::read_to_string(self.git_dir.join("commondir")) else {
            return self.git_dir.clone();
        };
        let common = self.git_dir.join(text.trim_end_matches(['\n', '\r']));
        common.canonicalize().unwrap_or(common)
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

/// Asks git for a path, or for the reason why there is none.
fn rev_parse(at: &Path, question: &str) -> anyhow::Result<Result<PathBuf, String>> {
    let output = Child::Git
        .command("git")
        .and_then(|mut git| {
            git.arg("-C")
                .arg(at)
                .args(["rev-parse", question])
                .env("LC_ALL", "C")
                .stdin(Stdio::null())
                .output()
        })
        .map_err(limits::of_start)
        .context("cannot start git")?;
    let answer = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    let path = gix::path::from_byte_slice(answer).ok();
    let path = path.filter(|_| output.status.success() && !answer.is_empty());
    // One spelling, for comparison.
    let path = path.map(|path| path.canonicalize().unwrap_or_else(|_| path.to_owned()));
    Ok(path.ok_or_else(|| said(&output.stderr)))
}

/// Finds the top of the work tree here, or the bare repository.
pub(crate) fn repository() -> anyhow::Result<PathBuf> {
    Ok(Repository::at(Path::new("."))?.top)
}
