//! A profile with its HTTP clients.

use std::{cell::OnceCell, fmt, rc::Rc};

#[cfg(unix)]
use super::agent::{self, Lender};
use super::client::client;
#[cfg(unix)]
use crate::agent::ByAgent;
use crate::{
    git_config::{self, GitConfig, HttpSettings, process_variable},
    http::{Client, Family, HttpClient, Url},
    profile::{Endpoints, Grant, Profile, RecordPath, SharedStore, Vault},
    token::{CommandRecord, Connect, SharedRecord, VaultRecord, VaultSession},
};

/// A resolved profile with its resolved http settings.
#[derive(Debug)]
pub(crate) struct Identity {
    /// Whose token is used.
    pub profile: Profile,
    pub(crate) http: HttpSettings,
    /// The http settings for the token endpoint, if they differ. They differ if it is on another host, or if the
    /// repository's own configuration has http settings: a token request ignores those.
    pub(super) token_http: Option<HttpSettings>,
    /// The http settings for the shared store, if it is a server.
    pub(super) store_http: Option<HttpSettings>,
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
    store: OnceCell<Client>,
    /// The login to the shared store, which must not be repeated.
    session: Rc<VaultSession>,
    /// Dropped before the lender, so that an agent that this process starts finds no connection in use.
    #[cfg(unix)]
    by_agent: OnceCell<Option<ByAgent>>,
    #[cfg(unix)]
    lender: Option<Lender>,
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
        let Endpoints { token, .. } = &profile.endpoints;
        let http = settings(git, url)?;
        let elsewhere = token.origin() != url.origin();
        let of_repository = git_config::http_from_repository(git, url, remote);
        let token_http = match (elsewhere, of_repository.is_empty()) {
            (true, _) => Some(settings(&git.protected(), token)?),
            (false, true) => None,
            (false, false) => {
                Some(settings(&git.protected(), url)?).filter(|own| !own.leads_as(&http))
            }
        };
        let store_http = match &profile.shared {
            Some(SharedStore::Vault(vault)) => Some(git_config::http_settings_of_store(
                git,
                &process_variable,
                &vault.url,
            )?),
            Some(SharedStore::Command(_)) | None => None,
        };
        let mut proxies = of_repository.iter().filter(|entry| entry.key == "proxy");
        let unused_proxy = proxies.next_back();
        Ok(Identity {
            unused_proxy: unused_proxy.map(|proxy| format!("{} in {}", proxy.name(), proxy.origin)),
            http,
            token_http,
            store_http,
            clients: Clients {
                #[cfg(unix)]
                // The agent connects to the base URL. A mirror is another server.
                lender: (url.origin() == profile.endpoints.base.origin() && agent::is_wanted(git, profile.store)?)
                    .then(Lender::default),
                ..Clients::default()
            },
            profile: Profile {
                no_questions: git_config::no_questions(git, &process_variable),
                ..profile
            },
        })
    }

    /// Uses the http settings for the base URL.
    pub(crate) fn of_base(git: &GitConfig, profile: Profile) -> anyhow::Result<Self> {
        let base = profile.endpoints.base.clone();
        Identity::new(git, profile, &base, None)
    }

    /// Copies the identity with another grant. The login to a shared store stays the same.
    pub(crate) fn granted(&self, grant: Grant) -> Self {
        Identity {
            profile: Profile {
                grant,
                ..self.profile.clone()
            },
            http: self.http.clone(),
            token_http: self.token_http.clone(),
            store_http: self.store_http.clone(),
            unused_proxy: self.unused_proxy.clone(),
            clients: Clients {
                session: Rc::clone(&self.clients.session),
                ..Clients::default()
            },
        }
    }

    /// Limits connections to one address family.
    pub(crate) fn keep_to(&mut self, family: Family) {
        self.clients = Clients {
            family: Some(family),
            session: Rc::clone(&self.clients.session),
            ..Clients::default()
        };
    }

    /// Gives the client for the repository's host.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    pub(crate) fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        #[cfg(unix)]
        if let Some(lender) = &self.clients.lender {
            let borrow = || lender.borrow(&self.profile, &self.http);
            if let Some(by_agent) = self.clients.by_agent.get_or_init(borrow) {
                return Ok(by_agent);
            }
        }
        Ok(self.made(&self.clients.git, &self.http)?)
    }

    /// Tells whether commands are to use the agent; then, whether their requests may go over its connections.
    #[cfg(unix)]
    pub(crate) fn agent_use(&self) -> Option<bool> {
        let is_eligible = || agent::lane(&self.profile, &self.http).is_some();
        self.clients.lender.as_ref().map(|_| is_eligible())
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

impl Identity {
    fn of_vault<'i>(
        &'i self,
        vault: &'i Vault,
        path: &'i RecordPath,
    ) -> anyhow::Result<Box<dyn SharedRecord + 'i>> {
        let Some(http) = &self.store_http else {
            anyhow::bail!("the profile has no shared store");
        };
        let http = self.made(&self.clients.store, http)?;
        Ok(Box::new(VaultRecord::new(
            vault,
            path,
            http,
            &process_variable,
            &self.clients.session,
        )))
    }
}

impl Connect for Identity {
    fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        Ok(match &self.token_http {
            Some(http) => self.made(&self.clients.token, http)?,
            None => self.made(&self.clients.git, &self.http)?,
        })
    }

    fn record(&self) -> anyhow::Result<Box<dyn SharedRecord + '_>> {
        match &self.profile.shared {
            Some(SharedStore::Vault(vault)) => self.of_vault(vault, &vault.record),
            Some(SharedStore::Command(command)) => Ok(Box::new(CommandRecord::new(command))),
            None => anyhow::bail!("the profile has no shared store"),
        }
    }

    fn token_record(&self) -> anyhow::Result<Option<Box<dyn SharedRecord + '_>>> {
        match &self.profile.shared {
            Some(SharedStore::Vault(vault)) => {
                let copy = vault.token_record.as_ref();
                copy.map(|copy| self.of_vault(vault, copy)).transpose()
            }
            _ => Ok(None),
        }
    }
}

pub(crate) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}
