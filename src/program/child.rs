//! The kinds of child processes, and the environment variables that each of them gets.

use std::{
    env,
    ffi::OsStr,
    io,
    path::{Path, PathBuf},
    process::Command,
};

use super::search::{find, is_path, names_relative, path, without_relative};
use crate::variables::{self, PREFIX};

/// Variables that contain a secret or the path of one.
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

/// Variables with files that curl and its libraries trust, load or write.
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

/// The kinds of child processes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Child {
    /// Git's own transport, or a git that starts the helper again.
    Transport,
    /// Git or git-lfs, for the current repository or its configuration.
    Git,
    /// Git, for another repository, or for one configuration file.
    GitElsewhere,
    /// This project's other program, for its version.
    Ours,
    /// `git-bbtoken login`, while git waits for it.
    Login,
    /// A command that prints a secret, or reads and replaces one.
    SecretCommand,
    /// The program curl.
    Curl,
    /// A browser, or what opens one.
    Browser,
    /// The program manpath.
    Manual,
    /// The command of `git bbtoken exec`.
    Exec,
    /// The keep-alive agent.
    Agent,
}

/// The `BBTOKEN_` variables that a child gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ours {
    All,
    /// The known ones without a secret.
    Settings,
    None,
}

/// The variables of git that a child gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gits {
    All,
    /// Those that apply to another repository, with `git -c` as in git (git: `prepare_submodule_repo_env`).
    OfCommand,
    /// Those of the user.
    OfUser,
    None,
}

impl Ours {
    fn withholds(self, name: &str) -> bool {
        match self {
            Ours::All => false,
            Ours::Settings => {
                !variables::ours().any(|known| known == name) || SECRETS.contains(&name)
            }
            Ours::None => true,
        }
    }
}

impl Gits {
    fn withholds(self, name: &str) -> bool {
        let is_of_command = ["GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS"].contains(&name);
        let is_pair = ["GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"]
            .iter()
            .any(|start| name.starts_with(start));
        match self {
            Gits::All => false,
            Gits::OfCommand => OF_REPOSITORY.contains(&name) && !is_of_command,
            Gits::OfUser => OF_REPOSITORY.contains(&name) || is_pair,
            Gits::None => name.starts_with("GIT_"),
        }
    }
}

impl Child {
    fn share(self) -> (Ours, Gits) {
        match self {
            Child::Transport | Child::Login => (Ours::All, Gits::All),
            Child::Git | Child::Ours => (Ours::None, Gits::All),
            Child::GitElsewhere => (Ours::None, Gits::OfCommand),
            Child::Exec => (Ours::Settings, Gits::All),
            Child::SecretCommand => (Ours::None, Gits::OfUser),
            Child::Curl | Child::Browser | Child::Manual | Child::Agent => (Ours::None, Gits::None),
        }
    }

    fn withholds(self, name: &str) -> bool {
        let (ours, gits) = self.share();
        // An unknown name of ours may be a typing error, and contain a secret.
        match name.starts_with(PREFIX) {
            true => ours.withholds(name),
            false => gits.withholds(name),
        }
    }

    /// Prepares a program, by its name in `PATH` or by its absolute path.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] if there is no such program, [`io::ErrorKind::InvalidInput`] for a relative path.
    pub(crate) fn command(self, program: impl AsRef<OsStr>) -> io::Result<Command> {
        let program = program.as_ref();
        // The user's relative path starts from the user's directory.
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

    /// Prepares a command that a library has created for this child.
    ///
    /// # Errors
    ///
    /// As [`Child::command`].
    pub(crate) fn adopt(self, mut made: Command) -> io::Result<Command> {
        // On Windows, some arguments cannot be read back. The standard library does not search a work tree there.
        if cfg!(windows) {
            self.equip(&mut made);
            return Ok(made);
        }
        let mut command = self.command(made.get_program())?;
        command.args(made.get_args());
        Ok(command)
    }

    fn equip(self, command: &mut Command) {
        if self == Child::Agent {
            command.env_clear();
            return;
        }
        for (name, _) in env::vars_os() {
            if self.withholds(&spelling(&name.to_string_lossy())) {
                command.env_remove(name);
            }
        }
        if self == Child::Exec {
            return;
        }
        if let Some(path) = without_relative(&path()) {
            command.env("PATH", path);
        }
        // Git would start its own programs from a relative path in it.
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

/// Gives the name of a variable for comparisons. On Windows, case does not matter.
fn spelling(name: &str) -> String {
    match cfg!(windows) {
        true => name.to_ascii_uppercase(),
        false => name.to_owned(),
    }
}

/// Gives a directory outside of every repository, because some programs load files of their working directory.
fn home() -> PathBuf {
    let home = dirs::home_dir().filter(|home| home.has_root() && home.is_dir());
    home.unwrap_or_else(|| PathBuf::from("/"))
}

#[cfg(all(test, unix))]
mod tests {
    use super::{super::table::ROWS, *};

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
            assert_eq!(kind, Err(io::ErrorKind::InvalidInput), "{path}");
            assert!(Child::Exec.command(path).is_ok(), "{path}");
        }
        assert!(Child::SecretCommand.command("/bin/sh").is_ok());
        assert!(Child::SecretCommand.command("sh").is_ok());
    }

    #[test]
    fn only_gits_own_transport_gets_a_secret() {
        for (child, ..) in ROWS {
            let mistyped = ["BBTOKEN_SECRET", "BBTOKEN_TOKEN", "BBTOKEN_"];
            let names = SECRETS.iter().chain(&mistyped);
            let withheld = names.filter(|name| child.withholds(name)).count();
            // These two start this project's programs again.
            let is_ours = [Child::Transport, Child::Login].contains(&child);
            assert_eq!(withheld, if is_ours { 0 } else { 7 }, "{child:?}");
            let settings = variables::ours().filter(|name| !SECRETS.contains(name));
            let given = settings.filter(|name| !child.withholds(name)).count();
            let expected = match is_ours || child == Child::Exec {
                true => variables::ours().count() - SECRETS.len(),
                false => 0,
            };
            assert_eq!(given, expected, "{child:?}");
        }
    }
}
