//! Git's configuration, read the way git reads it, without starting git.
//!
//! Which files, in which order, what they include and what `git -c` adds. `git config --list` is the oracle of the
//! tests (`tests/it/config.rs`).

use std::{
    cell::OnceCell,
    ffi::{OsStr, OsString},
    io::ErrorKind,
    path::{Path, PathBuf},
};

use anyhow::Context as _;

use super::{
    include::{self, Condition},
    parameters,
    syntax::{self, Assignment, Stop},
    system,
    text::Text,
};
use crate::{
    failure::{Failure, Kind},
    files::foreign,
};

/// How deep includes may nest (git: `MAX_INCLUDE_DEPTH`).
const MAX_INCLUDE_DEPTH: usize = 10;
/// What is read in all. A hostile file is refused before it takes the machine's memory; real ones are far smaller.
const LIMITS: Limits = Limits {
    bytes: 16 * 1024 * 1024,
    settings: 250_000,
    files: 1000,
};

/// What may still be read.
#[derive(Clone, Copy)]
struct Limits {
    bytes: u64,
    settings: usize,
    files: usize,
}

/// Where a setting stands (git-config(1), "SCOPES").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The machine's file.
    System,
    /// The user's files.
    Global,
    /// The repository's file.
    Local,
    /// The work tree's file.
    Worktree,
    /// `git -c` and `GIT_CONFIG_COUNT`.
    Command,
}

impl Scope {
    /// Tells whether settings from here may name endpoints and commands (git-config(1), "protected configuration").
    pub fn is_protected(self) -> bool {
        matches!(self, Scope::System | Scope::Global | Scope::Command)
    }
}

/// Keys with capitals that messages name.
const SPELLINGS: [&str; 12] = [
    "clientId",
    "clientSecretCommand",
    "accessTokenCommand",
    "baseUrl",
    "tokenUrl",
    "authorizeUrl",
    "pushProfile",
    "rememberAdvertisement",
    "bbtokenProfile",
    "insteadOf",
    "pushInsteadOf",
    "useHttpPath",
];

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section, in lower case; empty for a key that stands before the first one.
    pub section: Text,
    /// The subsection, as written.
    pub subsection: Option<Text>,
    /// The key, in lower case.
    pub key: Text,
    /// The value; `None` for a key without `=`, which means true.
    pub value: Option<String>,
    /// The scope of its file.
    pub scope: Scope,
    /// Its file, or `command line`.
    pub origin: Text,
}

impl Entry {
    /// Makes the entry that a variable stands for.
    pub(super) fn of_variable(variable: &str, key: &str, value: &OsStr) -> Self {
        Entry {
            section: "http".into(),
            subsection: None,
            key: key.into(),
            value: Some(value.to_string_lossy().into_owned()),
            scope: Scope::Command,
            origin: variable.into(),
        }
    }

    /// Gives the key as a person writes it.
    pub fn name(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("{}.{subsection}.{}", self.section, self.documented_key()),
            None if self.section.is_empty() => self.key.to_string(),
            None => format!("{}.{}", self.section, self.documented_key()),
        }
    }

    /// Gives the key with the capitals that it has where it is documented.
    fn documented_key(&self) -> &str {
        let of_http = super::HTTP_KEYS.iter().map(|key| key.name);
        // Some are a remote's, too.
        let of_http = of_http.filter(|_| ["http", "remote"].contains(&self.section.as_str()));
        let mut known = SPELLINGS.into_iter().chain(of_http);
        known
            .find(|name| name.eq_ignore_ascii_case(&self.key))
            .unwrap_or(&self.key)
    }
}

/// Reads environment variables; a parameter, so that nothing depends on the process's own.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// All of git's settings in the order in which they take effect.
#[derive(Clone, Debug, Default)]
pub struct GitConfig {
    entries: Vec<Entry>,
    local_file: Option<PathBuf>,
    worktree_file: Option<PathBuf>,
}

