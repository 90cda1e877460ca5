//! The context of one command: environment, git's configuration, profiles, and the one choice of a profile.

mod account;
mod advertisement_cache;
mod identity;
mod lfs;
mod network;
mod proxy_login;
mod target;
mod tokens;
mod unreached;

use std::path::PathBuf;

use crate::{
    address::Address,
    clock::SystemClock,
    failure::{Failure, Kind},
    git_config::{self, GitConfig, process_variable},
    http::{TransportError, Url},
    parent_watch::Watch,
    profile::{self, Profile, Raw, RawProfile, Setting, Transport},
    program,
    secret::mask_address,
    transport::{Service, Session},
};
use target::{Environment, parse_address};

pub(crate) use account::{Account, Owner};
pub(crate) use advertisement_cache::{OnDisk, Place, has_objects};
pub(crate) use identity::{Identity, authority};
pub(crate) use lfs::{is_new, lfs_here, wiring};
pub(crate) use network::Route;
pub(crate) use target::{Target, rule_for};
pub(crate) use tokens::{TokenAuthorizer, release_room};
pub(crate) use unreached::{remember, remembered};

/// The context of one command.
#[derive(Debug)]
pub(crate) struct App {
    /// The settings of profiles.
    pub raw: Raw,
    /// Where Bitbucket is: for every profile that does not say otherwise, then for those that do.
    pub bases: Vec<Url>,
    pub(crate) git: GitConfig,
    environment: Environment,
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
    /// For a setting that cannot be used.
    pub(crate) fn read() -> anyhow::Result<Self> {
        App::of(Environment::find())
    }

