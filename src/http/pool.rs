//! The library's connections, through a proxy where there is one, and the login that it may want.

use std::{
    cell::{Cell, RefCell},
    time::Duration,
};

use reqwest::{header::HeaderValue, redirect::Policy};
use tokio::runtime::Runtime;

use super::{
    Family, Phase, Proxy, ProxyLogin, ProxyLogins, Settings, TransportError,
    broken::{classify, wants_proxy_login},
    family::Resolver,
    observe,
    pace::Pace,
    tls,
};
use crate::trace;

/// How long TCP and TLS may take; a network that is down is then told in seconds.
const CONNECT_LIMIT: Duration = Duration::from_secs(15);
/// How often the runtime is given a turn to notice a closed connection: one to see the socket, one for the connection
/// to read its end, one to spare.
const LOOKS: usize = 3;

/// Connections to wherever requests go.
pub(super) struct Pool {
    way: Way,
    logins: Option<Box<dyn ProxyLogins>>,
    /// The login that is tried or was taken.
    login: RefCell<Option<ProxyLogin>>,
    is_login_judged: Cell<bool>,
    client: RefCell<reqwest::Client>,
}

impl Pool {
    pub(super) fn new(settings: &Settings, user_agent: &HeaderValue) -> anyhow::Result<Self> {
        let way = Way {
            tls: tls::config(settings)?,
            user_agent: user_agent.clone(),
            proxy: settings.proxy.clone(),
            family: None,
        };
        let client = way.client(None)?;
        Ok(Pool {
            way,
            logins: None,
            login: RefCell::default(),
            is_login_judged: Cell::new(false),
            client: RefCell::new(client),
        })
    }

    pub(super) fn set_logins(&mut self, logins: Box<dyn ProxyLogins>) {
        self.logins = Some(logins);
    }

    /// Connects by one family of addresses only from now on.
    pub(super) fn keep_to(&mut self, family: Family) -> anyhow::Result<()> {
        self.way.family = Some(family);
        let client = self.way.client(self.login.borrow().as_ref())?;
        self.client.replace(client);
        Ok(())
    }

    /// The library's client as it is now, to start a request with.
    pub(super) fn client(&self) -> reqwest::Client {
        self.client.borrow().clone()
    }

    /// Sends a request, and a second time with a login where the proxy wants one: the server has seen nothing of it.
    pub(super) fn send(
        &self,
        runtime: &Runtime,
        request: reqwest::Request,
        pace: &Pace,
        host: &str,
    ) -> Result<reqwest::Response, TransportError> {
        if self.way.proxy.as_ref().is_some_and(Proxy::lacks_password)
            && self.login.borrow().is_none()
        {
            self.ask_for_login(host)?;
        }
        let again = request.try_clone();
        let answer = self.attempt(runtime, request, pace, host);
        match (&answer, again) {
            (Err(error), Some(request)) if wants_proxy_login(error) && self.may_ask() => {
                self.ask_for_login(host)?;
                let answer = self.attempt(runtime, request, pace, host);
                self.judge_login(&answer);
                answer
            }
            _ => {
                self.judge_login(&answer);
                answer
            }
        }
    }

    fn attempt(
        &self,
        runtime: &Runtime,
        request: reqwest::Request,
        pace: &Pace,
        host: &str,
    ) -> Result<reqwest::Response, TransportError> {
        let client = self.client();
        // Built inside, since time limits need the runtime's clock.
        let answer = runtime.block_on(async {
            notice_closed_connections().await;
            pace.keep(client.execute(request)).await
        });
        answer
            .map_err(|slow| TransportError::new(Phase::TimeLimit, host, slow))?
            .map_err(|error| classify(error, host, self.way.proxy.as_ref(), Phase::Request))
    }

    /// Tells whether a login could still be had: none was given, and there is somebody to ask.
    fn may_ask(&self) -> bool {
        let has_login = self.way.proxy.as_ref().is_some_and(Proxy::has_login);
        self.logins.is_some() && !has_login && self.login.borrow().is_none()
    }

    fn ask_for_login(&self, host: &str) -> Result<(), TransportError> {
        let (Some(logins), Some(proxy)) = (&self.logins, &self.way.proxy) else {
            return Ok(());
        };
        let broken = |why: String| TransportError::new(Phase::Connect, host, why);
        let login = logins.ask(&proxy.user()).ok_or_else(|| {
            broken("the proxy wants a user name and password, and none is known".into())
                .through(Some(proxy))
        })?;
        let client = self.way.client(Some(&login));
        let client = client.map_err(|error| broken(error.to_string()).through(Some(proxy)))?;
        self.client.replace(client);
        self.login.replace(Some(login));
        Ok(())
    }

    /// Passes on, once, what a proxy made of a login; a network that fails says nothing of it.
    fn judge_login(&self, answer: &Result<reqwest::Response, TransportError>) {
        let is_right = match answer {
            Ok(_) => true,
            Err(error) if wants_proxy_login(error) => false,
            Err(_) => return,
        };
        if let (Some(logins), Some(proxy), Some(login)) =
            (&self.logins, &self.way.proxy, &*self.login.borrow())
            && !self.is_login_judged.replace(true)
        {
            logins.tell(&proxy.user(), login, is_right);
        }
    }
}

/// How servers are reached.
struct Way {
    tls: rustls::ClientConfig,
    user_agent: HeaderValue,
    proxy: Option<Proxy>,
    family: Option<Family>,
}

impl Way {
    /// Makes the library's client.
    fn client(&self, login: Option<&ProxyLogin>) -> anyhow::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .tls_backend_preconfigured(self.tls.clone())
            .http1_only()
            .http1_title_case_headers()
            .redirect(Policy::none())
            .referer(false)
            .no_proxy()
            .user_agent(&self.user_agent)
            .connect_timeout(CONNECT_LIMIT);
        if trace::is_on() {
            builder = builder.connector_layer(observe::Timed::layer());
        }
        if trace::is_on() || self.family.is_some() {
            builder = builder.dns_resolver(Resolver(self.family));
        }
        if let Some(family) = self.family {
            // Names are looked up for one family; this holds for addresses in the place of a name.
            builder = builder.local_address(family.any());
        }
        if let Some(proxy) = &self.proxy {
            let url = proxy.with_login(login);
            let proxy = reqwest::Proxy::all(url.expose()).map_err(reqwest::Error::without_url)?;
            builder = builder.proxy(proxy);
        }
        Ok(builder.build()?)
    }
}

/// Lets the runtime look at its sockets, which nobody did since the last call: a connection that the server has closed
/// meanwhile then leaves the pool, instead of swallowing a request that cannot be sent twice.
pub(super) async fn notice_closed_connections() {
    for _ in 0..LOOKS {
        tokio::task::yield_now().await;
    }
}
