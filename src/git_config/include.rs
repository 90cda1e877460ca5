//! Decides which files a configuration file includes (git-config(1), "Includes" and "Conditional includes").

use std::{
    fs,
    path::{Path, PathBuf},
};

use gix::glob::{wildmatch, wildmatch::Mode};

use super::{files::Places, system};
use crate::{files::foreign, program::Child};

/// The longest chain of symbolic refs (git: `SYMREF_MAXDEPTH`).
const MAX_SYMBOLIC_DEPTH: usize = 5;

/// Tells whether the repository's directory matches. `file` contains the condition (git: `include_by_gitdir`).
pub(super) fn in_git_directory(
    places: &Places,
    pattern: &str,
    case: Mode,
    file: Option<&Path>,
) -> bool {
    let Some(git_dir) = &places.git_dir else {
        return false;
    };
    let Some((literal, glob)) = absolute_pattern(places, pattern, file) else {
        return false;
    };
    let fits = |directory: &Path| {
        let directory = with_slashes(directory);
        // Compare the known directory as text, even if its name contains pattern characters.
        let (Some(head), Some(tail)) = (
            directory.get(..literal.len()),
            directory.get(literal.len()..),
        ) else {
            return false;
        };
        let is_head = match case.contains(Mode::IGNORE_CASE) {
            true => head.eq_ignore_ascii_case(&literal),
            false => head == literal,
        };
        is_head && matches(&glob, tail, case)
    };
    // Git tries the resolved path first, then the original one.
    fs::canonicalize(git_dir).is_ok_and(|path| fits(&path))
        || std::path::absolute(git_dir).is_ok_and(|path| fits(&path))
}

/// Makes a pattern absolute: a known directory as text, and the rest as a pattern.
fn absolute_pattern(
    places: &Places,
    pattern: &str,
    file: Option<&Path>,
) -> Option<(String, String)> {
    if let Some(relative) = pattern.strip_prefix("./") {
        let file = fs::canonicalize(file?).ok()?;
        let literal = format!("{}/", with_slashes(file.parent()?).trim_end_matches('/'));
        return Some((literal, with_all_below(relative)));
    }
    let home = places
        .home
        .as_deref()
        .and_then(|home| fs::canonicalize(home).ok());
    let mut pattern = match (pattern.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => {
            format!("{}/{rest}", with_slashes(&home).trim_end_matches('/'))
        }
        _ => pattern.to_owned(),
    };
    if !Path::new(&pattern).is_absolute() {
        pattern.insert_str(0, "**/");
    }
    Some((String::new(), with_all_below(&pattern)))
}

/// Tells whether the current branch matches (git: `include_by_branch`).
pub(super) fn on_branch(places: &Places, pattern: &str) -> bool {
    let branch = places.branch.get_or_init(|| branch(places));
    let branch = branch.as_deref().and_then(short);
    branch.is_some_and(|branch| matches(&with_all_below(pattern), branch, Mode::empty()))
}

/// Removes the prefix of branch names.
pub(super) fn short(branch: &str) -> Option<&str> {
    branch.strip_prefix("refs/heads/")
}

/// Finds the current branch, with the full name of its ref.
pub(super) fn branch(places: &Places) -> Option<String> {
    let git_dir = places.git_dir.as_deref()?;
    let mut name = symbolic(&git_dir.join("HEAD"))?;
    // This repository has reftables, which only git reads (git: `refs/reftable-backend.c`).
    if name == "refs/heads/.invalid" {
        return ask_for_branch(git_dir);
    }
    // A branch may be a symbolic ref to another one.
    for _ in 0..MAX_SYMBOLIC_DEPTH {
        let is_below = !name.split('/').any(|part| part == "..");
        let common_dir = places.common_dir.as_ref().filter(|_| is_below);
        match common_dir.and_then(|common_dir| symbolic(&common_dir.join(&name))) {
            Some(next) => name = next,
            None => break,
        }
    }
    Some(name)
}

/// Reads the target of a symbolic ref, from its text or from a symbolic link, as in old repositories.
fn symbolic(path: &Path) -> Option<String> {
    if let Ok(target) = fs::read_link(path)
        && let Some(name) = target.to_str().filter(|name| name.starts_with("refs/"))
    {
        return Some(name.to_owned());
    }
    let line = foreign::first_line(path)?;
    Some(line.strip_prefix("ref:")?.trim().to_owned())
}

fn ask_for_branch(git_dir: &Path) -> Option<String> {
    let mut command = Child::Git.command("git").ok()?;
    command.args(["symbolic-ref", "--quiet", "HEAD"]);
    system::answer(command.env("GIT_DIR", git_dir))
}

/// Tells whether a remote's URL matches (git: `at_least_one_url_matches_glob`).
pub(super) fn is_remote_url(pattern: &str, url: &str) -> bool {
    matches(pattern, url, Mode::empty())
}

fn matches(pattern: &str, text: &str, case: Mode) -> bool {
    let mode = Mode::NO_MATCH_SLASH_LITERAL | case;
    wildmatch(pattern.into(), text.into(), mode)
}

fn with_all_below(pattern: &str) -> String {
    let all_below = if pattern.ends_with('/') { "**" } else { "" };
    format!("{pattern}{all_below}")
}

/// Formats a path for patterns, with slashes on every system.
fn with_slashes(path: &Path) -> String {
    let text = path.to_string_lossy();
    if cfg!(windows) {
        text.trim_start_matches(r"\\?\").replace('\\', "/")
    } else {
        text.into_owned()
    }
}

/// Finds the file of an `include.path` (git: `handle_path_include`); `None` if a relative path has no base.
pub(super) fn target(places: &Places, path: &str, file: Option<&Path>) -> Option<PathBuf> {
    let path = match (path.strip_prefix("~/"), &places.home) {
        (Some(rest), Some(home)) => home.join(rest),
        (Some(_), None) => return None,
        (None, _) => PathBuf::from(path),
    };
    if path.is_absolute() {
        return Some(path);
    }
    Some(file?.parent()?.join(path))
}
