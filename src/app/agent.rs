//! Decides whether a profile's requests go through the keep-alive agent, and where it is.

use std::{
    cell::{OnceCell, RefCell},
    env, fs, io,
    os::unix::fs::MetadataExt as _,
    path::PathBuf,
    rc::Rc,
};

use super::{client::USER_AGENT, context::Services};
use crate::{
    agent::{self, ByAgent, Lane, Place, Refused, Silent},
    failure::{Failure, Kind},
    git_config::{self, GitConfig, HttpSettings, process_variable},
    http::{HttpClient, Messages, Phase, Request, Response, TransportError},
    profile::{Profile, Store},
    secret::hex_digest,
    trace,
    url::Url,
};

/// Variables of build servers, and of sudo. A process that stays behind is unwanted there.
const UNATTENDED: [&str; 4] = ["CI", "BUILD_ID", "TF_BUILD", "SUDO_UID"];
/// Variables that change how a process connects (resolver(5), gethostbyname(3), ld.so(8), dyld(1)). The agent does not
/// have them.
const CONNECTING: [&str; 5] = [
    "DYLD_INSERT_LIBRARIES",
    "HOSTALIASES",
    "LD_PRELOAD",
    "LOCALDOMAIN",
    "RES_OPTIONS",
];

/// Reads `bbtoken.agent`.
///
/// # Errors
///
/// [`Kind::Misconfigured`] for another word than `true`, `false` and `auto`.
pub(crate) fn is_wanted(git: &GitConfig, store: Store) -> anyhow::Result<bool> {
    if git.last("bbtoken", None, "agent").is_none() {
        return Ok(false);
    }
    let protected = git.protected();
    let Some(entry) = protected.last("bbtoken", None, "agent") else {
        return Ok(false);
    };
    // A key without a value is true in git.
    let Some(word) = &entry.value else {
        return Ok(true);
    };
    match word.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" | "" => Ok(false),
        "auto" => Ok(store != Store::Memory && is_a_persons_session()),
        _ => {
            let message = format!(
                "{} in {} must be true, false or auto",
                entry.name(),
                entry.origin
            );
            Err(Failure::new(Kind::Misconfigured, message).into())
        }
    }
}

/// Tells whether a person works in this session, so that a process may stay behind.
pub(crate) fn is_a_persons_session() -> bool {
    rustix::process::getuid() == rustix::process::geteuid()
        && runtime_directory().is_some()
        && UNATTENDED
            .iter()
            .all(|name| process_variable(name).is_none())
        && !is_a_service()
}

/// Tells whether this process belongs to a service of systemd, whose end kills every process of the service
/// (systemd.exec(5), "$JOURNAL_STREAM"). A person's terminal may inherit the variable, but not the stream.
fn is_a_service() -> bool {
    let stderr = fs::metadata("/proc/self/fd/2");
    let stream = stderr.map(|it| format!("{}:{}", it.dev(), it.ino()));
    stream.is_ok_and(|stream| process_variable("JOURNAL_STREAM") == Some(stream.into()))
}

/// Finds the user's directory for this session (XDG Base Directory Specification).
fn runtime_directory() -> Option<PathBuf> {
    let directory = PathBuf::from(process_variable("XDG_RUNTIME_DIR")?);
    (directory.has_root() && directory.is_dir()).then_some(directory)
}

/// Finds the agent's directory, and creates it if it is missing.
///
/// # Errors
///
/// Why there is none.
pub(crate) fn place() -> io::Result<Place> {
    agent::find(&directories())
}

/// Finds the agent's directory if a command has created it.
pub(crate) fn used_place() -> Option<Place> {
    let there: Vec<_> = directories().into_iter().filter(|it| it.is_dir()).collect();
    agent::find(&there).ok()
}

