//! A profile with its HTTP clients.

use std::{cell::OnceCell, fmt};

use super::proxy_login::GitLogins;
use crate::{
    failure::{Failure, Kind},
    git_config::{self, GitConfig, HttpSettings, process_variable},
    http::{Client, Family, HttpClient, Url},
    limits,
    profile::{Endpoints, Grant, Profile},
    token::Connect,
};

/// The `User-Agent` header of the helper. Bitbucket looks for `git/` in it.
const USER_AGENT: &str = concat!("git/2 git-remote-bbtoken/", env!("CARGO_PKG_VERSION"));

/// A resolved profile with its resolved http settings.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Whose token is used.
    pub profile: Profile,
    pub(crate) http: HttpSettings,
    /// The http settings for the token endpoint, if they differ. They differ if it is on another host, or if the
    /// repository's own configuration has http settings: a token request ignores those.
    pub(super) token_http: Option<HttpSettings>,
    /// The proxy in the repository's own configuration, which a token request does not use.
    pub(super) unused_proxy: Option<String>,
    clients: Clients,
}

/// HTTP clients. The first request creates each of them.
#[derive(Default)]
struct Clients {
    family: Option<Family>,
    git: OnceCell<Client>,
    token: OnceCell<Client>,
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clients")
    }
}

impl Identity {
    pub(crate) fn new(
        git: &GitConfig,
        profile: Profile,
        url: &Url,
        remote: Option<&str>,
    ) -> anyhow::Result<Self> {
        let settings = |git: &GitConfig, url: &Url| {
            git_config::http_settings(git, &process_variable, url, remote)
        };
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
            clients: Clients::default(),
            profile: Profile {
                no_questions: git_config::no_questions(git, &process_variable),
                ..profile
            },
        })
    }

    /// Copies the identity with another grant.
    pub(crate) fn granted(&self, grant: Grant) -> Self {
        Identity {
            profile: Profile {
                grant,
                ..self.profile.clone()
            },
            http: self.http.clone(),
            token_http: self.token_http.clone(),
            unused_proxy: self.unused_proxy.clone(),
            clients: Clients::default(),
        }
    }

    /// Limits connections to one address family.
    pub(crate) fn keep_to(&mut self, family: Family) {
        self.clients = Clients {
            family: Some(family),
            ..Clients::default()
        };
    }

    /// Gives the client for the repository's host.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    pub(crate) fn client(&self) -> anyhow::Result<&Client> {
        self.made(&self.clients.git, &self.http)
    }

    fn made<'c>(
        &self,
        cell: &'c OnceCell<Client>,
        http: &HttpSettings,
    ) -> anyhow::Result<&'c Client> {
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let mut client = client(http)?;
        if let Some(family) = self.clients.family {
            client.keep_to(family)?;
        }
        Ok(cell.get_or_init(|| client))
    }
}

impl Connect for Identity {
    fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        let client = match &self.token_http {
            Some(http) => self.made(&self.clients.token, http)?,
            None => self.client()?,
        };
        Ok(client)
    }
}

/// Creates a client that follows git's settings and asks for a proxy's login as git does.
pub(super) fn client(http: &HttpSettings) -> anyhow::Result<Client> {
    let client = Client::new(&http.settings, USER_AGENT);
    let client = client.map_err(|error| match limits::remedy(&error) {
        Some(_) => error,
        None => error.context(Failure::new(
            Kind::Misconfigured,
            "cannot apply git's http settings",
        )),
    })?;
    Ok(client.with_proxy_logins(Box::new(GitLogins)))
}

pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
