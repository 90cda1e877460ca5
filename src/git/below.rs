//! Finds the repositories below a directory.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// The repositories below a directory. The search does not follow symbolic links.
#[derive(Debug, Default)]
pub(crate) struct Below {
    /// Work trees and bare repositories. An outer one comes before those inside it.
    pub(crate) repositories: Vec<PathBuf>,
    /// The directories that could not be read.
    pub(crate) unread: Vec<(PathBuf, io::Error)>,
}

impl Below {
    /// Looks through a directory.
    pub(crate) fn find(directory: &Path) -> Self {
        let mut below = Below::default();
        let mut open = vec![directory.to_owned()];
        while let Some(directory) = open.pop() {
            match directories(&directory) {
                Ok(directories) => {
                    let is_bare = is_bare(&directory);
                    if is_bare || is_work_tree(&directory) {
                        below.repositories.push(directory);
                    }
                    open.extend(directories.into_iter().filter(|_| !is_bare));
                }
                Err(error) => below.unread.push((directory, error)),
            }
        }
        below.repositories.sort();
        below
    }
}

/// Lists the subdirectories of a directory, without a git directory.
fn directories(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && entry.file_name() != ".git" {
            found.push(entry.path());
        }
    }
    Ok(found)
}

fn is_work_tree(directory: &Path) -> bool {
    directory.join(".git").symlink_metadata().is_ok()
}

/// Tells whether git accepts a directory as a git directory (gitrepository-layout(5)).
fn is_bare(directory: &Path) -> bool {
    let is_there = |name: &str| directory.join(name).symlink_metadata().is_ok();
    ["HEAD", "objects", "refs"].into_iter().all(is_there)
}
