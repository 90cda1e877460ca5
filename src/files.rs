//! Files and directories that only the user can read.

use std::{
    ffi::OsStr,
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use ring::rand::{SecureRandom as _, SystemRandom};

/// A new file that is older than this has lost its process.
const ABANDONED: Duration = Duration::from_secs(3600);

/// Makes a directory that only the user may enter, and makes an existing one of the user's so.
///
/// # Errors
///
/// When the file system refuses.
pub(crate) fn make_private_directory(path: &Path) -> io::Result<()> {
    let is_new = !path.exists();
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)?;
    if is_new {
        path.ancestors().skip(1).take(2).for_each(sync_directory);
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path)?.permissions().mode() & 0o077 != 0 {
            fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
        }
    }
    Ok(())
}

/// Lets a new file be the user's alone.
#[cfg(unix)]
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

/// The user's profile directory is private to begin with.
#[cfg(not(unix))]
pub(crate) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Replaces a file as a whole, durably, by one that only the user can read.
///
/// # Errors
///
/// When the file system refuses; the old file is then still there.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    make_private_directory(directory)?;
    exchange(path, |file| {
        file.write_all(content).and_then(|()| file.sync_all())
    })?;
    sync_directory(directory);
    let _ = all_beside(path, "new").map(|left| left.iter().for_each(|path| remove_abandoned(path)));
    Ok(())
}

/// Replaces a file as [`replace`], but without waiting for the disk: for what a loss of power may take.
///
/// # Errors
///
/// When the file system refuses; the old file is then still there.
pub(crate) fn replace_in_passing(path: &Path, content: &[u8]) -> io::Result<()> {
    make_private_directory(path.parent().unwrap_or(path))?;
    exchange(path, |file| file.write_all(content))
}

/// Lets a new file be written, and puts it into another one's place.
///
/// # Errors
///
/// When it cannot be written; the old file is then still there.
pub(crate) fn exchange(
    path: &Path,
    write: impl FnOnce(&mut File) -> io::Result<()>,
) -> io::Result<()> {
    let new = beside(path, "new")?;
    let mut options = OpenOptions::new();
    let mut file = private(options.create_new(true).write(true)).open(&new)?;
    let written = write(&mut file);
    drop(file);
    let exchanged = written.and_then(|()| fs::rename(&new, path));
    if exchanged.is_err() {
        let _ = fs::remove_file(&new);
    }
    exchanged
}

/// Names a file beside another one that no other process uses: `<stem>.<chance>.<extension>`.
///
/// # Errors
///
/// When the system gives no random bytes.
pub(crate) fn beside(path: &Path, extension: &str) -> io::Result<PathBuf> {
    let mut chance = [0; 8];
    SystemRandom::new()
        .fill(&mut chance)
        .map_err(|_| io::Error::other("the system gives no random bytes"))?;
    let chance = u64::from_le_bytes(chance);
    Ok(path.with_extension(format!("{chance:016x}.{extension}")))
}

/// Finds what [`beside`] named, by any process; a directory that is not there holds none.
///
/// # Errors
///
/// When the file system refuses.
pub(crate) fn all_beside(path: &Path, extension: &str) -> io::Result<Vec<PathBuf>> {
    let directory = path.parent().unwrap_or(path);
    let stem = path.file_stem().unwrap_or_default();
    let entries = match fs::read_dir(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let path = entry?.path();
        // Without both of its extensions it has the stem's name.
        let name = path.file_stem().map(Path::new).and_then(Path::file_stem);
        if path.extension() == Some(OsStr::new(extension)) && name == Some(stem) {
            found.push(path);
        }
    }
    Ok(found)
}

/// Removes what a killed process has left; what may still be in use stays.
pub(crate) fn remove_abandoned(path: &Path) {
    remove_older(path, ABANDONED);
}

/// Removes a file that was not changed for so long.
pub(crate) fn remove_older(path: &Path, limit: Duration) {
    let modified = fs::metadata(path).and_then(|metadata| metadata.modified());
    if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > limit)) {
        let _ = fs::remove_file(path);
    }
}

/// Says why a file or directory is not the user's alone; `None` if it is.
pub(crate) fn exposure(path: &Path) -> Option<&'static str> {
    // In containers the user may be unknown to the system; the mode then has to be enough.
    if gix::sec::identity::is_path_owned_by_current_user(path).is_ok_and(|owned| !owned) {
        return Some("it belongs to another user");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        if fs::metadata(path).ok()?.permissions().mode() & 0o077 != 0 {
            return Some("other users may read it");
        }
    }
    None
}

/// Makes a rename survive a loss of power, where directories can be synced.
pub(crate) fn sync_directory(path: &Path) {
    if let Ok(directory) = File::open(path) {
        // Some file systems cannot; the rename is as durable there as it gets.
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn make_private(path: &Path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
        assert_eq!(exposure(path), None);
    }

    #[test]
    fn what_a_killed_process_left_is_removed_in_time_and_no_earlier() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let path = directory.path().join("k.json");
        let old = beside(&path, "new").expect("there is chance");
        let other = beside(&path, "new").expect("there is chance");
        for left in [&old, &other] {
            fs::write(left, "").expect("it is ours");
        }
        let long_ago = std::time::SystemTime::now() - 2 * ABANDONED;
        let file = OpenOptions::new().write(true).open(&old);
        file.and_then(|file| file.set_modified(long_ago))
            .expect("it is ours");
        fs::write(directory.path().join("other.1.new"), "").expect("it is ours");
        replace(&path, b"x").expect("it can be written");
        assert_eq!(all_beside(&path, "new").expect("it is there"), [other]);
        assert!(directory.path().join("other.1.new").exists());
    }
}
