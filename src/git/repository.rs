//! Finds repositories on this machine.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
    process::Command,
};

use super::{run, said};
use crate::{
    failure::{Failure, Kind},
    program::Child,
};

/// A repository on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Repository {
    /// The top of the work tree, or the bare repository.
    pub(crate) top: PathBuf,
    /// Its git directory.
    pub(crate) git_dir: PathBuf,
    /// How to run git in it: git's variables name this repository.
    child: Child,
}

impl Repository {
    /// Finds the repository of the current directory.
    ///
    /// # Errors
    ///
    /// If there is none, or if `core.worktree` names another repository's work tree.
    pub(crate) fn here() -> anyhow::Result<Self> {
        let found = Self::find(Child::Git, Path::new("."))?;
        // With a variable for the repository or the work tree, the work tree may be anywhere.
        match is_named() {
            true => Ok(found),
            false => found.alone(),
        }
    }

    /// Finds the repository whose work tree is at a path. For a bare repository, this is the git directory. Fails as
    /// [`Repository::here`] does.
    pub(crate) fn below(path: &Path) -> anyhow::Result<Self> {
        let found = Self::at(path)?.alone()?;
        if found.top == path || found.git_dir == path {
            return Ok(found);
        }
        let message = "git does not use this repository: its '.git' is incomplete";
        Err(Failure::new(Kind::Usage, message).into())
    }

    /// Finds the repository at a path.
    pub(crate) fn at(path: &Path) -> anyhow::Result<Self> {
        Self::find(Child::GitElsewhere, path)
    }

    /// Refuses a work tree inside another repository's.
    fn alone(self) -> anyhow::Result<Self> {
        if Self::find(self.child, &self.top)?.git_dir == self.git_dir {
            return Ok(self);
        }
        let message = format!(
            "core.worktree of this repository names the work tree of another repository, '{}'; run this there",
            self.top.display()
        );
        Err(Failure::new(Kind::Usage, message).into())
    }

    fn find(child: Child, path: &Path) -> anyhow::Result<Self> {
        let git_dir = rev_parse(child, path, "--absolute-git-dir")?.map_err(|why| {
            let is_none = why.starts_with("not a git repository");
            let message = match is_none && child == Child::Git {
                true if env::var_os("GIT_DIR").is_some() => {
                    "GIT_DIR does not name a git repository; correct or unset it".to_owned()
                }
                true => "this is not a git repository; change into a git repository".to_owned(),
                false => format!("git does not use this repository: {why}"),
            };
            Failure::new(Kind::Usage, message)
        })?;
        let top = rev_parse(child, path, "--show-toplevel")?.unwrap_or_else(|_| git_dir.clone());
        // One spelling, for comparison.
        let [top, git_dir] = [top, git_dir].map(|path| path.canonicalize().unwrap_or(path));
        Ok(Repository {
            top,
            git_dir,
            child,
        })
    }

    /// Prepares git for this repository.
    ///
    /// # Errors
    ///
    /// As [`Child::command`].
    pub(super) fn command(&self) -> io::Result<Command> {
        let mut git = self.child.command("git")?;
        git.arg("-C").arg(&self.top);
        // The variable may contain a relative path.
        if self.child == Child::Git && is_named() {
            git.env("GIT_DIR", &self.git_dir);
        }
        Ok(git)
    }

    /// Finds the directory that all work trees share, with the configuration (gitrepository-layout(5), "commondir").
    pub(crate) fn common_dir(&self) -> PathBuf {
        let Ok(text) = fs::read_to_string(self.git_dir.join("commondir")) else {
            return self.git_dir.clone();
        };
        let common = self.git_dir.join(text.trim_end_matches(['\n', '\r']));
        common.canonicalize().unwrap_or(common)
    }

    /// Gives the paths of the submodules in the index.
    pub(crate) fn gitlinks(&self) -> anyhow::Result<Vec<PathBuf>> {
        let output = run(self.command(), ["ls-files", "--stage", "-z"])?;
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

/// Finds the git directory of the current directory. Git knows which repositories it does not trust for this user.
pub(crate) fn git_dir() -> Option<PathBuf> {
    let found = rev_parse(Child::Git, Path::new("."), "--absolute-git-dir");
    found.ok()?.ok()
}

/// Asks git for a path. Without one, gives git's reason.
fn rev_parse(child: Child, at: &Path, question: &str) -> anyhow::Result<Result<PathBuf, String>> {
    let git = child.command("git").map(|mut git| {
        git.env("LC_ALL", "C").arg("-C").arg(at);
        git
    });
    let output = run(git, ["rev-parse", question])?;
    let answer = output.stdout.strip_suffix(b"\n").unwrap_or(&output.stdout);
    let path = gix::path::from_byte_slice(answer).ok();
    let path = path.filter(|_| output.status.success() && !answer.is_empty());
    Ok(path.map(Path::to_owned).ok_or_else(|| said(&output.stderr)))
}

/// Tells whether a variable names the current repository or its work tree.
fn is_named() -> bool {
    let names = ["GIT_DIR", "GIT_WORK_TREE"];
    names.iter().any(|name| env::var_os(name).is_some())
}

/// Finds the current repository, with any work tree.
pub(crate) fn repository() -> anyhow::Result<Repository> {
    Repository::find(Child::Git, Path::new("."))
}