    /// Reads what holds outside of all repositories.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_of_user() -> anyhow::Result<Self> {
        App::of(Environment::outside())
    }

    /// Reads what holds where git has started this process as its remote helper.
    ///
    /// # Errors
    ///
    /// As [`App::read`].
    pub(crate) fn read_of_helper() -> anyhow::Result<Self> {
        App::of(Environment::of_process())
    }

    fn of(environment: Environment) -> anyhow::Result<Self> {
        let variables = |name: &str| environment.variable(name);
        let git = GitConfig::read(&variables)?;
        let raw = git_config::profiles(&git, &variables, None)?;
        let bases = profile::base_urls(&raw)?;
        Ok(App {
            raw,
            bases,
            git,
            environment,
        })
    }

    /// Where Bitbucket is, where no profile says otherwise.
    pub(crate) fn base(&self) -> &Url {
        &self.bases[0]
    }

    /// Takes an address, and the name of its remote, if it has one.
    pub(crate) fn target(
        &self,
        remote: Option<&str>,
        address: &str,
    ) -> anyhow::Result<(Target, Address)> {
        Target::about(
            &self.git,
            &|name| self.environment.variable(name),
            remote,
            address,
        )
    }

    /// Names the remote from which git fetches if none is named.
    pub(crate) fn default_remote(&self) -> Option<String> {
        target::default_remote(&self.git, &|name| self.environment.variable(name))
    }

    fn asked_here(&self) -> anyhow::Result<Target> {
        Target::about_here(&self.git, &|name| self.environment.variable(name))
    }

    /// Resolves the profile of a name, or the one that git uses in this directory.
    ///
    /// # Errors
    ///
    /// For a profile or a setting that cannot be used.
    pub(crate) fn used(&self, name: Option<&str>) -> anyhow::Result<Identity> {
        let profile = match name {
            Some(name) => profile::named(&self.raw, name, "the command line")?,
            None => {
                let Target { raw, address, .. } = self.asked_here()?;
                profile::choose(&raw, address.as_ref())?
            }
        };
        let base = profile.endpoints.base.clone();
        Identity::new(&self.git, profile, &base, None)
    }

    /// Names the profile that git uses in this directory, and says why.
    ///
    /// # Errors
    ///
    /// As [`App::used`].
    pub(crate) fn explain_here(&self) -> anyhow::Result<(String, String)> {
        let Target { raw, address, .. } = self.asked_here()?;
        Ok(profile::explain(&raw, address.as_ref())?)
    }

    /// Names the setting that forbids questions to a person.
    pub(crate) fn no_questions(&self) -> Option<String> {
        git_config::no_questions(&self.git, &process_variable)
    }

    /// Goes through git's settings in the order in which they take effect.
    pub(crate) fn settings(&self) -> impl Iterator<Item = &git_config::Entry> {
        self.git.entries()
    }

    /// Names the settings of the repository's own configuration that bear on how we work, each with its file.
    pub(crate) fn of_repository(&self) -> Vec<String> {
        let ours = self
            .git
            .of_repository()
            .filter(|entry| match entry.section.as_str() {
                "bbtoken" => true,
                "remote" => {
                    ["bbtokenprofile", "proxy", "proxyauthmethod"].contains(&entry.key.as_str())
                }
                _ => false,
            });
        let http = git_config::http_from_repository(&self.git, self.base(), None);
        ours.chain(http)
            .map(|entry| format!("{} in {}", entry.name(), entry.origin))
            .collect()
    }

    /// Resolves a profile, with some settings in the place of its own, which are not written anywhere.
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
        if !profile::names(&raw).iter().any(|known| known == name) {
            raw.profiles.entry(name.to_owned()).or_default();
        }
        if let Some(own) = raw.profiles.get_mut(name) {
            change(own);
        }
        let profile = profile::named(&raw, name, "the command line")?;
        let base = profile.endpoints.base.clone();
        Identity::new(&self.git, profile, &base, None)
    }

    /// Resolves who answers git's credential protocol for a URL; `None` if it is not the configured Bitbucket's.
    ///
    /// # Errors
    ///
    /// For a profile or a setting that cannot be used.
    pub(crate) fn for_url(
        &self,
        protocol: &str,
        host: &str,
        path: &str,
        profile: Option<&str>,
        user: &str,
    ) -> anyhow::Result<Option<Identity>> {
        let git = &self.git;
        let variables = |name: &str| self.environment.variable(name);
        // Whether it is ours to answer depends on the user's own settings alone, whatever a repository says.
        let raw = git_config::profiles(&git.protected(), &variables, None)?;
        // Git writes the port as the address has it, also where it is the scheme's own.
        let host = match protocol {
            "https" => host.strip_suffix(":443").unwrap_or(host),
            _ => host.strip_suffix(":80").unwrap_or(host),
        };
        let is_asked_for = |base: &&Url| {
            let below = base.path().trim_matches('/');
            let is_below =
                path.is_empty() || below.is_empty() || path.starts_with(&format!("{below}/"));
            let is_host = host.eq_ignore_ascii_case(&authority(base));
            protocol == base.scheme() && is_host && is_below
        };
        let bases = profile::base_urls(&raw)?;
        let length = |base: &Url| base.path().trim_end_matches('/').len();
        // One site may lie below another.
        let longest = bases.iter().filter(is_asked_for).map(length).max();
        let sites = bases.iter().filter(is_asked_for);
        let sites: Vec<_> = sites
            .filter(|base| Some(length(base)) == longest)
            .cloned()
            .collect();
        let Ok(url) = Url::parse(&format!("{protocol}://{host}/{path}")) else {
            return Ok(None);
        };
        if sites.is_empty() {
            return Ok(None);
        }
        let asked = Target::about_url(git, &variables, &url, sites.clone())?;
        let Target {
            mut raw, address, ..
        } = asked;
        let by_user = profile::names(&raw).into_iter().find(|name| name == user);
        let profile = match (profile, by_user) {
            (Some(name), _) => {
                // Git asks a helper that is set up for one profile about any site.
                raw.sites.clear();
                let profile = profile::named(&raw, name, "the command line")?;
                if !sites.contains(&profile.endpoints.base) {
                    return Ok(None);
                }
                profile
            }
            (None, Some(name)) => profile::named_by_user(&raw, &name, address.as_ref())?,
            (None, None) => profile::choose(&raw, address.as_ref())?,
        };
        let base = profile.endpoints.base.clone();
        Ok(Some(Identity::new(git, profile, &base, None)?))
    }

    /// Resolves every profile that gets tokens for a site; those that cannot be used are passed over.
    ///
    /// # Errors
    ///
    /// For a setting that cannot be read.
    pub(crate) fn all_for_site(&self, protocol: &str, host: &str) -> Vec<Identity> {
        let identity = |name: String| {
            let profile = profile::named(&self.raw, &name, "the configuration").ok()?;
            let base = profile.endpoints.base.clone();
            let is_its = protocol == base.scheme() && host.eq_ignore_ascii_case(&authority(&base));
            is_its.then(|| Identity::new(&self.git, profile, &base, None).ok())?
        };
        let names = profile::names(&self.raw).into_iter();
        names.filter_map(identity).collect()
    }

    /// Parses the address of a repository on which a profile is to be tried.
    ///
    /// # Errors
    ///
    /// [`Kind::BadAddress`] for any other text, and [`Kind::Usage`] for the address of another site or profile.
    pub(crate) fn address_for(&self, profile: &Profile, text: &str) -> anyhow::Result<Address> {
        let (asked, address) = self.target(None, text)?;
        let sites = &asked.raw.sites;
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

    /// Turns a Bitbucket address into a `bbtoken::` one, or back into an https one; `None` for any other.
    ///
    /// An address with a password is turned, too: that is how the password gets out of the configuration. A profile in
    /// the address is the user name of the https one.
    pub(crate) fn converted(&self, url: &str, back: bool) -> Option<String> {
        let is_ours = url.starts_with("bbtoken:");
        if is_ours != back {
            return None;
        }
        if is_ours {
            let (asked, address) = self.target(None, url).ok()?;
            let profile = profile::choose(&asked.raw, Some(&address));
            let base = profile.map(|profile| profile.endpoints.base);
            let mut base = base.unwrap_or_else(|_| self.base().clone());
            if let Some(profile) = &address.profile {
                base.set_username(profile).ok()?;
            }
            let base = base.as_str().trim_end_matches('/');
            return Some(format!("{base}/{address}.git"));
        }
        // Anything else is a path, or short for one beside the repository itself.
        if !url.split('/').next().unwrap_or("").contains(':') {
            return None;
        }
        let address = parse_address(&self.git, None, &without_password(url), &self.bases).ok()?;
        let profile = self.profile_in(url).map(|name| format!("{name}@"));
        Some(format!("bbtoken::{}{address}", profile.unwrap_or_default()))
    }

    /// Finds the profile that the user name of a web address names. Bitbucket's pages put the person's there.
    fn profile_in(&self, url: &str) -> Option<String> {
        let url = Url::parse(url).ok()?;
        let is_web = matches!(url.scheme(), "https" | "http");
        let names = profile::names(&self.raw).into_iter();
        names.filter(|_| is_web).find(|name| name == url.username())
    }

    /// Tells which profile an address gets. It may be a remote's name.
    ///
    /// # Errors
    ///
    /// For an address or a profile that cannot be used.
    pub(crate) fn explain(&self, address: &str) -> anyhow::Result<Explained> {
        let is_remote = self.git.last("remote", Some(address), "url").is_some();
        let remote = is_remote.then_some(address);
        let (asked, address) = self.target(remote, address)?;
        let (profile, why) = profile::explain(&asked.raw, Some(&address))?;
        Ok(Explained {
            repository: address.to_string(),
            profile,
            why,
        })
    }
}

