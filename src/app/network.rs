//! Follows the route to Bitbucket step by step, to show the user where it ends.

use std::{
    net::{TcpStream, ToSocketAddrs as _},
    time::Duration,
};

use super::{context::App, unreached::remembered};
use crate::{
    failure::Failure,
    git_config::{self, HttpSettings, process_variable},
    http::{HttpClient as _, Proxy, Reason, Request, TransportError, next_hop},
    profile::Profile,
    url::Url,
    waiting,
};

/// The time limit for one address.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a front page may take.
const FRONT_PAGE_LIMIT: Duration = Duration::from_secs(20);

/// How far one gets.
#[derive(Debug)]
pub(crate) struct Route {
    /// Bitbucket's host.
    pub(crate) host: String,
    /// The proxy in between.
    pub(crate) proxy: Option<Proxy>,
    /// The host of the first connection: the proxy, or Bitbucket.
    pub(crate) hop: String,
    /// The port of the first connection.
    pub(crate) port: u16,
    /// The number of addresses of the first host, or why there is none.
    pub(crate) addresses: Result<usize, String>,
    /// Whether one of them accepts connections.
    pub(crate) connected: Result<(), String>,
    /// The time in the `Date` of Bitbucket's front page; `None` without a connection.
    pub(crate) answer: Option<anyhow::Result<Option<u64>>>,
    /// The settings for which git's own transport replaces the native one.
    pub(crate) git_only: Vec<String>,
    /// The reason why git's own transport and curl replace the native transport, if they do.
    pub(crate) by_git: Option<String>,
    /// The setting that disables certificate checks.
    pub(crate) unverified_by: Option<String>,
}

impl App {
    /// Follows the route to the Bitbucket with this base URL, for a profile.
    ///
    /// # Errors
    ///
    /// If git's http settings cannot be followed.
    pub(crate) fn route(&self, base: &Url, profile: Option<&Profile>) -> anyhow::Result<Route> {
        let http = git_config::http_settings(&self.git, &process_variable, base, None)?;
        let proxy = http.settings.proxy.clone();
        let host = base.host_str().unwrap_or("").to_owned();
        let (hop, port) = next_hop(proxy.as_ref(), base);
        let _wait = waiting::on(&hop);
        let addresses = (hop.trim_matches(['[', ']']), port).to_socket_addrs();
        let addresses: Result<Vec<_>, _> = addresses.map(Iterator::collect);
        let connected = connect(addresses.as_deref().unwrap_or_default());
        let mut by_git = profile.and_then(|it| remembered(it, base, &self.services.clock));
        let answer = connected
            .is_ok()
            .then(|| self.front_page(&http, base, &mut by_git));
        Ok(Route {
            host,
            proxy,
            hop: hop.into_owned(),
            port,
            addresses: addresses
                .map(|addresses| addresses.len())
                .map_err(|error| reason(&error)),
            connected,
            answer,
            git_only: http.git_only,
            by_git,
            unverified_by: http.settings.unverified_by,
        })
    }

    /// Requests Bitbucket's front page, and gives the time in the response's `Date` if it has one.
    fn front_page(
        &self,
        http: &HttpSettings,
        base: &Url,
        by_git: &mut Option<String>,
    ) -> anyhow::Result<Option<u64>> {
        let client = self.services.clients.of(base, http)?;
        let mut request = Request::get(base.clone());
        request.time_limit = Some(FRONT_PAGE_LIMIT);
        let response = client.send(request).map_err(of_kind)?;
        if let Some(why) = client.reason_for_curl() {
            *by_git = Some(why);
        }
        Ok(response.date_unix_s())
    }
}

/// Says why a name is not found, without the prefix of the system library.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let why = text.rsplit(": ").next().unwrap_or_default();
    why.to_owned()
}

fn connect(addresses: &[std::net::SocketAddr]) -> Result<(), String> {
    let mut problem = "it has no address".to_owned();
    for address in addresses {
        match TcpStream::connect_timeout(address, CONNECT_LIMIT) {
            Ok(_) => return Ok(()),
            Err(error) => problem = error.to_string(),
        }
    }
    Err(problem)
}

fn of_kind(error: TransportError) -> anyhow::Error {
    let (kind, message) = (error.kind(), error.to_string());
    anyhow::Error::new(Reason(error)).context(Failure::new(kind, message))
}
