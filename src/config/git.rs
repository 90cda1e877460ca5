//! Git's configuration, read the way git reads it, without starting git.
//!
//! gix parses the files. Which files, in which order, their includes and `git -c` are ours, since gix differs
//! there (includes are spliced in behind their section, `git -c` is not read, the system file is not git's).
//! `git config --list` is the oracle of the tests.

use std::{
    ffi::{OsStr, OsString},
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context as _;
use gix::{
    bstr::{BStr, BString, ByteSlice},
    config::{File, Source, file::Metadata},
    glob::wildmatch,
};

use crate::failure::{Failure, Kind};

/// How deep includes may nest (git: `MAX_INCLUDE_DEPTH`).
const MAX_INCLUDE_DEPTH: usize = 10;

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

/// One setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The section, in lower case.
    pub section: String,
    /// The subsection, as written.
    pub subsection: Option<String>,
    /// The key, in lower case.
    pub key: String,
    /// The value; `None` for a key without `=`, which means true.
    pub value: Option<String>,
    /// The scope of its file.
    pub scope: Scope,
    /// Its file, or `command line`.
    pub origin: String,
}

impl Entry {
    /// Gives the key as a person writes it.
    pub fn name(&self) -> String {
        match &self.subsection {
            Some(subsection) => format!("{}.{subsection}.{}", self.section, self.key),
            None => format!("{}.{}", self.section, self.key),
        }
    }
}

/// Reads environment variables; a parameter, so that nothing depends on the process's own.
pub type Variables<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// All of git's settings in the order in which they take effect.
#[derive(Clone, Debug, Default)]
pub struct GitConfig {
    entries: Vec<Entry>,
}

impl GitConfig {
    /// Reads what git would read here: system, global, local, worktree, and the command line's.
    ///
    /// # Errors
    ///
    /// [`Kind::Misconfigured`] for a file that cannot be read or parsed, as git itself would stop there.
    pub fn read(variables: Variables<'_>) -> anyhow::Result<Self> {
        let places = Places::find(variables);
        let mut reader = Reader {
            places: &places,
            entries: Vec::new(),
        };
        for (path, scope) in places.files() {
            reader.file(&path, scope, 0)?;
        }
        if let Some(git_dir) = &places.git_dir
            && lookup(&reader.entries, "extensions", None, "worktreeconfig").is_some_and(is_true)
        {
            reader.file(&git_dir.join("config.worktree"), Scope::Worktree, 0)?;
        }
        reader.command_line(variables)?;
        Ok(GitConfig {
            entries: reader.entries,
        })
    }

    /// Goes through all settings in order.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter()
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
pub fn is_true(entry: &Entry) -> bool {
    match entry.value.as_deref() {
        None => true,
        Some(word) => {
            ["yes", "on", "true"]
                .iter()
                .any(|yes| word.eq_ignore_ascii_case(yes))
                || word.parse::<i64>().is_ok_and(|number| number != 0)
        }
    }
}

/// The files and directories that matter, as git's environment tells them.
struct Places {
    system: Option<PathBuf>,
    global: Vec<PathBuf>,
    home: Option<PathBuf>,
    git_dir: Option<PathBuf>,
    common_dir: Option<PathBuf>,
}

impl Places {
    fn find(variables: Variables<'_>) -> Self {
        let home = variables("HOME").map(PathBuf::from).or_else(dirs::home_dir);
        let git_dir = variables("GIT_DIR").map(PathBuf::from);
        Places {
            system: system_file(variables),
            global: global_files(variables, home.as_deref()),
            common_dir: git_dir
                .as_deref()
                .map(|git_dir| common_dir(variables, git_dir)),
            git_dir,
            home,
        }
    }

    fn files(&self) -> Vec<(PathBuf, Scope)> {
        let system = self.system.iter().map(|path| (path.clone(), Scope::System));
        let global = self.global.iter().map(|path| (path.clone(), Scope::Global));
        let local = self
            .common_dir
            .iter()
            .map(|directory| (directory.join("config"), Scope::Local));
        system.chain(global).chain(local).collect()
    }
}

/// Finds the system's file: `GIT_CONFIG_SYSTEM`, else where a git with this exec path looks.
fn system_file(variables: Variables<'_>) -> Option<PathBuf> {
    let off = variables("GIT_CONFIG_NOSYSTEM").is_some_and(|value| {
        let value = value.to_string_lossy().to_ascii_lowercase();
        matches!(value.as_str(), "true" | "yes" | "on")
            || value.parse::<i64>().is_ok_and(|number| number != 0)
    });
    if off {
        return None;
    }
    if let Some(path) = variables("GIT_CONFIG_SYSTEM") {
        return Some(path.into());
    }
    let prefix = variables("GIT_EXEC_PATH")
        .map(PathBuf::from)
        .and_then(|path| prefix_of(&path));
    Some(match prefix {
        // Git's Makefile: sysconfdir is /etc for prefix /usr, else below the prefix.
        Some(prefix) if prefix != Path::new("/usr") => prefix.join("etc/gitconfig"),
        _ => PathBuf::from("/etc/gitconfig"),
    })
}

/// Cuts `/libexec/git-core` or `/lib/git-core` off; on Windows the prefix is one directory further up.
fn prefix_of(exec_path: &Path) -> Option<PathBuf> {
    let prefix = exec_path.parent()?.parent()?;
    if cfg!(windows)
        && prefix
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("mingw"))
    {
        return prefix.parent().map(Path::to_owned);
    }
    Some(prefix.to_owned())
}

