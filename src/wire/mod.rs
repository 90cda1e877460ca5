//! The only place that joins the rooms of the house: from git's arguments to a relay with a token.

mod account;
mod asked;
mod handover;
mod house;
mod identity;
mod large_files;
mod memory;
mod network;
mod people;
mod proxy;
mod reach;
mod submodules;

use std::{cell::OnceCell, process::Command as Process, time::Duration};

use crate::{
    address::Address,
    git_config::{GitConfig, Variables, is_true_text, process_variable},
    failure::{Failure, Kind},
    http::TransportError,
    lfs,
    profile::{self, Grant, Transport},
    transport::{self, Broken, Command, Connected, Git, AdvertisementCache, Service, Session, Stage, Reporter},
    secret::Secret,
    trace,
};
use asked::{Asked, parse_address};
use house::House;

pub use crate::{
    http::Url,
    lfs::profile_of,
    oauth::{Authorization, Callback, Listener, Shown, Visitor, bare_code},
    token::{Accept, Bearer},
};

pub use account::{Account, Owner, keep_owner};
pub use handover::replace_process;
pub use identity::Identity;
pub use large_files::lfs_here;
pub use network::{Proxy, Route};
pub use people::{
    Explained, Overview, bearer_anew, bearer_instead, credential_helper, forget_all, given, keep,
    kept, may_be_ours, now_unix_s, site, try_on,
};

/// Git's own transport cannot replace a token, so it is given one that lasts longer.
const GIT_TRANSPORT_MARGIN: Duration = Duration::from_secs(300);

/// What the helper is to do: everything but the token.
#[derive(Debug)]
pub struct Plan {
    /// The remote's name, or the address if the remote has none (gitremote-helpers(7), "INVOCATION").
    pub remote: String,
    /// The repository.
    pub address: Address,
    /// By whom it is used.
    pub identity: Identity,
    /// By whom it is pushed to, if that is somebody else.
    pub pusher: Option<Identity>,
    protocol: Protocol,
    /// The setting that forbids git's own transport for the server's scheme, by name.
    https_ban: Option<String>,
    /// What forbids to follow a redirect of the server's scheme, by name.
    redirect_ban: Option<String>,
    /// Why a fetch must not use the profile, if so.
    fetch_refusal: Option<Failure>,
    lfs: Option<lfs::Wiring>,
    /// Why the server is left to git's own transport, if only that reaches it.
    by_git: OnceCell<String>,
    /// What to tell of submodules that git refuses.
    refused_submodules: Option<String>,
}

/// The protocol version git is configured to speak when it fetches (git-config(1), `protocol.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Version2,
    /// Version 1, or 0 as `None`, by its `Git-Protocol` header: stateful over `connect`, so that only git's own helper
    /// can speak it over HTTP.
    Older(Option<&'static str>),
    /// None: the repository's files are read one by one (gitprotocol-http(5), "Dumb Clients").
    Files,
}

impl Protocol {
    /// The `Git-Protocol` header of a push, which has no version 2.
    fn of_push(self) -> Option<&'static str> {
        match self {
            Protocol::Older(header) => header,
            Protocol::Version2 | Protocol::Files => None,
        }
    }
}

/// How git's own helper gets git's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From git, on the pipe that was ours.
    InOurPlace,
    /// From us, after git was told to do without `connect`.
    Forwarded,
}

