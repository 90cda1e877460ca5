//! Chooses the profile for a request of git's credential protocol.

use super::{App, Identity, Target, authority};
use crate::{
    git_config::{self, GitConfig, process_variable},
    http::Url,
    profile,
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
        let bases = profile::places(&raw)?.into_iter().map(|place| place.base);
        let sites = sites(&bases.collect::<Vec<_>>(), protocol, host, path);
        let Ok(url) = Url::parse(&format!("{protocol}://{host}/{path}")) else {
            return Ok(None);
        };
        if sites.is_empty() {
            return Ok(None);
        }
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
        let base = profile.endpoints.base.clone();
        Ok(Some(Identity::new(git, profile, &base, None)?))
    }

    /// Resolves every profile of a site. Skips profiles that cannot be used.
    ///
    /// # Errors
    ///
    /// If a setting cannot be read.
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
}

/// Finds the sites that contain a URL.
fn sites(bases: &[Url], protocol: &str, host: &str, path: &str) -> Vec<Url> {
    let is_asked_for = |base: &&Url| {
        let below = base.path().trim_matches('/');
        let is_below =
            path.is_empty() || below.is_empty() || path.starts_with(&format!("{below}/"));
        let is_host = host.eq_ignore_ascii_case(&authority(base));
        protocol == base.scheme() && is_host && is_below
    };
    let length = |base: &Url| base.path().trim_end_matches('/').len();
    // One site may lie below another.
    let longest = bases.iter().filter(is_asked_for).map(length).max();
    let sites = bases.iter().filter(is_asked_for);
    let sites = sites.filter(|base| Some(length(base)) == longest);
    sites.cloned().collect()
}

/// Tells whether a host may be configured, as far as the configuration can be read.
pub(crate) fn may_be_ours(host: &str) -> bool {
    let git = GitConfig::read(&process_variable).unwrap_or_default();
    // A repository must not decide which hosts get tokens.
    let git = git.protected();
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
