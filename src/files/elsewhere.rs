//! A directory as a path, for systems that protect a user's profile from other users.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
    time::SystemTime,
};

use super::{access::Access, refusal::refuse_owner};

#[derive(Debug)]
pub(super) struct Handle;

impl Handle {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        match fs::metadata(path)?.is_dir() {
            true => Ok(Handle),
            false => Err(io::ErrorKind::NotADirectory.into()),
        }
    }

    pub(super) fn check(&self, path: &Path) -> io::Result<()> {
        check_owner(path)
    }

    pub(super) fn close_to_others(&self, path: &Path) -> io::Result<()> {
        check_owner(path)
    }

    pub(super) fn check_above(_path: &Path) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn file(&self, directory: &Path, name: &str, access: Access) -> io::Result<File> {
        let path = directory.join(name);
        let mut options = OpenOptions::new();
        match access {
            Access::Read => options.read(true),
            Access::New => options.write(true).create_new(true),
            Access::Keep => options.read(true).write(true).create(true).truncate(false),
        };
        let file = options.open(&path)?;
        check_owner(&path)?;
        Ok(file)
    }

    pub(super) fn rename(&self, directory: &Path, from: &str, to: &str) -> io::Result<()> {
        fs::rename(directory.join(from), directory.join(to))
    }

    pub(super) fn remove(&self, directory: &Path, name: &str) -> io::Result<()> {
        fs::remove_file(directory.join(name))
    }

    pub(super) fn modified(&self, directory: &Path, name: &str) -> io::Result<SystemTime> {
        fs::symlink_metadata(directory.join(name))?.modified()
    }

    pub(super) fn sync(&self) {}

    pub(super) fn names(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.extend(entry?.file_name().into_string());
        }
        Ok(names)
    }
}

fn check_owner(path: &Path) -> io::Result<()> {
    // The system may not know the owner.
    match gix::sec::identity::is_path_owned_by_current_user(path) {
        Ok(false) => Err(refuse_owner(path, "another user")),
        _ => Ok(()),
    }
}
