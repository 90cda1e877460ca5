//! The environment variables that git reads, and the paths in them.

use std::{ffi::OsString, path::PathBuf};

use crate::failure::{Failure, misconfigured};

/// Reads environment variables. Functions take it as a parameter, so that tests need not change the process's own.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// Gives the file that a variable names; `None` if the variable is empty.
pub(super) fn named_file(name: &str, path: OsString) -> Result<Option<PathBuf>, Failure> {
    (!path.is_empty()).then(|| absolute(name, path)).transpose()
}

/// Finds the user's home as git does: `HOME`. An empty one is the root directory (git: `interpolate_path`).
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for a relative path.
pub(super) fn home(variables: Variables<'_>) -> Result<Option<PathBuf>, Failure> {
    match variables("HOME") {
        Some(home) if !home.is_empty() => absolute("HOME", home).map(Some),
        Some(_) if cfg!(unix) => Ok(Some(PathBuf::from("/"))),
        _ if cfg!(unix) => Ok(None),
        // Git for Windows also finds a home without the variable.
        _ => Ok(dirs::home_dir()),
    }
}

/// Checks a path from the user's own settings.
///
/// # Deviation
///
/// Git follows a relative path. A repository could put a file there and take the user's role.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for a relative path.
pub(super) fn absolute(what: &str, path: impl Into<PathBuf>) -> Result<PathBuf, Failure> {
    let path = path.into();
    // On Windows, a path below the root of the current drive has no drive letter.
    if path.has_root() {
        return Ok(path);
    }
    Err(misconfigured(format!(
        "{what} is not an absolute path: a repository could put a file there; give an absolute path"
    )))
}