impl GitConfig {
    /// Reads what git would read here: system, global, local, worktree, and the command line's.
    ///
    /// # Errors
    ///
    /// [`Kind::Misconfigured`] for a file that cannot be read or parsed, as git itself would stop there.
    pub fn read(variables: Variables<'_>) -> anyhow::Result<Self> {
        let places = Places::find(variables)?;
        let mut reader = Reader::new(&places, variables, Mode::Settings);
        reader.read()?;
        Ok(GitConfig {
            entries: reader.entries,
            local_file: places.common_dir.as_ref().map(|path| path.join("config")),
            worktree_file: places
                .git_dir
                .as_ref()
                .map(|path| path.join("config.worktree")),
        })
    }

    /// Goes through all settings in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
    }

    /// Goes through the settings of the repository's own files.
    pub fn of_repository(&self) -> impl Iterator<Item = &Entry> {
        self.entries().filter(|entry| !entry.scope.is_protected())
    }

    /// Gives the settings without those of the repository's own files.
    #[must_use]
    pub fn protected(&self) -> Self {
        let protected = self.entries().filter(|entry| entry.scope.is_protected());
        GitConfig {
            entries: protected.cloned().collect(),
            ..GitConfig::default()
        }
    }

    /// Names the repository's file of a scope.
    pub fn file(&self, scope: Scope) -> Option<&Path> {
        match scope {
            Scope::Local => self.local_file.as_deref(),
            Scope::Worktree => self.worktree_file.as_deref(),
            Scope::System | Scope::Global | Scope::Command => None,
        }
    }

    /// Finds the setting that wins: the last one. Section and key are in lower case.
    pub fn last(&self, section: &str, subsection: Option<&str>, key: &str) -> Option<&Entry> {
        lookup(&self.entries, section, subsection, key)
    }
}

fn lookup<'e>(
    entries: &'e [Entry],
    section: &str,
    subsection: Option<&str>,
    key: &str,
) -> Option<&'e Entry> {
    entries.iter().rev().find(|entry| {
        entry.section == section && entry.key == key && entry.subsection.as_deref() == subsection
    })
}

/// Reads a boolean as git does (git-config(1), "Values"): no value, `yes`, `on`, `true` or a number other than 0.
pub(crate) fn is_true(entry: &Entry) -> bool {
    entry.value.as_deref().is_none_or(is_true_word)
}

/// Tells whether a variable's value means true (git: `git_env_bool`).
pub(crate) fn is_true_text(value: &OsStr) -> bool {
    is_true_word(&value.to_string_lossy())
}

fn is_true_word(word: &str) -> bool {
    gix::config::Boolean::try_from(word).is_ok_and(gix::config::Boolean::is_true)
}

/// The files and directories that matter, as git's environment tells them.
pub(super) struct Places {
    system: Option<PathBuf>,
    global: Vec<PathBuf>,
    pub(super) home: Option<PathBuf>,
    pub(super) git_dir: Option<PathBuf>,
    pub(super) common_dir: Option<PathBuf>,
    /// The branch that is checked out, once it was looked for.
    pub(super) branch: OnceCell<Option<String>>,
}

impl Places {
    fn find(variables: Variables<'_>) -> Result<Self, Failure> {
        let home = home(variables)?;
        let git_dir = variables("GIT_DIR").map(PathBuf::from);
        Ok(Places {
            system: system::file(variables)?,
            global: global_files(variables, home.as_deref())?,
            common_dir: git_dir
                .as_deref()
                .map(|git_dir| common_dir(variables, git_dir)),
            git_dir,
            home,
            branch: OnceCell::new(),
        })
    }

    /// Gives the files that come first, in the order in which they are read.
    fn files(&self) -> Vec<(PathBuf, Scope)> {
        let system = self.system.iter().map(|path| (path.clone(), Scope::System));
        let global = self.global.iter().map(|path| (path.clone(), Scope::Global));
        let common = self.common_dir.iter();
        let local = common.map(|path| (path.join("config"), Scope::Local));
        system.chain(global).chain(local).collect()
    }
}

