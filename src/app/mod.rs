//! The context of one command: environment, git's configuration, profiles, clock, warnings, HTTP clients, and the one
//! choice of a profile.

mod account;
mod advertisement_cache;
#[cfg(unix)]
mod agent;
mod client;
mod conversion;
mod credential;
mod identity;
mod lfs;
mod network;
mod places;
mod proxy_login;
mod rights;
mod target;
mod tokens;
mod trial;
mod unreached;

use std::{
    path::{Path, PathBuf},
    rc::Rc,
};

use crate::{
    address::Address,
    clock::{Clock as _, SystemClock},
    failure::{Failure, Kind},
    git_config::{self, GitConfig, process_variable},
    http::Url,
    profile::{self, Key, Profile, Raw, RawProfile, Setting},
    program, report,
    secret::mask_address,
};
use client::Clients;
use target::Environment;

pub(crate) use account::{is_named, other_account, refused};
pub(crate) use advertisement_cache::{OnDisk, Place, has_objects, is_new};
#[cfg(unix)]
pub(crate) use agent::{
    is_a_persons_session, place as agent_place, used_place as agent_used_place,
};
pub(crate) use conversion::{Conversion, Move, Written};
pub(crate) use credential::may_be_ours;
pub(crate) use identity::{Identity, authority};
pub(crate) use lfs::{is_wanted, lfs_here};
pub(crate) use network::Route;
pub(crate) use places::lock_logins;
pub(crate) use rights::{may_push, scopes, to_push};
pub(crate) use target::{Chosen, Target, rule_for};
pub(crate) use tokens::{TokenAuthorizer, forget_rest, release_room};
pub(crate) use trial::{Unread, try_on};

/// The context of one command.
pub(crate) struct App {
    /// The settings of profiles.
    pub raw: Raw,
    /// The sites: first the common one, then those that profiles set.
    pub places: Vec<profile::Place>,
    pub(crate) git: GitConfig,
    environment: Environment,
    services: Rc<Services>,
}

/// What the command uses with every profile.
struct Services {
    clock: SystemClock,
    /// Shows a warning to the user.
    reporter: fn(&str),
    /// One for each origin, created by the first request.
    clients: Clients,
}

/// Which profile an address gets.
#[derive(Debug)]
pub(crate) struct Explained {
    /// The repository, as `workspace/repository`.
    pub repository: String,
    /// The profile's name.
    pub profile: String,
    /// Why it is this one.
    pub why: String,
}