fn global_files(variables: Variables<'_>, home: Option<&Path>) -> Vec<PathBuf> {
    if let Some(path) = variables("GIT_CONFIG_GLOBAL") {
        return vec![path.into()];
    }
    let xdg = variables("XDG_CONFIG_HOME")
        .filter(|path| !path.is_empty())
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".config")));
    let xdg = xdg.map(|directory| directory.join("git/config"));
    let own = home.map(|home| home.join(".gitconfig"));
    xdg.into_iter().chain(own).collect()
}

/// Finds the directory that work trees share (gitrepository-layout(5), "commondir").
fn common_dir(variables: Variables<'_>, git_dir: &Path) -> PathBuf {
    if let Some(path) = variables("GIT_COMMON_DIR") {
        return path.into();
    }
    match fs::read_to_string(git_dir.join("commondir")) {
        Ok(relative) => git_dir.join(relative.trim_end_matches(['\n', '\r'])),
        Err(_) => git_dir.to_owned(),
    }
}

/// Collects entries, following includes at the very place where they stand.
struct Reader<'p> {
    places: &'p Places,
    entries: Vec<Entry>,
}

impl Reader<'_> {
    /// Reads a file if it is there; git takes an absent or unreadable-by-permission global file as empty.
    fn file(&mut self, path: &Path, scope: Scope, depth: usize) -> anyhow::Result<()> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if is_absent(&error) => return Ok(()),
            Err(error) => return Err(error).context(unreadable(path)),
        };
        let file = File::from_bytes_no_includes(&bytes, metadata(scope, path), Default::default())
            .map_err(|error| anyhow::anyhow!("{error}"))
            .with_context(|| unreadable(path))?;
        for section in file.sections() {
            let header = section.header();
            let body = section.body();
            for (key, value) in body {
                let implicit = value.is_empty() && section.value_implicit(&key) == Some(None);
                let value = (!implicit).then(|| {
                    gix::config::value::normalize(value.as_bstr())
                        .to_str_lossy()
                        .into_owned()
                });
                self.add(
                    Entry {
                        section: header.name().to_str_lossy().to_ascii_lowercase(),
                        subsection: header
                            .subsection_name()
                            .map(|name| name.to_str_lossy().into_owned()),
                        key: key.to_ascii_lowercase(),
                        value,
                        scope,
                        origin: path.display().to_string(),
                    },
                    Some(path),
                    depth,
                )?;
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: Entry, file: Option<&Path>, depth: usize) -> anyhow::Result<()> {
        let included = self.included(&entry, file);
        let scope = entry.scope;
        self.entries.push(entry);
        match included {
            Some(path) if depth < MAX_INCLUDE_DEPTH => self.file(&path, scope, depth + 1),
            Some(path) => Err(Failure::new(
                Kind::Misconfigured,
                format!(
                    "git's configuration includes itself too deeply, at '{}'",
                    path.display()
                ),
            )
            .into()),
            None => Ok(()),
        }
    }

    /// Gives the file that an `include.path` or a fulfilled `includeIf.<condition>.path` names.
    fn included(&self, entry: &Entry, file: Option<&Path>) -> Option<PathBuf> {
        let wanted = match (entry.section.as_str(), &entry.subsection) {
            ("include", None) => true,
            ("includeif", Some(condition)) => self.holds(condition, file),
            _ => false,
        };
        let path = entry
            .value
            .as_deref()
            .filter(|_| wanted && entry.key == "path")?;
        let path = self.expand_home(path);
        match file {
            _ if path.is_absolute() => Some(path),
            Some(file) => Some(file.parent()?.join(path)),
            None => None,
        }
    }

    /// Decides a condition (git-config(1), "Conditional includes"); an unknown one never holds.
    fn holds(&self, condition: &str, file: Option<&Path>) -> bool {
        match condition.split_once(':') {
            Some(("gitdir", pattern)) => self.in_git_dir(pattern, file, wildmatch::Mode::empty()),
            Some(("gitdir/i", pattern)) => {
                self.in_git_dir(pattern, file, wildmatch::Mode::IGNORE_CASE)
            }
            Some(("onbranch", pattern)) => self.on_branch(pattern),
            Some(("hasconfig", condition)) => condition
                .strip_prefix("remote.*.url:")
                .is_some_and(|pattern| self.has_remote_url(pattern)),
            _ => false,
        }
    }

    fn in_git_dir(&self, pattern: &str, file: Option<&Path>, case: wildmatch::Mode) -> bool {
        let Some(git_dir) = &self.places.git_dir else {
            return false;
        };
        let mut pattern = match pattern.strip_prefix("./") {
            Some(relative) => match file.and_then(Path::parent) {
                Some(directory) => format!(
                    "{}/{relative}",
                    fs::canonicalize(directory)
                        .unwrap_or(directory.to_owned())
                        .display()
                ),
                None => return false,
            },
            None => self.expand_home(pattern).display().to_string(),
        };
        if !Path::new(&pattern).is_absolute() {
            pattern.insert_str(0, "**/");
        }
        if pattern.ends_with('/') {
            pattern.push_str("**");
        }
        let mode = wildmatch::Mode::NO_MATCH_SLASH_LITERAL | case;
        let matches = |path: &Path| {
            wildmatch(
                BStr::new(&path_bytes(path)),
                BStr::new(pattern.as_bytes()),
                mode,
            )
        };
        // Git tries the resolved path first, then the one it was given.
        fs::canonicalize(git_dir).is_ok_and(|path| matches(&path))
            || std::path::absolute(git_dir).is_ok_and(|path| matches(&path))
    }

    fn on_branch(&self, pattern: &str) -> bool {
        let head = self
            .places
            .git_dir
            .as_ref()
            .and_then(|directory| fs::read_to_string(directory.join("HEAD")).ok());
        let Some(branch) = head
            .as_deref()
            .and_then(|head| head.trim_end().strip_prefix("ref: refs/heads/"))
        else {
            return false;
        };
        let pattern = if pattern.ends_with('/') {
            format!("{pattern}**")
        } else {
            pattern.to_owned()
        };
        wildmatch(
            branch.into(),
            pattern.as_str().into(),
            wildmatch::Mode::NO_MATCH_SLASH_LITERAL,
        )
    }

    /// Looks through the files themselves, since remotes may stand behind the condition.
    fn has_remote_url(&self, pattern: &str) -> bool {
        let urls = self
            .places
            .files()
            .into_iter()
            .filter_map(|(path, _)| fs::read(path).ok())
            .flat_map(|bytes| remote_urls(&bytes));
        urls.into_iter().any(|url| {
            wildmatch(
                url.as_bstr(),
                pattern.into(),
                wildmatch::Mode::NO_MATCH_SLASH_LITERAL,
            )
        })
    }

    fn expand_home(&self, path: &str) -> PathBuf {
        match (path.strip_prefix("~/"), &self.places.home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        }
    }

    /// Adds `GIT_CONFIG_COUNT`'s settings and then `git -c`'s, which win (git: `git_config_from_parameters`).
    fn command_line(&mut self, variables: Variables<'_>) -> anyhow::Result<()> {
        for (name, value) in counted(variables)? {
            self.parameter(&name, Some(value))?;
        }
        if let Some(parameters) = variables("GIT_CONFIG_PARAMETERS") {
            for (name, value) in unquote_parameters(&parameters.to_string_lossy())? {
                self.parameter(&name, value)?;
            }
        }
        Ok(())
    }

    fn parameter(&mut self, name: &str, value: Option<String>) -> anyhow::Result<()> {
        let (section, rest) = name.split_once('.').ok_or_else(|| bad_parameter(name))?;
        let (subsection, key) = match rest.rsplit_once('.') {
            Some((subsection, key)) => (Some(subsection.to_owned()), key),
            None => (None, rest),
        };
        let entry = Entry {
            section: section.to_ascii_lowercase(),
            subsection,
            key: key.to_ascii_lowercase(),
            value,
            scope: Scope::Command,
            origin: "the command line".into(),
        };
        self.add(entry, None, 0)
    }
}

