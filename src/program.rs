//! Programs that we start: where they are found, and what of our environment each of them gets.
//!
//! Git runs us in a work tree, whose files a stranger may have written. A program is therefore looked for only in the
//! absolute directories of `PATH`, and a child gets a `PATH` without the others. This is the only module that makes
//! a [`Command`].

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    io::{self, ErrorKind},
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Context as _;

use crate::{
    failure::{Failure, Kind, quote_for_shell},
    limits::Scarcity,
};

/// Variables that hold a secret or lead to one.
const SECRETS: [&str; 4] = [
    "BBTOKEN_CLIENT_SECRET",
    "BBTOKEN_CLIENT_SECRET_FILE",
    "BBTOKEN_ACCESS_TOKEN",
    "BBTOKEN_ACCESS_TOKEN_FILE",
];

/// Variables that tie git to one repository or one command (git-rev-parse(1), `--local-env-vars`).
const OF_REPOSITORY: [&str; 18] = [
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_CONFIG_COUNT",
    "GIT_CONFIG_PARAMETERS",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_INTERNAL_SUPER_PREFIX",
    "GIT_NO_REPLACE_OBJECTS",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_QUARANTINE_PATH",
    "GIT_REF_STORAGE",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
];

/// Variables by which curl and its libraries find files that they trust, load or write.
const FILES_OF_LIBRARIES: [&str; 11] = [
    "CURL_CA_BUNDLE",
    "CURL_HOME",
    "GNUTLS_SYSTEM_PRIORITY_FILE",
    "KRB5_CONFIG",
    "KRB5_TRACE",
    "OPENSSL_CONF",
    "OPENSSL_ENGINES",
    "OPENSSL_MODULES",
    "SSLKEYLOGFILE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
];

/// Where programs are without `PATH` (POSIX: `confstr`, `_CS_PATH`).
const DEFAULT_PATH: &str = if cfg!(unix) { "/usr/bin:/bin" } else { "" };

/// A child process, by what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// Git's own transport, or a git that starts our helper again.
    Transport,
    /// Git, or git-lfs, for what it knows of a repository or its configuration.
    Git,
    /// Our own other program, for its version.
    Ours,
    /// A command that prints a secret.
    SecretCommand,
    /// The program curl.
    Curl,
    /// A browser, or what opens one.
    Browser,
    /// The program manpath.
    Manual,
    /// The command of `git bbtoken exec`.
    Exec,
}

/// What a child gets of our environment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Share {
    /// All of it.
    All,
    /// All but our secrets.
    NoSecrets,
    /// Neither our secrets nor what ties git to this repository and command.
    NoRepository,
    /// No `BBTOKEN_*` and no `GIT_*` variable.
    Foreign,
}

impl Share {
    fn withholds(self, name: &str) -> bool {
        let is_secret = SECRETS.contains(&name);
        let is_of_repository = || {
            OF_REPOSITORY.contains(&name)
                || ["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"]
                    .iter()
                    .any(|start| name.starts_with(start))
        };
        match self {
            Share::All => false,
            Share::NoSecrets => is_secret,
            Share::NoRepository => is_secret || is_of_repository(),
            Share::Foreign => name.starts_with("BBTOKEN_") || name.starts_with("GIT_"),
        }
    }
}

/// A row of the table in the reference.
pub(crate) struct Row {
    /// The child.
    #[cfg_attr(
        not(test),
        expect(
            dead_code,
            reason = "the tests compare the row with what the child gets"
        )
    )]
    pub child: Child,
    /// The programs.
    pub programs: &'static str,
    /// Which of our variables and git's it gets.
    pub gets: &'static str,
}

const NO_SECRETS: &str =
    "all but `BBTOKEN_CLIENT_SECRET`, `BBTOKEN_ACCESS_TOKEN` and their `_FILE` forms";

