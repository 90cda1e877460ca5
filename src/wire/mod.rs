//! The only place that joins the rooms of the house: from git's arguments to a relay with a token.

mod account;
mod large_files;
mod memory;
mod network;
mod people;
mod proxy;

use std::{
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
    process::Command as Process,
    time::Duration,
};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};

use crate::{
    address::{Address, Base},
    clock::SystemClock,
    config::{self, GitConfig, HttpSettings, Variables, process_variable},
    failure::{self, Failure, Kind},
    hangup::Watch,
    http::{Client, Url},
    lfs,
    profile::{self, Endpoints, Grant, Profile, Store, Transport},
    relay::{
        self, Authorizer, Broken, Command, Connected, Git, Memory, Service, Session, Stage, Voice,
    },
    secret::Secret,
    token::{Places, Tokens},
    trace,
    user_agent::GitVersion,
};
use proxy::GitLogins;

pub use crate::{
    lfs::profile_of,
    oauth::{Authorization, Callback, Listener},
    token::Bearer,
};
use memory::{OnDisk, Place};

pub use account::{Account, Owner};
pub use network::{Proxy, Route};
pub use people::{
    Explained, Overview, bearer_anew, bearer_instead, credential_helper, forget_all, given, keep,
    kept, now_unix_s, site,
};

/// Git's own transport cannot replace a token, so it is given one that lasts longer.
const GIT_TRANSPORT_MARGIN: Duration = Duration::from_secs(300);

/// Lets another program take this one's place, pipe and all.
///
/// # Errors
///
/// When it cannot be started.
#[cfg(unix)]
pub fn replace_process(mut process: Process) -> anyhow::Result<u8> {
    use std::os::unix::process::CommandExt as _;
    Err(process.exec()).context("cannot start git's own https helper")
}

/// Runs another program on our pipe and gives its exit code.
///
/// # Errors
///
/// When it cannot be started.
#[cfg(not(unix))]
pub fn replace_process(mut process: Process) -> anyhow::Result<u8> {
    let status = process
        .status()
        .context("cannot start git's own https helper")?;
    Ok(status
        .code()
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1))
}

/// Who gets tokens, and how servers are reached: what the configuration says, resolved.
#[derive(Debug)]
pub struct Identity {
    /// Whose token is used.
    pub profile: Profile,
    http: HttpSettings,
    /// How its token endpoint is reached, if that is on another host: settings for one are not for the other.
    token_http: Option<HttpSettings>,
}

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
    lfs: Option<lfs::Wiring>,
}

/// The protocol version git is configured to speak when it fetches (git-config(1), `protocol.version`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Version2,
    /// Version 0 or 1: stateful over `connect`, so that only git's own helper can speak them over HTTP.
    Older,
}