/// Reads `GIT_CONFIG_COUNT`, `GIT_CONFIG_KEY_<n>` and `GIT_CONFIG_VALUE_<n>` (git-config(1), "ENVIRONMENT").
fn counted(variables: Variables<'_>) -> anyhow::Result<Vec<(String, String)>> {
    let Some(count) = variables("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) else {
        return Ok(Vec::new());
    };
    let count: usize = count
        .to_string_lossy()
        .parse()
        .map_err(|_| bad_parameter("GIT_CONFIG_COUNT"))?;
    (0..count)
        .map(|index| {
            let read = |name: String| match variables(&name) {
                Some(value) => Ok(value.to_string_lossy().into_owned()),
                None => Err(anyhow::Error::from(bad_parameter(&name))),
            };
            Ok((
                read(format!("GIT_CONFIG_KEY_{index}"))?,
                read(format!("GIT_CONFIG_VALUE_{index}"))?,
            ))
        })
        .collect()
}

/// Takes git's own quoting of `git -c` apart: `'key=value'`, or since git 2.30 `'key'='value'`.
fn unquote_parameters(text: &str) -> anyhow::Result<Vec<(String, Option<String>)>> {
    let mut parameters = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (first, after) = unquote(rest).ok_or_else(|| bad_parameter("GIT_CONFIG_PARAMETERS"))?;
        let parameter = match after.strip_prefix('=') {
            Some(value) if value.starts_with('\'') => {
                let (value, after) =
                    unquote(value).ok_or_else(|| bad_parameter("GIT_CONFIG_PARAMETERS"))?;
                rest = after;
                (first, Some(value))
            }
            Some(after) => {
                rest = after;
                (first, None)
            }
            None => {
                rest = after;
                match first.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
                    None => (first, None),
                }
            }
        };
        parameters.push(parameter);
        rest = rest.trim_start();
    }
    Ok(parameters)
}

