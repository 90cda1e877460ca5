//! What a command reads and holds once: environment, git's configuration, profiles, clock, warnings and HTTP clients.

use std::{ffi::OsString, path::Path, rc::Rc};

use super::client::Clients;
use crate::{
    clock::{Clock as _, SystemClock},
    git::git_dir,
    git_config::{self, GitConfig, process_variable},
    profile::{self, Raw},
    report,
    url::Url,
};

/// The context of one command.
pub(crate) struct App {
    /// The settings of profiles.
    pub(crate) raw: Raw,
    /// The sites: first the common one, then those that profiles set.
    pub(crate) places: Vec<profile::Place>,
    pub(crate) git: GitConfig,
    /// The name of the setting that forbids questions to the user.
    pub(crate) no_questions: Option<String>,
    pub(super) environment: Environment,
    pub(super) services: Rc<Services>,
}

/// What the command uses with every profile.
pub(super) struct Services {
    pub(super) clock: SystemClock,
    /// Shows a warning to the user.
    pub(super) reporter: fn(&str),
    pub(super) clients: Clients,
}

/// The repository whose settings apply.
#[derive(Debug)]
pub(super) enum Environment {
    /// The current one, with its git directory; `None` if there is none, or if it must have no influence. Git sets
    /// `GIT_DIR` for its remote helpers, but not for the user's commands and not for every credential helper.
    Here(Option<OsString>),
    /// Another one. Git's variables that name the current repository have no effect.
    Elsewhere(OsString),
    /// None, and no file of the user, and no setting of this command (git(1), "GIT_CONFIG_GLOBAL").
    OfSystem,
}

impl Environment {
    /// Reads a variable as git sets it for a remote helper.
    pub(super) fn variable(&self, name: &str) -> Option<OsString> {
        match (self, name) {
            (Environment::Here(git_dir), "GIT_DIR") => git_dir.clone(),
            (Environment::Elsewhere(git_dir), "GIT_DIR") => Some(git_dir.clone()),
            (Environment::Elsewhere(_), "GIT_COMMON_DIR") => None,
            (Environment::OfSystem, "GIT_CONFIG_GLOBAL") => Some(OsString::new()),
            (Environment::OfSystem, "GIT_DIR" | "GIT_CONFIG_COUNT" | "GIT_CONFIG_PARAMETERS") => {
                None
            }
            (_, name) => process_variable(name),
        }
    }
}

impl App {
    /// Reads git's configuration and the environment.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let git_dir = process_variable("GIT_DIR").or_else(|| git_dir().map(Into::into));
        App::of(Environment::Here(git_dir))
    }

    /// Reads the settings without those of any repository.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_of_user() -> anyhow::Result<Self> {
        App::of(Environment::Here(None))
    }

    /// Reads the settings for all users of the machine.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_of_system() -> anyhow::Result<Self> {
        App::of(Environment::OfSystem)
    }

    /// Reads the settings in a repository that git uses.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_at(git_dir: &Path) -> anyhow::Result<Self> {
        App::of(Environment::Elsewhere(git_dir.into()))
    }

    /// Reads the settings for a process that git has started as its remote helper.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_of_helper() -> anyhow::Result<Self> {
        App::of(Environment::Here(process_variable("GIT_DIR")))
    }

    fn of(environment: Environment) -> anyhow::Result<Self> {
        let variables = |name: &str| environment.variable(name);
        let git = GitConfig::read(&variables)?;
        let raw = git_config::profiles(&git, &variables)?;
        let places = profile::places(&raw)?;
        let no_questions = git_config::no_questions(&git, &process_variable);
        Ok(App {
            raw,
            places,
            git,
            environment,
            services: Rc::new(Services {
                clock: SystemClock,
                reporter: report::warn,
                clients: Clients::new(no_questions.is_some()),
            }),
            no_questions,
        })
    }

    /// Tells the time.
    pub(crate) fn now_unix_s(&self) -> u64 {
        self.services.clock.now_unix_s()
    }

    /// The base URL for profiles that set none.
    pub(crate) fn base(&self) -> &Url {
        &self.places[0].base
    }

    /// Iterates over git's settings in order of precedence.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &git_config::Entry> {
        self.git.entries()
    }
}