/// How git's own helper gets git's commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From git, on the pipe that was ours.
    InOurPlace,
    /// From us, after git was told to do without `connect`.
    Forwarded,
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
        let raw = config::profiles(&git, &process_variable, None)?;
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
            (None, Some(name)) => profile::named(&raw, &name, "the user name in the URL")?,
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
        }
        let profile = profile::choose(&raw, None)?;
        let base = profile.endpoints.base.clone();
        Identity::new(&git, profile, &base, None)
    }

    fn new(
        git: &GitConfig,
        profile: Profile,
        url: &Url,
        remote: Option<&str>,
    ) -> anyhow::Result<Self> {
        let settings = |url: &Url| config::http_settings(git, &process_variable, url, remote);
        let Endpoints { base, token, .. } = &profile.endpoints;
        let elsewhere = token.origin() != base.origin();
        Ok(Identity {
            http: settings(url)?,
            token_http: elsewhere.then(|| settings(token)).transpose()?,
            profile,
        })
    }
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
        let raw = config::profiles(&git, &process_variable, name)?;
        let bases = profile::base_urls(&raw)?;
        let address = parse_address(&git, name, address, &bases)?;
        let profile = profile::choose(&raw, Some(&address))?;
        span.note("profile", || profile.name.as_str().into());
        let pusher = profile::for_push(&raw, &profile)?;
        let repository = profile.endpoints.repository(&address);
        Ok(Plan {
            protocol: protocol(&git),
            https_ban: ban(&git, repository.scheme()),
            lfs: name.and_then(|name| {
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
        is_for_git && self.pusher.is_none()
    }

    /// Prepares git's own helper to take this process's place.
    ///
    /// # Errors
    ///
    /// When the repository cannot be used: git would say less about it.
    pub fn hand_over(&self, notify: &dyn Fn(&str)) -> anyhow::Result<Process> {
        let service = Service::UploadPack;
        if !self.can_probe(service) {
            return self.git_helper(service, &self.repository(), Way::InOurPlace);
        }
        let house = House::open(&self.identity)?;
        let mut bearing = house.bearing(&self.identity.profile, notify);
        let mut session = house.session(&mut bearing, self);
        self.probe(service, &mut session)?;
        self.wire_lfs(notify);
        self.git_helper(service, session.repository(), Way::InOurPlace)
    }

    /// Replaces a token that is refused, and says why where nothing helps, before git takes over: it can do neither.
    /// Where it takes over for a setting that we cannot follow, we may not reach the server at all.
    fn probe(&self, service: Service, session: &mut Session<'_>) -> anyhow::Result<()> {
        match self.can_probe(service) {
            true => session.probe(service),
            false => Ok(()),
        }
    }

    fn can_probe(&self, service: Service) -> bool {
        self.identity_for(service).http.git_only.is_empty()
    }

    /// Tells whether git's own `git-remote-https` carries the protocol.
    fn is_for_git(&self, service: Service) -> bool {
        if service == Service::UploadPack && self.protocol == Protocol::Older {
            return true;
        }
        match self.identity.profile.transport {
            Transport::Native => false,
            Transport::Git => true,
            Transport::Auto => !self.identity.http.git_only.is_empty(),
        }
    }

    /// Prepares git's own helper: it asks us for the token by the credential protocol, so that none stands in its
    /// arguments, environment or configuration.
    ///
    /// # Errors
    ///
    /// When `git-bbtoken`, which answers it, is not beside this program.
    fn git_helper(&self, service: Service, repository: &Url, way: Way) -> anyhow::Result<Process> {
        if let Some(ban) = &self.https_ban {
            let message = format!("git's own transport is needed here, and {ban} forbids it");
            return Err(Failure::new(Kind::Misconfigured, message).into());
        }
        let answerer = sibling("git-bbtoken")?;
        let ask = format!(
            "!{} credential --profile {}",
            quote_for_shell(&answerer),
            self.identity_for(service).profile.name
        );
        let scope = format!("{}://{}", repository.scheme(), authority(repository));
        let settings = [
            // Foreign helpers are neither asked nor told; redirects would take the credential along.
            (format!("credential.{scope}.helper"), String::new()),
            (format!("credential.{scope}.helper"), ask),
            (format!("credential.{scope}.useHttpPath"), "true".to_owned()),
            (
                format!("http.{repository}.followRedirects"),
                "false".to_owned(),
            ),
            (
                format!("http.{repository}.proactiveAuth"),
                "basic".to_owned(),
            ),
            (
                format!("protocol.{}.allow", repository.scheme()),
                "always".to_owned(),
            ),
        ];
        let mut process = Process::new("git");
        if way == Way::Forwarded && self.protocol == Protocol::Version2 {
            // Behind `fallback` git asks for `list`, which in version 2 lists nothing, so that a clone would be empty
            // without a word (git: discover_refs in remote-curl.c). `-c` wins over every other setting.
            process.args(["-c", "protocol.version=0"]);
        }
        process
            .arg(format!("remote-{}", repository.scheme()))
            .arg(&self.remote)
            .arg(repository.as_str());
        append_settings(&mut process, &settings, &process_variable)?;
        let Identity { http, .. } = self.identity_for(service);
        if http.git_only.is_empty() && http.settings.proxy.is_none() {
            // Nobody is asked for anything but by a proxy or for the password of a certificate's key.
            process
                .env("GIT_TERMINAL_PROMPT", "0")
                .env("GIT_ASKPASS", "");
        }
        if let Some(allowed) = process_variable("GIT_ALLOW_PROTOCOL") {
            process.env(
                "GIT_ALLOW_PROTOCOL",
                allowing(&allowed, repository.scheme()),
            );
        }
        trace::event("hand-over", || {
            vec![("settings", http.git_only.join(" ").into())]
        });
        Ok(process)
    }
}

/// Parses the address; with `remote.<name>.vcs` and no more git gives the remote's name for one, and its URL holds it.
fn parse_address(
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

fn protocol(git: &GitConfig) -> Protocol {
    match git
        .last("protocol", None, "version")
        .and_then(|entry| entry.value.as_deref())
    {
        Some("0" | "1") => Protocol::Older,
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

/// Adds a scheme to git's list of those that are allowed (git(1), `GIT_ALLOW_PROTOCOL`).
fn allowing(list: &OsStr, scheme: &str) -> OsString {
    let mut list = list.to_owned();
    let is_there = list.to_string_lossy().split(':').any(|it| it == scheme);
    if !is_there {
        list.push(":");
        list.push(scheme);
    }
    list
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
    // The roots are read while git thinks about its next command; an error waits until git asks for a connection.
    let house = plan.and_then(|plan| House::open(&plan.identity).map(|house| (plan, house)));
    let Command::Connect(service) = git.next_command().map_err(connecting)? else {
        return Ok(0);
    };
    let (plan, house) = house.map_err(connecting)?;
    plan.wire_lfs(notify);
    let mut bearing = house.bearing(&plan.identity_for(service).profile, notify);
    let memory = house.memory(&plan);
    let mut session = house
        .session(&mut bearing, &plan)
        .heard_by(Voice {
            warn: notify,
            say,
            verbosity: git.verbosity(),
        })
        .remembering(memory.as_ref().map(|memory| memory as &dyn Memory));
    if plan.is_for_git(service) {
        plan.probe(service, &mut session).map_err(connecting)?;
        return fall_back(&plan, service, session.repository(), git);
    }
    match relay::connect(service, &mut session, git)? {
        Connected::Finished => {
            house.git_version.iter().for_each(GitVersion::learn);
            Ok(0)
        }
        Connected::NotVersion2 => fall_back(&plan, service, session.repository(), git),
    }
}

fn fall_back(plan: &Plan, service: Service, repository: &Url, git: &mut Git) -> Result<u8, Broken> {
    let code = plan
        .git_helper(service, repository, Way::Forwarded)
        .and_then(|helper| relay::forward(git, helper));
    let code = code.map_err(|error| Broken {
        stage: Stage::Connecting,
        error,
    })?;
    Ok(u8::try_from(code).unwrap_or(1))
}

/// What lives as long as a command.
struct House {
    client: Client,
    /// For the token endpoint, if that is on another host.
    token_client: Option<Client>,
    watch: Watch,
    git_version: Option<GitVersion>,
    /// The hosts that are not verified, each behind the setting that says so.
    unverified: Vec<(String, String)>,
    /// Settings that are not followed where a token is asked for.
    git_only: Vec<String>,
}

impl House {
    fn open(identity: &Identity) -> anyhow::Result<Self> {
        let exec_path = process_variable("GIT_EXEC_PATH").map(PathBuf::from);
        let cache = places(&identity.profile, &process_variable).cache;
        let git_version = exec_path
            .zip(cache)
            .map(|(path, cache)| GitVersion::of(&path, &cache));
        let user_agent = GitVersion::user_agent(git_version.as_ref());
        let client = |http: &HttpSettings| client(http, &user_agent);
        let endpoints = &identity.profile.endpoints;
        let token_http = identity.token_http.as_ref();
        let ways = [
            (&endpoints.base, Some(&identity.http)),
            (&endpoints.token, token_http),
        ];
        let unverified = ways.into_iter().filter_map(|(url, http)| {
            let by = http?.settings.unverified_by.as_ref()?;
            Some((by.clone(), authority(url)))
        });
        Ok(House {
            unverified: unverified.collect(),
            git_only: token_http.unwrap_or(&identity.http).git_only.clone(),
            client: client(&identity.http)?,
            token_client: identity.token_http.as_ref().map(client).transpose()?,
            watch: Watch::on_stdout(),
            git_version,
        })
    }

    fn bearing<'a>(&'a self, profile: &'a Profile, notify: &'a dyn Fn(&str)) -> Bearing<'a> {
        Bearing {
            tokens: self.tokens(profile, notify),
            name: &profile.name,
            git_only: &self.git_only,
            // A login that is being renewed is not cut off, though git is gone: its next refresh token would be lost.
            watch: match profile.grant {
                Grant::AuthorizationCode(_) => None,
                Grant::ClientCredentials(_) | Grant::Token(_) => Some(&self.watch),
            },
        }
    }

    fn session<'a>(&'a self, bearing: &'a mut Bearing<'_>, plan: &Plan) -> Session<'a> {
        let name = plan.address.to_string();
        Session::new(
            &self.client,
            bearing,
            &self.watch,
            &SystemClock,
            plan.repository(),
            name,
        )
    }

    /// Opens what is remembered of the repository for those who read it.
    fn memory(&self, plan: &Plan) -> Option<OnDisk<'static>> {
        let profile = &plan.identity.profile;
        let cache = places(profile, &process_variable).cache?;
        let place = Place::of(&plan.remote, &process_variable);
        profile
            .remembers_advertisement
            .then(|| OnDisk::of(&cache, profile, &plan.repository(), place, &SystemClock))
    }

    fn tokens<'a>(&'a self, profile: &'a Profile, notify: &'a dyn Fn(&str)) -> Tokens<'a> {
        for (setting, host) in &self.unverified {
            notify(&format!(
                "'{host}' is not verified, because of {setting}: whoever answers in its place gets the token"
            ));
        }
        let places = places(profile, &process_variable);
        let client = self.token_client.as_ref().unwrap_or(&self.client);
        Tokens::new(profile, client, &SystemClock, places, notify)
    }
}

