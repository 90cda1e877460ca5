//! Reads the files that settings name.

use std::{io, path::Path};

use crate::files::foreign;

/// Reads a key or certificate file that a setting names.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    foreign::read(path, foreign::MAX_BYTES).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read '{}': {error}", path.display()),
        )
    })
}
