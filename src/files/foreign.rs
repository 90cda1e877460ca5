//! Reads files that another user may have written. They may be huge, or pipes without a writer.

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Read as _},
    path::Path,
};

/// More than any settings, attributes, key or certificate file.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Reads a file with a limited length.
///
/// # Errors
///
/// If the file system refuses. [`ErrorKind::FileTooLarge`] for a longer file, [`ErrorKind::InvalidInput`] for a pipe.
pub(crate) fn read(path: &Path, max_bytes: u64) -> io::Result<Vec<u8>> {
    let file = open(path)?;
    let metadata = file.metadata()?;
    if is_pipe(&metadata.file_type()) {
        return Err(io::Error::new(
            ErrorKind::InvalidInput,
            "it is not a regular file",
        ));
    }
    let length = metadata.len().min(max_bytes);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(max_bytes + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_bytes {
        return Err(ErrorKind::FileTooLarge.into());
    }
    Ok(bytes)
}

/// Reads a file that a setting names. The error contains its path.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn read_named(path: &Path) -> io::Result<Vec<u8>> {
    read(path, MAX_BYTES).map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot read '{}': {error}", path.display()),
        )
    })
}

/// Reads the first line of a short file; `None` if there is none.
pub(crate) fn first_line(path: &Path) -> Option<String> {
    /// More than any path or branch name.
    const MAX_BYTES: u64 = 64 * 1024;
    let text = String::from_utf8(read(path, MAX_BYTES).ok()?).ok()?;
    Some(text.lines().next().unwrap_or("").to_owned())
}

/// Opens a file without blocking on a pipe.
///
/// # Errors
///
/// If the file system refuses.
#[cfg(unix)]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    // This opens a pipe even without a writer. The caller then refuses it.
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY;
    let flags = flags.bits().cast_signed();
    OpenOptions::new().read(true).custom_flags(flags).open(path)
}

#[cfg(not(unix))]
pub(crate) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).open(path)
}

#[cfg(unix)]
fn is_pipe(kind: &std::fs::FileType) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    kind.is_fifo() || kind.is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_kind: &std::fs::FileType) -> bool {
    false
}