/// Makes a client that follows git's settings and asks for a proxy's login as git does.
fn client(http: &HttpSettings, user_agent: &str) -> anyhow::Result<Client> {
    let client = Client::new(&http.settings, user_agent).context(Failure::new(
        Kind::Misconfigured,
        "cannot follow git's http settings",
    ))?;
    Ok(client.with_proxy_logins(Box::new(GitLogins)))
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

/// Exchanges the code of a consent and keeps the login.
///
/// # Errors
///
/// When the token endpoint refuses the code, or the login cannot be kept.
pub fn log_in(
    identity: &Identity,
    authorization: &Authorization,
    code: &Secret,
    notify: &dyn Fn(&str),
) -> anyhow::Result<()> {
    let house = House::open(identity)?;
    let tokens = house.tokens(&identity.profile, notify);
    tokens.log_in(authorization, code)
}

/// Gives a token to whoever asks by git's credential protocol.
///
/// # Errors
///
/// As [`Tokens::bearer`].
pub fn bearer(identity: &Identity, notify: &dyn Fn(&str)) -> anyhow::Result<Bearer> {
    let house = House::open(identity)?;
    let mut tokens = house.tokens(&identity.profile, notify);
    let bearer = tokens.bearer(GIT_TRANSPORT_MARGIN);
    bearer.map_err(|error| under(&house.git_only, error))
}

/// Names the settings that git's own transport follows and the token call cannot, where it was not answered.
fn under(git_only: &[String], error: anyhow::Error) -> anyhow::Error {
    match failure::kind(&error) {
        Some(kind @ (Kind::Unreachable { .. } | Kind::Untrusted { .. }))
            if !git_only.is_empty() =>
        {
            let message = format!(
                "cannot ask for a token as '{}' wants it: only git's own transport can, and it asks for none",
                git_only.join("' and '")
            );
            let kind = kind.clone();
            error.context(Failure::new(kind, message))
        }
        _ => error,
    }
}

/// Drops a token that git saw refused; true if it was kept.
///
/// # Errors
///
/// When git's http settings cannot be followed.
pub fn forget(identity: &Identity, token: &Secret, notify: &dyn Fn(&str)) -> anyhow::Result<bool> {
    let house = House::open(identity)?;
    Ok(house.tokens(&identity.profile, notify).forget(token))
}

/// Makes the `Authorization` header of a token.
struct Bearing<'a> {
    tokens: Tokens<'a>,
    name: &'a str,
    /// Settings that are not followed where a token is asked for.
    git_only: &'a [String],
    /// Ends the process when git is gone while a token is waited for.
    watch: Option<&'a Watch>,
}

