//! Serves git: from git's arguments to its protocol over HTTPS, with a token.

mod handover;
mod lfs;
mod login;
mod process;
mod protocol;
mod reach;
mod serve;
mod submodules;

use std::{cell::OnceCell, process::Command as Process};

use crate::{
    address::Address,
    app::{self, App, Chosen, Identity, OnDisk, Place, TokenAuthorizer},
    failure::{Failure, Kind, kind, quote},
    git_config::process_variable,
    http::{Family, TransportError},
    lfs as git_lfs,
    parent_watch::Watch,
    profile::Transport,
    report, trace,
    transport::{self, Broken, Connected, Git, Service, Session, Stage},
    url::Url,
};

use handover::replace_process;
pub(crate) use process::main;
use protocol::{Protocol, ban, protocol, redirect_ban};

/// The helper's task: everything that it needs except the token.
pub(crate) struct Plan {
    /// The remote's name, or the address if the remote has none (gitremote-helpers(7), "INVOCATION").
    pub(crate) remote: String,
    /// The repository.
    pub(crate) address: Address,
    /// The profile.
    pub(crate) identity: Identity,
    /// The profile for pushes, if it is another one.
    pub(crate) pusher: Option<Identity>,
    protocol: Protocol,
    /// The name of the setting that forbids git's own transport for the server's scheme.
    https_ban: Option<String>,
    /// The name of the setting that forbids redirects for the server's scheme.
    redirect_ban: Option<String>,
    /// The reason why a fetch must not use the profile.
    fetch_refusal: Option<Failure>,
    lfs: Option<git_lfs::Wiring>,
    /// The reason why only git's own transport reaches the server.
    by_git: OnceCell<String>,
    /// The hint about submodules that git refuses.
    refused_submodules: Option<String>,
}

/// The source of the commands for git's own helper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HandOver {
    /// Git sends them to it, on the pipe of this process.
    InOurPlace,
    /// This process forwards them, after it has answered `connect` with `fallback`.
    Forwarded,
}

impl Plan {
    /// Resolves the helper's two arguments.
    ///
    /// # Errors
    ///
    /// If an address, a profile or a setting cannot be used. Nothing was sent yet.
    pub(crate) fn make(remote: &str, address: &str) -> anyhow::Result<Self> {
        let mut span = trace::span("config");
        let app = App::read_of_helper()?;
        let git = &app.git;
        span.note("settings", || (git.entries().count() as u64).into());
        // Without a remote, git gives the address twice.
        let name = Some(remote).filter(|name| !name.contains(':'));
        let (target, address) = app.target(name, address)?;
        let Chosen {
            fetcher: profile,
            fetch_refusal,
            pusher,
        } = target.for_git()?;
        span.note("profile", || profile.name.as_str().into());
        let repository = profile.endpoints.repository_to_fetch(&address);
        // A push goes to the server itself.
        let own = profile.endpoints.repository(&address);
        let pusher = pusher.or_else(|| (own != repository).then(|| profile.clone()));
        let is_auto = profile.transport == Transport::Auto;
        let lfs = name.filter(|_| fetch_refusal.is_none()).and_then(|name| {
            let fetcher = (&profile, target.names_profile());
            let pusher = pusher.as_ref().filter(|pusher| pusher.name != profile.name);
            app.wiring(name, &address, fetcher, pusher)
                .filter(|wiring| app::is_wanted(git, wiring))
        });
        let identity = Identity::new(&app, profile, &repository, name)?;
        let by_git = is_auto.then(|| identity.remembered(&repository)).flatten();
        Ok(Plan {
            by_git: by_git.map(OnceCell::from).unwrap_or_default(),
            protocol: protocol(git, &process_variable),
            https_ban: ban(git, repository.scheme()),
            redirect_ban: redirect_ban(git, &process_variable, repository.scheme()),
            refused_submodules: name.and_then(|_| submodules::refused(git, &process_variable)),
            lfs,
            pusher: pusher
                .map(|profile| Identity::new(&app, profile, &own, name))
                .transpose()?,
            identity,
            remote: remote.to_owned(),
            address,
            fetch_refusal,
        })
    }

