//! The file of git's configuration that setup writes to.

use std::{
    fs::{self, File, TryLockError},
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use crate::{
    git::Target,
    git_config::{self, process_variable},
};

/// How long one setup waits for others; each takes some tens of milliseconds.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long it waits before it looks again.
const PAUSE: Duration = Duration::from_millis(10);

/// Finds the file that `git config --global` or `--system` writes to.
pub(super) fn path(target: &Target) -> Option<PathBuf> {
    match target {
        Target::System => git_config::system_file(&process_variable).ok()?,
        _ => git_config::user_file(&process_variable),
    }
}

/// Removes the file that setup made, unless something else has come into it; a link to it stays.
pub(super) fn remove_empty(target: &Target) {
    if let Some(file) = path(target)
        && let Ok(file) = file.canonicalize()
        && fs::metadata(&file).is_ok_and(|metadata| metadata.len() == 0)
    {
        // An empty '~/.gitconfig' is not the same as none: `git config --global` writes to it, even if the user makes a
        // '~/.config/git/config' later.
        let _ = fs::remove_file(file);
    }
}

/// Lets all users read the system's file that setup made: the umask may forbid it, and git stops at a file it cannot read.
///
/// # Errors
///
/// When the mode of the file cannot be changed.
pub(super) fn open_to_all() -> anyhow::Result<()> {
    #[cfg(unix)]
    if let Some(file) = path(&Target::System) {
        use anyhow::Context as _;
        use std::os::unix::fs::PermissionsExt as _;
        let shown = crate::failure::quote(&file.to_string_lossy());
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644))
            .with_context(|| format!("cannot let all users read '{shown}'; run chmod 644 on it"))?;
    }
    Ok(())
}

/// Keeps other setups out from reading to writing, until it is dropped: the jobs of a runner may begin with one each.
///
/// A person who is asked takes too long for that, and is alone. Locked is the directory of the file, as git replaces the
/// file itself; where that cannot be done, git's own lock is all there is, and git says so.
pub(crate) fn lock(target: &Target) -> Option<File> {
    let directory = File::open(path(target)?.parent()?).ok()?;
    let end = Instant::now() + PATIENCE;
    while matches!(directory.try_lock(), Err(TryLockError::WouldBlock)) && Instant::now() < end {
        thread::sleep(PAUSE);
    }
    Some(directory)
}