impl Authorizer for Bearing<'_> {
    fn authorization(&mut self) -> anyhow::Result<Secret> {
        let _armed = self.watch.map(Watch::arm);
        let mut span = trace::span("token");
        span.note("profile", || self.name.into());
        let bearer = self.tokens.bearer(Duration::ZERO);
        let Bearer { token, user, .. } = bearer.map_err(|error| under(self.git_only, error))?;
        let pair = Secret::new(format!("{user}:{}", token.expose()));
        Ok(Secret::new(format!(
            "Basic {}",
            BASE64.encode(pair.expose())
        )))
    }

    fn refused(&mut self) -> anyhow::Result<bool> {
        let _armed = self.watch.map(Watch::arm);
        self.tokens.refused()
    }

    fn identity(&self) -> &str {
        self.name
    }
}

/// Finds the directories for what is kept: below `BBTOKEN_HOME`, else the user's own; none in memory mode.
fn places(profile: &Profile, variables: Variables<'_>) -> Places {
    const NAME: &str = "git-remote-bbtoken";
    if profile.store == Store::Memory {
        return Places::default();
    }
    match variables("BBTOKEN_HOME").map(PathBuf::from) {
        Some(home) => Places {
            cache: Some(home.join("cache")),
            state: Some(home.join("state")),
        },
        None => Places {
            cache: dirs::cache_dir().map(|directory| directory.join(NAME)),
            // Only Linux has a place of its own for state.
            state: dirs::state_dir()
                .or_else(dirs::data_local_dir)
                .map(|directory| directory.join(NAME)),
        },
    }
}

