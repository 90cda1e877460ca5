//! Where the agent's socket is.

use std::path::{Path, PathBuf};

use crate::files::Directory;

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
/// The reason why there is no place, in words for a trace.
pub(crate) fn find(candidates: &[PathBuf]) -> Result<Place, String> {
    let mut why = "this user has no directory for it".to_owned();
    for path in candidates {
        match Place::make(path) {
            Ok(place) => return Ok(place),
            Err(error) => why = error,
        }
    }
    Err(why)
}

impl Place {
    fn make(path: &Path) -> Result<Self, String> {
        if path.join(SOCKET).as_os_str().len() > MAX_PATH_BYTES {
            return Err(format!("the path '{}' is too long", path.display()));
        }
        let directory = Directory::make(path).map_err(|error| error.to_string())?;
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
        let file = self.directory.keep(LOCK).ok()?;
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
