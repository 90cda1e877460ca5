//! The `User-Agent` of our requests: the git that started us, and this program.
//!
//! Git tells its helpers everything but its version. Asking for it costs a process, so it is asked once, after a
//! command has done its work, and remembered until that git changes.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::UNIX_EPOCH,
};

use crate::files;

/// Names the git by its major version alone, as long as no more is known; Bitbucket looks for `git/`.
const UNKNOWN: &str = "2";

/// A git, and where its version is remembered.
#[derive(Debug)]
pub struct GitVersion {
    program: PathBuf,
    note: PathBuf,
}

impl GitVersion {
    /// Uses the git of an exec path (git(1), `--exec-path`), and a directory to remember it in.
    pub fn of(exec_path: &Path, directory: &Path) -> Self {
        GitVersion {
            program: exec_path.join(format!("git{}", std::env::consts::EXE_SUFFIX)),
            note: directory.join("git-version"),
        }
    }

    /// Makes the header from what is remembered.
    pub fn user_agent(version: Option<&Self>) -> String {
        let version = version.and_then(Self::remembered);
        let version = version.as_deref().unwrap_or(UNKNOWN);
        format!(
            "git/{version} git-remote-bbtoken/{}",
            env!("CARGO_PKG_VERSION")
        )
    }

    /// Asks git for its version, unless that is remembered or there is no place for it yet.
    pub fn learn(&self) {
        if self.remembered().is_none() && self.note.parent().is_some_and(Path::is_dir) {
            // Without it the header says less; that is all.
            let _ = self.ask();
        }
    }

    fn remembered(&self) -> Option<String> {
        let note = fs::read_to_string(&self.note).ok()?;
        let version = note.strip_prefix(&self.mark().ok()?)?.trim();
        is_version(version).then(|| version.to_owned())
    }

    fn ask(&self) -> io::Result<()> {
        let mark = self.mark()?;
        // First the file: where nothing can be kept, nothing is asked, every time anew.
        files::exchange(&self.note, |file| {
            file.write_all(format!("{mark}{}\n", self.version()?).as_bytes())
        })
    }

    fn version(&self) -> io::Result<String> {
        let output = Command::new(&self.program)
            .arg("version")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = text
            .strip_prefix("git version ")
            .and_then(|rest| rest.split_whitespace().next());
        let version = version.filter(|version| is_version(version));
        version
            .map(str::to_owned)
            .ok_or_else(|| io::ErrorKind::InvalidData.into())
    }

    /// Names this very program file: another one, or a newer one, has another mark.
    fn mark(&self) -> io::Result<String> {
        let metadata = fs::metadata(&self.program)?;
        let changed = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Ok(format!(
            "{}\n{} {}\n",
            self.program.display(),
            changed.as_nanos(),
            metadata.len()
        ))
    }
}

fn is_version(text: &str) -> bool {
    !text.is_empty()
        && text.len() < 100
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_note_the_header_says_that_it_is_git() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let version = GitVersion::of(directory.path(), directory.path());
        let expected = format!("git/2 git-remote-bbtoken/{}", env!("CARGO_PKG_VERSION"));
        assert_eq!(GitVersion::user_agent(Some(&version)), expected);
        assert_eq!(GitVersion::user_agent(None), expected);
    }

    #[test]
    fn a_note_about_another_git_is_not_believed() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let version = GitVersion::of(directory.path(), directory.path());
        fs::write(&version.program, "").expect("it can be written");
        fs::write(
            &version.note,
            format!("{}2.99.1\n", version.mark().expect("it is there")),
        )
        .expect("it can be written");
        assert_eq!(version.remembered().as_deref(), Some("2.99.1"));
        fs::write(&version.program, "newer").expect("it can be written");
        assert_eq!(version.remembered(), None);
    }
}
