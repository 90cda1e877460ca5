//! Who gets tokens, and how servers are reached.

use anyhow::Context as _;

use crate::{
    address::{Address, Base},
    config::{self, GitConfig, HttpSettings, process_variable},
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
        let git = GitConfig::read(&process_variable)?;
        // Whether it is ours to answer depends on the user's own settings alone, whatever a repository says.
        let raw = config::profiles(&git.protected(), &process_variable, None)?;
        // Git writes the port as the address has it, also where it is the scheme's own.
        let host = match protocol {
            "https" => host.strip_suffix(":443").unwrap_or(host),
            _ => host.strip_suffix(":80").unwrap_or(host),
        };
        let is_asked_for =
            |base: &Url| protocol == base.scheme() && host.eq_ignore_ascii_case(&authority(base));
        let bases = profile::base_urls(&raw)?;
        if !bases.iter().any(is_asked_for) {
            return Ok(None);
        }
        let raw = config::profiles(&git, &process_variable, None)?;
        let is_below = |base: &Url| {
            let below = base.path().trim_matches('/');
            path.is_empty() || below.is_empty() || path.starts_with(&format!("{below}/"))
        };
        let url = format!("{protocol}://{host}/{path}");
        // A path that names no repository is of no help in the choice, but it is Bitbucket that asks.
        let address = (!path.is_empty())
            .then(|| parse_address(&git, None, &url, &bases).ok())
            .flatten();
        let by_user = profile::names(&raw).into_iter().find(|name| name == user);
        let profile = match (profile, by_user) {
            (Some(name), _) => profile::named(&raw, name, "the command line")?,
            (None, Some(name)) => profile::named_by_user(&raw, &name, address.as_ref())?,
            (None, None) => profile::choose(&raw, address.as_ref())?,
        };
        let base = profile.endpoints.base.clone();
        if !is_asked_for(&base) || !is_below(&base) {
            return Ok(None);
        }
        Ok(Some(Identity::new(&git, profile, &base, None)?))
    }

    /// Resolves every profile that gets tokens for a site; those that cannot be used are passed over.
    ///
    /// # Errors
    ///
    /// For a setting that cannot be read.
    pub fn all_for_site(protocol: &str, host: &str) -> anyhow::Result<Vec<Self>> {
        let git = GitConfig::read(&process_variable)?;
        let raw = config::profiles(&git, &process_variable, None)?;
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

    /// Resolves a profile by its name, or the one that is used where nothing names one.
    ///
    /// # Errors
    ///
    /// For a profile or a setting that cannot be used.
    pub fn named(name: Option<&str>) -> anyhow::Result<Self> {
        let git = GitConfig::read(&process_variable)?;
        let mut raw = config::profiles(&git, &process_variable, None)?;
        if let Some(name) = name {
            raw.of_remote = Some(profile::Setting {
                value: name.to_owned(),
                origin: "the command line".into(),
            });
            raw.typed.push(name.to_owned());
        }
        let profile = profile::choose(&raw, None)?;
        let base = profile.endpoints.base.clone();
        Identity::new(&git, profile, &base, None)
    }

    pub(super) fn new(
        git: &GitConfig,
        profile: Profile,
        url: &Url,
        remote: Option<&str>,
    ) -> anyhow::Result<Self> {
        let settings =
            |git: &GitConfig, url: &Url| config::http_settings(git, &process_variable, url, remote);
        let Endpoints { base, token, .. } = &profile.endpoints;
        let http = settings(git, url)?;
        let elsewhere = token.origin() != base.origin();
        let of_repository = config::http_from_repository(git, url, remote);
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
                no_questions: config::no_questions(git, &process_variable),
                ..profile
            },
        })
    }
}

/// Parses the address; with `remote.<name>.vcs` and no more git gives the remote's name for one, and its URL holds it.
pub(super) fn parse_address(
    git: &GitConfig,
    remote: Option<&str>,
    address: &str,
    bases: &[Url],
) -> anyhow::Result<Address> {
    let of_remote = || git.last("remote", Some(remote?), "url")?.value.clone();
    let is_name = remote == Some(address) && !address.contains('/');
    let text = if is_name { of_remote() } else { None };
    let parse = |base: &Url| {
        let base_authority = authority(base);
        let base = Base {
            authority: &base_authority,
            path: base.path(),
        };
        Address::parse(text.as_deref().unwrap_or(address), base)
    };
    let mut parsed = bases.iter().map(parse);
    let first = parsed.next().context("there is a base URL")?;
    Ok(first.or_else(|error| parsed.find_map(Result::ok).ok_or(error))?)
}

pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
