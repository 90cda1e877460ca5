//! What the commands for people need: profiles as they are configured, and what is kept of them.

use std::path::PathBuf;

use anyhow::Context as _;

use super::{
    GIT_TRANSPORT_MARGIN, Identity,
    asked::{self, Asked, Here, parse_address},
    handover::{shell_word, sibling},
    house::{House, places, under},
    identity::authority,
    memory, reach,
};
use crate::{
    address::Address,
    clock::SystemClock,
    git_config::{self, GitConfig, process_variable},
    failure::{Failure, Kind},
    http::{TransportError, Url},
    profile::{self, Profile, Raw, RawProfile, Setting, Transport},
    program,
    transport::{Service, Session},
    secret::{Secret, mask_address},
    token::{Bearer, Forgotten, Kept},
};

/// Everything that is configured.
#[derive(Debug)]
pub struct Overview {
    /// The settings of profiles.
    pub raw: Raw,
    /// Where Bitbucket is: for every profile that does not say otherwise, then for those that do.
    pub bases: Vec<Url>,
    pub(super) git: GitConfig,
    here: Here,
}

/// Which profile an address gets.
#[derive(Debug)]
pub struct Explained {
    /// The repository, as `workspace/repository`.
    pub repository: String,
    /// The profile's name.
    pub profile: String,
    /// Why it is this one.
    pub why: String,
}

impl Overview {
    /// Reads git's configuration and the environment.
    ///
    /// # Errors
    ///
    /// For a setting that cannot be used.
    pub fn read() -> anyhow::Result<Self> {
        Overview::of(Here::find())
    }

    /// Reads what holds outside of all repositories.
    ///
    /// # Errors
    ///
    /// As [`Overview::read`].
    pub fn read_of_user() -> anyhow::Result<Self> {
        Overview::of(Here::outside())
    }

    fn of(here: Here) -> anyhow::Result<Self> {
        let variables = |name: &str| here.variable(name);
        let git = GitConfig::read(&variables)?;
        let raw = git_config::profiles(&git, &variables, None)?;
        let bases = profile::base_urls(&raw)?;
        Ok(Overview {
            raw,
            bases,
            git,
            here,
        })
    }

    /// Where Bitbucket is, where no profile says otherwise.
    pub fn base(&self) -> &Url {
        &self.bases[0]
    }

    /// Takes an address, and the name of its remote, if it has one.
    pub(super) fn asked(
        &self,
        remote: Option<&str>,
        address: &str,
    ) -> anyhow::Result<(Asked, Address)> {
        Asked::about(&self.git, &|name| self.here.variable(name), remote, address)
    }

    /// Names the remote from which git fetches if none is named.
    pub fn default_remote(&self) -> Option<String> {
        asked::default_remote(&self.git, &|name| self.here.variable(name))
    }

    fn asked_here(&self) -> anyhow::Result<Asked> {
        Asked::about_here(&self.git, &|name| self.here.variable(name))
    }

