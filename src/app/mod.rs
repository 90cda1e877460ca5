//! The context of one command, and the one choice of a profile.

mod account;
mod advertisement_cache;
#[cfg(unix)]
mod agent;
mod client;
mod context;
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

use std::path::{Path, PathBuf};

use crate::{
    address::Address,
    failure::{Failure, Kind},
    git_config::{self, process_variable},
    profile::{self, Key, Profile, RawProfile, Setting},
    program,
    secret::mask_address,
    url::Url,
};

pub(crate) use account::{is_named, other_account, refused};
pub(crate) use advertisement_cache::{OnDisk, Place, has_objects, is_new};
#[cfg(unix)]
pub(crate) use agent::{
    is_a_persons_session, place as agent_place, used_place as agent_used_place,
};
pub(crate) use context::App;
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

/// Which profile an address gets.
#[derive(Debug)]
pub(crate) struct Explained {
    /// The repository, as `workspace/repository`.
    pub(crate) repository: String,
    /// The profile's name.
    pub(crate) profile: String,
    /// Why it is this one.
    pub(crate) why: String,
}

impl App {
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

    /// Resolves the profile that git uses for an address or the name of a remote, else in this directory. Says why it
    /// is this one.
    ///
    /// # Errors
    ///
    /// As [`App::used`], and if a push cannot be served.
    pub(crate) fn chosen(&self, address: Option<&str>) -> anyhow::Result<(Identity, String)> {
        let target = match address {
            Some(address) => self.target(self.remote_in(address), address)?.0,
            None => Target::about_here(self),
        };
        let (_, why) = target.explain()?;
        let profile = target.profile()?;
        profile::for_push(&target.raw, &profile)?;
        Ok((Identity::of_base(self, profile)?, why))
    }

    /// Names the profile that git uses in this directory, and says why.
    ///
    /// # Errors
    ///
    /// As [`App::used`].
    pub(crate) fn explain_here(&self) -> anyhow::Result<(String, String)> {
        Ok(Target::about_here(self).explain()?)
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