/// Takes one single-quoted word off the front; `'\''` and `'\!'` stand for the character (git: `sq_dequote_step`).
fn unquote(text: &str) -> Option<(String, &str)> {
    let mut word = String::new();
    let mut rest = text.strip_prefix('\'')?;
    loop {
        let end = rest.find('\'')?;
        word.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        match rest
            .strip_prefix("\\'")
            .or_else(|| rest.strip_prefix("\\!"))
        {
            Some(after) if after.starts_with('\'') => {
                word.push_str(&rest[1..2]);
                rest = &after[1..];
            }
            _ => return Some((word, rest)),
        }
    }
}

fn remote_urls(bytes: &[u8]) -> Vec<BString> {
    let Ok(file) = File::from_bytes_no_includes(bytes, Metadata::api(), Default::default()) else {
        return Vec::new();
    };
    let sections = file.sections_by_name("remote").into_iter().flatten();
    sections.flat_map(|section| section.values("url")).collect()
}

fn metadata(scope: Scope, path: &Path) -> Metadata {
    let source = match scope {
        Scope::System => Source::System,
        Scope::Global => Source::User,
        Scope::Local => Source::Local,
        Scope::Worktree => Source::Worktree,
        Scope::Command => Source::Cli,
    };
    Metadata::from(source).at(path)
}

/// Git passes over files it may not see at all, so that a HOME of somebody else does not stop it.
fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound
            | std::io::ErrorKind::NotADirectory
            | std::io::ErrorKind::PermissionDenied
    )
}

fn unreadable(path: &Path) -> Failure {
    Failure::new(
        Kind::Misconfigured,
        format!("cannot read git's configuration in '{}'", path.display()),
    )
}

fn bad_parameter(name: &str) -> Failure {
    Failure::new(
        Kind::Misconfigured,
        format!(
            "git's command line configuration is malformed, at '{}'",
            crate::failure::quote(name)
        ),
    )
}

fn path_bytes(path: &Path) -> Vec<u8> {
    let os: &OsStr = path.as_os_str();
    let bytes = gix::path::os_str_into_bstr(os)
        .map(|bytes| bytes.to_vec())
        .unwrap_or_default();
    // Patterns are written with slashes everywhere.
    if cfg!(windows) {
        bytes.replace("\\", "/")
    } else {
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_quotings_of_git_are_taken_apart() {
        let parsed = unquote_parameters(r"'a.b=c d' 'x.y'='it'\''s' 'p.q'= 'r.s' 'u.v'='n'\!'x'")
            .expect("git wrote it");
        let expected = [
            ("a.b", Some("c d")),
            ("x.y", Some("it's")),
            ("p.q", None),
            ("r.s", None),
            ("u.v", Some("n!x")),
        ];
        let parsed: Vec<_> = parsed
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_deref()))
            .collect();
        assert_eq!(parsed, expected);
    }

    #[test]
    fn broken_quoting_is_an_error_not_a_panic() {
        for text in ["'", "a", "'a", "'a'\\''", "'a'='", "''x"] {
            let _ = unquote_parameters(text);
        }
        assert!(unquote_parameters("'a.b").is_err());
    }

    #[test]
    fn the_system_file_follows_gits_prefix() {
        let with = |exec: &'static str| {
            system_file(&move |name: &str| (name == "GIT_EXEC_PATH").then(|| exec.into()))
        };
        assert_eq!(with("/usr/lib/git-core"), Some("/etc/gitconfig".into()));
        assert_eq!(
            with("/usr/local/libexec/git-core"),
            Some("/usr/local/etc/gitconfig".into())
        );
    }
}