/// Every child, with what it gets.
pub(crate) const ROWS: [Row; 8] = [
    Row {
        child: Child::Transport,
        programs: "git's own transport; `git ls-remote` of `doctor`",
        gets: "all: it starts our helper to get the token",
    },
    Row {
        child: Child::Git,
        programs: "other git commands, git-lfs, git's credential helpers for a proxy",
        gets: NO_SECRETS,
    },
    Row {
        child: Child::Ours,
        programs: "`git-remote-bbtoken --version` of `doctor`",
        gets: NO_SECRETS,
    },
    Row {
        child: Child::SecretCommand,
        programs: "`clientSecretCommand`, `accessTokenCommand`",
        gets: "the same, but not the variables of the repository (`git rev-parse --local-env-vars`); \
               it runs in the home directory",
    },
    Row {
        child: Child::Curl,
        programs: "curl",
        gets: "no `BBTOKEN_*` and no `GIT_*`; the request comes through a pipe",
    },
    Row {
        child: Child::Browser,
        programs: "a browser",
        gets: "no `BBTOKEN_*` and no `GIT_*`",
    },
    Row {
        child: Child::Manual,
        programs: "`manpath`, for `git bbtoken man --install`",
        gets: "no `BBTOKEN_*` and no `GIT_*`",
    },
    Row {
        child: Child::Exec,
        programs: "the command of `git bbtoken exec`",
        gets: "all but those secrets; `BBTOKEN_ACCESS_TOKEN` is the fresh token, unless `--netrc` is given",
    },
];

impl Child {
    fn share(self) -> Share {
        match self {
            Child::Transport => Share::All,
            Child::Git | Child::Ours | Child::Exec => Share::NoSecrets,
            Child::SecretCommand => Share::NoRepository,
            Child::Curl | Child::Browser | Child::Manual => Share::Foreign,
        }
    }

    /// Prepares a program: a name to be found on `PATH`, or an absolute path.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NotFound`] without such a program, [`ErrorKind::InvalidInput`] for a relative path.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> io::Result<Command> {
        let program = program.as_ref();
        // What a person types is found from where the person is.
        let found = match self {
            Child::Exec if is_path(program) => PathBuf::from(program),
            _ => find(program)?,
        };
        let mut command = Command::new(found);
        #[cfg(unix)]
        std::os::unix::process::CommandExt::arg0(&mut command, program);
        self.equip(&mut command);
        Ok(command)
    }

    /// Prepares a command that a library has made for this child.
    ///
    /// # Errors
    ///
    /// As [`Child::command`].
    pub(crate) fn adopt(self, mut made: Command) -> io::Result<Command> {
        // Windows has arguments that cannot be read back; the standard library looks in no work tree there.
        if cfg!(windows) {
            self.equip(&mut made);
            return Ok(made);
        }
        let mut command = self.command(made.get_program())?;
        command.args(made.get_args());
        Ok(command)
    }

    fn equip(self, command: &mut Command) {
        let share = self.share();
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|name| share.withholds(name)) {
                command.env_remove(name);
            }
        }
        if self == Child::Exec {
            return;
        }
        if let Some(path) = without_relative(&path()) {
            command.env("PATH", path);
        }
        // Git would start its own programs from there.
        if env::var_os("GIT_EXEC_PATH").is_some_and(|path| !Path::new(&path).has_root()) {
            command.env_remove("GIT_EXEC_PATH");
        }
        for name in FILES_OF_LIBRARIES {
            if env::var_os(name).is_some_and(|value| names_relative(&value)) {
                command.env_remove(name);
            }
        }
        // A Windows shell looks in the current directory first.
        if cfg!(windows) {
            command.env("NoDefaultCurrentDirectoryInExePath", "1");
        }
        if self == Child::SecretCommand {
            command.current_dir(home());
        }
    }
}

/// Gives a directory that no repository is in: some programs load what lies where they run.
fn home() -> PathBuf {
    let home = dirs::home_dir().filter(|home| home.has_root() && home.is_dir());
    home.unwrap_or_else(|| PathBuf::from("/"))
}

fn path() -> OsString {
    env::var_os("PATH").unwrap_or_else(|| DEFAULT_PATH.into())
}

/// Gives `PATH` without its relative directories; `None` if it has none.
fn without_relative(path: &OsStr) -> Option<OsString> {
    let is_relative = |directory: &PathBuf| !directory.has_root();
    if !env::split_paths(path).any(|directory| is_relative(&directory)) {
        return None;
    }
    env::join_paths(env::split_paths(path).filter(|directory| !is_relative(directory))).ok()
}

/// Tells whether one path, or one of a list, leads into the directory that git runs in.
fn names_relative(paths: &OsStr) -> bool {
    let is_relative = |path: PathBuf| !path.has_root() && !path.as_os_str().is_empty();
    env::split_paths(paths).any(is_relative)
}

fn is_path(program: &OsStr) -> bool {
    let is_separator = |byte: &u8| std::path::is_separator(char::from(*byte));
    program.as_encoded_bytes().iter().any(is_separator)
}

