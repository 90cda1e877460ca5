//! Where the agent's socket is.

use std::{
    io,
    path::{Path, PathBuf},
};

use crate::files::{Directory, refuse, untrusted};

/// The socket's name. The number is the version of what is spoken there: programs of another version never meet.
const SOCKET: &str = "agent-1";
/// The file that the running agent keeps locked.
const LOCK: &str = "agent-1.lock";
/// A longer path does not fit into a socket's address (unix(7)).
const MAX_PATH_BYTES: usize = 100;

/// The agent's directory.
#[derive(Debug)]
pub(crate) struct Place {
    path: PathBuf,
    directory: Directory,
}

/// Finds the first of `candidates` that is this user's alone, and creates it if it is missing.
///
/// # Errors
///
/// Why there is no place: [`untrusted`] gives a remedy if there is a candidate.
pub(crate) fn find(candidates: &[PathBuf]) -> io::Result<Place> {
    let mut none = io::Error::other("this user has no directory for it");
    for path in candidates {
        match Place::make(path) {
            Ok(place) => return Ok(place),
            Err(error) => none = error,
        }
    }
    Err(none)
}

fn no_place(path: &Path, why: impl Into<String>) -> io::Error {
    let variable = match std::env::var_os("BBTOKEN_HOME") {
        Some(_) => "BBTOKEN_HOME",
        None => "XDG_RUNTIME_DIR",
    };
    let remedy = format!("set {variable} to a directory of yours with a shorter path");
    refuse(path, why, remedy)
}

impl Place {
    fn make(path: &Path) -> io::Result<Self> {
        if path.join(SOCKET).as_os_str().len() > MAX_PATH_BYTES {
            return Err(no_place(path, "its path is too long"));
        }
        let directory = Directory::make(path).map_err(|error| match untrusted(&error) {
            Some(_) => error,
            None => no_place(path, error.to_string()),
        })?;
        Ok(Place {
            path: path.to_owned(),
            directory,
        })
    }

    /// The directory.
    pub(crate) fn directory(&self) -> &Path {
        &self.path
    }

    /// The socket.
    pub(crate) fn socket(&self) -> PathBuf {
        self.path.join(SOCKET)
    }

    /// Takes the lock of the running agent. `None` if another process has it.
    pub(super) fn lock(&self) -> Option<std::fs::File> {
        let file = self.directory.open_or_create(LOCK).ok()?;
        file.try_lock().ok()?;
        Some(file)
    }

    /// Removes an agent's traces, so that another one can start.
    pub(crate) fn clear(&self) {
        for name in [SOCKET, LOCK] {
            // What is not there needs no removal.
            let _ = self.directory.remove(name);
        }
    }
}