/// Tells whether work trees have files of their own: the repository's file says so itself, with its format's version
/// beside it (git: `read_repository_format`).
fn has_worktree_file(settings: &[Entry]) -> bool {
    let last = |section: &str, key: &str| lookup(settings, section, None, key);
    last("core", "repositoryformatversion").is_some()
        && last("extensions", "worktreeconfig").is_some_and(is_true)
}

/// Names the branch that is checked out in the repository of `GIT_DIR`.
pub(crate) fn branch(variables: Variables<'_>) -> Option<String> {
    let branch = include::branch(&Places::find(variables).ok()?)?;
    include::short(&branch).map(str::to_owned)
}

/// Finds the user's own file, whether it exists or not; `None` without a home.
pub(crate) fn user_file(variables: Variables<'_>) -> Option<PathBuf> {
    let home = home(variables).ok()?;
    global_files(variables, home.as_deref()).ok()?.pop()
}

fn global_files(variables: Variables<'_>, home: Option<&Path>) -> Result<Vec<PathBuf>, Failure> {
    const NAME: &str = "GIT_CONFIG_GLOBAL";
    if let Some(path) = variables(NAME) {
        return Ok(named_file(NAME, path)?.into_iter().collect());
    }
    let xdg = match variables("XDG_CONFIG_HOME").filter(|path| !path.is_empty()) {
        Some(path) => Some(absolute("XDG_CONFIG_HOME", path)?),
        None => home.map(|home| home.join(".config")),
    };
    let xdg = xdg.map(|directory| directory.join("git/config"));
    let own = home.map(|home| home.join(".gitconfig"));
    Ok(xdg.into_iter().chain(own).collect())
}

/// Gives the file that a variable names; an empty variable names none.
pub(super) fn named_file(name: &str, path: OsString) -> Result<Option<PathBuf>, Failure> {
    (!path.is_empty()).then(|| absolute(name, path)).transpose()
}

/// Finds the user's home as git does: `HOME`. An empty one is the root directory (git: `interpolate_path`).
///
/// # Errors
///
/// [`Kind::Misconfigured`] for a relative path.
pub(super) fn home(variables: Variables<'_>) -> Result<Option<PathBuf>, Failure> {
    match variables("HOME") {
        Some(home) if !home.is_empty() => absolute("HOME", home).map(Some),
        Some(_) if cfg!(unix) => Ok(Some(PathBuf::from("/"))),
        _ if cfg!(unix) => Ok(None),
        // Git for Windows finds one without the variable, too.
        _ => Ok(dirs::home_dir()),
    }
}

/// Takes a path that the user's own settings name.
///
/// # Deviation
///
/// Git follows a relative path. A repository could put a file there, and so pass for its user.
///
/// # Errors
///
/// [`Kind::Misconfigured`] for a relative path.
pub(super) fn absolute(what: &str, path: impl Into<PathBuf>) -> Result<PathBuf, Failure> {
    let path = path.into();
    // On Windows a path below the current drive's root has no drive.
    if path.has_root() {
        return Ok(path);
    }
    Err(Failure::new(
        Kind::Misconfigured,
        format!(
            "{what} is not an absolute path: a repository could put a file there; give an absolute path"
        ),
    ))
}

/// Finds the directory that work trees share (gitrepository-layout(5), "commondir").
fn common_dir(variables: Variables<'_>, git_dir: &Path) -> PathBuf {
    if let Some(path) = variables("GIT_COMMON_DIR") {
        return path.into();
    }
    match foreign::first_line(&git_dir.join("commondir")) {
        Some(relative) => git_dir.join(relative),
        None => git_dir.to_owned(),
    }
}

