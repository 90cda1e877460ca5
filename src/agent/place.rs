//! Where the agent's socket is.

use std::path::{Path, PathBuf};

use crate::files::{Directory, untrusted};

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

/// Why there is no place, and what the user can do.
#[derive(Debug)]
pub(crate) struct NoPlace {
    pub(crate) why: String,
    pub(crate) remedy: String,
}

/// Finds the first of `candidates` that is this user's alone, and creates it if it is missing.
///
/// # Errors
///
/// The reason why there is no place.
pub(crate) fn find(candidates: &[PathBuf]) -> Result<Place, NoPlace> {
    let mut none = no_place("this user has no directory for it".to_owned());
    for path in candidates {
        match Place::make(path) {
            Ok(place) => return Ok(place),
            Err(error) => none = error,
        }
    }
    Err(none)
}

fn no_place(why: String) -> NoPlace {
    let variable = match std::env::var_os("BBTOKEN_HOME") {
        Some(_) => "BBTOKEN_HOME",
        None => "XDG_RUNTIME_DIR",
    };
    let remedy = format!("set {variable} to a directory of yours with a shorter path");
    NoPlace { why, remedy }
}

impl Place {
    fn make(path: &Path) -> Result<Self, NoPlace> {
        if path.join(SOCKET).as_os_str().len() > MAX_PATH_BYTES {
            return Err(no_place(format!(
                "the path '{}' is too long",
                path.display()
            )));
        }
        let directory = Directory::make(path).map_err(|error| {
            let why = error.to_string();
            match untrusted(&error).map(|it| it.remedy.clone()) {
                Some(remedy) => NoPlace { why, remedy },
                None => no_place(why),
            }
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
