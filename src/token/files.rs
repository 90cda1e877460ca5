//! Files and directories that only the user can read.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// Makes a directory that only the user may enter, and makes an existing one of the user's so.
pub(super) fn make_private_directory(path: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::DirBuilderExt as _;
        builder.mode(0o700);
    }
    builder.create(path)?;
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
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt as _;
    options.mode(0o600)
}

/// The user's profile directory is private to begin with.
#[cfg(not(unix))]
pub(super) fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

/// Replaces a file as a whole, durably, by one that only the user can read. One process at a time may do this.
pub(super) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let directory = path.parent().unwrap_or(path);
    make_private_directory(directory)?;
    // Always the same name: what a killed process leaves is overwritten by the next one.
    let new = path.with_extension("new");
    let mut options = OpenOptions::new();
    let mut file = private(options.create(true).truncate(true).write(true)).open(&new)?;
    let written = file.write_all(content).and_then(|()| file.sync_all());
    drop(file);
    if let Err(error) = written.and_then(|()| fs::rename(&new, path)) {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    sync_directory(directory);
    Ok(())
}

/// Says why a file or directory is not the user's alone; `None` if it is.
pub(super) fn exposure(path: &Path) -> Option<&'static str> {
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
pub(super) fn sync_directory(path: &Path) {
    if let Ok(directory) = File::open(path) {
        // Some file systems cannot; the rename is as durable there as it gets.
        let _ = directory.sync_all();
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in crate::token) fn make_private(path: &Path) {
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt as _;
            fs::set_permissions(path, fs::Permissions::from_mode(0o600)).expect("it is ours");
        }
        assert_eq!(exposure(path), None);
    }
}
