//! The repository and address of a command, which select the profile. Every command uses this module, so that all of
//! them find the same profile in the same directory.

use anyhow::Context as _;

use super::{context::App, identity::authority};
use crate::{
    address::{Address, Base},
    failure::{Failure, Kind},
    git_config::{self, Entry, GitConfig},
    profile::{self, Place, Profile, Raw},
    url::Url,
};

/// The input for the choice of the profile: the configuration, including the remote's settings, and the address, if
/// there is one.
pub(crate) struct Target {
    pub(crate) raw: Raw,
    pub(crate) address: Option<Address>,
}

impl Target {
    pub(super) fn new(
        app: &App,
        remote: Option<&str>,
        address: Option<Address>,
        sites: Vec<Url>,
    ) -> Self {
        let mut raw = app.raw.clone();
        if let Some(remote) = remote {
            git_config::add_remote(&mut raw, &app.git, remote);
        }
        raw.sites = sites;
        Target { raw, address }
    }

    /// Takes the remote from which git fetches by default in this directory. Ignores a remote that is not at Bitbucket.
    pub(super) fn about_here(app: &App) -> Self {
        let remote = app.default_remote();
        let remote = remote.as_deref();
        let url = remote.and_then(|remote| url_of(&app.git, remote));
        let found = url.and_then(|url| find(&app.git, remote, &url, &app.places).ok());
        let (address, sites) = found.map(|found| (found.address, found.sites)).unzip();
        Target::new(app, remote, address, sites.unwrap_or_default())
    }

    /// Takes a URL for which git asks a credential helper, with the sites that contain it. Finds the remote with this
    /// URL, as for a fetch. Without a path, takes the remote from which git fetches by default.
    pub(super) fn about_url(app: &App, url: &Url, sites: Vec<Url>) -> Self {
        let git = &app.git;
        let has_path = url.path() != "/";
        // The path does not name a repository, but the host is Bitbucket's.
        let asked = find(git, None, url.as_str(), &app.places);
        let asked = asked.ok().map(|found| found.address);
        let address_of = |remote: &str| {
            let found = find(git, Some(remote), &url_of(git, remote)?, &app.places).ok()?;
            let mut its = found.sites.iter();
            let is_of_site = found.sites.is_empty() || its.any(|site| sites.contains(site));
            let is_it = match &asked {
                Some(asked) => asked.is_same_repository(&found.address),
                None => !has_path,
            };
            (is_of_site && is_it).then_some(found.address)
        };
        let default = app.default_remote();
        let others = remotes(git).filter(|_| has_path);
        let mut candidates = default.as_deref().into_iter().chain(others);
        let found = candidates.find_map(|remote| Some((remote, address_of(remote)?)));
        let (remote, address) = found.unzip();
        Target::new(app, remote, address.or(asked), sites)
    }
}

impl App {
    /// Takes an address, and the name of its remote, if it has one.
    ///
    /// # Errors
    ///
    /// If the address cannot be used.
    pub(crate) fn target(
        &self,
        remote: Option<&str>,
        address: &str,
    ) -> anyhow::Result<(Target, Address)> {
        let Found { address, sites } = find(&self.git, remote, address, &self.places)?;
        let target = Target::new(self, remote, Some(address.clone()), sites);
        Ok((target, address))
    }

    /// Gives a text if it is the name of a remote.
    pub(super) fn remote_in<'t>(&self, text: &'t str) -> Option<&'t str> {
        let url = self.git.last("remote", Some(text), "url");
        url.map(|_| text)
    }

    /// Gives the name of the remote from which git fetches by default: the branch's, the only one, or `origin` (git:
    /// `remotes_remote_for_branch`).
    pub(crate) fn default_remote(&self) -> Option<String> {
        let mut all = remotes(&self.git);
        let first = all.next()?;
        let is_only = all.all(|name| name == first);
        let of_branch = || {
            let branch = git_config::branch(&|name| self.environment.variable(name))?;
            let entry = self.git.last("branch", Some(&branch), "remote")?;
            entry.value.clone()
        };
        let only = || is_only.then(|| first.to_owned());
        of_branch().or_else(only).or(Some("origin".to_owned()))
    }
}

/// The profiles of a command of git.
pub(crate) struct Chosen {
    /// Serves a fetch.
    pub(crate) fetcher: Profile,
    /// The reason why a fetch must not use it.
    pub(crate) fetch_refusal: Option<Failure>,
    /// The profile for pushes, if it is another one.
    pub(crate) pusher: Option<Profile>,
}

impl Target {
    /// Chooses the profile, by the same rules as [`Target::explain`] and [`Target::for_git`].
    pub(crate) fn profile(&self) -> Result<Profile, Failure> {
        profile::choose(&self.raw, self.address.as_ref())
    }

    /// Gives the name of the profile that [`Target::profile`] chooses, and the reason.
    pub(super) fn explain(&self) -> Result<(String, String), Failure> {
        profile::explain(&self.raw, self.address.as_ref())
    }

    /// Chooses the profiles of a fetch and of a push.
    pub(crate) fn for_git(&self) -> Result<Chosen, Failure> {
        let chosen = profile::choose_for_push(&self.raw, self.address.as_ref())?;
        let (fetcher, fetch_refusal) = chosen;
        Ok(Chosen {
            pusher: profile::for_push(&self.raw, &fetcher)?,
            fetcher,
            fetch_refusal,
        })
    }

