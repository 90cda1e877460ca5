//! Who gets tokens, and how servers are reached.

use super::asked::{Asked, Here};
use crate::{
    git_config::{self, GitConfig, HttpSettings, process_variable},
    http::Url,
    profile::{self, Endpoints, Profile},
};

/// Who gets tokens, and how servers are reached: what the configuration says, resolved.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Whose token is used.
    pub profile: Profile,
    pub(super) http: HttpSettings,
    /// How its token endpoint is reached, if that is another way: it is on another host, or the repository has
    /// settings of its own, which do not count for a call with a client's secret, a refresh token or a code.
    pub(super) token_http: Option<HttpSettings>,
    /// The repository's own proxy, which such a call does not use.
    pub(super) unused_proxy: Option<String>,
}

impl Identity {
    /// Resolves who answers git's credential protocol for a URL; `None` if it is not the configured Bitbucket's.
    ///
    /// # Errors
    ///
    /// For a profile or a setting that cannot be used.
    pub fn for_url(
        protocol: &str,
        host: &str,
        path: &str,
        profile: Option<&str>,
        user: &str,
    ) -> anyhow::Result<Option<Self>> {
        let here = Here::find();
        let variables = |name: &str| here.variable(name);
        let git = GitConfig::read(&variables)?;
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
        let asked = Asked::about_url(&git, &variables, &url, sites.clone())?;
        let Asked {
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
        Ok(Some(Identity::new(&git, profile, &base, None)?))
    }

    /// Resolves every profile that gets tokens for a site; those that cannot be used are passed over.
    ///
    /// # Errors
    ///
    /// For a setting that cannot be read.
    pub fn all_for_site(protocol: &str, host: &str) -> anyhow::Result<Vec<Self>> {
        let here = Here::find();
        let variables = |name: &str| here.variable(name);
        let git = GitConfig::read(&variables)?;
        let raw = git_config::profiles(&git, &variables, None)?;
        let identity = |name: String| {
            let profile = profile::named(&raw, &name, "the configuration").ok()?;
            let base = profile.endpoints.base.clone();
            let is_its = protocol == base.scheme() && host.eq_ignore_ascii_case(&authority(&base));
            is_its.then(|| Identity::new(&git, profile, &base, None).ok())?
        };
        Ok(profile::names(&raw)
            .into_iter()
            .filter_map(identity)
            .collect())
    }

    pub(super) fn new(
        git: &GitConfig,
        profile: Profile,
        url: &Url,
        remote: Option<&str>,
    ) -> anyhow::Result<Self> {
        let settings =
            |git: &GitConfig, url: &Url| git_config::http_settings(git, &process_variable, url, remote);
        let Endpoints { base, token, .. } = &profile.endpoints;
        let http = settings(git, url)?;
        let elsewhere = token.origin() != base.origin();
        let of_repository = git_config::http_from_repository(git, url, remote);
        let token_http = match (elsewhere, of_repository.is_empty()) {
            (true, _) => Some(settings(&git.protected(), token)?),
            (false, true) => None,
            (false, false) => {
                Some(settings(&git.protected(), url)?).filter(|own| !own.leads_as(&http))
            }
        };
        let mut proxies = of_repository.iter().filter(|entry| entry.key == "proxy");
        let unused_proxy = proxies.next_back();
        Ok(Identity {
            unused_proxy: unused_proxy.map(|proxy| format!("{} in {}", proxy.name(), proxy.origin)),
            http,
            token_http,
            profile: Profile {
                no_questions: git_config::no_questions(git, &process_variable),
                ..profile
            },
        })
    }
}

pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
