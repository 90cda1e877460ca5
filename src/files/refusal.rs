//! The refusal of files and directories to which other users have access.

use std::{
    fmt, io,
    path::{Path, PathBuf},
};

/// The remedy if the user cannot change a directory.
pub(super) const OWN_HOME: &str = "set BBTOKEN_HOME to a directory of your own";

/// The reason not to use a file or directory, with a remedy.
#[derive(Debug)]
pub(crate) struct Untrusted {
    path: PathBuf,
    pub(super) why: String,
    /// The remedy, as a sentence.
    pub(crate) remedy: String,
}

impl fmt::Display for Untrusted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        write!(f, "'{path}' is not used, because {}", self.why)
    }
}

impl std::error::Error for Untrusted {}

/// Gives the reason if an error is about an untrusted file or directory.
pub(crate) fn untrusted(error: &io::Error) -> Option<&Untrusted> {
    error.get_ref()?.downcast_ref()
}

/// Makes the error for a file or directory that must not be used.
pub(crate) fn refuse(path: &Path, why: impl Into<String>, remedy: String) -> io::Error {
    let untrusted = Untrusted {
        path: path.to_owned(),
        why: why.into(),
        remedy,
    };
    io::Error::new(io::ErrorKind::PermissionDenied, untrusted)
}

pub(super) fn refuse_owner(path: &Path, owner: &str) -> io::Error {
    let remedy = format!("{OWN_HOME}, or run the command as {owner}");
    refuse(path, format!("it belongs to {owner}"), remedy)
}