/// Finds a program.
///
/// # Errors
///
/// As [`Child::command`], and [`ErrorKind::PermissionDenied`] for a file that may not be run.
fn find(program: &OsStr) -> io::Result<PathBuf> {
    if is_path(program) {
        let program = PathBuf::from(program);
        return match program.has_root() {
            true => Ok(program),
            false => Err(io::Error::new(
                ErrorKind::InvalidInput,
                "a relative path would depend on the directory that git runs in; give an absolute path",
            )),
        };
    }
    let candidates = all(program);
    match candidates.iter().find(|file| may_run(file)) {
        Some(program) => Ok(program.clone()),
        None if candidates.is_empty() => Err(io::Error::new(
            ErrorKind::NotFound,
            "it is not in any absolute directory of PATH",
        )),
        None => Err(io::Error::new(
            ErrorKind::PermissionDenied,
            "the file is not executable",
        )),
    }
}

/// Finds every file of a program's name in the absolute directories of `PATH`, in their order.
pub(crate) fn all(program: impl AsRef<OsStr>) -> Vec<PathBuf> {
    let mut file = program.as_ref().to_owned();
    if Path::new(&file).extension().is_none() {
        file.push(env::consts::EXE_SUFFIX);
    }
    let mut found = Vec::new();
    let path = path();
    let directories = env::split_paths(&path).filter(|directory| directory.has_root());
    for candidate in directories.map(|directory| directory.join(&file)) {
        if candidate.is_file() && !found.contains(&candidate) {
            found.push(candidate);
        }
    }
    found
}

#[cfg(unix)]
fn may_run(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(file).is_ok_and(|metadata| metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
fn may_run(file: &Path) -> bool {
    fs::metadata(file).is_ok()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_path_loses_its_relative_directories_alone() {
        let without = |path: &str| without_relative(OsStr::new(path));
        assert_eq!(without("/usr/bin:/bin"), None);
        for path in [
            ":/usr/bin:/bin",
            "/usr/bin:.:/bin",
            "/usr/bin::/bin",
            "bin:/usr/bin:/bin:",
        ] {
            assert_eq!(
                without(path).as_deref(),
                Some(OsStr::new("/usr/bin:/bin")),
                "{path}"
            );
        }
    }

    #[test]
    fn a_relative_path_is_no_program_but_for_a_person() {
        for path in ["./sh", "bin/sh", "../sh"] {
            let error = Child::SecretCommand.command(path).map(drop);
            let kind = error.map_err(|error| error.kind());
            assert_eq!(kind, Err(ErrorKind::InvalidInput), "{path}");
            assert!(Child::Exec.command(path).is_ok(), "{path}");
        }
        assert!(Child::SecretCommand.command("/bin/sh").is_ok());
        assert!(Child::SecretCommand.command("sh").is_ok());
    }

    #[test]
    fn only_gits_own_transport_gets_a_secret() {
        for Row { child, .. } in ROWS {
            let withheld = SECRETS.map(|name| child.share().withholds(name));
            assert_eq!(withheld, [child != Child::Transport; 4], "{child:?}");
        }
    }

    #[test]
    fn every_child_is_in_the_table() {
        // A new child does not compile here before it is counted.
        let number = |child| match child {
            Child::Transport => 0,
            Child::Git => 1,
            Child::Ours => 2,
            Child::SecretCommand => 3,
            Child::Curl => 4,
            Child::Browser => 5,
            Child::Manual => 6,
            Child::Exec => 7,
        };
        let numbers = ROWS.iter().map(|row| number(row.child));
        assert!(numbers.eq(0..ROWS.len()));
    }
}

/// What helps where the system does not tell where this program is.
const WITHOUT_PROC: &str =
    "mount /proc, or add the directory of git-bbtoken to PATH, then try again";

/// Finds a program that was installed beside this one.
pub(crate) fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let ours = match std::env::current_exe() {
        Ok(ours) => ours,
        // Linux tells it in /proc only.
        Err(error) => {
            let found = all(name).into_iter().next();
            let unknown = || Scarcity::new(error.to_string(), WITHOUT_PROC);
            return found
                .ok_or_else(unknown)
                .with_context(|| format!("cannot find '{name}'"));
        }
    };
    let path = ours.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        return Err(Failure::new(
            Kind::Misconfigured,
            format!(
                "'{}' is missing; install both programs side by side",
                path.display()
            ),
        )
        .into());
    }
    Ok(path)
}

/// Quotes the path of one of our programs for the shell by which git starts credential helpers; on Windows it needs `/`.
pub(crate) fn shell_word(program: &Path) -> String {
    let text = program.display().to_string();
    quote_for_shell(&match cfg!(windows) {
        true => text.replace('\\', "/"),
        false => text,
    })
}