impl Plan {
    /// Resolves the helper's two arguments.
    ///
    /// # Errors
    ///
    /// For an address, a profile or a setting that cannot be used; nothing was sent yet.
    pub fn make(remote: &str, address: &str) -> anyhow::Result<Self> {
        let mut span = trace::span("config");
        let git = GitConfig::read(&process_variable)?;
        span.note("settings", || (git.entries().count() as u64).into());
        // An address stands in the remote's place when there is no remote.
        let name = Some(remote).filter(|name| !name.contains(':'));
        let (asked, address) = Asked::about(&git, &process_variable, name, address)?;
        let Asked { raw, bases, .. } = asked;
        let (profile, fetch_refusal) = profile::choose_for_push(&raw, Some(&address))?;
        span.note("profile", || profile.name.as_str().into());
        let pusher = profile::for_push(&raw, &profile)?;
        let repository = profile.endpoints.repository(&address);
        let is_auto = profile.transport == Transport::Auto;
        let by_git = is_auto.then(|| reach::remembered(&profile, &repository));
        Ok(Plan {
            by_git: by_git.flatten().map(OnceCell::from).unwrap_or_default(),
            protocol: protocol(&git, &process_variable),
            https_ban: ban(&git, repository.scheme()),
            redirect_ban: redirect_ban(&git, &process_variable, repository.scheme()),
            refused_submodules: name.and_then(|_| submodules::refused(&git, &process_variable)),
            lfs: name.filter(|_| fetch_refusal.is_none()).and_then(|name| {
                let is_asked_for = address.profile.is_some() || raw.of_remote.is_some();
                let fetcher = (&profile, is_asked_for);
                large_files::wiring(&git, name, &bases, &address, fetcher, pusher.as_ref())
            }),
            pusher: pusher
                .map(|profile| Identity::new(&git, profile, &repository, name))
                .transpose()?,
            identity: Identity::new(&git, profile, &repository, name)?,
            remote: remote.to_owned(),
            address,
            fetch_refusal,
        })
    }

    fn repository(&self) -> Url {
        self.identity.profile.endpoints.repository(&self.address)
    }

    fn identity_for(&self, service: Service) -> &Identity {
        match (service, &self.pusher) {
            (Service::ReceivePack, Some(pusher)) => pusher,
            _ => &self.identity,
        }
    }

    /// Tells whether git's own `git-remote-https` can take this process's place at once: it carries the protocol,
    /// and the same profile serves fetch and push, which are not told apart before git asks for a connection.
    pub fn is_handed_over(&self) -> bool {
        let is_for_git =
            self.is_for_git(Service::UploadPack) && self.is_for_git(Service::ReceivePack);
        is_for_git && self.pusher.is_none() && self.fetch_refusal.is_none()
    }

    /// Prepares git's own helper to take this process's place.
    ///
    /// # Errors
    ///
    /// When the repository cannot be used: git would say less about it.
    pub fn hand_over(&self, notify: &dyn Fn(&str)) -> anyhow::Result<Process> {
        let service = Service::UploadPack;
        let mut repository = self.repository();
        if self.can_probe(service) {
            let house = House::open(&self.identity)?;
            let mut bearing = house.bearing(&self.identity.profile, notify);
            let mut session = house.session(&mut bearing, self);
            let probed = self.probe(service, &mut session);
            if let Err(error) = probed
                && !self.gets_further_by_git(service, session.repository(), &error)
            {
                return Err(error);
            }
            repository = session.repository().clone();
        }
        self.wire_lfs(notify);
        self.tell_of_submodules(service, notify);
        self.git_helper(service, &repository, Way::InOurPlace)
    }

    /// Tells of submodules that git refuses, where it fetches.
    fn tell_of_submodules(&self, service: Service, notify: &dyn Fn(&str)) {
        if service == Service::UploadPack {
            self.refused_submodules.iter().for_each(|line| notify(line));
        }
    }

    /// Replaces a refused token and explains a refusal before git takes over: git does neither.
    fn probe(&self, service: Service, session: &mut Session<'_>) -> anyhow::Result<()> {
        match self.protocol {
            Protocol::Older(header) if self.can_probe(service) => session.probe(service, header),
            _ => Ok(()),
        }
    }

    /// Tells whether the native transport may ask the server before git takes over.
    ///
    /// `transport=git` is the way out where the native transport fails, and a server of files need not speak git's
    /// protocol. A setting that only git follows may be needed to reach the server at all.
    fn can_probe(&self, service: Service) -> bool {
        let identity = self.identity_for(service);
        matches!(self.protocol, Protocol::Older(_))
            && identity.profile.transport != Transport::Git
            && identity.http.git_only.is_empty()
            && self.by_git.get().is_none()
    }