/// Appends settings to the child's `GIT_CONFIG_COUNT` list, behind the user's own.
fn append_settings(
    process: &mut Process,
    settings: &[(String, String)],
    variables: Variables<'_>,
) -> anyhow::Result<()> {
    let before = match variables("GIT_CONFIG_COUNT").filter(|count| !count.is_empty()) {
        Some(count) => count
            .to_string_lossy()
            .parse::<usize>()
            .context("GIT_CONFIG_COUNT is not a number")?,
        None => 0,
    };
    for (index, (key, value)) in settings.iter().enumerate() {
        process.env(format!("GIT_CONFIG_KEY_{}", before + index), key);
        process.env(format!("GIT_CONFIG_VALUE_{}", before + index), value);
    }
    process.env("GIT_CONFIG_COUNT", (before + settings.len()).to_string());
    Ok(())
}

fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or("");
    url.port()
        .map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Finds a program that was installed beside this one.
fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path =
        std::env::current_exe()?.with_file_name(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    if !path.exists() {
        return Err(Failure::new(
            Kind::Misconfigured,
            format!(
                "'{}' is missing; install both programs side by side",
                path.display()
            ),
        )
        .into());
    }
    Ok(path)
}

/// Quotes a path for the shell that git starts credential helpers with.
fn quote_for_shell(path: &Path) -> String {
    format!(
        "'{}'",
        path.display()
            .to_string()
            .replace('\\', "/")
            .replace('\'', r"'\''")
    )
}
