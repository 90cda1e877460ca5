//! Chooses the profile for a request of git's credential protocol.

use super::{Identity, Target, authority, context::App, target::path_of};
use crate::{
    git_config::{self, GitConfig, process_variable},
    profile::{self, Endpoints, Place},
    url::Url,
};

impl App {
    /// Resolves the profile for a URL of git's credential protocol; `None` if the URL is not at the configured
    /// Bitbucket.
    ///
    /// # Errors
    ///
    /// If a profile or a setting cannot be used.
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
        // Only the user's own settings decide whether this helper answers. A repository has no influence.
        let raw = git_config::profiles(&git.protected(), &variables)?;
        // Git gives the port as written in the address, even the scheme's default port.
        let host = match protocol {
            "https" => host.strip_suffix(":443").unwrap_or(host),
            _ => host.strip_suffix(":80").unwrap_or(host),
        };
        let Ok(mut url) = Url::parse(&format!("{protocol}://{host}/{path}")) else {
            return Ok(None);
        };
        let places = profile::places(&raw)?;
        let found = sites(&places, protocol, host, &url);
        let Some(&Found { base, at }) = found.first() else {
            return Ok(None);
        };
        // Only the address at the site itself names a repository.
        let below = url.path().strip_prefix(path_of(at)).unwrap_or_default();
        let path = format!("{}{below}", path_of(base));
        if at != base {
            url = base.clone();
            url.set_path(&path);
        }
        let sites: Vec<_> = found.iter().map(|it| it.base.clone()).collect();
        let mut target = Target::about_url(self, &url, sites.clone());
        let names = profile::names(&target.raw);
        let by_user = names.into_iter().find(|name| name == user);
        let profile = match (profile, by_user) {
            (Some(name), _) => {
                // Git asks a helper with `--profile` about any site.
                target.raw.sites.clear();
                let profile = profile::named(&target.raw, name, "the command line")?;
                if !sites.contains(&profile.endpoints.base) {
                    return Ok(None);
                }
                profile
            }
            (None, Some(name)) => {
                profile::named_by_user(&target.raw, &name, target.address.as_ref())?
            }
            (None, None) => target.profile()?,
        };
        let Endpoints { base, mirror, .. } = &profile.endpoints;
        // Another profile of the same server may have the mirror.
        let is_its = |at: &Url| at == base || mirror.as_ref() == Some(at);
        let is_its = found.iter().any(|it| is_its(it.at));
        is_its.then(|| Identity::of_base(self, profile)).transpose()
    }

    /// Resolves every profile of a site. Skips profiles that cannot be used.
    ///
    /// # Errors
    ///
    /// If a setting cannot be read.
    pub(crate) fn all_for_site(&self, protocol: &str, host: &str) -> Vec<Identity> {
        let identity = |name: String| {
            let profile = profile::named(&self.raw, &name, "the configuration").ok()?;
            let Endpoints { base, mirror, .. } = &profile.endpoints;
            let is_its =
                |url: &Url| protocol == url.scheme() && host.eq_ignore_ascii_case(&authority(url));
            let is_its = is_its(base) || mirror.as_ref().is_some_and(is_its);
            is_its.then(|| Identity::of_base(self, profile).ok())?
        };
        let names = profile::names(&self.raw).into_iter();
        names.filter_map(identity).collect()
    }
}

/// A site that contains a URL.
struct Found<'p> {
    base: &'p Url,
    /// The base URL, or that of the mirror, whichever contains the URL.
    at: &'p Url,
}

/// Finds the sites that contain a URL.
fn sites<'p>(places: &'p [Place], protocol: &str, host: &str, url: &Url) -> Vec<Found<'p>> {
    let contains = |at: &Url| {
        let is_host = host.eq_ignore_ascii_case(&authority(at));
        let below = url.path().strip_prefix(path_of(at));
        let is_below = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        protocol == at.scheme() && is_host && (url.path() == "/" || is_below)
    };
    let found = |base, at| Found { base, at };
    let bases_first = places.iter().map(|place| found(&place.base, &place.base));
    let mirrors = places
        .iter()
        .filter_map(|place| Some(found(&place.base, place.mirror.as_ref()?)));
    let found = bases_first.chain(mirrors).filter(|it| contains(it.at));
    let mut found: Vec<_> = found.collect();
    // One site may lie below another.
    let longest = found.iter().map(|it| path_of(it.at).len()).max();
    found.retain(|it| Some(path_of(it.at).len()) == longest);
    found
}

/// Tells whether a host may be configured, as far as the configuration can be read.
pub(crate) fn may_be_ours(host: &str) -> bool {
    let git = GitConfig::readable(&process_variable);
    // A repository must not decide which hosts get tokens.
    let git = git.protected();
    let given = process_variable("BBTOKEN_BASE_URL").filter(|base| !base.is_empty());
    let usual = given.map_or_else(
        || "https://bitbucket.org".to_owned(),
        |base| base.to_string_lossy().into_owned(),
    );
    let configured = git
        .entries()
        .filter(|entry| {
            entry.section == "bbtoken" && ["baseurl", "mirrorurl"].contains(&entry.key.as_str())
        })
        .filter_map(|entry| entry.value.clone());
    let name = |host: &str| host.split(':').next().unwrap_or("").to_ascii_lowercase();
    configured.chain([usual]).any(|base| {
        let url = Url::parse(&base).ok();
        url.is_some_and(|url| url.host_str() == Some(name(host).as_str()))
    })
}