fn directories() -> Vec<PathBuf> {
    if let Some(home) = process_variable("BBTOKEN_HOME").map(PathBuf::from) {
        let own = home.has_root().then(|| home.join("run"));
        return own.into_iter().collect();
    }
    // Several machines may share a home directory, but no agent.
    let machine = rustix::system::uname();
    let machine = machine.nodename().to_string_lossy().into_owned();
    let cache = git_config::directories(&process_variable).cache;
    let of_session = runtime_directory().map(|it| it.join(git_config::DIRECTORY));
    let of_machine = cache.map(|cache| cache.join(format!("run-{machine}")));
    of_session.into_iter().chain(of_machine).collect()
}

/// What an identity needs of the agent.
#[derive(Default)]
pub(super) struct Borrower {
    borrowed: OnceCell<Option<ByAgent>>,
    /// The place and lane for which this command starts an agent when it ends, because none is running.
    missed: RefCell<Option<(Place, Lane, Option<Silent>)>>,
}

impl Borrower {
    /// Borrows a connection for an identity once, if its requests may go over one.
    pub(super) fn client(
        &self,
        profile: &Profile,
        http: &HttpSettings,
        services: &Rc<Services>,
    ) -> Option<&ByAgent> {
        let borrow = || self.borrow(profile, http, services);
        self.borrowed.get_or_init(borrow).as_ref()
    }

    fn borrow(
        &self,
        profile: &Profile,
        http: &HttpSettings,
        services: &Rc<Services>,
    ) -> Option<ByAgent> {
        let lane = lane(profile, http)?;
        let told = |none: io::Error| tell("refused", &none.to_string());
        let place = place().map_err(told).ok()?;
        let messages = Messages::new(&http.settings, USER_AGENT).ok()?;
        let own = Box::new(Own {
            http: http.clone(),
            services: Rc::clone(services),
        });
        match ByAgent::borrow(&place, lane.clone(), messages, own) {
            Ok(by_agent) => {
                tell("taken", "");
                return Some(by_agent);
            }
            Err(Refused::Absent) => {
                tell("none", "none is running");
                self.missed.replace(Some((place, lane, None)));
            }
            Err(Refused::Silent(silent)) => {
                tell("refused", "it does not answer");
                self.missed.replace(Some((place, lane, Some(silent))));
            }
            Err(Refused::No(why)) => tell("refused", &why),
        }
        None
    }
}

impl Drop for Borrower {
    fn drop(&mut self) {
        let Some((place, lane, silent)) = self.missed.take() else {
            return;
        };
        if silent.is_none_or(|silent| silent.is_replaced(&place)) {
            agent::start(&place, &lane);
        }
    }
}

fn tell(word: &'static str, why: &str) {
    trace::event("agent", || vec![(word, why.into())]);
}

/// Finds out with which requests these may share connections. `None` if they cannot go over the agent's.
pub(super) fn lane(profile: &Profile, http: &HttpSettings) -> Option<Lane> {
    let url: &Url = &profile.endpoints.base;
    if url.scheme() != "https"
        || !http.git_only.is_empty()
        || CONNECTING.iter().any(|name| env::var_os(name).is_some())
    {
        return None;
    }
    let roots = http.settings.only_roots()?;
    let state = git_config::directories(&process_variable).state;
    let client = profile.client().map_or("", |client| &client.id);
    let whose = format!(
        "{} {} {client} {:?} {state:?}",
        profile.name, profile.account, profile.store
    );
    Some(Lane {
        host: url.host_str()?.to_owned(),
        port: url.port_or_known_default()?,
        identity: hex_digest(whose.as_bytes()),
        stamp: roots.as_deref().and_then(agent::stamp),
        roots,
        network: agent::network(),
    })
}

/// This process's own client. The agent could read the same settings, so its creation hardly fails.
struct Own {
    http: HttpSettings,
    services: Rc<Services>,
}

impl HttpClient for Own {
    fn send(&self, request: Request) -> Result<Response, TransportError> {
        let client = self.services.clients.of(&request.url, &self.http);
        let client = client.map_err(|error| {
            let host = request.url.host_str().unwrap_or("");
            TransportError::new(Phase::Connect, host, format!("{error:#}"))
        })?;
        client.send(request)
    }
}