/// Gives scheme, host and port, as credential settings are scoped by.
pub(crate) fn site(base: &Url) -> String {
    format!("{}://{}", base.scheme(), authority(base))
}

fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let host = authority
        .rsplit_once('@')
        .map_or(authority, |(_, host)| host);
    match authority.rsplit_once('@') {
        Some((user, _)) if user.contains(':') => format!("{scheme}://{host}/{path}"),
        _ => url.to_owned(),
    }
}

/// Makes a setting that stands nowhere yet.
pub(crate) fn given(value: &str) -> Option<Setting> {
    Some(Setting {
        value: value.to_owned(),
        origin: "the command line".to_owned(),
    })
}

/// Tells whether a host may be one that is configured, as far as the configuration can be read.
pub(crate) fn may_be_ours(host: &str) -> bool {
    let git = GitConfig::read(&process_variable).unwrap_or_default();
    let given = process_variable("BBTOKEN_BASE_URL").filter(|base| !base.is_empty());
    let usual = given.map_or_else(
        || "https://bitbucket.org".to_owned(),
        |base| base.to_string_lossy().into_owned(),
    );
    let configured = git
        .entries()
        .filter(|entry| entry.section == "bbtoken" && entry.key == "baseurl")
        .filter_map(|entry| entry.value.clone());
    let name = |host: &str| host.split(':').next().unwrap_or("").to_ascii_lowercase();
    configured.chain([usual]).any(|base| {
        let url = Url::parse(&base).ok();
        url.is_some_and(|url| url.host_str() == Some(name(host).as_str()))
    })
}

/// Tries an identity that is not kept yet on a repository, as a fetch begins; false if only git's own transport may
/// reach it.
///
/// # Errors
///
/// When the repository cannot be read.
pub(crate) fn try_on(
    identity: &Identity,
    address: &Address,
    notify: &dyn Fn(&str),
) -> anyhow::Result<bool> {
    let profile = &identity.profile;
    let repository = profile.endpoints.repository(address);
    let is_for_git = match profile.transport {
        Transport::Git => true,
        Transport::Native => false,
        Transport::Auto => {
            !identity.http.git_only.is_empty() || remembered(profile, &repository).is_some()
        }
    };
    if is_for_git {
        return Ok(false);
    }
    let watch = Watch::on_stdout();
    let mut authorizer = identity.authorizer(&watch, notify);
    let (client, name) = (identity.client()?, address.to_string());
    let mut session = Session::new(
        client,
        &mut authorizer,
        &watch,
        &SystemClock,
        repository,
        name,
    );
    let tried = session.probe(Service::UploadPack, Some("version=2"));
    let Err(error) = tried else { return Ok(true) };
    let mut links = error.chain().filter_map(|link| link.downcast_ref());
    let is_gits =
        |error: &TransportError| error.wants_other_login() || error.may_be_of_our_library();
    match profile.transport == Transport::Auto && links.any(is_gits) {
        true => Ok(false),
        false => Err(error),
    }
}

/// Tells the time of this machine's clock.
pub(crate) fn now_unix_s() -> u64 {
    use crate::clock::Clock as _;
    crate::clock::SystemClock.now_unix_s()
}

/// Gives the value of `credential.<url>.helper` that makes git ask this very program.
///
/// It names the program as `PATH` does: package managers put a link there that outlives an upgrade.
///
/// # Errors
///
/// When the program's own place is unknown.
pub(crate) fn credential_helper() -> anyhow::Result<String> {
    let program = program::sibling("git-bbtoken")?;
    let itself = program.canonicalize().ok();
    let is_itself = |found: &PathBuf| found.canonicalize().ok() == itself;
    let linked = program::all("git-bbtoken").into_iter().find(is_itself);
    let program = linked.unwrap_or(program);
    Ok(format!("!{} credential", program::shell_word(&program)))
}