    /// Tells whether the address or its remote names the profile.
    pub(crate) fn names_profile(&self) -> bool {
        let address = self.address.as_ref();
        self.raw.of_remote.is_some() || address.is_some_and(|address| address.profile.is_some())
    }
}

/// An address, and the base URLs that its host may mean. The list is empty if the address has no host, and then fits
/// each site.
pub(super) struct Found {
    pub(super) address: Address,
    sites: Vec<Url>,
}

/// Parses the address. If a remote has only `remote.<name>.vcs`, git gives the remote's name instead, and the remote's
/// URL is the address.
pub(super) fn find(
    git: &GitConfig,
    remote: Option<&str>,
    address: &str,
    places: &[Place],
) -> anyhow::Result<Found> {
    let is_name = remote == Some(address) && !address.contains('/');
    let url = remote
        .filter(|_| is_name)
        .and_then(|name| url_of(git, name));
    let text = url.as_deref().unwrap_or(address);
    let mut refusal: Option<Failure> = None;
    let mut fitting: Vec<(&Url, Address)> = Vec::new();
    for place in places {
        match parse(text, place) {
            Ok(address) => fitting.push((&place.base, address)),
            // A site whose host it is knows best what is wrong.
            Err(error) if refusal.as_ref().is_none_or(is_of_host) => refusal = Some(error),
            Err(_) => {}
        }
    }
    let sites = named_sites(text, &fitting);
    let Some((_, address)) = sites.first().copied().or(fitting.first()) else {
        return Err(refusal.context("there is a base URL")?.into());
    };
    let sites = match (sites.is_empty(), &address.host) {
        // Bitbucket's own host means the common base URL.
        (true, Some(_)) => vec![places[0].base.clone()],
        // Only some sites have names of this form.
        (true, None) if fitting.len() < places.len() => {
            fitting.iter().map(|(base, _)| (*base).clone()).collect()
        }
        _ => sites.iter().map(|(base, _)| (*base).clone()).collect(),
    };
    Ok(Found {
        address: address.clone(),
        sites,
    })
}

fn is_of_host(failure: &Failure) -> bool {
    matches!(failure.kind, Kind::UnknownHost { .. })
}

fn parse(text: &str, place: &Place) -> Result<Address, Failure> {
    let base = Base {
        authority: &authority(&place.base),
        path: place.base.path(),
        ssh_host: place.ssh_host.as_deref(),
        grammar: place.product.facts().grammar,
    };
    Address::parse(text, base)
}

/// Chooses the sites whose host the address names.
fn named_sites<'f, 'b>(
    text: &str,
    fitting: &'f [(&'b Url, Address)],
) -> Vec<&'f (&'b Url, Address)> {
    let names = |(base, address): &&(&Url, Address)| address.host == Some(authority(base));
    // One site may be below another, and two sites may differ only in http and https.
    let length = |(base, _): &(&Url, Address)| path_of(base).len();
    let longest = fitting.iter().filter(names).map(length).max();
    let of_path: Vec<_> = fitting
        .iter()
        .filter(|it| names(it) && Some(length(it)) == longest)
        .collect();
    let is_of_scheme = |base: &Url| {
        let text = text.trim_start_matches("bbtoken::").to_ascii_lowercase();
        text.starts_with(&format!("{}://", base.scheme()))
    };
    let has_scheme = of_path.iter().any(|(base, _)| is_of_scheme(base));
    let of_path = of_path.into_iter();
    of_path
        .filter(|(base, _)| !has_scheme || is_of_scheme(base))
        .collect()
}

/// Gives the path of a base URL, without the slash at the end.
pub(super) fn path_of(base: &Url) -> &str {
    base.path().trim_end_matches('/')
}

fn remotes(git: &GitConfig) -> impl Iterator<Item = &str> {
    let urls = git.entries().filter(|entry| is_remote_url(entry));
    urls.filter_map(|entry| entry.subsection.as_deref())
}

fn is_remote_url(entry: &Entry) -> bool {
    entry.section == "remote" && entry.key == "url"
}

/// Gives the address that git uses for a remote: its first URL, rewritten by the user's rules.
fn url_of(git: &GitConfig, remote: &str) -> Option<String> {
    let is_its =
        |entry: &&Entry| is_remote_url(entry) && entry.subsection.as_deref() == Some(remote);
    let url = git.entries().find(is_its)?.value.as_deref()?;
    Some(rewritten(git, url))
}

/// Rewrites an address by the user's rules.
pub(super) fn rewritten(git: &GitConfig, url: &str) -> String {
    let rule = rule_for(git, url, |_| true);
    let rewritten = rule.and_then(|rule| {
        let rest = url.strip_prefix(rule.value.as_deref()?)?;
        Some(format!("{}{rest}", rule.subsection.as_deref()?))
    });
    rewritten.unwrap_or_else(|| url.to_owned())
}

/// Finds the rule by which git rewrites an address.
pub(crate) fn rule_for<'g>(
    git: &'g GitConfig,
    url: &str,
    counts: impl Fn(&Entry) -> bool,
) -> Option<&'g Entry> {
    let length = |rule: &Entry| rule.value.as_deref().map_or(0, str::len);
    let of_url = |rule: &&Entry| {
        let start = rule.value.as_deref().unwrap_or_default();
        rule.section == "url" && rule.key == "insteadof" && url.starts_with(start) && counts(rule)
    };
    // If two rules have the same length, git takes the first.
    let longer = |one, other| {
        if length(other) > length(one) {
            other
        } else {
            one
        }
    };
    git.entries().filter(of_url).reduce(longer)
}