    /// Serves git by the native transport, or by git's own if only that reaches the server.
    fn connect(
        &self,
        service: Service,
        session: &mut Session<'_>,
        git: &mut Git,
    ) -> Result<Connected, Broken> {
        let connected = match transport::connect(service, session, git) {
            // Git has no answer yet.
            Err(Broken {
                stage: Stage::Connecting,
                error,
            }) if self.gets_further_by_git(service, &session.repository, &error) => {
                Connected::NotVersion2
            }
            connected => connected.map_err(|broken| self.of_mirror(service, broken))?,
        };
        self.tell_of_submodules(service);
        Ok(connected)
    }

    /// Names the mirror in the error of a fetch from there, unless the error is about the token.
    fn of_mirror(&self, service: Service, broken: Broken) -> Broken {
        let profile = &self.identity.profile;
        let Some(mirror) = &profile.endpoints.mirror else {
            return broken;
        };
        // These say what else to do.
        let is_of_token = matches!(
            kind(&broken.error),
            Some(Kind::LoginNeeded { .. } | Kind::SiteRefused { .. } | Kind::Misconfigured)
        );
        if is_of_token || service == Service::ReceivePack {
            return broken;
        }
        let remedy = format!(
            "the mirror may be down, or may not have this repository yet; to fetch from the server itself: git -c bbtoken.{profile}.mirrorUrl={} fetch",
            profile.endpoints.base
        );
        let message = format!("cannot fetch from the mirror '{}'", quote(mirror.as_str()));
        Broken {
            stage: broken.stage,
            error: broken
                .error
                .context(Failure::new(Kind::SiteUnavailable { remedy }, message)),
        }
    }

    fn repository(&self, service: Service) -> Url {
        let endpoints = &self.identity.profile.endpoints;
        match service {
            Service::ReceivePack => endpoints.repository(&self.address),
            Service::UploadPack => endpoints.repository_to_fetch(&self.address),
        }
    }