/// What a pass over the files is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// The settings that hold.
    Settings,
    /// The URLs of all remotes, for `hasconfig`: whatever that would include is included.
    RemoteUrls,
}

/// Collects entries, following includes at the very place where they stand.
struct Reader<'r> {
    places: &'r Places,
    variables: Variables<'r>,
    mode: Mode,
    entries: Vec<Entry>,
    left: Limits,
    remote_urls: OnceCell<Vec<String>>,
}

/// Where an entry was met.
#[derive(Clone, Copy)]
struct Here<'h> {
    /// Its file; none for the command line.
    file: Option<&'h Path>,
    depth: usize,
    /// Whether a condition let its file in.
    is_conditional: bool,
}

impl<'r> Reader<'r> {
    fn new(places: &'r Places, variables: Variables<'r>, mode: Mode) -> Self {
        Reader {
            places,
            variables,
            mode,
            entries: Vec::new(),
            left: LIMITS,
            remote_urls: OnceCell::new(),
        }
    }

    fn read(&mut self) -> anyhow::Result<()> {
        let mut worktree = None;
        for (path, scope) in self.places.files() {
            let here = Here {
                file: Some(&path),
                depth: 0,
                is_conditional: false,
            };
            let settings = match self.read_file(&path, scope) {
                // Git passes over the user's files that it may not see, so that a HOME of somebody else does not stop it.
                Err(error) if scope == Scope::Global && is_hidden(&error) => Vec::new(),
                settings => settings?,
            };
            if scope == Scope::Local && has_worktree_file(&settings) {
                worktree = self.places.git_dir.as_ref();
            }
            self.add_all(settings, here)?;
        }
        if let Some(git_dir) = worktree {
            let path = git_dir.join("config.worktree");
            let here = Here {
                file: Some(&path),
                depth: 0,
                is_conditional: false,
            };
            let settings = self.read_file(&path, Scope::Worktree)?;
            self.add_all(settings, here)?;
        }
        let settings = parameters::read(self.variables)?;
        let here = Here {
            file: None,
            depth: 0,
            is_conditional: false,
        };
        self.add_all(entries(settings, Scope::Command, "the command line"), here)
    }

    fn add_all(&mut self, entries: Vec<Entry>, here: Here<'_>) -> anyhow::Result<()> {
        entries
            .into_iter()
            .try_for_each(|entry| self.add(entry, here))
    }

    fn add(&mut self, entry: Entry, here: Here<'_>) -> anyhow::Result<()> {
        if self.mode == Mode::RemoteUrls && here.is_conditional && is_remote_url(&entry) {
            return Err(misconfigured(format!(
                "{} in {} names a remote's URL, which a file must not that 'includeIf' includes beside 'hasconfig'",
                entry.name(),
                entry.origin
            )));
        }
        let condition = match (entry.section.as_str(), entry.subsection.as_deref()) {
            _ if entry.key != "path" => None,
            ("include", None) => Some(Condition::Always),
            ("includeif", Some(condition)) => Some(Condition::parse(condition)),
            _ => None,
        };
        let included = match condition {
            Some(condition) if self.holds(&condition, here.file)? => {
                let path = self.target(&entry, here)?;
                let is_conditional = here.is_conditional || !matches!(condition, Condition::Always);
                Some((path, is_conditional))
            }
            _ => None,
        };
        let scope = entry.scope;
        self.entries.push(entry);
        let Some((path, is_conditional)) = included else {
            return Ok(());
        };
        let there = Here {
            file: Some(&path),
            depth: here.depth + 1,
            is_conditional,
        };
        let settings = self.read_file(&path, scope)?;
        self.add_all(settings, there)
    }

