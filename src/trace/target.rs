//! The target of a trace, in the form of git's `GIT_TRACE_*` variables (git(1), "GIT_TRACE").

use std::{
    ffi::OsStr,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

/// An open place for lines.
pub(super) enum Target {
    Stderr,
    File(File),
}

impl Target {
    /// Opens the target that a variable requests; `None` if it requests none.
    pub(super) fn open(value: &OsStr) -> io::Result<Option<Self>> {
        let text = value.to_string_lossy().to_ascii_lowercase();
        let mut options = OpenOptions::new();
        options.append(true);
        let file = match text.as_bytes() {
            b"" | b"0" | b"false" => return Ok(None),
            b"1" | b"2" | b"true" => return Ok(Some(Target::Stderr)),
            // A file descriptor that the caller opened.
            [b'3'..=b'9'] => options.open(format!("/dev/fd/{text}")),
            _ if Path::new(value).is_absolute() => options.create(true).open(value),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "it is neither 1 nor an absolute path",
            )),
        };
        Ok(Some(Target::File(file?)))
    }

    /// Opens a file that only its owner can read.
    pub(super) fn open_private(path: &Path) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        Ok(Target::File(options.open(path)?))
    }

    /// Writes whole lines in one call, so that the lines of several processes do not mix.
    pub(super) fn write(&self, lines: &str) {
        // A failed write of a trace must not break a command.
        let _ = match self {
            Target::Stderr => io::stderr().lock().write_all(lines.as_bytes()),
            Target::File(file) => (&mut &*file).write_all(lines.as_bytes()),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_mean_what_they_mean_to_git() {
        let directory = tempfile::tempdir().expect("there is room");
        let path = directory.path().join("trace");
        let path = path.to_str().expect("it is text");
        let cases = [
            ("", "nothing"),
            ("0", "nothing"),
            ("False", "nothing"),
            ("1", "stderr"),
            ("true", "stderr"),
            ("2", "stderr"),
            ("9", "file"),
            ("relative/path", "unknown"),
            ("10", "unknown"),
            (path, "file"),
        ];
        for (value, expected) in cases {
            let found = match Target::open(OsStr::new(value)) {
                Ok(None) => "nothing",
                Ok(Some(Target::Stderr)) => "stderr",
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => "unknown",
                // The caller of this test may have opened the descriptor or not.
                Ok(Some(Target::File(_))) | Err(_) => "file",
            };
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(cases.len(), 10);
        assert!(Path::new(path).exists(), "a file is made");
    }
}