impl App {
    /// Reads git's configuration and the environment.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used.
    pub(crate) fn read() -> anyhow::Result<Self> {
        let git_dir = process_variable("GIT_DIR").or_else(target::git_dir_here);
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
        Ok(App {
            raw,
            places,
            git,
            environment,
            services: Rc::new(Services {
                clock: SystemClock,
                reporter: report::warn,
                clients: Clients::default(),
            }),
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

    /// Names the site of a profile, if it is not the common one.
    pub(crate) fn other_site(&self, profile: &Profile) -> Option<String> {
        let endpoints = &profile.endpoints;
        let name = endpoints.product.words().name;
        (endpoints.base != *self.base()).then(|| format!("{name} at {}", endpoints.base))
    }

    /// Gives the workspace of an address, else of the remote in this directory.
    pub(crate) fn workspace(&self, address: Option<&str>) -> Option<String> {
        let address = match address {
            Some(text) => Some(self.target(None, text).ok()?.1),
            None => Target::about_here(self).address,
        };
        address.map(|address| address.workspace)
    }

    /// Gives the name of the remote from which git fetches by default, if the remote's address is at Bitbucket.
    pub(crate) fn remote_here(&self) -> Option<String> {
        Target::about_here(self).address?;
        self.default_remote()
    }

    /// Resolves the profile with this name, or the one that git uses in this directory.
    ///
    /// # Errors
    ///
    /// If a profile or a setting cannot be used.
    pub(crate) fn used(&self, name: Option<&str>) -> anyhow::Result<Identity> {
        let profile = match name {
            Some(name) => profile::named(&self.raw, name, "the command line")?,
            None => Target::about_here(self).profile()?,
        };
        Identity::of_base(self, profile)
    }

    /// Names the profile that git uses in this directory, and says why.
    ///
    /// # Errors
    ///
    /// As [`App::used`].
    pub(crate) fn explain_here(&self) -> anyhow::Result<(String, String)> {
        Ok(Target::about_here(self).explain()?)
    }

    /// Gives the name of the setting that forbids questions to the user.
    pub(crate) fn no_questions(&self) -> Option<String> {
        git_config::no_questions(&self.git, &process_variable)
    }

    /// Iterates over git's settings in order of precedence.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &git_config::Entry> {
        self.git.entries()
    }

    /// Lists the settings of the repository's own configuration that affect the helper, each with its file.
    pub(crate) fn of_repository(&self) -> Vec<String> {
        let ours = self.git.of_repository().filter(|entry| {
            matches!(
                (&*entry.section, &*entry.key),
                ("bbtoken", _) | ("remote", "bbtokenprofile" | "proxy" | "proxyauthmethod")
            )
        });
        let http = git_config::http_from_repository(&self.git, self.base(), None);
        ours.chain(http)
            .map(|entry| format!("{} in {}", entry.name(), entry.origin))
            .collect()
    }

    /// Resolves a profile with some settings replaced. The new settings are not saved.
    ///
    /// # Errors
    ///
    /// As [`profile::named`].
    pub(crate) fn identity(
        &self,
        name: &str,
        change: impl FnOnce(&mut RawProfile),
    ) -> anyhow::Result<Identity> {
        let mut raw = self.raw.clone();
        let is_known = profile::names(&raw).iter().any(|known| known == name);
        let mut own = raw.profiles.get(name).cloned().unwrap_or_default();
        change(&mut own);
        if own.has(Key::Store) {
            git_config::add_shared(&mut raw, &process_variable)?;
        }
        // Common settings and variables may define a profile that has no section in the configuration.
        if !is_known || !own.settings().is_empty() {
            raw.profiles.insert(name.to_owned(), own);
        }
        let profile = profile::named(&raw, name, "the command line")?;
        Identity::of_base(self, profile)
    }

    /// Parses the address of a repository to check a profile with.
    ///
    /// # Errors
    ///
    /// [`Kind::BadAddress`] for any other text, and [`Kind::Usage`] for the address of another site or profile.
    pub(crate) fn address_for(&self, profile: &Profile, text: &str) -> anyhow::Result<Address> {
        let (target, address) = self.target(None, text)?;
        let sites = &target.raw.sites;
        let is_of_site = sites.is_empty() || sites.contains(&profile.endpoints.base);
        let is_of_profile = address
            .profile
            .as_ref()
            .is_none_or(|name| *name == profile.name);
        if is_of_site && is_of_profile {
            return Ok(address);
        }
        let message = format!(
            "'{}' is not an address for profile '{profile}'",
            mask_address(text)
        );
        Err(Failure::new(Kind::Usage, message).into())
    }

    /// Gives the repository of an address or of a remote.
    pub(crate) fn repository(&self, address: &str) -> Option<Address> {
        let found = self.target(self.remote_in(address), address);
        found.ok().map(|(_, address)| address)
    }

    /// Chooses the profile for an address or the name of a remote.
    ///
    /// # Errors
    ///
    /// If an address or a profile cannot be used.
    pub(crate) fn explain(&self, address: &str) -> anyhow::Result<Explained> {
        let (target, address) = self.target(self.remote_in(address), address)?;
        let (profile, why) = target.explain()?;
        Ok(Explained {
            repository: address.to_string(),
            profile,
            why,
        })
    }
}

/// Gives scheme, host and port, the scope of git's credential settings.
pub(crate) fn site(base: &Url) -> String {
    format!("{}://{}", base.scheme(), authority(base))
}

/// Creates a setting that is in no file.
pub(crate) fn given(value: &str) -> Option<Setting> {
    Some(Setting {
        value: value.to_owned(),
        origin: "the command line".to_owned(),
    })
}

/// Gives the value of `credential.<url>.helper` that makes git ask this program.
///
/// It contains the program's path in `PATH`, because a package manager's link there survives an upgrade.
///
/// # Errors
///
/// If the program cannot find its own path.
pub(crate) fn credential_helper() -> anyhow::Result<String> {
    let program = helper_program()?;
    Ok(format!("!{} credential", program::shell_word(&program)))
}

/// Finds the program's path in `PATH`, which an upgrade keeps.
pub(crate) fn helper_program() -> anyhow::Result<PathBuf> {
    let program = program::sibling("git-bbtoken")?;
    let itself = program.canonicalize().ok();
    let is_itself = |found: &Path| found.canonicalize().ok() == itself;
    let on_path = program::all("git-bbtoken");
    let linked = on_path.iter().find(|found| is_itself(found));
    // A version manager's script on PATH starts this program, whose own path changes with the next version.
    let found = linked.or(on_path.first()).cloned();
    Ok(found.unwrap_or(program))
}
