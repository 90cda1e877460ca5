//! Reads git's configuration files in git's order, with their includes.

use std::{
    cell::OnceCell,
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use gix::glob::wildmatch::Mode;

use super::{
    entry::{Entry, Scope, is_true, lookup},
    environment::Variables,
    files::Places,
    include, parameters,
    syntax::{self, Assignment, Stop},
    text::Text,
};
use crate::{
    failure::{Failure, misconfigured},
    files::foreign,
};

/// The limit for nested includes (git: `MAX_INCLUDE_DEPTH`).
const MAX_INCLUDE_DEPTH: usize = 10;
/// The limits for the whole configuration, so that a hostile file cannot fill the memory. Real ones are far smaller.
const LIMITS: Limits = Limits {
    bytes: 16 * 1024 * 1024,
    settings: 250_000,
    files: 1000,
};

/// The remaining limits.
#[derive(Clone, Copy)]
struct Limits {
    bytes: u64,
    settings: usize,
    files: usize,
}

/// Reads all settings in order of precedence.
///
/// # Errors
///
/// [`crate::failure::Kind::Misconfigured`] for a file that cannot be read or parsed.
pub(super) fn read(places: &Places, variables: Variables<'_>) -> anyhow::Result<Vec<Entry>> {
    let mut reader = Reader::new(places, variables);
    reader.read()?;
    Ok(reader.entries)
}

/// Reads the settings of one file, without those that it includes.
///
/// # Errors
///
/// As [`read`].
pub(crate) fn file(path: &Path, scope: Scope) -> anyhow::Result<Vec<Entry>> {
    Reader::new(&Places::default(), &|_| None).read_file(path, scope)
}

/// Collects entries. Includes are read at their position.
struct Reader<'r> {
    places: &'r Places,
    variables: Variables<'r>,
    /// Whether this pass reads the URLs of all remotes for `hasconfig`. It treats each `hasconfig` condition as true.
    is_for_urls: bool,
    entries: Vec<Entry>,
    left: Limits,
    remote_urls: OnceCell<Vec<String>>,
}

/// The position of an entry.
#[derive(Clone, Copy)]
struct Here<'h> {
    /// The file; `None` for the command line and the environment.
    file: Option<&'h Path>,
    depth: usize,
    /// Whether the file was included by a condition.
    is_conditional: bool,
}

impl<'h> Here<'h> {
    /// An entry that no other file includes.
    fn at(file: Option<&'h Path>) -> Self {
        Here {
            file,
            depth: 0,
            is_conditional: false,
        }
    }
}

impl<'r> Reader<'r> {
    fn new(places: &'r Places, variables: Variables<'r>) -> Self {
        Reader {
            places,
            variables,
            is_for_urls: false,
            entries: Vec::new(),
            left: LIMITS,
            remote_urls: OnceCell::new(),
        }
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut worktree = None;
        for (path, scope) in self.places.files() {
            let settings = match self.read_file(&path, scope) {
                // Git ignores global files without read permission, so that another user's HOME does not stop it.
                Err(error) if scope == Scope::Global && is_hidden(&error) => Vec::new(),
                settings => settings?,
            };
            if scope == Scope::Local && has_worktree_file(&settings) {
                worktree = self.places.git_dir.as_ref();
            }
            self.add_all(settings, Here::at(Some(&path)))?;
        }
        if let Some(git_dir) = worktree {
            let path = git_dir.join("config.worktree");
            let settings = self.read_file(&path, Scope::Worktree)?;
            self.add_all(settings, Here::at(Some(&path)))?;
        }
        for (origin, settings) in parameters::read(self.variables)? {
            self.add_all(entries(settings, Scope::Command, origin), Here::at(None))?;
        }
        Ok(())
    }

    fn add_all(&mut self, entries: Vec<Entry>, here: Here<'_>) -> anyhow::Result<()> {
        entries
            .into_iter()
            .try_for_each(|entry| self.add(entry, here))
    }

    fn add(&mut self, entry: Entry, here: Here<'_>) -> anyhow::Result<()> {
        if self.is_for_urls && here.is_conditional && is_remote_url(&entry) {
            let failure = misconfigured(format!(
                "{} sets a remote's URL, which git forbids in a file included by 'includeIf.hasconfig'; remove the URL from that file",
                entry.with_origin()
            ));
            return Err(failure.into());
        }
        let includes = match (entry.section.as_str(), entry.subsection.as_deref()) {
            _ if entry.key != "path" => false,
            ("include", None) => true,
            ("includeif", Some(condition)) => self.holds(condition, here.file)?,
            _ => false,
        };
        if !includes {
            self.entries.push(entry);
            return Ok(());
        }
        let (path, scope) = (self.target(&entry, here)?, entry.scope);
        let there = Here {
            file: Some(&path),
            depth: here.depth + 1,
            // Only `includeIf` has a subsection.
            is_conditional: here.is_conditional || entry.subsection.is_some(),
        };
        self.entries.push(entry);
        let settings = self.read_file(&path, scope)?;
        self.add_all(settings, there)
    }

