//! The errors of files with tokens.

use std::io;

use crate::{
    failure::{Failure, Kind},
    files,
};

/// Makes the error for a failed file operation. A file or directory with unsafe permissions has its own kind and
/// remedy.
pub(super) fn of_disk(error: io::Error, message: String) -> anyhow::Error {
    let kind = match files::untrusted(&error) {
        Some(untrusted) => Kind::StoreExposed {
            remedy: untrusted.remedy.clone(),
        },
        None => Kind::StoreUnusable,
    };
    anyhow::Error::from(error).context(Failure::new(kind, message))
}
