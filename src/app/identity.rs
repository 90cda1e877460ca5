//! A profile with its http settings.

use std::rc::Rc;

#[cfg(unix)]
use super::agent::{self, Borrower};
use super::context::{App, Services};
use crate::{
    git_config::{self, HttpSettings, process_variable},
    http::{Family, HttpClient},
    profile::{Endpoints, Grant, Profile, RecordPath, SharedStore, Vault},
    token::{CommandRecord, Connect, SharedRecord, VaultRecord, VaultSession},
    url::Url,
};

/// A resolved profile with its resolved http settings.
pub(crate) struct Identity {
    /// Whose token is used.
    pub(crate) profile: Profile,
    /// The server of the repository.
    url: Url,
    pub(crate) http: HttpSettings,
    /// The http settings for the token endpoint, if they differ. They differ if it is on another host, or if the
    /// repository's own configuration has http settings: a token request ignores those.
    pub(super) token_http: Option<HttpSettings>,
    /// The http settings for the shared store, if it is a server.
    pub(super) store_http: Option<HttpSettings>,
    /// The proxy in the repository's own configuration, which a token request does not use.
    pub(super) unused_proxy: Option<String>,
    /// The login to the shared store, which must not be repeated.
    session: Rc<VaultSession>,
    #[cfg(unix)]
    borrower: Option<Borrower>,
    pub(super) services: Rc<Services>,
}

impl Identity {
    /// Resolves the settings for a profile's requests to a server. `remote` may have its own.
    ///
    /// # Errors
    ///
    /// If a setting cannot be used.
    pub(crate) fn new(
        app: &App,
        profile: Profile,
        url: &Url,
        remote: Option<&str>,
    ) -> anyhow::Result<Self> {
        let git = &app.git;
        let settings = |git, url| git_config::http_settings(git, &process_variable, url, remote);
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
            url: url.clone(),
            http,
            token_http,
            store_http,
            session: Rc::default(),
            #[cfg(unix)]
            // The agent connects to the base URL. A mirror is another server.
            borrower: (url.origin() == profile.endpoints.base.origin()
                && agent::is_wanted(git, profile.store)?)
            .then(Borrower::default),
            services: Rc::clone(&app.services),
            profile: Profile {
                no_questions: app.no_questions.clone(),
                ..profile
            },
        })
    }

    /// Uses the http settings for the base URL.
    pub(crate) fn of_base(app: &App, profile: Profile) -> anyhow::Result<Self> {
        let base = profile.endpoints.base.clone();
        Identity::new(app, profile, &base, None)
    }

    /// Copies the identity with another grant. The login to a shared store stays the same.
    pub(crate) fn granted(&self, grant: Grant) -> Self {
        Identity {
            profile: Profile {
                grant,
                ..self.profile.clone()
            },
            url: self.url.clone(),
            http: self.http.clone(),
            token_http: self.token_http.clone(),
            store_http: self.store_http.clone(),
            unused_proxy: self.unused_proxy.clone(),
            session: Rc::clone(&self.session),
            #[cfg(unix)]
            borrower: None,
            services: Rc::clone(&self.services),
        }
    }

    /// Limits connections to one address family.
    pub(crate) fn keep_to(&mut self, family: Family) {
        self.services.clients.keep_to(family);
        #[cfg(unix)]
        {
            self.borrower = None;
        }
    }

    /// Gives the client for the repository's host.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    pub(crate) fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        #[cfg(unix)]
        if let Some(borrower) = &self.borrower
            && let Some(by_agent) = borrower.client(&self.profile, &self.http, &self.services)
        {
            return Ok(by_agent);
        }
        Ok(self.services.clients.of(&self.url, &self.http)?)
    }

    /// Tells whether commands are to use the agent; then, whether their requests may go over its connections.
    #[cfg(unix)]
    pub(crate) fn agent_use(&self) -> Option<bool> {
        let is_eligible = || agent::lane(&self.profile, &self.http).is_some();
        self.borrower.as_ref().map(|_| is_eligible())
    }

    fn of_vault<'i>(
        &'i self,
        vault: &'i Vault,
        path: &'i RecordPath,
    ) -> anyhow::Result<Box<dyn SharedRecord + 'i>> {
        let Some(http) = &self.store_http else {
            anyhow::bail!("the profile has no shared store");
        };
        let http = self.services.clients.of(&vault.url, http)?;
        Ok(Box::new(VaultRecord::new(
            vault,
            path,
            http,
            &process_variable,
            &self.session,
        )))
    }
}

impl Connect for Identity {
    fn client(&self) -> anyhow::Result<&dyn HttpClient> {
        let clients = &self.services.clients;
        Ok(match &self.token_http {
            Some(http) => clients.of(&self.profile.endpoints.token, http)?,
            None => clients.of(&self.url, &self.http)?,
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