    /// Prepares the exchange with the server for a service.
    fn session<'a>(
        &'a self,
        service: Service,
        authorizer: &'a mut TokenAuthorizer<'_>,
        watch: &'a Watch,
    ) -> anyhow::Result<Session<'a>> {
        let identity = self.identity_for(service);
        let (client, name) = (identity.client()?, self.address.to_string());
        let mut session = Session::new(client, authorizer, watch, self.repository(service), name);
        session.asked_profile = self.address.profile.as_deref();
        session.buffer_bytes = identity.http.post_buffer_bytes;
        session.redirect_ban = self.redirect_ban.as_deref();
        Ok(session)
    }

    /// Reaches servers by one family of addresses only.
    fn keep_to(&mut self, family: Family) {
        let identities = std::iter::once(&mut self.identity).chain(&mut self.pusher);
        identities
            .into_iter()
            .for_each(|identity| identity.keep_to(family));
    }

    /// Opens the remembered advertisement of the repository.
    fn advertisement_cache(&self) -> Option<OnDisk<'_>> {
        if !self.identity.profile.remembers_advertisement {
            return None;
        }
        let place = Place::of(&self.remote);
        let repository = self.repository(Service::UploadPack);
        OnDisk::of(&self.identity, &repository, place)
    }

    /// Tells whether a profile has a login that the server has not refused. Another process may have created it.
    fn is_logged_in(&self, profile: &str) -> bool {
        let mut identities = std::iter::once(&self.identity).chain(&self.pusher);
        let identity = identities.find(|identity| identity.profile.name == profile);
        identity.is_none_or(|identity| {
            let (stored, _) = identity.stored();
            stored.login.is_some() && !stored.has_ended || stored.token.is_some()
        })
    }

    fn identity_for(&self, service: Service) -> &Identity {
        match (service, &self.pusher) {
            (Service::ReceivePack, Some(pusher)) => pusher,
            _ => &self.identity,
        }
    }

    /// Tells whether git's own `git-remote-https` can replace this process before git sends a command. It must support
    /// the protocol, and fetch and push must use the same profile, because git has not yet said which one it wants.
    pub(crate) fn is_handed_over(&self) -> bool {
        let is_for_git =
            self.is_for_git(Service::UploadPack) && self.is_for_git(Service::ReceivePack);
        is_for_git && self.pusher.is_none() && self.fetch_refusal.is_none()
    }

    /// Prepares git's own helper to replace this process.
    ///
    /// # Errors
    ///
    /// If the repository cannot be used. Git's own error would say less.
    pub(crate) fn hand_over(&self) -> anyhow::Result<Process> {
        let service = Service::UploadPack;
        let mut repository = self.repository(service);
        if self.can_probe(service) {
            let watch = Watch::default();
            let mut authorizer = self.identity.authorizer(&watch);
            let mut session = self.session(service, &mut authorizer, &watch)?;
            self.probe(service, &mut session)?;
            repository = session.repository;
        }
        self.wire_lfs();
        self.tell_of_submodules(service);
        self.git_helper(service, &repository, HandOver::InOurPlace)
    }

    /// Shows the hint about submodules that git refuses, before a fetch.
    fn tell_of_submodules(&self, service: Service) {
        if let (Service::UploadPack, Some(line)) = (service, &self.refused_submodules) {
            report::warn(line);
        }
    }

    /// Replaces a refused token and explains a refusal before git's own transport takes over, because that does
    /// neither.
    fn probe(&self, service: Service, session: &mut Session<'_>) -> anyhow::Result<()> {
        let probed = match self.protocol {
            Protocol::Older(header) if self.can_probe(service) => session.probe(service, header),
            _ => Ok(()),
        };
        probed.or_else(|error| {
            match self.gets_further_by_git(service, &session.repository, &error) {
                true => Ok(()),
                false => Err(error),
            }
        })
    }

    /// Tells whether the native transport may ask the server before git takes over.
    ///
    /// With `transport=git`, the user avoids the native transport. A server of plain files need not speak git's
    /// protocol. And only git's own transport may reach the server, by a setting that the native one does not support.
    fn can_probe(&self, service: Service) -> bool {
        let identity = self.identity_for(service);
        matches!(self.protocol, Protocol::Older(_))
            && identity.profile.transport != Transport::Git
            && identity.http.git_only.is_empty()
            && self.by_git.get().is_none()
    }

    /// Tells whether a proxy or the server needs a feature that only git's own transport has.
    fn gets_further_by_git(
        &self,
        service: Service,
        repository: &Url,
        error: &anyhow::Error,
    ) -> bool {
        self.identity.profile.transport == Transport::Auto
            && TransportError::inside(error).is_some_and(|error| {
                error.wants_other_login()
                    || error.may_be_of_our_library()
                        && self.is_left_to_git(service, repository, error)
            })
    }

    /// Tries git's own transport after the native one failed. If it gets a response, it serves this server from now on.
    fn is_left_to_git(&self, service: Service, repository: &Url, error: &TransportError) -> bool {
        let is_reached = self.is_answered_by_git(service, repository, error);
        if is_reached {
            let because = error.reason();
            // The next response may be correct, so this failure is not remembered.
            if !error.may_be_read_by_git() {
                self.identity.remember(repository, &because);
            }
            // This is new: for a known server, git's own transport would have replaced this process already.
            let _ = self.by_git.set(because);
        }
        is_reached
    }

    /// Tells whether git's own `git-remote-https` supports the protocol.
    fn is_for_git(&self, service: Service) -> bool {
        match self.protocol {
            Protocol::Files => return true,
            Protocol::Older(_) if service != Service::ReceivePack => return true,
            Protocol::Older(_) | Protocol::Version2 => {}
        }
        match self.identity.profile.transport {
            Transport::Native => false,
            Transport::Git => true,
            Transport::Auto => {
                !self.identity.http.git_only.is_empty() || self.by_git.get().is_some()
            }
        }
    }
}