    /// Resolves the profile of a name, or the one that git uses in this directory.
    ///
    /// # Errors
    ///
    /// For a profile or a setting that cannot be used.
    pub fn used(&self, name: Option<&str>) -> anyhow::Result<Identity> {
        let profile = match name {
            Some(name) => profile::named(&self.raw, name, "the command line")?,
            None => {
                let Asked { raw, address, .. } = self.asked_here()?;
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
    /// As [`Overview::used`].
    pub fn explain_here(&self) -> anyhow::Result<(String, String)> {
        let Asked { raw, address, .. } = self.asked_here()?;
        Ok(profile::explain(&raw, address.as_ref())?)
    }

    /// Names the setting that forbids questions to a person.
    pub fn no_questions(&self) -> Option<String> {
        git_config::no_questions(&self.git, &process_variable)
    }

    /// Goes through git's settings in the order in which they take effect.
    pub fn settings(&self) -> impl Iterator<Item = &git_config::Entry> {
        self.git.entries()
    }

    /// Names the settings of the repository's own configuration that bear on how we work, each with its file.
    pub fn from_repository(&self) -> Vec<String> {
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
    pub fn identity(
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

    /// Parses the address of a repository on which a profile is to be tried.
    ///
    /// # Errors
    ///
    /// [`Kind::BadAddress`] for any other text, and [`Kind::Usage`] for the address of another site or profile.
    pub fn address_for(&self, profile: &Profile, text: &str) -> anyhow::Result<Address> {
        let (asked, address) = self.asked(None, text)?;
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
    pub fn converted(&self, url: &str, back: bool) -> Option<String> {
        let is_ours = url.starts_with("bbtoken:");
        if is_ours != back {
            return None;
        }
        if is_ours {
            let (asked, address) = self.asked(None, url).ok()?;
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
    pub fn explain(&self, address: &str) -> anyhow::Result<Explained> {
        let is_remote = self.git.last("remote", Some(address), "url").is_some();
        let remote = is_remote.then_some(address);
        let (asked, address) = self.asked(remote, address)?;
        let (profile, why) = profile::explain(&asked.raw, Some(&address))?;
        Ok(Explained {
            repository: address.to_string(),
            profile,
            why,
        })
    }
}

/// Gives scheme, host and port, as credential settings are scoped by.
pub fn site(base: &Url) -> String {
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
pub fn given(value: &str) -> Option<Setting> {
    Some(Setting {
        value: value.to_owned(),
        origin: "the command line".to_owned(),
    })
}

/// Tells whether a host may be one that is configured, as far as the configuration can be read.
pub fn may_be_ours(host: &str) -> bool {
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

/// Looks at what is kept of a profile, without a request; the error tells that its store could not be read.
///
/// # Errors
///
/// When git's http settings cannot be followed.
pub fn kept(
    identity: &Identity,
    notify: &dyn Fn(&str),
) -> anyhow::Result<(Kept, Option<anyhow::Error>)> {
    let house = House::open(identity)?;
    Ok(house
        .tokens_without_request(&identity.profile, notify)
        .kept())
}

/// Keeps a client's secret or a ready token in the profile's store.
///
/// # Errors
///
/// [`crate::failure::Kind::StoreUnusable`].
pub fn keep(identity: &Identity, secret: &Secret, notify: &dyn Fn(&str)) -> anyhow::Result<()> {
    let house = House::open(identity)?;
    house
        .tokens_without_request(&identity.profile, notify)
        .keep(secret)
        .with_context(|| format!("profile '{}' was not saved", identity.profile))
}

/// Forgets all that is kept of a profile on this machine. What one of `others` uses, too, stays, unless `even_shared`
/// says otherwise.
///
/// # Errors
///
/// When something is still there.
pub fn forget_all(
    identity: &Identity,
    others: &[Profile],
    even_shared: bool,
    notify: &dyn Fn(&str),
) -> anyhow::Result<Forgotten> {
    let house = House::open(identity)?;
    if let Some(cache) = places(&identity.profile, &process_variable).cache {
        memory::forget_all(&cache);
    }
    let tokens = house.tokens_without_request(&identity.profile, notify);
    tokens.forget_all(others, even_shared)
}

/// Tries an identity that is not kept yet on a repository, as a fetch begins; false if only git's own transport may
/// reach it.
///
/// # Errors
///
/// When the repository cannot be read.
pub fn try_on(
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
            !identity.http.git_only.is_empty() || reach::remembered(profile, &repository).is_some()
        }
    };
    if is_for_git {
        return Ok(false);
    }
    let house = House::open(identity)?;
    let mut bearing = house.bearing(profile, notify);
    let name = address.to_string();
    let (client, watch) = (&house.client, &house.watch);
    let mut session = Session::new(client, &mut bearing, watch, &SystemClock, repository, name);
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

/// Gives a token in the place of one that the server refused, which is named by its fingerprint; `None` if there is no other.
///
/// # Errors
///
/// As [`super::bearer`].
pub fn bearer_instead(
    identity: &Identity,
    refused: &str,
    notify: &dyn Fn(&str),
) -> anyhow::Result<Option<Bearer>> {
    let house = House::open(identity)?;
    let mut tokens = house.tokens(&identity.profile, notify);
    let bearer = tokens.bearer(GIT_TRANSPORT_MARGIN);
    let bearer = bearer.map_err(|error| under(&house.left_out, error))?;
    if bearer.token.fingerprint() != refused {
        return Ok(Some(bearer));
    }
    match tokens.refused()? {
        true => tokens.bearer(GIT_TRANSPORT_MARGIN).map(Some),
        false => Ok(None),
    }
}

/// Tells the time of this machine's clock.
pub fn now_unix_s() -> u64 {
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
pub fn credential_helper() -> anyhow::Result<String> {
    let program = sibling("git-bbtoken")?;
    let itself = program.canonicalize().ok();
    let is_itself = |found: &PathBuf| found.canonicalize().ok() == itself;
    let linked = program::all("git-bbtoken").into_iter().find(is_itself);
    let program = linked.unwrap_or(program);
    Ok(format!("!{} credential", shell_word(&program)))
}

/// Gets a token from the endpoint although one may be kept, to prove that the grant works.
///
/// # Errors
///
/// As [`super::bearer`].
pub fn bearer_anew(identity: &Identity, notify: &dyn Fn(&str)) -> anyhow::Result<Bearer> {
    let house = House::open(identity)?;
    let bearer = house.tokens(&identity.profile, notify).bearer_anew();
    bearer.map_err(|error| under(&house.left_out, error))
}