    /// Tells whether git's own transport has what a proxy or the server needs, and the native one has not.
    fn gets_further_by_git(
        &self,
        service: Service,
        repository: &Url,
        error: &anyhow::Error,
    ) -> bool {
        let mut links = error.chain().filter_map(|link| link.downcast_ref());
        self.identity.profile.transport == Transport::Auto
            && links.any(|error: &TransportError| {
                error.wants_other_login()
                    || error.may_be_of_our_library()
                        && self.is_left_to_git(service, repository, error)
            })
    }

    /// Tries git's own transport where ours failed, and leaves the server to it if it gets an answer.
    fn is_left_to_git(&self, service: Service, repository: &Url, error: &TransportError) -> bool {
        let is_reached = self.is_answered_by_git(service, repository);
        if is_reached {
            let because = error.reason();
            reach::remember(&self.identity.profile, repository, &because);
            // It was unknown until now, or git would have been given the command at once.
            let _ = self.by_git.set(because);
        }
        is_reached
    }

    /// Tells whether git's own `git-remote-https` carries the protocol.
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

fn protocol(git: &GitConfig, variables: Variables<'_>) -> Protocol {
    // What is no boolean ends git's own helper with a message (git: `git_env_bool`).
    let is_smart = variables("GIT_SMART_HTTP").is_none_or(|value| is_true_text(&value));
    let version = git.last("protocol", None, "version");
    match version.and_then(|entry| entry.value.as_deref()) {
        _ if !is_smart => Protocol::Files,
        Some("0") => Protocol::Older(None),
        Some("1") => Protocol::Older(Some("version=1")),
        _ => Protocol::Version2,
    }
}

/// Names the setting that forbids a scheme and nothing else. What merely does not permit it (`protocol.allow`,
/// `GIT_ALLOW_PROTOCOL`) was about the address, which begins with `bbtoken`.
fn ban(git: &GitConfig, scheme: &str) -> Option<String> {
    let entry = git.last("protocol", Some(scheme), "allow")?;
    let is_ban = entry.value.as_deref() == Some("never");
    is_ban.then(|| format!("{} in {}", entry.name(), entry.origin))
}

/// Names what forbids to follow a redirect of a scheme: it is not the address that a person gave, so only what is always
/// allowed will do (git: `get_curl_allowed_protocols` in http.c, `is_transport_allowed` in transport.c).
fn redirect_ban(git: &GitConfig, variables: Variables<'_>, scheme: &str) -> Option<String> {
    if let Some(list) = variables("GIT_ALLOW_PROTOCOL") {
        let is_listed = list.to_string_lossy().split(':').any(|it| it == scheme);
        return (!is_listed).then(|| "GIT_ALLOW_PROTOCOL".to_owned());
    }
    let entry = git
        .last("protocol", Some(scheme), "allow")
        .or_else(|| git.last("protocol", None, "allow"))?;
    let is_always = |value: &String| value.eq_ignore_ascii_case("always");
    let is_allowed = entry.value.as_ref().is_some_and(is_always);
    (!is_allowed).then(|| format!("{} in {}", entry.name(), entry.origin))
}

/// Serves git's commands on a pipe; gives the exit code of a helper that took over.
///
/// # Errors
///
/// [`Broken`] tells how far git had been answered.
pub fn serve(
    plan: anyhow::Result<Plan>,
    git: &mut Git,
    notify: &dyn Fn(&str),
    say: &dyn Fn(&str),
) -> Result<u8, Broken> {
    let connecting = |error| Broken {
        stage: Stage::Connecting,
        error,
    };
    // An error waits until git asks for a connection.
    let house = plan.and_then(|plan| House::open(&plan.identity).map(|house| (plan, house)));
    let Command::Connect(service) = git.next_command().map_err(connecting)? else {
        return Ok(0);
    };
    let (mut plan, mut house) = house.map_err(connecting)?;
    if let (Some(refusal), false) = (plan.fetch_refusal.take(), service == Service::ReceivePack) {
        return Err(connecting(refusal.into()));
    }
    let keep_to = |family| house.keep_to(family);
    git.family().map_or(Ok(()), keep_to).map_err(connecting)?;
    plan.wire_lfs(notify);
    let mut bearing = house.bearing(&plan.identity_for(service).profile, notify);
    let memory = house.memory(&plan);
    let mut session = house
        .session(&mut bearing, &plan)
        .heard_by(Reporter {
            warn: notify,
            say,
            verbosity: git.verbosity(),
        })
        .pushing_by(plan.protocol.of_push())
        .remembering(memory.as_ref().map(|memory| memory as &dyn AdvertisementCache));
    let is_for_git = plan.is_for_git(service);
    let connected = match is_for_git {
        true => Connected::NotVersion2,
        false => {
            let connected = match transport::connect(service, &mut session, git) {
                // Git has been told nothing yet.
                Err(Broken {
                    stage: Stage::Connecting,
                    error,
                }) if plan.gets_further_by_git(service, session.repository(), &error) => {
                    Connected::NotVersion2
                }
                connected => connected?,
            };
            plan.tell_of_submodules(service, notify);
            connected
        }
    };
    if connected == Connected::Finished {
        return Ok(0);
    }
    let code = transport::forward(git, || {
        if is_for_git {
            let probed = plan.probe(service, &mut session);
            if let Err(error) = probed
                && !plan.gets_further_by_git(service, session.repository(), &error)
            {
                return Err(error);
            }
            plan.tell_of_submodules(service, notify);
        }
        plan.git_helper(service, session.repository(), Way::Forwarded)
    });
    Ok(u8::try_from(code.map_err(connecting)?).unwrap_or(1))
}

/// Prepares a person's login: makes sure that it can be kept, then gives the request for consent.
///
/// # Errors
///
/// [`Kind::Misconfigured`] for a profile that needs no login, [`Kind::StoreUnusable`] when it could not be kept.
pub fn authorize(
    identity: &Identity,
    redirect_uri: Option<&str>,
    notify: &dyn Fn(&str),
) -> anyhow::Result<Authorization> {
    let profile = &identity.profile;
    let Grant::AuthorizationCode(client) = &profile.grant else {
        let message = format!(
            "profile '{profile}' gets its tokens without a login; for one, set bbtoken.{profile}.grant to authorization-code"
        );
        return Err(Failure::new(Kind::Misconfigured, message).into());
    };
    let house = House::open(identity)?;
    let tokens = house.tokens(profile, notify);
    // Neither a page nor a code is worth anything without the secret and a place for what follows.
    tokens.client(client)?;
    tokens.prove_room()?;
    Authorization::new(&profile.endpoints.authorize, &client.id, redirect_uri)
}

/// Gives back the room that a login was to take: it is stopped.
pub fn stop_login(identity: &Identity) {
    if let Ok(house) = House::open(identity) {
        house.tokens(&identity.profile, &|_| {}).release_room();
    }
}

/// Exchanges the code of a consent and keeps the login, after `accept` if that is given.
///
/// # Errors
///
/// When the token endpoint or `accept` refuses, or the login cannot be kept.
pub fn log_in(
    identity: &Identity,
    authorization: &Authorization,
    code: &Secret,
    accept: Option<Accept<'_>>,
    notify: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let house = House::open(identity)?;
    let tokens = house.tokens(&identity.profile, notify);
    tokens.log_in(authorization, code, accept)
}

/// Gives a token to whoever asks by git's credential protocol.
///
/// # Errors
///
/// As [`crate::token::Tokens::bearer`].
pub fn bearer(identity: &Identity, notify: &dyn Fn(&str)) -> anyhow::Result<Bearer> {
    let house = House::open(identity)?;
    let mut tokens = house.tokens(&identity.profile, notify);
    let bearer = tokens.bearer(GIT_TRANSPORT_MARGIN);
    bearer.map_err(|error| house::under(&house.left_out, error))
}

/// Drops a token that git saw refused; true if it was kept.
///
/// # Errors
///
/// When git's http settings cannot be followed.
pub fn forget(identity: &Identity, token: &Secret, notify: &dyn Fn(&str)) -> anyhow::Result<bool> {
    let house = House::open(identity)?;
    Ok(house
        .tokens_without_request(&identity.profile, notify)
        .forget(token))
}