    /// Reads one file; an absent one is empty.
    fn read_file(&mut self, path: &Path, scope: Scope) -> anyhow::Result<Vec<Entry>> {
        let too_much = |what: String| {
            anyhow::anyhow!("git's configuration is too large: {what}").context(unreadable(path))
        };
        self.left.files = self
            .left
            .files
            .checked_sub(1)
            .ok_or_else(|| too_much(format!("it has more than {} files", LIMITS.files)))?;
        let text = match foreign::read(path, self.left.bytes) {
            Ok(text) => text,
            Err(error)
                if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
            {
                return Ok(Vec::new());
            }
            Err(error) if error.kind() == ErrorKind::FileTooLarge => {
                let mebibytes = LIMITS.bytes >> 20;
                return Err(too_much(format!("it has more than {mebibytes} MiB")));
            }
            Err(error) => return Err(error).context(unreadable(path)),
        };
        let settings = syntax::parse(&text, self.left.settings).map_err(|stop| match stop {
            Stop::Line(line) => {
                anyhow::anyhow!("line {line} makes no sense to git").context(unreadable(path))
            }
            Stop::TooMany => too_much(format!("it has more than {} settings", LIMITS.settings)),
        })?;
        self.left.bytes -= text.len() as u64;
        self.left.settings -= settings.len();
        Ok(entries(settings, scope, &path.display().to_string()))
    }

    fn holds(&self, condition: &Condition<'_>, file: Option<&Path>) -> anyhow::Result<bool> {
        Ok(match *condition {
            Condition::Always => true,
            Condition::GitDirectory { pattern, case } => {
                include::in_git_directory(self.places, pattern, case, file)
            }
            Condition::Branch(pattern) => include::on_branch(self.places, pattern),
            Condition::RemoteUrl(_) if self.mode == Mode::RemoteUrls => true,
            Condition::RemoteUrl(pattern) => self
                .remote_urls()?
                .iter()
                .any(|url| include::is_remote_url(pattern, url)),
            Condition::Unknown => false,
        })
    }

    /// Looks through everything first, since remotes may stand behind the condition (git: `populate_remote_urls`).
    fn remote_urls(&self) -> anyhow::Result<&[String]> {
        if let Some(urls) = self.remote_urls.get() {
            return Ok(urls);
        }
        let mut reader = Reader::new(self.places, self.variables, Mode::RemoteUrls);
        reader.read()?;
        let remotes = reader.entries.into_iter().filter(is_remote_url);
        let urls = remotes.filter_map(|entry| entry.value).collect();
        Ok(self.remote_urls.get_or_init(|| urls))
    }

    /// Finds the file that an include names.
    fn target(&self, entry: &Entry, here: Here<'_>) -> anyhow::Result<PathBuf> {
        let path = entry.value.as_deref().ok_or_else(|| {
            misconfigured(format!("{} in {} has no value", entry.name(), entry.origin))
        })?;
        let path = include::target(self.places, path, here.file).ok_or_else(|| {
            misconfigured(format!(
                "{} in {} names no file that can be found from there",
                entry.name(),
                entry.origin
            ))
        })?;
        if here.depth < MAX_INCLUDE_DEPTH {
            return Ok(path);
        }
        Err(misconfigured(format!(
            "git's configuration includes itself too deeply, at '{}'",
            path.display()
        )))
    }
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

/// Tells whether a file could not be read for want of the right to.
fn is_hidden(error: &anyhow::Error) -> bool {
    let cause = error.downcast_ref::<std::io::Error>();
    cause.is_some_and(|cause| cause.kind() == ErrorKind::PermissionDenied)
}

fn misconfigured(message: String) -> anyhow::Error {
    Failure::new(Kind::Misconfigured, message).into()
}

fn unreadable(path: &Path) -> Failure {
    Failure::new(
        Kind::Misconfigured,
        format!("cannot read git's configuration in '{}'", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn a_home_that_is_empty_is_the_root_directory_as_for_git() {
        let path = user_file(&|name: &str| (name == "HOME").then(|| "".into()));
        assert_eq!(path.as_deref(), Some(Path::new("/.gitconfig")));
    }
}
