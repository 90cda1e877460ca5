//! Files that only the user can read and change, in directories that only the user can enter.
//!
//! A [`Directory`] is checked once, on its open handle. All access to its files uses that handle, so another user
//! cannot replace the directory with a link, a pipe or another directory between two steps.
use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use ring::rand::{SecureRandom as _, SystemRandom};

mod access;
pub(crate) mod foreign;
mod refusal;
#[cfg(test)]
pub(crate) mod tests;

#[cfg(unix)]
mod unix;
#[cfg(unix)]
use unix::Handle;

#[cfg(not(unix))]
mod elsewhere;
#[cfg(not(unix))]
use elsewhere::Handle;

use access::Access;

#[cfg(unix)]
pub(crate) use refusal::refuse;
pub(crate) use refusal::untrusted;
#[cfg(unix)]
pub(crate) use unix::{check_own_file, open_without_waiting};

/// The age at which a temporary file counts as abandoned by its process.
const ABANDONED: Duration = Duration::from_secs(3600);
/// The longest file that this program writes.
pub(crate) const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// A directory that belongs to the user.
#[derive(Debug)]
pub(crate) struct Directory {
    path: PathBuf,
    handle: Handle,
}

/// Reads a file outside of a [`Directory`] that only this user can read and change.
///
/// # Errors
///
/// As [`Directory::read`].
pub(crate) fn read_own(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = foreign::open(path)?;
    #[cfg(unix)]
    check_own_file(&file, path)?;
    let mut bytes = Vec::new();
    file.take(max_bytes).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Tells whether an error means that a file or directory is missing.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

impl Directory {
    /// Opens an existing directory.
    ///
    /// # Errors
    ///
    /// [`refusal::Untrusted`] if another user owns it or has access to it.
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let handle = Handle::open(path)?;
        handle.check(path)?;
        Ok(Directory {
            path: path.to_owned(),
            handle,
        })
    }

    /// Opens an existing directory, and removes the read access of other users.
    ///
    /// # Errors
    ///
    /// [`refusal::Untrusted`] if another user owns it or can change its content.
    pub(crate) fn claim(path: &Path) -> io::Result<Self> {
        let handle = Handle::open(path)?;
        handle.close_to_others(path)?;
        Ok(Directory {
            path: path.to_owned(),
            handle,
        })
    }

    /// Creates a directory, or claims the existing one.
    ///
    /// # Errors
    ///
    /// [`refusal::Untrusted`] if another user owns it, or controls the directory above it.
    pub(crate) fn make(path: &Path) -> io::Result<Self> {
        match Self::claim(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            claimed => return claimed,
        }
        make_missing(path)?;
        for above in path.ancestors().skip(1).take(2) {
            if let Ok(above) = File::open(above) {
                // Some file systems cannot sync directories.
                let _ = above.sync_all();
            }
        }
        Self::claim(path)
    }

    /// Gives the path of a file, for messages.
    pub(crate) fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    fn file(&self, name: &str, access: Access) -> io::Result<File> {
        self.handle.file(&self.path, name, access)
    }

    /// Reads a file that belongs to the user.
    ///
    /// # Errors
    ///
    /// [`refusal::Untrusted`] if another user owns it or has access to it; [`io::ErrorKind::InvalidData`] if it is not a
    /// regular file or is longer than the limit.
    pub(crate) fn read(&self, name: &str, max_bytes: u64) -> io::Result<Vec<u8>> {
        let file = self.file(name, Access::Read)?;
        let mut bytes = Vec::new();
        file.take(max_bytes + 1).read_to_end(&mut bytes)?;
        match bytes.len() as u64 > max_bytes {
            true => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has more than {max_bytes} bytes"),
            )),
            false => Ok(bytes),
        }
    }

    /// Opens a file to read and write it, and creates it if it is missing.
    ///
    /// # Errors
    ///
    /// [`refusal::Untrusted`] as for [`Directory::read`].
    pub(crate) fn open_or_create(&self, name: &str) -> io::Result<File> {
        self.file(name, Access::Keep)
    }

    /// Creates a new file.
    ///
    /// # Errors
    ///
    /// If the file exists.
    pub(crate) fn create(&self, name: &str) -> io::Result<File> {
        self.file(name, Access::New)
    }

    /// Replaces a file atomically and durably.
    ///
    /// # Errors
    ///
    /// If the file system refuses. The old file is then still there.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.exchange(name, |file| {
            file.write_all(content).and_then(|()| file.sync_all())
        })?;
        self.sync();
        let stem = stem(name);
        for left in self.all_beside(stem, "new").unwrap_or_default() {
            self.remove_older(&left, ABANDONED);
        }
        Ok(())
    }

    /// Replaces a file atomically without waiting for the disk. A power loss may lose the new content.
    ///
    /// # Errors
    ///
    /// If the file system refuses. The old file is then still there.
    pub(crate) fn replace_in_passing(&self, name: &str, content: &[u8]) -> io::Result<()> {
        self.exchange(name, |file| file.write_all(content))
    }

    fn exchange(
        &self,
        name: &str,
        write: impl FnOnce(&mut File) -> io::Result<()>,
    ) -> io::Result<()> {
        let new = beside(stem(name), "new")?;
        let mut file = self.create(&new)?;
        let written = write(&mut file);
        drop(file);
        let exchanged = written.and_then(|()| self.rename(&new, name));
        if exchanged.is_err() {
            let _ = self.remove(&new);
        }
        exchanged
    }

    /// Renames a file, and replaces a file that has the new name.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.handle.rename(&self.path, from, to)
    }

    /// Removes a file of any type.
    ///
    /// # Errors
    ///
    /// If the file is missing or the file system refuses.
    pub(crate) fn remove(&self, name: &str) -> io::Result<()> {
        self.handle.remove(&self.path, name)
    }

    /// Tells whether a name exists, without following links.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.handle.modified(&self.path, name).is_ok()
    }

    /// Makes a rename survive a power loss, if the file system can sync directories.
    pub(crate) fn sync(&self) {
        self.handle.sync();
    }

    /// Lists the file names.
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn names(&self) -> io::Result<Vec<String>> {
        self.handle.names(&self.path)
    }

    /// Finds the files of all processes that have a name from [`beside`].
    ///
    /// # Errors
    ///
    /// If the file system refuses.
    pub(crate) fn all_beside(&self, stem: &str, extension: &str) -> io::Result<Vec<String>> {
        let is_beside = |name: &String| {
            let mut parts = name.rsplitn(3, '.');
            parts.next() == Some(extension) && parts.next().is_some() && parts.next() == Some(stem)
        };
        let mut names = self.names()?;
        names.retain(is_beside);
        Ok(names)
    }

    /// Removes a file that has not changed for this time.
    pub(crate) fn remove_older(&self, name: &str, limit: Duration) {
        let modified = self.handle.modified(&self.path, name);
        let age = modified.map(|at| SystemTime::now().duration_since(at));
        if age.is_ok_and(|age| age.is_ok_and(|age| age > limit)) {
            let _ = self.remove(name);
        }
    }
}

/// Makes a file name that no other process uses: `<stem>.<random>.<extension>`.
///
/// # Errors
///
/// If the system provides no random bytes.
pub(crate) fn beside(stem: &str, extension: &str) -> io::Result<String> {
    let mut chance = [0; 8];
    SystemRandom::new()
        .fill(&mut chance)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let chance = u64::from_le_bytes(chance);
    Ok(format!("{stem}.{chance:016x}.{extension}"))
}

fn stem(name: &str) -> &str {
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// Creates a directory and the missing directories above it.
fn make_missing(path: &Path) -> io::Result<()> {
    if let Some(above) = path.parent() {
        let found = fs::symlink_metadata(above);
        if found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
            make_missing(above)?;
        }
        Handle::check_above(above)?;
    }
    #[cfg_attr(not(unix), expect(unused_mut, reason = "a mode is Unix's"))]
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        // Another process was faster. The caller checks the directory before using it.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made,
    }
}