    /// Reads one file. A missing file is empty.
    fn read_file(&mut self, path: &Path, scope: Scope) -> anyhow::Result<Vec<Entry>> {
        let too_much = |what: String| {
            anyhow::anyhow!("git's configuration is too large: it has more than {what}")
                .context(unreadable(path))
        };
        let left = self.left.files.checked_sub(1);
        self.left.files =
            left.ok_or_else(|| too_much(format!("{} files; remove includes", LIMITS.files)))?;
        let text = match foreign::read(path, self.left.bytes) {
            Ok(text) => text,
            Err(error) => match error.kind() {
                ErrorKind::NotFound | ErrorKind::NotADirectory => return Ok(Vec::new()),
                ErrorKind::FileTooLarge => {
                    return Err(too_much(format!("{} MiB; shorten it", LIMITS.bytes >> 20)));
                }
                _ => return Err(error).context(unreadable(path)),
            },
        };
        let settings = syntax::parse(&text, self.left.settings).map_err(|stop| match stop {
            Stop::Line(line) => anyhow::anyhow!("git cannot parse line {line}; correct this line")
                .context(unreadable(path)),
            Stop::TooMany => too_much(format!("{} settings; remove some", LIMITS.settings)),
        })?;
        self.left.bytes -= text.len() as u64;
        self.left.settings -= settings.len();
        Ok(entries(settings, scope, &path.display().to_string()))
    }

    /// Tells whether the condition of an include holds. `file` contains it. An unknown condition never holds.
    fn holds(&self, condition: &str, file: Option<&Path>) -> anyhow::Result<bool> {
        let in_git_directory =
            |pattern, case| include::in_git_directory(self.places, pattern, case, file);
        Ok(match condition.split_once(':') {
            Some(("gitdir", pattern)) => in_git_directory(pattern, Mode::empty()),
            Some(("gitdir/i", pattern)) => in_git_directory(pattern, Mode::IGNORE_CASE),
            Some(("onbranch", pattern)) => include::on_branch(self.places, pattern),
            Some(("hasconfig", rest)) => match rest.strip_prefix("remote.*.url:") {
                Some(pattern) => self.is_for_urls || self.has_remote_url(pattern)?,
                None => false,
            },
            _ => false,
        })
    }

    fn has_remote_url(&self, pattern: &str) -> anyhow::Result<bool> {
        let mut urls = self.remote_urls()?.iter();
        Ok(urls.any(|url| include::is_remote_url(pattern, url)))
    }

    /// Reads everything first, because remotes may follow after the condition (git: `populate_remote_urls`).
    fn remote_urls(&self) -> anyhow::Result<&[String]> {
        if let Some(urls) = self.remote_urls.get() {
            return Ok(urls);
        }
        let mut reader = Reader {
            is_for_urls: true,
            ..Reader::new(self.places, self.variables)
        };
        reader.read()?;
        let remotes = reader.entries.into_iter().filter(is_remote_url);
        let urls = remotes.filter_map(|entry| entry.value).collect();
        Ok(self.remote_urls.get_or_init(|| urls))
    }

    /// Finds the file of an include.
    fn target(&self, entry: &Entry, here: Here<'_>) -> Result<PathBuf, Failure> {
        let path = entry.value.as_deref().ok_or_else(|| {
            misconfigured(format!(
                "{} has no value; give the include a path",
                entry.with_origin()
            ))
        })?;
        let path = include::target(self.places, path, here.file).ok_or_else(|| {
            misconfigured(format!(
                "git cannot resolve {}, because it is not an absolute path; give an absolute path",
                entry.with_origin()
            ))
        })?;
        if here.depth < MAX_INCLUDE_DEPTH {
            return Ok(path);
        }
        Err(misconfigured(format!(
            "git's configuration has too many nested includes, at '{}'; remove the include that leads back to this file",
            path.display()
        )))
    }
}

/// Tells whether the worktree has its own file. The repository's file must contain the extension and a format version
/// (git: `read_repository_format`).
fn has_worktree_file(settings: &[Entry]) -> bool {
    let last = |section: &str, key: &str| lookup(settings, section, None, key);
    last("core", "repositoryformatversion").is_some()
        && last("extensions", "worktreeconfig").is_some_and(is_true)
}

fn is_remote_url(entry: &Entry) -> bool {
    entry.section == "remote" && entry.subsection.is_some() && entry.key == "url"
}

fn entries(settings: Vec<Assignment>, scope: Scope, origin: &str) -> Vec<Entry> {
    let origin = Text::from(origin);
    let entry = |Assignment { name, value }| Entry {
        section: name.section,
        subsection: name.subsection,
        key: name.key,
        value,
        scope,
        origin: origin.clone(),
    };
    settings.into_iter().map(entry).collect()
}

/// Tells whether a file could not be read because of its permissions.
fn is_hidden(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::PermissionDenied)
}

fn unreadable(path: &Path) -> Failure {
    misconfigured(format!(
        "cannot read git's configuration in '{}'",
        path.display()
    ))
}
