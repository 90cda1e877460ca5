//! The ways to open a file of a directory.

/// The mode for opening a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// Reads an existing file.
    Read,
    /// Creates and writes a new file.
    New,
    /// Reads and writes a file, and creates it if it is missing.
    Keep,
}
