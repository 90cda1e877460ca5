//! Finds programs, only in the absolute directories of `PATH`.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use crate::{
    failure::{Failure, Kind},
    limits::Scarcity,
};

/// The default `PATH` (POSIX: `confstr`, `_CS_PATH`).
const DEFAULT_PATH: &str = if cfg!(unix) { "/usr/bin:/bin" } else { "" };

pub(super) fn path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Gives `PATH` without its relative directories; `None` if it has no relative ones.
pub(super) fn without_relative(path: &OsStr) -> Option<OsString> {
    let is_relative = |directory: &PathBuf| !directory.has_root();
    if !env::split_paths(path).any(|directory| is_relative(&directory)) {
        return None;
    }
    env::join_paths(env::split_paths(path).filter(|directory| !is_relative(directory))).ok()
}

/// Tells whether a path, or one of a list, is relative to the directory in which git runs.
pub(super) fn names_relative(paths: &OsStr) -> bool {
    let is_relative = |path: PathBuf| !path.has_root() && !path.as_os_str().is_empty();
    env::split_paths(paths).any(is_relative)
}

pub(super) fn is_path(program: &OsStr) -> bool {
    let is_separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    program.as_encoded_bytes().iter().any(is_separator)
}

/// Finds a program.
///
/// # Errors
///
/// As [`super::child::Child::command`], and [`ErrorKind::PermissionDenied`] for a file that is not executable.
pub(super) fn find(program: &OsStr) -> io::Result<PathBuf> {
    if is_path(program) {
        let program = PathBuf::from(program);
        return match program.has_root() {
            true => Ok(program),
            false => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a relative path would depend on the directory that git runs in; give an absolute path",
            )),
        };
    }
    let candidates = all(program);
    match candidates.iter().find(|file| may_run(file)) {
        Some(program) => Ok(program.clone()),
        None if candidates.is_empty() => Err(io::Error::new(
            ErrorKind::NotFound,
            "it is not in any absolute directory of PATH",
        )),
        None => Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "the file is not executable",
        )),
    }
}

/// Finds every file with a program's name in the absolute directories of `PATH`, in order.
pub(crate) fn all(program: impl AsRef<OsStr>) -> Vec<PathBuf> {
    let mut file = program.as_ref().to_owned();
    if Path::new(&file).extension().is_none() {
        file.push(env::consts::EXE_SUFFIX);
    }
    let mut found = Vec::new();
    let path = path();
    let directories = env::split_paths(&path).filter(|directory| directory.has_root());
    for candidate in directories.map(|directory| directory.join(&file)) {
        if candidate.is_file() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(unix)]
fn may_run(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_run(file: &Path) -> bool {
    fs::metadata(file).is_ok()
}

/// Tells whether every user of this machine can reach a file, and the target of a link.
#[cfg(unix)]
pub(crate) fn is_for_everybody(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    let is_open = |place: &Path| {
        fs::metadata(place).is_ok_and(|metadata| metadata.permissions().mode() & 0o001 != 0)
    };
    let target = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    file.ancestors().chain(target.ancestors()).all(is_open)
}

#[cfg(not(unix))]
pub(crate) fn is_for_everybody(_: &Path) -> bool {
    true
}

/// The hint if the system does not know the path of this program.
const WITHOUT_PROC: &str =
    "mount /proc, or add the directory of git-bbtoken to PATH, then try again";

/// Finds a program in the directory of this one.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let ours = match std::env::current_exe() {
        Ok(ours) => ours,
        // Linux tells it in /proc only.
        Err(error) => {
            let found = all(name).into_iter().next();
            let unknown = || Scarcity::new(error.to_string(), WITHOUT_PROC);
            return found
                .ok_or_else(unknown)
                .with_context(|| format!("cannot find '{name}'"));
        }
    };
    let path = ours.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        return Err(Failure::new(
            Kind::Misconfigured,
            format!(
                "'{}' is missing; install both programs side by side",
                path.display()
            ),
        )
        .into());
    }
    Ok(path)
}
