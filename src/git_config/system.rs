//! Finds the system configuration file that git reads.
//!
//! Its path is built into git. In `/usr` and in most builds, it follows from git's own directory. Some packagers choose
//! another path (Nix, Homebrew, dev containers). The helper asks git only if a file exists at a possible path, and
//! keeps the answer until that git changes.
use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    time::UNIX_EPOCH,
};

use super::{
    directories,
    entry::is_true_text,
    environment::{Variables, named_file},
};
use crate::{
    failure::Failure,
    files::Directory,
    program::{self, Child},
};

/// The file in the cache with git's answer.
const NOTE: &str = "system-config";
/// The longest note.
const MAX_NOTE_BYTES: u64 = 64 * 1024;
/// Git's answer to this process, to save later.
static LEARNED: OnceLock<String> = OnceLock::new();

/// Finds the system file; `None` if git reads none.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for a relative path in `GIT_CONFIG_SYSTEM`.
pub(crate) fn file(variables: Variables<'_>) -> Result<Option<PathBuf>, Failure> {
    const NAME: &str = "GIT_CONFIG_SYSTEM";
    if variables("GIT_CONFIG_NOSYSTEM").is_some_and(|value| is_true_text(&value)) {
        return Ok(None);
    }
    match variables(NAME) {
        Some(path) => named_file(NAME, path),
        None => Ok(built_in(variables)),
    }
}

/// Saves git's answer for the next command.
pub(crate) fn save_learned(cache: &Path) {
    if let Some(note) = LEARNED.get() {
        // Without it, git is asked again.
        let _ = Directory::make(cache)
            .and_then(|directory| directory.replace_in_passing(NOTE, note.as_bytes()));
    }
}

fn built_in(variables: Variables<'_>) -> Option<PathBuf> {
    let usual = || Some(PathBuf::from("/etc/gitconfig"));
    // A relative path would lead into a work tree.
    let exec_path = variables("GIT_EXEC_PATH").map(PathBuf::from);
    let git = match exec_path.filter(|path| path.has_root()) {
        Some(path) => path.join(format!("git{}", std::env::consts::EXE_SUFFIX)),
        None => match program::all("git").into_iter().next() {
            Some(git) => git,
            None => return usual(),
        },
    };
    let directory = git.parent()?;
    if directory.starts_with("/usr") && !directory.starts_with("/usr/local") {
        return usual();
    }
    if !directory.ancestors().any(|above| etc(above).exists()) {
        return None;
    }
    asked(&git, variables).or_else(|| by_prefix(directory))
}

fn etc(prefix: &Path) -> PathBuf {
    prefix.join("etc/gitconfig")
}

/// Gives git's answer, saved or new.
fn asked(git: &Path, variables: Variables<'_>) -> Option<PathBuf> {
    let mark = mark(git)?;
    let kept = directories::find(variables).cache.and_then(|cache| {
        let note = Directory::open(&cache).ok()?.read(NOTE, MAX_NOTE_BYTES);
        String::from_utf8(note.ok()?).ok()
    });
    let of_this_git = |note: &str| Some(PathBuf::from(note.strip_prefix(&mark)?));
    if let Some(path) = kept.as_deref().and_then(of_this_git) {
        return Some(path);
    }
    let answer = ask(git, &["var", "GIT_CONFIG_SYSTEM"])
        // Git before 2.42 gives the path only to its editor.
        .or_else(|| ask(git, &["config", "--system", "--edit"]))?;
    let _ = LEARNED.set(format!("{mark}{answer}"));
    Some(answer.into())
}

fn ask(git: &Path, question: &[&str]) -> Option<String> {
    let mut command = Child::Git.command(git).ok()?;
    // A repository must not affect the answer.
    for name in ["GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR"] {
        command.env_remove(name);
    }
    command.args(question).env("GIT_EDITOR", "echo");
    let path = answer(command.current_dir(git.ancestors().last()?))?;
    Path::new(&path).has_root().then_some(path)
}

/// Runs git without a terminal, and gives the line that it writes if it succeeds.
pub(super) fn answer(command: &mut Command) -> Option<String> {
    let command = command.stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok().filter(|it| it.status.success())?;
    let text = String::from_utf8(output.stdout).ok()?;
    Some(text.trim_end_matches(['\n', '\r']).to_owned())
}

/// Identifies this program file. Another or newer file has another mark.
fn mark(git: &Path) -> Option<String> {
    let metadata = fs::metadata(git).ok()?;
    let changed = metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?;
    let git = git.to_str()?;
    Some(format!(
        "{git}\n{} {}\n",
        changed.as_nanos(),
        metadata.len()
    ))
}

/// Gives the default path of git's Makefile: the directory without `/libexec/git-core` or `/lib/git-core`. On Windows,
/// the prefix is one directory further up.
fn by_prefix(directory: &Path) -> Option<PathBuf> {
    let prefix = directory.parent()?.parent()?;
    let is_mingw = cfg!(windows)
        && prefix
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mingw"));
    Some(etc(if is_mingw { prefix.parent()? } else { prefix }))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn with(exec_path: &Path) -> Option<PathBuf> {
        let exec_path = OsString::from(exec_path);
        built_in(&move |name: &str| (name == "GIT_EXEC_PATH").then(|| exec_path.clone()))
    }

    #[test]
    fn the_usual_git_has_the_usual_file() {
        for path in ["/usr/lib/git-core", "/usr/libexec/git-core"] {
            assert_eq!(
                with(Path::new(path)),
                Some("/etc/gitconfig".into()),
                "{path}"
            );
        }
    }

    #[test]
    fn a_git_that_does_not_answer_has_the_file_of_its_prefix() {
        let prefix = tempfile::tempdir().expect("a temporary directory");
        let file = etc(prefix.path());
        fs::create_dir(file.with_file_name("")).expect("it is ours");
        fs::write(&file, "").expect("it is ours");
        assert_eq!(with(&prefix.path().join("libexec/git-core")), Some(file));
    }
}
