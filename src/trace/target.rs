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

/// The target that a variable requests.
pub(super) enum Asked<'v> {
    /// Unset, empty, `0` or `false`.
    Nothing,
    /// `1` or `true`.
    Stderr,
    /// A digit from 2 to 9: a file descriptor that the caller opened.
    Descriptor(u8),
    /// An absolute path.
    File(&'v Path),
    /// Anything else.
    Unknown,
}

impl<'v> Asked<'v> {
    pub(super) fn read(value: &'v OsStr) -> Self {
        let text = value.to_string_lossy();
        match text.as_bytes() {
            b"" | b"0" => Asked::Nothing,
            b"1" => Asked::Stderr,
            [digit @ b'2'..=b'9'] => Asked::Descriptor(digit - b'0'),
            _ if text.eq_ignore_ascii_case("false") => Asked::Nothing,
            _ if text.eq_ignore_ascii_case("true") => Asked::Stderr,
            _ if Path::new(value).is_absolute() => Asked::File(Path::new(value)),
            _ => Asked::Unknown,
        }
    }
}

impl Target {
    /// Opens the requested target; `None` if there is none.
    pub(super) fn open(asked: &Asked<'_>) -> io::Result<Option<Self>> {
        Ok(Some(match asked {
            Asked::Nothing => return Ok(None),
            Asked::Stderr | Asked::Descriptor(2) => Target::Stderr,
            Asked::Descriptor(number) => Target::File(
                OpenOptions::new()
                    .append(true)
                    .open(format!("/dev/fd/{number}"))?,
            ),
            Asked::File(path) => {
                Target::File(OpenOptions::new().append(true).create(true).open(path)?)
            }
            Asked::Unknown => {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "it is neither 1 nor an absolute path",
                ));
            }
        }))
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
        let cases = [
            ("", "nothing"),
            ("0", "nothing"),
            ("False", "nothing"),
            ("1", "stderr"),
            ("true", "stderr"),
            ("2", "descriptor"),
            ("9", "descriptor"),
            ("relative/path", "unknown"),
            ("10", "unknown"),
            (if cfg!(windows) { "C:\\t" } else { "/t" }, "file"),
        ];
        for (value, expected) in cases {
            let found = match Asked::read(OsStr::new(value)) {
                Asked::Nothing => "nothing",
                Asked::Stderr => "stderr",
                Asked::Descriptor(_) => "descriptor",
                Asked::File(_) => "file",
                Asked::Unknown => "unknown",
            };
            assert_eq!(found, expected, "{value}");
        }
        assert_eq!(cases.len(), 10);
    }
}
